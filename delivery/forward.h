#ifndef DELIVERY_FORWARD_H
#define DELIVERY_FORWARD_H
#include <stddef.h>
#include "base/arena.h"
#include "base/slice.h"

/* ~/.forward: addresses, separated by commas and line ends; "#" begins a comment line. "\name" means the mailbox itself and comes as "name"; a name may stand in
 * front of <address>. Pipes, files, :include: and what else is no address are refused, with one line in the log that names the first, and skipped: what is left
 * counts. Read by a process of the user, and only if the user (or root) owns it and nobody else can write it. */
enum { FORWARD_MAX_FILE = 64 << 10 };

/* From the folder `home`. 0: at most MAILBOX_MAX_FORWARD items in mem; none if there is no such file. -EPERM for a file that is not to be
 * trusted, -EFBIG for too much. */
int forward_read(int home, struct arena *mem, struct slice **items, size_t *count);

/* The same from its text. */
int forward_parse(struct slice text, struct arena *mem, struct slice **items, size_t *count);
#endif
