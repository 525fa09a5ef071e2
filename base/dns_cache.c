/* Sets of two: a key has two places, and of two others the older gives way. */
#include "base/dns_cache.h"

#include "base/hash.h"
#include "base/mem.h"

enum { WAYS = 2, SETS = DNS_CACHE_ENTRIES / WAYS };

struct entry {
	char *bytes;                 /* the key, then the value; NULL: free */
	size_t key_n, value_n;
	uint64_t put_ms, until_ms;
};

struct dns_cache {
	struct hash_key secret;
	struct entry sets[SETS][WAYS];
};

struct dns_cache *dns_cache_new(void)
{
	struct dns_cache *c = MEM_NEW(struct dns_cache);
	c->secret = hash_key_random();
	return c;
}

void dns_cache_free(struct dns_cache *c)
{
	for (size_t i = 0; i < DNS_CACHE_ENTRIES; i++)
		mem_free(c->sets[i / WAYS][i % WAYS].bytes);
	mem_free(c);
}

static size_t set_of(const struct dns_cache *c, struct slice key)
{
	return hash_bytes(&c->secret, key) % SETS;
}

static bool is_of(const struct entry *e, struct slice key)
{
	return e->bytes && slice_eq(slice(e->bytes, e->key_n), key);
}

struct slice dns_cache_find(const struct dns_cache *c, struct slice key, uint64_t now_ms, uint32_t *age_s)
{
	const struct entry *set = c->sets[set_of(c, key)];
	for (size_t i = 0; i < WAYS; i++)
		if (is_of(&set[i], key) && now_ms < set[i].until_ms) {
			*age_s = (uint32_t)((now_ms - set[i].put_ms) / 1000);
			return slice(set[i].bytes + set[i].key_n, set[i].value_n);
		}
	return SLICE_NONE;
}

void dns_cache_put(struct dns_cache *c, struct slice key, struct slice value, uint64_t now_ms, uint32_t ttl_s)
{
	struct entry *set = c->sets[set_of(c, key)], *e = set[0].put_ms <= set[1].put_ms ? &set[0] : &set[1];
	if (!ttl_s || value.n > DNS_CACHE_MAX_VALUE)
		return;
	for (size_t i = 0; i < WAYS; i++)
		if (is_of(&set[i], key))
			e = &set[i];
	mem_free(e->bytes);
	*e = (struct entry){ mem_new(key.n + value.n), key.n, value.n, now_ms, now_ms + UINT64_C(1000) * (ttl_s < DNS_CACHE_MAX_S ? ttl_s : DNS_CACHE_MAX_S) };
	memcpy(e->bytes, key.p, key.n);
	memcpy(e->bytes + key.n, value.p, value.n);
}
