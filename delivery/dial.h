#ifndef DELIVERY_DIAL_H
#define DELIVERY_DIAL_H
#include <stddef.h>
#include <stdint.h>
#include "base/loop.h"
#include "delivery/hosts.h"

/* Connects to the first of some targets that answers, in their order. Addresses of one host are tried a moment apart (as RFC 8305 has it), so that a
 * family that leads nowhere costs that moment; the next host waits until the one before has failed. */
enum { DIAL_STAGGER_MS = 300 };

struct dial_plan {
	const struct hosts_target *targets;  /* lent */
	size_t count;
	const struct net_address *from4, *from6; /* to connect from; NULL any */
	uint64_t timeout_ms;                 /* for each address */
	/* A target could not be connected to; error is an errno. */
	void (*failed)(void *arg, size_t index, int error);
	/* Once, from the loop: fd and which, or fd -1 when all have failed. */
	void (*done)(void *arg, int fd, size_t index);
	void *arg;
	/* Opens a Unix socket where the process itself can't reach it (it is in a chroot); NULL: it can. -errno or 0, then opened(arg, fd or -errno) comes. */
	int (*open_unix)(void *how, struct slice path, void (*opened)(void *arg, int fd), void *arg);
	void *how;
};

struct dial;
struct dial *dial_start(struct loop *l, const struct dial_plan *p);
void dial_cancel(struct dial *d); /* NULL is fine */
#endif
