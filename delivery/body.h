#ifndef DELIVERY_BODY_H
#define DELIVERY_BODY_H
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/loop.h"
#include "base/slice.h"

/* Content on its way out, a piece at a time, from memory or from a file that is read only: LF line ends become CRLF where the file has them, dots are
 * doubled for DATA. A CR or LF that is no line end, and NUL, end it with -EBADMSG: nothing of the kind ever reaches a wire (security-kit S1, T2). A
 * file that the page cache holds is read at once, else by a worker. */
enum { BODY_PIECE = 64 << 10 };

struct body_plan {
	struct slice content;      /* from memory, copied; CRLF line ends. With a file: fields in front of it (signatures) */
	int fd;                    /* -1: from memory alone. Else the body's to close */
	uint64_t offset, length;
	bool lf_ends;              /* the file has LF line ends */
	bool eight_bit;            /* it holds bytes above 127 */
};

struct body;
struct body *body_new(struct loop *l, struct worker *w, const struct body_plan *p);
void body_free(struct body *b); /* NULL is fine; a read under way is let end first */

bool body_is_eight_bit(const struct body *b);
uint64_t body_length(const struct body *b);  /* as it lies there: octets on the wire when it has CRLF line ends and nothing is stuffed */
bool body_is_exact(const struct body *b);    /* and so its length on the wire by BDAT is known */

/* Begin from the front (a hop that went away is dialled again). stuff: dots are doubled, and the end gets a CRLF if it has none. */
void body_begin(struct body *b, bool stuff);

/* The next piece, at the end of out, whose ceiling has room for 2 * BODY_PIECE + 2. 1: there may be more; 0: that was the end; -EAGAIN: it is being read,
 * ready(arg) is called once when it is worth asking again; -EBADMSG: not fit for a wire; -EIO and others: the file can't be read. */
int body_next(struct body *b, struct buf *out, void (*ready)(void *arg), void *arg);

/* No ready() any more. */
void body_forget(struct body *b);
#endif
