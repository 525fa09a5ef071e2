#ifndef SMTPD_EVIDENCE_TELL_H
#define SMTPD_EVIDENCE_TELL_H
#include "base/mail_check.h"
#include "smtpd/check.h"
#include "smtpd/evidence_policy.h"

/* Tells the queue what DMARC found, for aggregate reports (queue/feedback.h), where the domain wants them. A destination of another organization must have
 * said that it takes them: "DOMAIN._report._dmarc.DESTINATION" is asked for first (RFC 9990, 4). Nobody waits for this. */
void evidence_tell(struct check *c, const struct mail_check_results *r, const struct evidence_policy *p);

/* Tells the queue that this reverse-path has written to us with evidence >= spf, so that the gate lets an answer from inside pass (rule.md, "One gate"). At the dot
 * and before the destinations decide: Dovecot's Sieve writes its answer before it says 250. */
void evidence_tell_seen(struct check *c);
#endif
