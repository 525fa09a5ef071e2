#ifndef SMTPD_GREYLIST_H
#define SMTPD_GREYLIST_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/slice.h"
#include "smtpd/check.h"

/* Greylisting (RFC 6647): a client, sender and recipient that are new together are answered 451 until the client has come again after a while. They are known by a keyed hash in a
 * table of fixed size: a file of the spool that all smtpd processes map, so it lives over restarts and costs RCPT no system call. Each set of eight has a lock that is stolen
 * from a process that died holding it; in a full set the one that was seen longest ago goes. */
struct greylist_limits {
	uint64_t delay_s, window_s, keep_s;
};

enum { GREYLIST_FORM = 1 };
enum greylist_verdict { GREYLIST_PASS, GREYLIST_WAIT };

struct greylist;
size_t greylist_size(size_t entries);
/* A view of shared memory that is zeroed when new; the hash's key is made by the first who attaches. NULL: it is of another form. */
struct greylist *greylist_attach(void *memory, size_t size, const struct greylist_limits *limits);
void greylist_detach(struct greylist *g);

/* client: its network, or a proven domain. wait_s: how long it should stay away. */
enum greylist_verdict greylist_look(struct greylist *g, struct slice client, struct slice sender, struct slice recipient, int64_t now_s, uint64_t *wait_s);

extern const struct check_kind greylist_check;
#endif
