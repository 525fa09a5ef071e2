#ifndef SMTPD_USAGE_CHECK_H
#define SMTPD_USAGE_CHECK_H
#include "smtpd/check.h"

/* Limits of what each user may hand in (queue/usage.h). */
extern const struct check_kind usage_check;

/* porterctl user usage: words are "usage [LOGIN] [--json]". Text into answer; returns the exit code. */
int usage_question(const struct slice *words, size_t count, struct buf *answer);
#endif
