#ifndef DELIVERY_MAILDIR_FIND_H
#define DELIVERY_MAILDIR_FIND_H
#include <stdbool.h>
#include "base/slice.h"

/* After a crash: did this transaction reach that mailbox? Its id is part of the file's name (delivery/maildir.h), which a reader may have moved from new/ to cur/ and given flags.
 * 0: *found is set; nothing is made where the mailbox is not there. -errno: it can't be looked at. */
int maildir_find(int root, struct slice place, struct slice transaction, bool *found);
#endif
