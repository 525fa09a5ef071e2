#ifndef BASE_DNS_CACHE_H
#define BASE_DNS_CACHE_H
#include <stdint.h>
#include "base/slice.h"

/* The last few answers of the resolver, as bytes, for as long as their TTL allows: most mail of a minute asks the same names, and a question to another process costs
 * more than the rest of a small check. Bounded in number, size and time; names that strangers choose can only push each other out. */
enum { DNS_CACHE_ENTRIES = 256, DNS_CACHE_MAX_VALUE = 2048, DNS_CACHE_MAX_S = 300 };

struct dns_cache;
struct dns_cache *dns_cache_new(void);
void dns_cache_free(struct dns_cache *c);

/* p NULL: it isn't there, or its time is over. age_s: how much of its TTL is gone. Valid until the next put. */
struct slice dns_cache_find(const struct dns_cache *c, struct slice key, uint64_t now_ms, uint32_t *age_s);
void dns_cache_put(struct dns_cache *c, struct slice key, struct slice value, uint64_t now_ms, uint32_t ttl_s);
#endif
