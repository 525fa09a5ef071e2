#ifndef DELIVERY_QUOTA_H
#define DELIVERY_QUOTA_H
#include <stdint.h>
#include "base/slice.h"

/* What the mailboxes of one file system hold, for those that have a quota. Counted at first use (sizes from the names, ",S=", else by stat),
 * then kept by adding; counted anew when new/ or cur/ changed behind our back, and before anybody is refused. Used by one thread.
 *
 * A message is reserved in prepare, so that two in one batch don't both take the last place, and then either settled or given back. */
struct quota_limits {
	uint64_t bytes, messages;  /* 0: none */
};

struct quota_table;
struct quota_table *quota_new(int root, size_t max_mailboxes);
void quota_free(struct quota_table *t);

/* Is there room for one more message of `size`? 0; -EDQUOT; other -errno when it can't be told. */
int quota_check(struct quota_table *t, struct slice place, const struct quota_limits *limits, uint64_t size);

/* The same, and takes it. */
int quota_reserve(struct quota_table *t, struct slice place, const struct quota_limits *limits, uint64_t size);

/* Ends a reservation: the message is there (kept), or it isn't. */
void quota_settle(struct quota_table *t, struct slice place, uint64_t size, bool kept);
#endif
