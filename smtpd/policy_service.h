#ifndef SMTPD_POLICY_SERVICE_H
#define SMTPD_POLICY_SERVICE_H
#include "base/buf.h"
#include "base/mail_status.h"
#include "base/slice.h"
#include "smtpd/check.h"

/* Services that speak Postfix's policy protocol (SMTPD_POLICY_README): a question is lines `name=value` and an empty one, the answer `action=...` and an empty line.
 * A process keeps a few connections to each service over sessions. Actions that Porter has no place for (REDIRECT, FILTER, BCC) are answered 451 and told in the
 * log: mail isn't taken in another way than its administrator wants. DISCARD is a refusal: nothing is accepted and dropped. */
enum { POLICY_MAX_ANSWER = 16 << 10 };

enum policy_action {
	POLICY_PASS,       /* DUNNO, OK, WARN, INFO, DEFER_IF_REJECT */
	POLICY_REFUSE,     /* status */
	POLICY_ADD_FIELD,  /* PREPEND: text is the whole field */
	POLICY_HOLD,       /* HOLD: quarantine, text is why */
	POLICY_UNKNOWN     /* one that can't be done: text is its word */
};

struct policy_answer {
	enum policy_action action;
	struct mail_status status;
	struct slice text;
};

/* The answer at the front of in: 1 and its length in *used, 0 not whole yet, -EPROTO. Strings are views or live in mem. */
int policy_answer_read(struct slice in, struct arena *mem, struct policy_answer *out, size_t *used);

/* The question. state: "RCPT", "END-OF-MESSAGE" ... */
void policy_question(struct buf *out, const struct session_facts *f, const char *state, const struct recipient *r, uint64_t size);

extern const struct check_kind policy_check;
#endif
