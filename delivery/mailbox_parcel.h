#ifndef DELIVERY_MAILBOX_PARCEL_H
#define DELIVERY_MAILBOX_PARCEL_H
#include <stdbool.h>
#include <stddef.h>
#include "delivery/mailbox_proto.h"

/* A parcel: what one transaction brings to one place that can say yes or no by itself: all Maildirs of one file system, an mbox, a system
 * user, a program. The transaction tells each parcel the steps; a parcel answers each step once, later, in the loop, through on_step.
 *
 *	PREPARE  content durable, in nobody's view (a program: nothing; it can only commit)
 *	COMMIT   what is prepared is published, durably
 *	DELIVER  both, for a transaction with one parcel
 *	UNDO     what was prepared or committed is taken back, as far as it can be; the answer is always MAIL_OK
 *
 * A step that fails leaves nothing behind; UNDO is not told to a parcel that failed. */
enum parcel_step { PARCEL_PREPARE, PARCEL_COMMIT, PARCEL_DELIVER, PARCEL_UNDO };

struct parcel;
struct parcel_kind {
	void (*start)(struct parcel *p, enum parcel_step step);
	void (*free)(struct parcel *p);
	bool commits_first;       /* cannot be prepared: it commits before all others */
};

/* What the message is, for every parcel of a transaction; it outlives them. */
struct pen;
struct parcel_content {
	struct slice transaction, reverse_path;
	struct slice bytes;       /* inline content, or */
	struct pen *pen;          /* a pen; NULL: inline */
	uint64_t length;
};

struct parcel {
	const struct parcel_kind *kind;
	const struct parcel_content *content;
	const struct mailbox_leaf **leaves;        /* of this parcel */
	struct mailbox_leaf_result **results;      /* the same order; filled by the parcel */
	size_t count;
	struct mail_status status;                 /* of the last step */
	bool failed;
	void (*on_step)(void *arg, struct parcel *p);
	void *arg;
};

/* For kinds of one leaf: begins one; the two arrays are the parcel's to free. */
void parcel_init(struct parcel *p, const struct parcel_kind *kind, const struct parcel_content *content, const struct mailbox_leaf *leaf,
                 struct mailbox_leaf_result *result);

/* For kinds: sets status and calls on_step. A failure that no leaf's own result tells is every leaf's. */
void parcel_answer(struct parcel *p, struct mail_status status);
#endif
