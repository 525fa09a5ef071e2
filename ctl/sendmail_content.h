#ifndef CTL_SENDMAIL_CONTENT_H
#define CTL_SENDMAIL_CONTENT_H
#include <stdbool.h>
#include <stdio.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/slice.h"

/* What a program hands to the sendmail command, made into a message: line ends are CRLF, the header section is complete (RFC 6409, 8: From, Date, Message-ID), and
 * what is for us alone is gone (Bcc, Return-Path, Content-Length, mbox's "From " line). */
enum { SENDMAIL_MAX_CONTENT = 512 << 20, SENDMAIL_MAX_RECIPIENTS = 1000 };

/* All of in, or up to a line "." where ends_at_dot. LF, CR and CRLF become CRLF. 0, -EFBIG, or -EIO. */
int sendmail_read(FILE *in, bool ends_at_dot, struct buf *out);

struct sendmail_facts {
	struct slice sender;         /* the reverse-path, "local@domain"; "" null */
	struct slice author;         /* "local@domain" for a From that is missing */
	struct slice full_name;      /* for it; "" none */
	struct slice host;           /* right side of a Message-ID */
};
/* raw becomes a message. 0 or -EFBIG. */
int sendmail_complete(struct slice raw, const struct sendmail_facts *f, struct buf *out);

/* The addresses of To, Cc and Bcc; or of the Resent- fields, where there are any. Bare names get domain. 0, -E2BIG, or -EINVAL with the field's name in *field. */
int sendmail_header_recipients(struct slice raw, struct slice domain, struct arena *mem, struct slice *out, size_t *count, struct slice *field);

/* Those of one argument of a command line, behind what is in out: one, or several with commas between them. 0, -E2BIG, -EINVAL. */
int sendmail_addresses(struct slice text, struct slice domain, struct arena *mem, struct slice *out, size_t *count);

/* "local@domain" of an address as people write it on a command line: "a@b", "<a@b>", "Ann <a@b>", "root". SLICE_NONE: it is none. */
struct slice sendmail_address(struct slice text, struct slice domain, struct arena *mem);
#endif
