#ifndef SMTPD_OUTCOME_INSIDE_H
#define SMTPD_OUTCOME_INSIDE_H
#include "smtpd/outcome.h"

/* Between the files of smtpd/outcome. */
struct peer;

#define OUTCOME_UNREADABLE MAIL_STATUS(MAIL_LATER, 451, 3, 0, "What happened before can't be looked up just now, try again later")
#define OUTCOME_AGAIN MAIL_STATUS(MAIL_LATER, 451, 5, 3, "The recipients' outcomes differ: send it again, and each gets its own")

struct peer *outcome_queue(const struct outcome *l);
void outcome_finish(struct outcome *l, struct mail_status status);
#endif
