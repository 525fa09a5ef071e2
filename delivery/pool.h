#ifndef DELIVERY_POOL_H
#define DELIVERY_POOL_H
#include <stdbool.h>
#include "base/loop.h"
#include "base/net.h"
#include "base/slice.h"
#include "delivery/client.h"

/* Connections that are kept for the next message: found by where they lead. A link is a connection with what its user has to know of it. An idle one
 * whose server speaks or closes is dropped. */
enum { POOL_MAX = 512, POOL_MAX_SAME = 64, POOL_IDLE_MS = 20000, POOL_MAX_SERVED = 200, POOL_MAX_AGE_MS = 600000 };

struct link {
	struct client *client;
	struct buf place;              /* keys: the place asked for, and the host reached, each with its policy */
	struct buf peer;
	struct buf host;
	struct net_address address, from; /* from: ours; length 0: not known */
	uint64_t made_ms;
	struct link *next;             /* in the pool */
	struct pool *pool;
	struct loop_timer *timer;
	bool settling;                 /* in the pool, and replies to what its last user asked are still to come: nobody's until then */
};

struct link *link_new(struct slice place, struct slice peer, struct slice host, const struct net_address *address);
void link_free(struct link *l); /* with its client; NULL is fine */
void link_quit(struct link *l); /* the same, in order where that can be: QUIT is said */

struct pool;
struct pool *pool_new(struct loop *l);
void pool_free(struct pool *p);

/* Takes one that leads there, newest first; NULL none. The caller owns its client from then on (client_own); a reply to RSET may still be on its way. */
struct link *pool_take_place(struct pool *p, struct slice place);
struct link *pool_take_peer(struct pool *p, struct slice peer);

/* Keeps it, or says QUIT where it isn't worth keeping. open: a transaction is open and is reset first, when the replies that are still to come are there. */
void pool_put(struct pool *p, struct link *l, bool open);

size_t pool_count(const struct pool *p);
void pool_clear(struct pool *p); /* says QUIT to all */
#endif
