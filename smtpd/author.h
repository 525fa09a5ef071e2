#ifndef SMTPD_AUTHOR_H
#define SMTPD_AUTHOR_H
#include "base/mail_header.h"
#include "smtpd/check.h"

/* maps/author asked at the dot, on the submission ports, of what a login hands in. Reports (null reverse-path) are the gate's matter. */
extern const struct check_kind author_check;

/* May From be signed with a key of ours? Only if whoever hands the message in may write as each author: by `senders` (a login, or a system user as unix:NAME), or by `clients`. A
 * null reverse-path changes nothing here. False, too, where it can't be told: the message leaves without a signature. */
bool author_may_be_signed(struct check *c, const struct mail_header *h);
#endif
