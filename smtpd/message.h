#ifndef SMTPD_MESSAGE_H
#define SMTPD_MESSAGE_H
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/crypto.h"
#include "base/loop.h"
#include "base/slice.h"

/* The content of a transaction: header section in memory, body in memory or, past MESSAGE_MAX_MEMORY, in files (spills) that destinations gave: with LF line
 * ends for mailboxes, with CRLF for queue and next hop. Fields that are put on top are kept apart until the dot; a spilled message keeps room for them at its front, and
 * what is left of the room becomes a comment of white space behind Received. What comes in is clean (base/mail_dot), so both forms say the same. */
enum {
	MESSAGE_MAX_MEMORY = 48 << 10,     /* with our own fields below MAILBOX_MAX_INLINE */
	MESSAGE_MAX_HEAD = 1 << 20,
	MESSAGE_MAX_FIELDS = 10000,        /* whoever walks the header section can rely on it: what can't be read in full can't be judged */
	MESSAGE_MAX_ADDED = 64 << 10,      /* our own fields but Received */
	MESSAGE_ROOM = 1800,               /* at the front of a spill, where checks may add fields */
	MESSAGE_MAX_SPILLS = 2,
	MESSAGE_PIECE = 256 << 10
};

struct message_spill;
struct message {
	struct buf head;            /* the header section as received, CRLF, with the blank line that ends it */
	struct buf body;            /* CRLF; empty once spilled */
	struct buf front;           /* our Received field, CRLF, known before content. Return-Path is not among it (mailboxes get it) */
	struct buf added;           /* fields put on top at the dot: Authentication-Results, tags; CRLF */
	bool head_done;
	bool begun, headless;       /* the first line has come; it is no field: all that comes is body, and the header section an empty line of ours, or it would be read as fields */
	struct buf lead;            /* headless: what had come by then, for those who read the body as it comes */
	bool changed;               /* head or body of a spilled message are others now: its files must be written anew */
	uint64_t length;            /* of head and body, as received */
	uint64_t body_length;       /* of the body as it is now */
	uint64_t received_head, received_head_lf; /* length of the header section as received, with CRLF and with LF */
	bool body_replaced;
	unsigned received_count;    /* Received fields of the client */
	unsigned own_count;         /* of these, ours */
	bool ended;
	uint8_t digest_key[CRYPTO_MAC_KEY];
	struct crypto_mac *digest;  /* of what was received, where it had to be made as it came */
	struct message_reader *reader;
	struct message_spill *spills[MESSAGE_MAX_SPILLS];
	size_t spill_count;
	struct worker *worker;
	struct slice host;          /* what our own Received fields say after "by" */
	void (*on_written)(void *arg);
	void *arg;
};

/* on_written: a write of the worker ended. worker may be NULL where nothing is spilled. */
void message_init(struct message *m, struct worker *w, void (*on_written)(void *arg), void *arg);
void message_free(struct message *m); /* at any time; a write under way ends on its own */

/* A piece of content, CRLF line ends never torn; and its end. -EMSGSIZE: the header section is longer than MESSAGE_MAX_HEAD, or has more fields than MESSAGE_MAX_FIELDS. */
int message_add(struct message *m, struct slice s);
int message_end(struct message *m);
bool message_is_spilled(const struct message *m);
bool message_wants_spill(const struct message *m); /* it has outgrown memory and there is no file yet */

/* From now on all content goes to this file, too. Its fd becomes ours; content begins at `start`; return_path: "" or a field with its line end, in the file's form. room:
 * bytes for fields that may still be added. After the last of them message_spilled, before the next message_add. */
void message_spill(struct message *m, int fd, bool lf, uint64_t start, struct slice return_path, size_t room);
void message_spilled(struct message *m);
bool message_is_busy(const struct message *m);  /* the worker has something of it */
bool message_is_full(const struct message *m);  /* so much waits to be written that the client should wait */
int message_error(const struct message *m);     /* of a write: -ENOSPC ...; 0 */

/* Hands what is left to the worker; on_written tells. At the end of content, before anything is read. */
void message_flush(struct message *m);
/* Before delivery: the same, and the front. */
void message_finish(struct message *m);
bool message_fits(const struct message *m);     /* `added` fits into the room of every spill, and nothing was changed */
/* The file with these line ends: fd (lent) and length of content behind start. False: there is none. */
bool message_spill_file(const struct message *m, bool lf, int *fd, uint64_t *start, uint64_t *length);

/* Fresh files for a message that was changed, outgrew its room, or is wanted in a form that there is none of: they take over the content of the old ones. Called instead of
 * message_finish. return_path: as above, with CRLF; it goes into files with LF. */
struct message_pen {
	int fd;                     /* becomes ours */
	bool lf;
	uint64_t start;
};
void message_rewrite(struct message *m, const struct message_pen *pens, size_t count, struct slice return_path);

/* The whole as one run of bytes, for messages in memory: return_path added front head body. return_path: "" or a field with CRLF. */
void message_print(const struct message *m, bool lf, struct slice return_path, struct buf *out);
size_t message_print_size(const struct message *m, struct slice return_path); /* no smaller than what is printed */

/* For checks: a field on top of all. value without line end (folded lines allowed, with LF or CRLF). -EMSGSIZE. */
int message_add_field(struct message *m, struct slice name, struct slice value);
/* Another header section, CRLF, with the blank line; at the dot only. */
int message_set_head(struct message *m, struct slice head);
/* Another body in memory, CRLF; at the dot only. -EMSGSIZE past `max`. */
int message_set_body(struct message *m, struct slice body);

/* Reads the body in CRLF form, about `max` bytes at a time: cursor begins at 0 and is passed back as given. Done is called once, later, in the loop, also for messages in
 * memory. n 0: the end. Cancelled by message_free alone: then it isn't called. */
void message_read_body(struct message *m, uint64_t cursor, size_t max, void (*done)(void *arg, struct slice bytes, uint64_t next, int error), void *arg);

/* What the content as received is known by: equal to another one's, under the same digest_key, only if the content is. */
void message_digest(struct message *m, uint8_t out[CRYPTO_SHA256]);
#endif
