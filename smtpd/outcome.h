#ifndef SMTPD_OUTCOME_H
#define SMTPD_OUTCOME_H
#include <stdbool.h>
#include "base/crypto.h"
#include "base/mail_status.h"
#include "queue/queue_proto.h"
#include "smtpd/facts.h"

/* What the ledger knows of a transaction (rule.md, "One transaction, several outcomes"): at RCPT, whether a recipient has to travel alone; at the dot, whether a leaf has this
 * content or was refused with it; and after the decision, what a later transaction has to know. The queue process keeps it; without it, what is not known is not there. */
struct ipc_message;
struct peer_question;
struct smtpd;
struct transaction;

enum { LEDGER_ASK_MS = 20000, LEDGER_MAX_LATE = 256 };

struct outcome {
	struct transaction *transaction;
	struct peer_question *question;
	const struct recipient *alone;     /* it has an open entry: no other recipient beside it */
	const struct recipient *looked;
	size_t leaf_at;
	struct ledger_entry *entries;      /* outcomes that can't be one answer */
	size_t count;
	bool mixed;                        /* a hop answered for each, and differently */
	void (*then)(struct transaction *t, struct mail_status status);
};

void outcome_begin(struct outcome *l, struct transaction *t);
void outcome_end(struct outcome *l);

/* May r come beside those that are accepted? then gets MAIL_OK or a 4xx, perhaps inside. */
void outcome_ask(struct outcome *l, const struct recipient *r, void (*then)(struct transaction *t, struct mail_status status));

/* At the dot. True: nothing is known that matters. False: then is called later: MAIL_OK with *done false: deliver; with code 250 and text "done": it has it already; else the reply. */
bool outcome_knows_nothing(const struct outcome *l);
void outcome_decide_at_dot(struct outcome *l, void (*then)(struct transaction *t, struct mail_status status));
#define LEDGER_HAS_IT MAIL_STATUS(MAIL_OK, 251, 0, 0, "Ok, delivered before")

/* From a next hop's answer: what one recipient's leaf got. */
void outcome_add(struct outcome *l, struct slice address, const struct mail_status *status);

/* The outcome is status, not a 250, and others would have taken it or have taken it: what was added is made durable, then `then` gets the reply: 451. */
void outcome_note(struct outcome *l, void (*then)(struct transaction *t, struct mail_status status));

/* A hop's reply was not heard in time; a late one is noted when it comes. */
void outcome_expect_late(struct outcome *l, const struct slice *addresses, size_t count);

/* Messages of the queue and of delivery that answer no question. */
int outcome_from_queue(void *smtpd, struct ipc_message *m);
int outcome_from_delivery(void *smtpd, struct ipc_message *m);
#endif
