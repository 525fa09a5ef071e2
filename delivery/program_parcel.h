#ifndef DELIVERY_PROGRAM_PARCEL_H
#define DELIVERY_PROGRAM_PARCEL_H
#include "delivery/mailbox_sort.h"

/* A program that takes the message on its standard input: exact argv from the map, no shell, started by the parent as the user of the settings. It
 * cannot be prepared, so it commits first, like a next hop; at most one in a transaction. Its exit code (sysexits.h) is the fate. */
struct parcel *program_parcel_new(struct transaction_house *house, const struct parcel_content *content, const struct mailbox_leaf *leaf,
                                  struct mailbox_leaf_result *result);

/* Has this transaction's program said yes? Of the last RAN_MAX. */
bool program_has_run(const struct transaction_house *house, struct slice transaction);

/* From a wait status, or -errno for one that did not start. What we don't know is temporary. */
struct mail_status program_fate(int wait_status);
#endif
