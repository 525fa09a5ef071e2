#ifndef QUEUE_LEDGER_H
#define QUEUE_LEDGER_H
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/loop.h"
#include "base/slice.h"
#include "queue/queue_proto.h"

/* What is remembered about mail that is not in the queue: outcomes of transactions with several destinations (rule.md), Message-IDs that left, senders who
 * were proven, what next hops said about recipients, who got an automatic reply. A Berkeley DB environment of the queue process alone: transactional,
 * bounded by age and number, keyed by digests under a key of its own, so that it names nobody. One thread works on it; what has arrived
 * while it was busy becomes one transaction and one sync. When it is damaged it is begun anew, empty: that costs duplicates at worst, never a loss. */
struct ledger_limits {
	uint64_t entries;                     /* of each table */
	uint64_t outcome_s, sent_s, seen_s, ask_s, ask_refused_s, lost_s;
};

struct ledger;

/* path: the folder, made if it is missing. alert: something for the postmaster (begun anew, no space). -errno: no ledger can be kept there. */
int ledger_open(struct loop *l, const char *path, const struct ledger_limits *limits, void (*alert)(void *arg, struct slice text), void *arg, struct ledger **out);
void ledger_close(struct ledger *l); /* waits for what was asked; answers come first */

/* Questions of queue_proto.h: type and payload as they came. done is called in the loop, once: with the answer's payload, empty for those that have none.
 * -EPROTO at once for a payload that no writer would write. A ledger that can't be read answers UNSURE, one that can't be written a 451. */
typedef void (*ledger_done)(void *arg, struct buf *answer);
int ledger_ask(struct ledger *l, uint16_t type, struct slice payload, ledger_done done, void *arg);

/* The queue's own questions, answered by queue_put_answer. */
enum {
	LEDGER_SEEN_LOOK = 0x3f0,             /* payload: one text, a reverse-path: FOUND if it was seen with evidence >= spf */
	LEDGER_REPLY_LOOK,                    /* texts: recipient, sender, days: FOUND if it got a reply within so many days, else ABSENT */
	LEDGER_REPLY_TAKE                     /* the same; if ABSENT, it has got one now */
};

/* What was sent until now may be missing, or its age may be wrong (the clock was set): what isn't found is UNSURE for as long as sent_s from now on. */
void ledger_doubt_sent(struct ledger *l);

/* Under which contents are digested by those who ask: the ledger's own secret, that outlives its tables, made another's. */
void ledger_content_key(const struct ledger *l, uint8_t key[CRYPTO_MAC_KEY]);

/* The hints as they are now; changed(arg) in the loop when entries went. */
void ledger_hints(struct ledger *l, struct ledger_hints *out);
bool ledger_hint_add(struct ledger *l, uint32_t bit); /* true: it was not set yet */

struct ledger_counts {
	uint64_t outcomes, sent, seen, asked, replied, begun_anew;
	int64_t since_s;                      /* complete since then */
};
void ledger_count(struct ledger *l, struct ledger_counts *out);
#endif
