#ifndef BASE_MAIL_REPLY_H
#define BASE_MAIL_REPLY_H
#include <stdbool.h>
#include <stddef.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/mail_status.h"
#include "base/slice.h"

/* Replies of SMTP (RFC 5321, 4.2; enhanced codes by RFC 2034), written and read. */
enum { MAIL_REPLY_MAX_LINE = 2000, MAIL_REPLY_MAX_LINES = 200, MAIL_REPLY_MAX_BYTES = 64 << 10 };

/* A reply with its enhanced code: "550 5.1.1 text". Text is cut to one line that fits; control bytes become blanks. */
int mail_reply_add(struct buf *out, const struct mail_status *s);

/* Without an enhanced code, as greetings, EHLO's and 354 want it; one or more lines ("250-a", "250 b"). */
int mail_reply_add_lines(struct buf *out, unsigned code, const struct slice *lines, size_t count);

/* A remote's reply. Lines end with CRLF; a bare LF is taken as an end, too (it's the remote's mistake, and it can't be told apart from an end by a
 * strict reader without losing the reply), but never as anything else. Every line must begin with the same code and '-' or, on the last one, ' ' or
 * nothing (security-kit S4, T5). */
struct mail_reply {
	unsigned code;             /* 200..599 */
	struct slice *lines;       /* texts behind code and separator, views into the input; at least one, which may be empty */
	size_t count;
};

/* The reply at the front of *in. 1: *out is set, *in begins behind it. 0: it is not whole yet (and still may become one). -EPROTO: what stands there is no
 * reply, and why says so: hang up. The array lives in mem. */
int mail_reply_read(struct slice *in, struct arena *mem, struct mail_reply *out, const char **why);

/* Its lines joined with " / ", sanitised, with the enhanced code where one stands. */
struct mail_status mail_reply_status(const struct mail_reply *r, struct arena *mem);
#endif
