#ifndef DELIVERY_HOP_H
#define DELIVERY_HOP_H
#include <stdbool.h>
#include "base/buf.h"
#include "base/keeper.h"
#include "base/loop.h"
#include "delivery/hops.h"

/* The process `delivery` behind its channels: peers ask by delivery/hop_proto.h, each question is answered once. Pass-through transactions are here, jobs in
 * delivery/job, questions about recipients in delivery/ask. */
struct hop;

struct hop_setup {
	struct hops *hops;
	struct keeper *keeper;         /* signs what the queue made */
	unsigned window_max;           /* jobs for one place at once, and for one house of mail hosts */
	uint64_t rate;                 /* and of these a minute; 0 any */
	uint64_t positive_s, negative_s; /* how long the cache believes a hop about a recipient */
	void (*on_idle)(void *arg);    /* nothing is under way any more and no peer is left */
	void *arg;
};

struct hop *hop_new(struct loop *l, const struct hop_setup *s);
void hop_free(struct hop *h);

void hop_add_peer(struct hop *h, int fd); /* takes fd */
bool hop_is_idle(const struct hop *h);
void hop_report(struct hop *h, struct buf *json);
#endif
