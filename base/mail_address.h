#ifndef BASE_MAIL_ADDRESS_H
#define BASE_MAIL_ADDRESS_H
#include <stddef.h>
#include "base/arena.h"
#include "base/slice.h"

/* Addresses in header fields (RFC 5322, 3.4 and 4.4; UTF-8 by RFC 6532): From, Sender, Reply-To. Strict where leniency would let two readers see
 * two authors: an address where a name should stand, rubbish behind the '>', an open comment or quote are refused. */
struct mail_address {
	struct slice name;        /* display name, quotes removed, blanks folded to one; "" none */
	struct slice local_part;  /* quotes removed */
	struct slice domain;      /* lower case, or "[literal]"; "" where only a name stood ("From: root") */
};

enum { MAIL_ADDRESS_MAX_DEPTH = 16 /* of comments */, MAIL_ADDRESS_MAX_VALUE = 65536 };

/* All mailboxes of a field's value, those of groups too. Returns 0, -EINVAL for wrong syntax, -E2BIG for more than max, a longer
 * value, or a full arena. */
int mail_address_parse(struct slice value, size_t max, struct arena *mem, struct mail_address **out, size_t *count);
#endif
