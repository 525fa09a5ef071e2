#ifndef SMTPD_MILTER_H
#define SMTPD_MILTER_H
#include "smtpd/check.h"
#include "smtpd/filter_service.h"

/* One milter in one session: a connection, what it wants to see, and how far it has been told. It is connected to when the session's first MAIL comes (idle and probing
 * clients cost it nothing) and hears of connection and HELO then; what it says of those is the answer to MAIL. */
struct milter;

/* done is the answer to a run that said CHECK_WAIT, called once, later. With CHECK_REFUSE check_refuse was called before. */
struct milter *milter_new(const struct filter_service *s, struct check *c, void (*done)(void *arg, enum check_step step), void *arg);
void milter_free(struct milter *m);

/* CHECK_MAIL, CHECK_RCPT, CHECK_DATA, CHECK_DOT and CHECK_UNKNOWN. */
enum check_step milter_run(struct milter *m, enum check_stage stage);
void milter_cancel(struct milter *m); /* CHECK_WAIT: nobody waits any more */
void milter_reset(struct milter *m);  /* the transaction is over */

extern const struct check_kind milter_check;
#endif
