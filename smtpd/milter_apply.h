#ifndef SMTPD_MILTER_APPLY_H
#define SMTPD_MILTER_APPLY_H
#include "smtpd/check.h"
#include "smtpd/milter_changes.h"

/* Makes a filter's changes on the message in hand and its transaction. MAIL_OK, or why the message can't be taken as the filter wants it: then nothing
 * of it was delivered, and what was changed ends with the transaction. */
struct mail_status milter_apply(struct milter_changes *changes, struct check *c, struct slice filter);
#endif
