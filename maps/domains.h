#ifndef MAPS_DOMAINS_H
#define MAPS_DOMAINS_H
#include <stdbool.h>
#include <stdint.h>
#include "base/answer.h"
#include "base/arena.h"
#include "base/slice.h"
#include "maps/map.h"

/* The map `domains`: is a domain ours, what happens to its mail, and the settings of one domain.
 *
 *	example.test   mailbox  quota=1G size=20M delimiter=+ catch-all=bob@example.test sole-sender batv srs
 *	*.example.test mailbox
 *	relay.test     relay mx recipients=ask
 *	inner.test     relay [10.0.0.5]:25 recipients=inner-users
 *	old.test       alias-of example.test
 *	gone.test      refuse We have moved to example.test. */
enum domain_kind { DOMAIN_MAILBOX, DOMAIN_RELAY, DOMAIN_ALIAS_OF, DOMAIN_REFUSE };

struct domain_facts {
	enum domain_kind kind;
	struct slice key;            /* the line's key: the domain or ".parent" */
	struct slice value;          /* the line as written */
	struct slice next_hop;       /* relay: as LEAF_HOP's place */
	bool ask;                    /* relay: the next hop says who is valid */
	struct slice recipients;     /* relay: the map that says who is valid; "" none or ask */
	struct slice alias_of;       /* the other domain, canonical */
	struct slice text;           /* refuse: "" the usual words */
	uint64_t quota_bytes, quota_messages; /* for recipients that name none; 0: none */
	uint64_t size_limit;         /* 0: none of its own */
	struct slice delimiter;      /* bytes that begin a subaddress, "+" by default; "" no subaddresses */
	struct slice catch_all;      /* an address; "" none */
	bool case_exact;             /* local-parts differ by case */
	bool sole_sender;            /* all its mail leaves through us (rule.md, "Reports that come to us") */
	bool batv;                   /* reverse-paths that leave are tagged */
	bool srs;                    /* SRS addresses at this domain are ours, and forwards are rewritten to it */
};

/* Exact, then ".parent" from the longest. domain in any form. ABSENT: not ours. UNSURE: a 451. */
enum answer domains_find(struct map_set *s, struct slice domain, struct arena *mem, struct domain_facts *out);

/* A value's text for `domain` (what "mx" means); NULL, or a fixed phrase that says what is wrong. */
const char *domains_parse(struct slice value, struct slice domain, struct arena *mem, struct domain_facts *out);

/* A next hop as people write it, to a LEAF_HOP's place: "mx" (for `domain`), "mx:DOMAIN", "HOST", "HOST:PORT", "[HOST]:PORT", "lmtp:HOST:PORT", "lmtp:unix:/PATH"
 * give "mx:DOMAIN", "[HOST]:PORT", "lmtp:[HOST]:PORT", "lmtp:unix:/PATH". NULL, or what is wrong. */
const char *hop_parse(struct slice s, struct slice domain, struct arena *mem, struct slice *out);
#endif
