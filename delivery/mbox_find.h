#ifndef DELIVERY_MBOX_FIND_H
#define DELIVERY_MBOX_FIND_H
#include <stdbool.h>
#include <stdint.h>
#include "base/slice.h"

/* After a crash: did this transaction reach that mbox? Our own Received field of its message names it. Both locks are taken, up to wait_ms, so what a crash left
 * unpromised is cut off before, and nobody is at work; what is found is synced. Only the end of a large file is looked at: a client comes back within days, mostly
 * minutes. 0: *found is set; nothing is made where there is no file. -EBUSY: somebody holds it. -errno: it can't be looked at. Blocks. */
enum { MBOX_FIND_TAIL = 64 << 20 };
int mbox_find(int root, struct slice place, struct slice transaction, uint64_t wait_ms, bool *found);
#endif
