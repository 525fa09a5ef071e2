#ifndef DELIVERY_STORE_H
#define DELIVERY_STORE_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "delivery/mailbox_proto.h"
#include "base/pen.h"

/* A file system that holds mailboxes: what works on it (tried, not guessed from its name), what it costs, how full it is. */
struct store {
	dev_t device;
	int fd;                   /* a folder on it, open as long as the store is used: syncfs reports errors since then */
	enum pen_way way;
	bool syncfs;              /* works here */
	bool ordered;             /* base/file.h: durability by order */
	uint64_t file_us, syncfs_us;
};

/* Probes with a file in `folder` (a writable folder of it: the mail root, or a Maildir's tmp), which is gone afterwards. Takes folder over.
 * -errno when nothing can be written there (-EROFS, -EACCES, -ENOSPC ...): folder is still the caller's. */
int store_probe(struct store *s, int folder);
/* The same for one delivery: nothing is synced to find out what a sync costs; each file and folder will be synced by itself. */
int store_probe_once(struct store *s, int folder);
void store_close(struct store *s);

/* Free space for unprivileged users, less `reserve` bytes. */
int store_state(const struct store *s, uint64_t reserve, struct mailbox_state *out);

/* 0, or -ENOSPC / -EROFS if a message of `size` would not fit. */
int store_room(const struct store *s, uint64_t reserve, uint64_t size);
#endif
