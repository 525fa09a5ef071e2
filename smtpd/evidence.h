#ifndef SMTPD_EVIDENCE_H
#define SMTPD_EVIDENCE_H
#include "smtpd/check.h"

/* Who says so: SPF from MAIL on (awaited at the first RCPT), DKIM and ARC while content arrives, DMARC's policy at the dot, our Authentication-Results on top, and an ARC
 * seal where mail is forwarded (smtpd/evidence_seal). For sessions of strangers; in submissions it only removes results that bear our name. */
extern const struct check_kind evidence_check;

/* DKIM signatures on submitted mail, and ARC seals on forwarded mail, by the keeper. The last of all checks: filters may have changed the message. */
extern const struct check_kind signing_check;

/* For signing_check: the seal of a message whose results are known; NULL: none is to be made. As evidence_seal_start. */
struct evidence_seal;
struct evidence_seal *evidence_begin_seal(struct check *c, void (*done)(void *arg, struct mail_status status), void *arg);
#endif
