#ifndef BASE_UNIQUE_H
#define BASE_UNIQUE_H
#include <stdint.h>
#include "base/slice.h"

/* Ids of sessions, transactions and queued messages: 16 letters and digits without vowels, and "_":
 * sortable by time, unique over the processes and restarts of one host: 11 of microseconds, 3 of the process, 2 of a counter. */
enum { UNIQUE_LENGTH = 16 };
struct unique {
	char text[UNIQUE_LENGTH + 1];
};

struct unique unique_new(void);

static inline struct slice unique_slice(const struct unique *u)
{
	return slice(u->text, UNIQUE_LENGTH);
}

/* The time in an id, microseconds since 1970, or 0 if it is none. */
int64_t unique_time_us(struct slice id);
#endif
