#ifndef DELIVERY_MAILBOX_SORT_H
#define DELIVERY_MAILBOX_SORT_H
#include <stdbool.h>
#include "delivery/mailbox_house.h"
#include "delivery/mailbox_parcel.h"

/* The leaves of one transaction, to be sorted into parcels. content outlives the parcels, leaves and results too. */
struct parcel_sorter {
	struct transaction_house *house;
	const struct parcel_content *content;
	struct mailbox_store *pen_store;      /* where the content's pen is; NULL: no pen */
	struct mailbox_leaf *leaves;
	struct mailbox_leaf_result *results;
	size_t count;
};

/* Makes the parcels: one for each file system's Maildirs (one for each Maildir where it has no links), one for each other leaf. The array and the
 * parcels become the caller's. False: a leaf can't be served now; nothing is made and *why is the reply. */
bool parcel_sort(const struct parcel_sorter *s, struct parcel ***parcels, size_t *count, struct mail_status *why);
#endif
