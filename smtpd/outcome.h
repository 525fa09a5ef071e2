#ifndef SMTPD_OUTCOME_H
#define SMTPD_OUTCOME_H
#include <stdbool.h>
#include "base/crypto.h"
#include "base/mail_status.h"
#include "queue/queue_proto.h"
#include "smtpd/facts.h"

/* What the ledger knows of a transaction (rule.md, "One transaction, several outcomes"): at RCPT, whether a recipient has to travel alone; at the dot, whether a leaf has this
 * content or was refused with it; and after the decision, what a later transaction has to know. The queue process keeps it. An smtpd that has had its hints goes on without it: no hint,
 * no entry. With a hint, or before the first, it waits for it.
 *
 *	outcome.c         RCPT: is there an open entry?
 *	outcome_dot.c     the dot: done, refused, or to be delivered
 *	outcome_source.c  whose message it is, and its digest
 *	outcome_note.c    what is noted; late replies of a hop */
struct ipc_message;
struct peer_question;
struct smtpd;
struct transaction;

enum { LEDGER_ASK_MS = 20000, LEDGER_START_MS = 15000, LEDGER_MAX_LATE = 256, LEDGER_MAX_RECORD = 1 << 20 };

struct outcome {
	struct transaction *transaction;
	struct peer_question *question;
	const struct recipient *alone;     /* it has an open entry: no other recipient beside it */
	bool beside;                       /* which is what the one that is looked for would be */
	struct recipient *looked;
	size_t leaf_at;
	uint64_t wait_until_ms;            /* RCPT: for a queue process that is not there; 0: not yet */
	struct ledger_decided known;       /* the dot: what the ledger said of the leaves in doubt */
	size_t intent_at;
	struct ledger_source source;       /* digest.n 0: not known yet */
	uint8_t digest[CRYPTO_SHA256];
	struct ledger_entry *entries;      /* outcomes that can't be one answer, or that outlive our own end */
	size_t count, room;
	struct ledger_entry *intents;      /* mailboxes: the names that their commit gives */
	size_t intent_count, intent_room;
	size_t promised;                   /* of entries: noted before the 250 */
	struct mail_status reply;          /* behind the note */
	bool held_up;                      /* of entries, some only hold others up */
	bool mixed;                        /* a hop answered for each, and differently */
	bool uncertain;                    /* a mailbox was asked to commit, and it is not known whether it did */
	void (*then)(struct transaction *t, struct mail_status status);
};

void outcome_begin(struct outcome *l, struct transaction *t);
void outcome_end(struct outcome *l);

/* May r come beside those that are accepted? then gets MAIL_OK or a 4xx, perhaps inside. */
void outcome_ask(struct outcome *l, struct recipient *r, void (*then)(struct transaction *t, struct mail_status status));

/* Content is complete, and nobody has changed it yet: what a retry will be known by. Views of what lives as long as the transaction. */
/* The Message-ID that the message leaves with: its author's, or ours. */
struct slice outcome_message_id(struct outcome *l);
const struct ledger_source *outcome_source(struct outcome *l);
struct ledger_source outcome_copy_source(struct arena *mem, const struct ledger_source *s); /* for what outlives it */

/* At the dot. True: nothing is known that matters. False: then is called later, perhaps inside: MAIL_OK 250: deliver to those that are left; LEDGER_HAS_IT: all have it; else
 * the reply. */
bool outcome_knows_nothing(const struct outcome *l);
void outcome_decide_at_dot(struct outcome *l, void (*then)(struct transaction *t, struct mail_status status));
#define LEDGER_HAS_IT MAIL_STATUS(MAIL_OK, 251, 0, 0, "Ok, delivered before")

/* From a next hop's answer, or the queue's: what one recipient's leaf got. */
void outcome_add(struct outcome *l, struct slice address, const struct mail_status *status);
/* Its leaf can't take the message just now, and holds up recipients that could: in the next transaction it is left out at RCPT, once, so that they get theirs. */
void outcome_add_held_up(struct outcome *l, struct slice address);
/* From a mailbox that is prepared: its leaf will have the message as file `name`. */
void outcome_add_intent(struct outcome *l, struct slice address, struct slice name);

/* Somebody has said 250, and others are still to commit, or the client is still to hear of it: noted durably before that happens. then gets MAIL_OK, also where it can't be noted: at
 * worst a second copy. */
bool outcome_owes_promise(const struct outcome *l);
void outcome_promise(struct outcome *l, void (*then)(struct transaction *t, struct mail_status status));

/* The transaction ends without a 250, though somebody has taken it, or would have, or may have: what was added is made durable, then `then` gets the 4xx `status`. */
void outcome_note(struct outcome *l, struct mail_status status, void (*then)(struct transaction *t, struct mail_status status));

/* A hop's reply was not heard in time; a late one is noted when it comes. */
void outcome_expect_late(struct outcome *l, const struct slice *addresses, size_t count);
bool outcome_awaits_late(const struct smtpd *d);
void outcome_queue_is_up(void);

/* The key of content digests (CRYPTO_MAC_KEY bytes), as the ledger's process told it: it was asked for each recipient that was taken before its first hints. */
const uint8_t *outcome_content_key(void);

/* As the queue last told of its spool: has it room for a message of that size? */
bool outcome_queue_has_room(uint64_t size);

/* False for an hour after the clock was set forward, as far as we or the queue know: then nothing is too old. */
bool outcome_believes_clock(struct smtpd *d);

/* Messages of the queue and of delivery that answer no question. */
int outcome_from_queue(void *smtpd, struct ipc_message *m);
int outcome_from_delivery(void *smtpd, struct ipc_message *m);
#endif
