/* Houses of mail hosts, and which place leads to which. */
#include "delivery/groups.h"

#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/net.h"
#include "base/text.h"

enum { WAYS = 8, SETS = 128, PLACE_SETS = 1024, WINDOW_FIRST = 20, MINUTE_MS = 60000 };

struct place {
	uint64_t key, group;
};

struct groups {
	struct hash_key key;
	unsigned most;
	uint64_t pace_ms;
	struct group sets[SETS][WAYS];
	struct place places[PLACE_SETS][WAYS]; /* the newest in front */
};

struct groups *groups_new(unsigned most, uint64_t a_minute)
{
	struct groups *g = MEM_NEW(struct groups);
	g->key = hash_key_random();
	g->most = most;
	g->pace_ms = a_minute ? (MINUTE_MS + a_minute - 1) / a_minute : 0;
	return g;
}

void groups_free(struct groups *g)
{
	mem_free(g);
}

static uint64_t key_of(const struct groups *g, struct slice s)
{
	uint64_t key = hash_bytes(&g->key, s);
	return key ? key : 1;
}

static struct group *find(struct groups *g, uint64_t key)
{
	for (int i = 0; i < WAYS; i++)
		if (g->sets[key % SETS][i].key == key)
			return &g->sets[key % SETS][i];
	return NULL;
}

struct group *groups_of_place(struct groups *g, struct slice place)
{
	uint64_t key = key_of(g, place);
	const struct place *set = g->places[key % PLACE_SETS];
	for (int i = 0; i < WAYS; i++)
		if (set[i].key == key)
			return find(g, set[i].group);
	return NULL;
}

static void remember(struct groups *g, uint64_t key, uint64_t group)
{
	struct place *set = g->places[key % PLACE_SETS];
	int i = 0;
	while (i < WAYS - 1 && set[i].key && set[i].key != key)
		i++;
	memmove(set + 1, set, (size_t)i * sizeof *set);
	set[0] = (struct place){ key, group };
}

static struct slice house_of(struct slice host)
{
	struct net_ip ip;
	struct slice rest = slice_skip(host, slice_find(host, '.') + 1);
	bool literal = net_ip_parse(host, &ip) || slice_starts(host, SLICE("["));
	return literal || slice_find(rest, '.') == rest.n ? host : rest;
}

/* A free one, or the one that nobody has used for the longest time; NULL: all are busy. */
static struct group *make(struct groups *g, uint64_t key, struct slice name)
{
	struct group *best = NULL;
	for (int i = 0; i < WAYS; i++) {
		struct group *x = &g->sets[key % SETS][i];
		if (!x->running && (!best || x->used_ms < best->used_ms))
			best = x;
	}
	if (!best)
		return NULL;
	*best = (struct group){ .key = key, .window = g->most < WINDOW_FIRST ? g->most : WINDOW_FIRST, .used_ms = clock_mono_ms() };
	name = slice_head(name, GROUP_NAME - 1);
	memcpy(best->name, name.p, name.n);
	return best;
}

void groups_learn(struct groups *g, struct slice place, struct slice host)
{
	if (!host.n)
		return;
	struct slice house = house_of(host);
	uint64_t at = key_of(g, place), key = key_of(g, house);
	if (find(g, key) || make(g, key, house))
		remember(g, at, key);
}

uint64_t group_wait_ms(const struct group *x, uint64_t now_ms)
{
	if (!x)
		return 0;
	if (x->running >= x->window)
		return UINT64_MAX;
	return x->next_ms > now_ms ? x->next_ms - now_ms : 0;
}

void group_enter(struct groups *g, struct group *x, uint64_t now_ms)
{
	if (!x)
		return;
	x->running++;
	x->used_ms = now_ms;
	x->next_ms = (x->next_ms > now_ms ? x->next_ms : now_ms) + g->pace_ms;
}

void group_leave(struct groups *g, struct group *x, bool failed)
{
	if (!x)
		return;
	x->running--;
	if (failed)
		x->window = x->window > 1 ? x->window / 2 : 1;
	else if (x->window < g->most)
		x->window++;
}

void groups_report(const struct groups *g, struct buf *json)
{
	const char *before = "";
	buf_add(json, SLICE(",\"houses\":["));
	for (int s = 0; s < SETS; s++)
		for (int i = 0; i < WAYS; i++) {
			const struct group *x = &g->sets[s][i];
			if (!x->key || (!x->running && x->window >= WINDOW_FIRST))
				continue;
			buf_addf(json, "%s{\"house\":", before);
			text_add_json(json, slice_of(x->name));
			buf_addf(json, ",\"window\":%u,\"running\":%u}", x->window, x->running);
			before = ",";
		}
	buf_add_byte(json, ']');
}
