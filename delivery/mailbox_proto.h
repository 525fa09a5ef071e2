#ifndef DELIVERY_MAILBOX_PROTO_H
#define DELIVERY_MAILBOX_PROTO_H
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/mail_status.h"
#include "base/slice.h"
#include "maps/resolve.h"

/* What smtpd asks the mailbox process, over base/ipc; payloads are base/field records. The message id of base/ipc is the asker's:
 * the answer carries the same.
 *
 *	question                    answer               when
 *	MAILBOX_ASK                 MAILBOX_ASKED        at RCPT, for a leaf that has a quota or is not a plain Maildir; at the dot, what became of a commit whose
 *	                                                 answer was lost
 *	MAILBOX_PEN                 MAILBOX_PEN_READY    a body grows past what memory may hold
 *	MAILBOX_DELIVER (commit)    MAILBOX_DELIVERED    the dot, mailboxes alone: prepare and commit with one question
 *	MAILBOX_DELIVER (hold)      MAILBOX_DELIVERED    the dot, with a next hop: prepared, synced, in nobody's view
 *	MAILBOX_COMMIT              MAILBOX_DELIVERED    the hop said 250
 *	MAILBOX_ABORT               -                    the transaction is over: its pen and what it holds are dropped; unknown ones are fine
 *	-                           MAILBOX_STATE        from mailbox, when a channel comes up and once a second while it changes
 *
 * MAILBOX_DELIVERED to a commit is the promise of the 250: fate MAIL_OK means that every leaf has the message, durably, under
 * the file name given; any other fate means that none has it and nothing was left behind. To a hold, MAIL_OK means that the content is durable
 * and the names are chosen (they are what a ledger's intent notes) but not yet there.
 * Every question is answered once, also one that is aborted meanwhile.
 * Channel lost: everything of that peer that was not asked to commit is aborted; what was asked to commit goes on and its answer is lost.
 * A transaction id names one transaction of one peer from its first PEN or DELIVER to its COMMIT's answer or ABORT. */
enum mailbox_message {
	MAILBOX_ASK = 0x100,
	MAILBOX_ASKED,
	MAILBOX_PEN,
	MAILBOX_PEN_READY,
	MAILBOX_DELIVER,
	MAILBOX_DELIVERED,
	MAILBOX_COMMIT,
	MAILBOX_ABORT,
	MAILBOX_STATE
};

enum {
	MAILBOX_MAX_INLINE = 64 << 10,      /* content in the question itself; more goes to a pen */
	MAILBOX_MAX_TRANSACTION = 32,       /* bytes of a transaction id: letters, digits, '-', '_', it becomes part of file names */
	MAILBOX_MAX_LEAVES = 2 * RESOLVE_MAX_LEAVES, /* those that a client names in one transaction, and as many that filters add */
	MAILBOX_MAX_FORWARD = 50            /* addresses of one ~/.forward */
};

/* A leaf as the mailbox process sees it; the words are those of maps/resolve.h. Never LEAF_HOP or LEAF_LMTP. */
struct mailbox_leaf {
	enum leaf_kind kind;
	struct slice place;
	struct slice address;               /* for the log, and for programs */
	uint64_t quota_bytes, quota_messages; /* 0: none */
};

/* Can this leaf take a message of `size` bytes now (0: not announced)? Checked, not reserved. With find, a transaction's id, the question is another one: has that transaction's
 * message reached this mailbox (a Maildir's alone can tell)? */
struct mailbox_ask {
	struct mailbox_leaf leaf;
	uint64_t size;
	struct slice find;                  /* "": not asked */
};

/* forward: the addresses of a system user's ~/.forward, each a text "local@domain" or a bare local name, to be resolved like an alias's
 * values ("\name" and the user itself come as the user's own name: deliver here). forward_count 0: there is none. */
struct mailbox_asked {
	struct mail_status status;
	struct slice *forward;
	size_t forward_count;
	bool found;                         /* of find; of a program: only while the mailbox process lives that ran it */
};

/* A pen: an empty unnamed file on the file system of `leaf`'s mailbox, to be written with LF line ends. The answer carries its descriptor
 * when the fate is MAIL_OK. A second pen of a transaction replaces the first. Writing ends before DELIVER is asked. */
struct mailbox_pen {
	struct slice transaction;
	struct mailbox_leaf leaf;
	uint64_t size;                      /* announced; 0 unknown */
};

/* content: the whole message, LF line ends, our own fields in front; or from_pen, and pen_length is the length that the pen must have. */
struct mailbox_deliver {
	struct slice transaction;
	struct slice reverse_path;          /* "local@domain" or "", for mbox's "From " line and for programs */
	bool hold;
	bool from_pen;
	uint64_t pen_length;
	struct slice content;
	struct mailbox_leaf *leaves;
	size_t leaf_count;                  /* 1..MAILBOX_MAX_LEAVES */
};

struct mailbox_leaf_result {
	struct mail_status status;          /* of this leaf alone: what made the whole fail is found here */
	struct slice name;                  /* file name in the mailbox; "" for mbox and programs */
};

/* leaves are in the question's order. */
struct mailbox_delivered {
	struct mail_status status;
	struct mailbox_leaf_result *leaves;
	size_t leaf_count;
};

/* Of the file system of the mail root: smtpd may answer 452 at MAIL and RCPT without a question. */
struct mailbox_state {
	uint64_t free_bytes, free_inodes;   /* above the reserve of the settings */
	bool read_only;
};

/* Writers: 0 or -EMSGSIZE. mailbox_put_deliver leaves the content out: it is the last part of the payload, sent behind the head by
 * ipc_send2(head, content), which mailbox_send_deliver does. */
struct ipc;
int mailbox_put_ask(struct buf *out, const struct mailbox_ask *m);
int mailbox_put_asked(struct buf *out, const struct mailbox_asked *m);
int mailbox_put_pen(struct buf *out, const struct mailbox_pen *m);
int mailbox_put_status(struct buf *out, const struct mail_status *s);  /* MAILBOX_PEN_READY */
int mailbox_put_deliver(struct buf *out, const struct mailbox_deliver *m);
int mailbox_put_delivered(struct buf *out, const struct mailbox_delivered *m);
int mailbox_put_transaction(struct buf *out, struct slice transaction); /* MAILBOX_COMMIT, MAILBOX_ABORT */
int mailbox_put_state(struct buf *out, const struct mailbox_state *m);
int mailbox_send_deliver(struct ipc *to, uint64_t id, const struct mailbox_deliver *m);

/* Readers: 0, or -EPROTO for anything that a writer would not write. Slices are views into payload; arrays live in mem. */
int mailbox_get_ask(struct slice payload, struct mailbox_ask *out);
int mailbox_get_asked(struct slice payload, struct arena *mem, struct mailbox_asked *out);
int mailbox_get_pen(struct slice payload, struct mailbox_pen *out);
int mailbox_get_status(struct slice payload, struct mail_status *out);
int mailbox_get_deliver(struct slice payload, struct arena *mem, struct mailbox_deliver *out);
int mailbox_get_delivered(struct slice payload, struct arena *mem, struct mailbox_delivered *out);
int mailbox_get_transaction(struct slice payload, struct slice *out);
int mailbox_get_state(struct slice payload, struct mailbox_state *out);
#endif
