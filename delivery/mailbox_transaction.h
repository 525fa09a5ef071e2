#ifndef DELIVERY_MAILBOX_TRANSACTION_H
#define DELIVERY_MAILBOX_TRANSACTION_H
#include <stdbool.h>
#include <stdint.h>
#include "delivery/mailbox_parcel.h"
#include "delivery/mailbox_sort.h"

/* A transaction on our side: a pen, perhaps, then parcels that are all prepared, then all committed; or none is. It lives until its last
 * answer and ends itself.
 *
 *	              PEN        DELIVER           all prepared       COMMIT          all committed
 *	(new) -> OPENING -> PEN -------> PREPARING ----- hold -> HELD -------> COMMITTING -> (over)
 *	                                     |    \-- commit -----------------^    |
 *	                                     \------- one failed, or ABORT -> UNDOING -> (over)
 */
enum transaction_state {
	TRANSACTION_OPENING, TRANSACTION_PEN, TRANSACTION_PREPARING, TRANSACTION_HELD, TRANSACTION_COMMITTING_FIRST, TRANSACTION_COMMITTING,
	TRANSACTION_UNDOING
};

struct transaction;

/* How it speaks to whom it belongs; both may be called after mailbox_transaction_orphan no more. */
struct transaction_owner {
	void (*pen_ready)(void *arg, uint64_t question, const struct mail_status *status, int fd);
	void (*delivered)(void *arg, uint64_t question, const struct mailbox_delivered *d);
	void (*over)(void *arg, struct transaction *t);   /* the last word, also of an orphan: forget it; it is freed behind this call */
};

struct transaction *mailbox_transaction_new(struct transaction_house *house, struct slice id, const struct transaction_owner *owner, void *arg);
struct slice mailbox_transaction_id(const struct transaction *t);

/* 0, or -EPROTO when it is not the time for it. Everything else is answered through the owner. */
int mailbox_transaction_pen(struct transaction *t, uint64_t question, const struct mailbox_pen *m);
int mailbox_transaction_deliver(struct transaction *t, uint64_t question, const struct mailbox_deliver *m);
int mailbox_transaction_commit(struct transaction *t, uint64_t question);

/* The owner gives up; what was asked to commit goes on. A question that is open is still answered. */
void mailbox_transaction_abort(struct transaction *t);
/* The owner is gone: the same, and it is not spoken to any more but for over. */
void mailbox_transaction_orphan(struct transaction *t);
#endif
