#ifndef SMTPD_EVIDENCE_POLICY_H
#define SMTPD_EVIDENCE_POLICY_H
#include <stdbool.h>
#include "base/mail_check.h"
#include "base/mail_status.h"
#include "smtpd/check.h"

/* What DMARC's verdict means for the answer to the dot: reject is 550 5.7.1, quarantine a tag; a chain of believed seals that had seen a pass overrides both. A verdict that
 * could not be had is 451, but only where the answer hangs on it. */
struct evidence_policy {
	struct mail_status status;     /* MAIL_OK: go on */
	struct slice tag;              /* "" none */
	const char *override;          /* why a policy was not applied: RFC 9990's words ("trusted_forwarder", "local_policy", "policy_test_mode"); NULL */
};

void evidence_policy_judge(struct check *c, const struct mail_check_results *r, bool by_pass, struct evidence_policy *out);

/* Had a believed sealer seen this author's message pass DMARC, and does the chain cover From? Walks back from the newest seal as long as sealers are believed. UNSURE: it
 * would, if the chain could be checked now. */
struct map_set;
enum answer evidence_policy_arc(struct map_set *maps, const struct arc_verdict *arc, struct slice author);
#endif
