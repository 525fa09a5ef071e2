#ifndef MAPS_ROUTES_H
#define MAPS_ROUTES_H
#include "base/answer.h"
#include "base/arena.h"
#include "base/slice.h"
#include "maps/map.h"

/* The map `routes`: where mail for a domain goes that is not delivered here.
 *
 *	far.test         mx tls=dane
 *	.inside.test     [10.0.0.7]:25 tls=none source=10.0.0.1
 *	boss@far.test    mx:other.test
 *	*                [smarthost.example]:587 tls=verify credentials=smarthost */
struct route {
	struct slice key, value;     /* the line that decided; key "" for the usual way, by MX */
	struct slice next_hop;       /* as LEAF_HOP's place */
	struct slice tls;            /* "none", "may", "must", "verify", "dane"; "" as the settings say */
	struct slice source;         /* address to connect from; "" any */
	struct slice credentials;    /* key of a `hop` line in credentials; "" none */
};

/* Address, domain, ".parent" from the longest, "*". ABSENT: *out is the usual way ("mx:DOMAIN"). local and domain canonical. */
enum answer routes_find(struct map_set *s, struct slice local, struct slice domain, struct arena *mem, struct route *out);

const char *routes_parse(struct slice value, struct slice domain, struct arena *mem, struct route *out);
#endif
