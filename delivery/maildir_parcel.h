#ifndef DELIVERY_MAILDIR_PARCEL_H
#define DELIVERY_MAILDIR_PARCEL_H
#include "delivery/mailbox_parcel.h"
#include "delivery/mailbox_stores.h"

/* The Maildirs of one file system: the content written once, linked into each new/ under one name. All or none. */
struct maildir_parcel_place {
	int root;                    /* the mail root's folder */
	struct slice host;           /* for file names */
	struct mailbox_store *store;
};

/* leaves and results (arrays of count pointers) become the parcel's; results begin as MAIL_OK and get the file's name. On a store without
 * links (PEN_RENAME) count must be 1. use_pen: the content's pen is on this store and is published itself; else the content is
 * written, or copied, to a pen of our own. */
struct parcel *maildir_parcel_new(const struct maildir_parcel_place *where, const struct parcel_content *content,
                                  const struct mailbox_leaf **leaves, struct mailbox_leaf_result **results, size_t count, bool use_pen);
#endif
