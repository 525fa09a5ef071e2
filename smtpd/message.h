#ifndef SMTPD_MESSAGE_H
#define SMTPD_MESSAGE_H
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/crypto.h"
#include "base/loop.h"
#include "base/mail_dot.h"
#include "base/slice.h"

/* The content of a transaction: header section in memory, body in memory or, past MESSAGE_MAX_MEMORY, in files (spills) that destinations gave: with LF line
 * ends for mailboxes, with CRLF for queue and next hop. Fields that are put on top are kept apart until the dot; a spilled message has a slot for them
 * (etc/doc/architecture.md, "The transaction"). Owned by the transaction. */
enum { MESSAGE_MAX_MEMORY = 64 << 10, MESSAGE_MAX_HEAD = 1 << 20, MESSAGE_MAX_FRONT = 16 << 10, MESSAGE_SLOT = 1600, MESSAGE_MAX_SPILLS = 2, MESSAGE_PIECE = 256 << 10 };

struct message_spill {
	int fd;                     /* ours; -1 none */
	bool lf;                    /* line ends */
	uint64_t start;             /* where content begins in the file */
	uint64_t length;            /* bytes of content handed to be written, the front included */
	struct buf next;            /* what is collected for the next write */
	struct buf writing;         /* what the worker writes just now */
	uint64_t slot_at;           /* where the slot stands */
	bool busy;
	int error;
};

struct message {
	struct buf head;            /* the header section as received, CRLF, with the blank line that ends it */
	struct buf body;            /* CRLF; empty once spilled */
	struct buf front;           /* trace fields, CRLF, known before content: Return-Path is not among them (mailboxes add it) */
	struct buf added;           /* fields put on top of it at the dot: Authentication-Results, tags; CRLF */
	bool head_done, spilled;
	uint64_t length;            /* of head and body, as received */
	unsigned received_count;
	bool loops;                 /* a Received field of ours with our own id */
	struct crypto_hash *digest; /* of the content without trace fields, for the ledger; NULL until asked for */
	struct message_spill spills[MESSAGE_MAX_SPILLS];
	size_t spill_count;
	void (*on_written)(void *arg);   /* a write of the worker ended */
	void *arg;
	struct worker *worker;
};

void message_init(struct message *m, struct worker *w, void (*on_written)(void *arg), void *arg);
void message_free(struct message *m); /* no write may be under way: message_busy */
bool message_busy(const struct message *m);
bool message_full(const struct message *m);  /* so much waits to be written that the client should wait */
int message_error(const struct message *m);  /* of a write: -ENOSPC ... */

/* A piece of content, CRLF line ends. -EMSGSIZE: the header section is longer than MESSAGE_MAX_HEAD. */
int message_add(struct message *m, struct slice s);
void message_end(struct message *m);

/* From now on all content goes to these files. fd becomes ours; the front and what is in memory are written first. */
void message_spill(struct message *m, int fd, bool lf, uint64_t start, struct slice lf_front);
void message_flush(struct message *m);       /* hands what is left to the worker */
void message_fill_slots(struct message *m);  /* at the dot, when nothing is busy: writes `added` into the slots by the worker */
bool message_fits_slot(const struct message *m);

/* The whole as one run of bytes, for messages in memory: [return_path] added front head body. */
void message_print(const struct message *m, bool lf, struct slice return_path, struct buf *out);

/* For checks: a field on top of all; changes of the head. value without CRLF (folded lines allowed). */
void message_add_field(struct message *m, struct slice name, struct slice value);

/* Reads the body in CRLF form from `offset` on (an offset in CRLF bytes for messages in memory, in the file's bytes for spilled ones), at most `max` bytes, in the
 * worker where it is a file; done is called once, later, in the loop. n 0: the end. */
void message_read_body(struct message *m, uint64_t offset, size_t max, void (*done)(void *arg, struct slice bytes, uint64_t next_offset, int error), void *arg);
#endif
