#ifndef SMTPD_SMTPD_STATUS_H
#define SMTPD_SMTPD_STATUS_H
#include "base/buf.h"
#include "smtpd/smtpd.h"

/* What porterctl asks: "status" as JSON, "harvest ..." . Returns porterctl's exit code, or -ENOSYS. */
int smtpd_question(struct smtpd *d, const struct slice *words, size_t count, struct buf *answer);
#endif
