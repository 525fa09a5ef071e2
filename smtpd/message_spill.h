#ifndef SMTPD_MESSAGE_SPILL_H
#define SMTPD_MESSAGE_SPILL_H
#include "smtpd/message.h"

/* Inside of smtpd/message alone: a message's file, written by a worker piece by piece while the next piece is gathered. It may outlive its message, by the write that is under
 * way. Layout: `start` bytes that are not ours, Return-Path, room and front (written last, as one), head, body. */
struct message_spill {
	struct message *message;    /* NULL: freed, ends with the write under way */
	struct worker *worker;
	int fd;
	bool lf, busy;
	int error;
	uint64_t start;
	uint64_t at;                /* where the next piece goes */
	struct buf front;           /* Return-Path in the file's form; at the end followed by the rest of the front */
	size_t return_path;         /* its length */
	size_t room;                /* of front without Return-Path: what the fields have at most, padded to it */
	struct buf next, writing;
	uint64_t writing_at;
	int copy_from;              /* rewriting: the old file, ours to close; -1 */
	bool copy_lf;               /* its form */
	uint64_t copy_at, copy_length;
	uint64_t copied;            /* what became of that, in this one's form */
	bool front_due;             /* the next write ends with the front */
};

void spill_add(struct message_spill *s, struct slice crlf);
void spill_free(struct message_spill *s);
void spill_read(struct message *m, uint64_t cursor, size_t max, void (*done)(void *arg, struct slice bytes, uint64_t next, int error), void *arg);
void spill_forget_reader(struct message *m);

/* smtpd/message.c: the digest begins with what is in memory. */
void message_start_digest(struct message *m);

/* smtpd/message.c: s appended with LF line ends, or as it is. */
void message_add_lines(struct buf *out, struct slice s, bool lf);
#endif
