#ifndef DELIVERY_MBOX_PARCEL_H
#define DELIVERY_MBOX_PARCEL_H
#include "delivery/mailbox_house.h"
#include "delivery/mailbox_parcel.h"

/* One mbox file: appended to and synced in prepare, under its locks until the transaction is over; cut back by undo. */
struct parcel *mbox_parcel_new(struct transaction_house *house, const struct parcel_content *content, const struct mailbox_leaf *leaf,
                               struct mailbox_leaf_result *result);

/* At RCPT: 0, -EDQUOT, or why it can't be used. Blocks. */
int mbox_ask(int root, const struct mailbox_leaf *leaf, uint64_t size);
#endif
