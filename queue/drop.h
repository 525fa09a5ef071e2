#ifndef QUEUE_DROP_H
#define QUEUE_DROP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/slice.h"

/* The folder drop/ of the spool: what the sendmail command leaves there while nobody serves; the queue takes it in when it starts and once a minute.
 * The folder is 01733 (anybody may add, nobody may list or remove others'); a file's owner is who sent it. A file is written as "tmp.NAME" (mode 0644: names
 * can't be guessed, and the queue is another user), synced, renamed to NAME (unique_new), and the folder is synced: then sendmail may say that it
 * was taken. A file with more than one link, or that is no plain file, is set aside. The form: one field with the head, then the content, raw, line ends
 * LF or CRLF as the user gave them, header section complete (RFC 6409 fix-ups are made by drop_write's caller). */
enum { DROP_VERSION = 1, DROP_MODE = 01733, DROP_MAX_RECIPIENTS = 1000 };

struct drop_recipient {
	struct slice address;        /* "local@domain" */
	uint8_t notify;              /* NOTIFY_ bits of queue/envelope.h */
};

struct drop {
	struct slice reverse_path;   /* "local@domain"; "" null */
	struct slice envelope_id;    /* -V; "" none */
	bool return_full, return_headers; /* -R */
	bool utf8;
	struct drop_recipient *recipients;
	size_t recipient_count;
};

/* The head. 0 or -EMSGSIZE. */
int drop_put(struct buf *out, const struct drop *d);

/* The head at the front of file; *content_offset is where the content begins. 0, -EPROTO, or -EAGAIN: the head is longer than what was given (at most
 * DROP_MAX_HEAD bytes). Views into file. */
enum { DROP_MAX_HEAD = 1 << 20 };
int drop_get(struct slice file, struct arena *mem, struct drop *out, size_t *content_offset);
#endif
