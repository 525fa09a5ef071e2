#ifndef SMTPD_EVIDENCE_H
#define SMTPD_EVIDENCE_H
#include "smtpd/check.h"

/* Who says so: SPF from MAIL on (awaited at the first RCPT), DKIM and ARC while content arrives, DMARC's policy at the dot, our Authentication-Results on top, and an ARC
 * seal where mail is forwarded (smtpd/evidence_seal). For sessions of strangers; in submissions it only removes results that bear our name.
 * Stands behind the filters, which may have changed the message, and before `signing`. */
extern const struct check_kind evidence_check;

/* DKIM signatures on submitted mail, by the keeper; the last of all checks. */
extern const struct check_kind signing_check;
#endif
