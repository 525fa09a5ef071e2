#ifndef SMTPD_EVIDENCE_SEAL_H
#define SMTPD_EVIDENCE_SEAL_H
#include "base/mail_check.h"
#include "base/mail_status.h"
#include "smtpd/check.h"

/* An ARC set on top of mail that goes on to somebody else: pass-through and lists (RFC 8617, 5.1). */
struct evidence_seal;

/* NULL: nothing is to be sealed (no remote leaf, no key, a closed chain). Else done is called once, from the loop; the fields stand on the message then. */
struct evidence_seal *evidence_seal_start(struct check *c, const struct mail_check *check, const struct mail_check_results *r, struct slice results,
                                          void (*done)(void *arg, struct mail_status status), void *arg);
void evidence_seal_free(struct evidence_seal *s); /* NULL is fine */

/* Puts whole fields on the message, so that the first stands on top. */
void evidence_add_fields(struct check *c, struct slice fields);
#endif
