#ifndef BASE_MAIL_MIME_H
#define BASE_MAIL_MIME_H
#include <stdbool.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/slice.h"

/* The parts of a message (RFC 2045, 2046), bounded: for those who look into mail that reports something (DMARC and TLS reports, bounces). */
enum { MAIL_MIME_MAX_DEPTH = 6, MAIL_MIME_MAX_PARTS = 100 };

struct mail_part {
	struct slice type;       /* "text/plain", lower case; "text/plain" where none is said */
	struct slice filename;   /* of Content-Disposition or Content-Type; "" */
	struct slice header;     /* the part's header section */
	struct slice content;    /* as it stands, encoded */
	struct slice encoding;   /* lower case; "7bit" by default */
	unsigned depth;
};

/* Every part that is no multipart, in order, until each says false; message/rfc822 is one part. 0, or -E2BIG: too many, or too deep. */
int mail_mime_each(struct slice message, struct arena *mem, bool (*each)(void *arg, const struct mail_part *p), void *arg);

/* The content with base64 or quoted-printable taken off; junk in base64 is skipped, as readers do. 0 or -E2BIG past out's ceiling. */
int mail_mime_decode(const struct mail_part *p, struct buf *out);

/* A parameter of a structured field's value ("text/plain; charset=x", "boundary"); quotes removed; "" none. In mem. */
struct slice mail_mime_parameter(struct slice value, struct slice name, struct arena *mem);
#endif
