#ifndef SMTPD_HARVEST_QUESTION_H
#define SMTPD_HARVEST_QUESTION_H
#include "base/buf.h"
#include "smtpd/smtpd.h"

/* porterctl harvest: "list [--json]", "forgive WHO [--json]", "test WHO [--json]"; WHO is an address or "domain NAME". words begin with "harvest". Text into answer; returns
 * porterctl's exit code. */
int harvest_question(struct smtpd *d, const struct slice *words, size_t count, struct buf *answer);
#endif
