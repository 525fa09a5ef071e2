/* Addresses that are left alone for a while: sets of four, found by a keyed hash. */
#include "delivery/dead.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"

enum { SETS = 1024, WAYS = 4, REST_MS = 30000, REST_MAX_MS = 300000 };

struct entry {
	uint64_t hash;       /* 0 free */
	uint64_t until_ms, noted_ms;
	unsigned failures;
};

struct dead {
	struct hash_key key;
	struct entry entries[SETS][WAYS];
};

struct dead *dead_new(void)
{
	struct dead *d = MEM_NEW(struct dead);
	d->key = hash_key_random();
	return d;
}

void dead_free(struct dead *d)
{
	mem_free(d);
}

static uint64_t hash_of(const struct dead *d, const struct net_address *a)
{
	struct buf text = BUF_INIT(256);
	net_address_print(&text, a);
	uint64_t h = hash_bytes(&d->key, buf_slice(&text));
	buf_free(&text);
	return h ? h : 1;
}

static struct entry *find(const struct dead *d, uint64_t hash)
{
	const struct entry *set = d->entries[hash % SETS];
	for (size_t i = 0; i < WAYS; i++)
		if (set[i].hash == hash)
			return (struct entry *)&set[i];
	return NULL;
}

static struct entry *oldest(struct dead *d, uint64_t hash)
{
	struct entry *set = d->entries[hash % SETS], *e = set;
	for (size_t i = 1; i < WAYS; i++)
		if (set[i].noted_ms < e->noted_ms)
			e = &set[i];
	return e;
}

void dead_note(struct dead *d, const struct net_address *a)
{
	uint64_t hash = hash_of(d, a), now = clock_mono_ms(), rest = REST_MS;
	struct entry *e = find(d, hash);
	if (!e) {
		e = oldest(d, hash);
		*e = (struct entry){ .hash = hash };
	}
	for (unsigned i = 0; i < e->failures && rest < REST_MAX_MS; i++)
		rest *= 2;
	e->failures++;
	e->noted_ms = now;
	e->until_ms = now + (rest < REST_MAX_MS ? rest : REST_MAX_MS);
}

void dead_forget(struct dead *d, const struct net_address *a)
{
	struct entry *e = find(d, hash_of(d, a));
	if (e)
		*e = (struct entry){ 0 };
}

void dead_forget_all(struct dead *d)
{
	struct hash_key key = d->key;
	*d = (struct dead){ .key = key };
}

uint64_t dead_rest_ms(const struct dead *d, const struct net_address *a)
{
	const struct entry *e = find(d, hash_of(d, a));
	uint64_t now = clock_mono_ms();
	return e && e->until_ms > now ? e->until_ms - now : 0;
}
