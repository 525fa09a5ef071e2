#ifndef DELIVERY_UNIX_HELPER_H
#define DELIVERY_UNIX_HELPER_H
#include <stdint.h>
#include "base/slice.h"

/* Unix sockets for a process in a chroot: the short-lived helper `connect-unix` (ctl/helpers.c), started by the parent as _porter, connects and sends the
 * descriptor back over its standard input. A connection serves many messages, so its price is paid seldom. */
struct house;
struct unix_helper;
struct unix_helper *unix_helper_new(struct house *h);
void unix_helper_free(struct unix_helper *u); /* NULL is fine */

/* As struct hops wants it; how is a struct unix_helper. */
int unix_helper_open(void *how, struct slice path, void (*opened)(void *arg, int fd), void *arg);
/* From on_helper_done. */
void unix_helper_done(struct unix_helper *u, uint64_t id, int status);

/* The helper's main: path is the socket, descriptor 0 the way back. Returns its exit code. */
int unix_helper_main(const char *path);
#endif
