#ifndef SMTPD_MILTER_CHANGES_H
#define SMTPD_MILTER_CHANGES_H
#include <stdbool.h>
#include "base/buf.h"
#include "smtpd/milter_proto.h"

/* What a filter wants changed: kept as it says so, applied only once it has said its verdict, so that one that dies in the middle has changed nothing. */
enum { MILTER_MAX_CHANGES = 2000, MILTER_MAX_CHANGE_BYTES = 1 << 20 };

struct milter_changes {
	struct buf frames;       /* replies as they came, one behind the other */
	struct buf body;         /* of REPLACE_BODY, as it came */
	bool body_replaced;
	size_t count;
};

void milter_changes_init(struct milter_changes *c, size_t max_body);
void milter_changes_free(struct milter_changes *c);
void milter_changes_clear(struct milter_changes *c);

/* frame: the whole reply with its length. 0, or -EMSGSIZE: too many, or too large. */
int milter_changes_note(struct milter_changes *c, struct slice frame, const struct milter_reply *r);

/* ADD_HEADER, INSERT_HEADER (index from 1 on; 0 is above all and the caller's) and CHANGE_HEADER on a header section with CRLF line ends and the blank line behind it. Line ends in
 * values become folds. 0, -EINVAL: no name of a field; -EMSGSIZE: past head's ceiling, then it is as before. */
int milter_head_change(struct buf *head, const struct milter_reply *r);

/* A body as a filter gives it, clean: each bare CR, bare LF and NUL becomes a line end or a blank, the last line gets its end. 0 or -EMSGSIZE. */
int milter_body_clean(struct slice in, struct buf *out);
#endif
