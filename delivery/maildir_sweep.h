#ifndef DELIVERY_MAILDIR_SWEEP_H
#define DELIVERY_MAILDIR_SWEEP_H
#include <stddef.h>
#include "base/slice.h"

/* Leftovers: on a file system without unnamed files a crash leaves pens in tmp/. They are known by their name (maildir_name), and dead when their
 * process is, or when they are ours and older than we are. */
enum { MAILDIR_SWEEP_DEPTH = 8 };

/* Removes them from every tmp/ below root; follows no link. Returns how many. May take long: for a worker. */
size_t maildir_sweep(int root, struct slice host);
#endif
