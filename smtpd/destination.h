#ifndef SMTPD_DESTINATION_H
#define SMTPD_DESTINATION_H
#include "base/mail_status.h"
#include "smtpd/facts.h"
#include "smtpd/message.h"

/* Where the leaves of a transaction go (etc/doc/architecture.md, "The transaction"): the mailbox process, the queue, or one next hop. A transaction has at most one
 * destination of each kind, made when the first leaf of its kind is asked for. Each question is answered once by the call named behind it, now or later. */
struct transaction;
struct destination;

/* In this order they commit. A next hop can't be prepared: its answer decides for all. What the queue has taken can't be told from what it never had, once it is delivered, so
 * its 250 is noted; mailboxes are last, since they can be looked at after a crash. */
enum destination_rank { RANK_HOP, RANK_QUEUE, RANK_MAILBOX };
enum { DESTINATION_RANKS = RANK_MAILBOX + 1 };

struct destination_kind {
	const char *name;
	enum destination_rank rank;
	bool lf;                /* wants content with LF line ends */
	size_t size;            /* of the kind's struct, which begins with a struct destination */
	void (*ask)(struct destination *d, struct recipient *r, const struct leaf *leaf);  /* -> transaction_asked: can this leaf be taken now? On MAIL_OK it belongs to d */
	void (*give_up)(struct destination *d, const struct recipient *r);                 /* another leaf of r was refused: forget r's leaves */
	bool (*has_any)(const struct destination *d);                                      /* a leaf: each that it was asked for may have been refused, and then it is asked for nothing more */
	void (*open_pen)(struct destination *d, uint64_t size);                            /* -> transaction_pen: a file for a large body. NULL: the queue's is used */
	void (*deliver)(struct destination *d);                                            /* -> transaction_delivered: prepare and commit */
	void (*prepare)(struct destination *d);                                            /* -> transaction_delivered; NULL: it can't be prepared */
	bool (*goes_first)(const struct destination *d);                                   /* it holds what can't be prepared, and commits in a next hop's place. NULL: never */
	void (*commit)(struct destination *d);                                             /* -> transaction_delivered; NULL: deliver is asked in its place */
	const struct mail_status *(*said)(const struct destination *d, const struct leaf *leaf); /* what this leaf of its got, once it has answered; NULL: not its */
	void (*abort)(struct destination *d);                                              /* the transaction is over; frees what d holds; open questions are forgotten */
};

struct destination {
	const struct destination_kind *kind;
	struct transaction *transaction;
	struct mail_status status;
	bool answered;
};

/* Which kind takes this leaf. NULL: none can, and *status says so. Rows in smtpd/destinations.c. */
const struct destination_kind *destination_kind_for(const struct transaction *t, const struct leaf *leaf, struct mail_status *status);

void transaction_asked(struct destination *d, struct mail_status status);
/* Before it, where a next hop refuses: who did, for the one line of the log. place lives as long as the transaction. */
void transaction_hop_refused(struct transaction *t, struct slice leaf, struct slice place, struct slice host);
/* In place of transaction_asked: another kind is asked for this leaf. */
void transaction_hand_over(struct destination *d, const struct destination_kind *kind);
void transaction_pen(struct destination *d, struct mail_status status, int fd, uint64_t start);
void transaction_delivered(struct destination *d, struct mail_status status, struct slice log_place); /* place: file name, queue id, "host said ..." for the log */

/* For kinds */
const struct session_facts *transaction_session(const struct transaction *t);
struct transaction_facts *transaction_facts(struct transaction *t);
struct message *transaction_message(struct transaction *t);
struct arena *transaction_arena(struct transaction *t);
struct smtpd *transaction_smtpd(const struct transaction *t);
struct slice transaction_id(const struct transaction *t);
struct outcome *transaction_outcome(struct transaction *t);
bool transaction_is_each(const struct transaction *t); /* each recipient hears its own outcome (PRDR) */
extern const struct destination_kind destination_mailbox;
extern const struct destination_kind destination_hop;
extern const struct destination_kind destination_queue;
#endif
