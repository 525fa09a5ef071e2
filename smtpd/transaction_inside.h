#ifndef SMTPD_TRANSACTION_INSIDE_H
#define SMTPD_TRANSACTION_INSIDE_H
#include "smtpd/outcome.h"
#include "smtpd/transaction.h"

/* Between the files of smtpd/transaction.
 *
 *	transaction.c         its life, RCPT: leaves and whom they are asked of
 *	transaction_release.c what is to be released later goes to the queue
 *	transaction_files.c   files for a body that outgrew memory
 *	transaction_dot.c     the dot: checks, what filters wish, what the ledger knows, files
 *	transaction_commit.c  the two-phase commit and the answer
 *	transaction_each.c    a reply for each recipient (PRDR)
 *	transaction_hop.c, transaction_mailbox.c, transaction_queue.c   the destinations */
enum { MAX_DESTINATIONS = 3, MAX_EXTRAS = 20 };

#define DISK_TROUBLE MAIL_STATUS(MAIL_LATER, 452, 3, 1, "No room for this message just now, try again later")
#define TOO_MUCH MAIL_STATUS(MAIL_LATER, 452, 5, 3, "Too much for one transaction, send the rest in another one")

enum transaction_state { COLLECTING, CHECKING, WRITING, DECIDING, OVER };

struct later_answer;
struct transaction {
	struct session *session;
	struct arena mem;
	struct transaction_facts facts;
	struct message message;
	struct destination *destinations[MAX_DESTINATIONS];
	size_t destination_count, recipient_room;
	enum transaction_state state;
	bool refused_by_check;          /* not by a mailbox or a next hop */
	uint64_t began_ms;

	/* RCPT */
	struct recipient *adding;
	size_t leaf_at;
	struct destination *asked;      /* whose answer is awaited */
	bool asking, answered;          /* an ask is on the stack; and was answered inside */
	bool put_off;                   /* it leads to the queue alone now */
	struct mail_status answer;
	void (*added)(struct session *s, struct mail_status status);

	/* files */
	size_t pens_wanted;
	struct later_answer *later;
	struct mail_status pen_status;
	struct pen_slot {
		struct destination *from;
		int fd;
		bool lf;
		uint64_t start;
	} pens[MAX_DESTINATIONS];
	size_t pen_count;
	bool rewriting, finished;       /* the files are written anew; their front is written or being written */
	void (*files_ready)(struct session *s, struct mail_status status);

	/* a filter's wishes */
	struct recipient *extras[MAX_EXTRAS];
	size_t extra_count, extra_at;

	/* PRDR */
	struct recipient **listed;      /* whom the client waits to hear about */
	size_t listed_count;
	bool each;                      /* outcomes differ by recipient: one destination's refusal is not the others' */

	struct outcome outcome;
	uint64_t *tickets;              /* in queue/flight */
	size_t ticket_count;

	/* delivery */
	int rank;                       /* whose turn it is (smtpd/destination.h); -1: all are prepared */
	size_t awaited;
	bool starting;                  /* questions are just being asked: answers from inside are counted, and looked at when all were asked */
	bool noting;                    /* the ledger is told who has said 250 */
	struct mail_status worst;
	struct buf places;              /* file names, queue id, for the log */
};

bool transaction_is_put_off(const struct transaction *t);
/* r's leaves, all asked for with good answers, become the queue's; nobody else is to deliver them. MAIL_OK, or the reply for RCPT. */
struct mail_status transaction_put_off(struct transaction *t, struct recipient *r);
void transaction_drop_pens(struct transaction *t);
bool transaction_has_files(const struct transaction *t); /* of a large message: in each form that somebody wants */
void transaction_forget_later(struct transaction *t);
void transaction_written(void *arg);                                        /* the worker has written something */
void transaction_deliver(struct transaction *t);
void transaction_each_list(struct transaction *t);
void transaction_each_begin(struct transaction *t);
void transaction_each_take(struct destination *d);                          /* d has answered */
struct mail_status transaction_each_reply(struct transaction *t);           /* puts the replies in front, and returns the last one */
void transaction_reply(struct transaction *t, struct mail_status status);   /* the session is told, and the transaction is gone behind it */
#endif
