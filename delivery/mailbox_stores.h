#ifndef DELIVERY_MAILBOX_STORES_H
#define DELIVERY_MAILBOX_STORES_H
#include "base/buf.h"
#include "base/loop.h"
#include "base/slice.h"
#include "delivery/quota.h"
#include "delivery/store.h"
#include "base/syncer.h"

/* The file systems that mailboxes lie on, each with its syncer and its quotas. Which one a place is on is told from the mount table that was read
 * at start, without touching the disk; the syncer's thread checks it against the folder itself. */
enum { MAILBOX_MAX_STORES = 16 };

struct mailbox_store {
	struct store store;
	struct syncer *syncer;
	struct quota_table *quota;
	char *mount_point;
};

struct mailbox_stores {
	struct loop *loop;
	bool once;
	int root;                           /* the mail root's folder */
	char *root_path;                    /* its real path */
	char **mount_points;
	size_t mount_count;
	struct mailbox_store all[MAILBOX_MAX_STORES]; /* the first is the mail root's */
	size_t count;
};

/* Opens, and makes, the mail root and probes its file system. -errno if no mail can be stored there. once: for one delivery, hence without measuring syncs. */
int mailbox_stores_open(struct mailbox_stores *s, struct loop *l, struct slice mail_root, bool once);
void mailbox_stores_close(struct mailbox_stores *s);

/* A JSON array for `porterctl status`: each file system, how it is served, what its syncer did. */
void mailbox_stores_report(struct mailbox_stores *s, struct buf *out);

/* The mail root's own store, for what is not a Maildir. */
struct mailbox_store *mailbox_stores_root(struct mailbox_stores *s);

/* The store of a Maildir's place. One that was not met yet is probed now: once, in the loop, for a place outside the mail root's file system.
 * NULL: it can't be used (the log says why). */
struct mailbox_store *mailbox_stores_find(struct mailbox_stores *s, struct slice place);
#endif
