/* Houses of mail hosts, and which place leads to which. */
#include "delivery/groups.h"

#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/net.h"
#include "base/text.h"

enum { WAYS = 8, SETS = 128, PLACE_SETS = 1024, WINDOW_FIRST = 20, MINUTE_MS = 60000, RATE_UNIT = 1000, RATE_LEAST_M = RATE_UNIT, RATE_UNKNOWN_M = 60 * RATE_UNIT };

struct place {
	uint64_t key, group;
};

struct groups {
	struct hash_key key;
	unsigned most;
	uint64_t limit_m;              /* thousandths of a message a minute, as rate_m; 0 none */
	struct group sets[SETS][WAYS];
	struct place places[PLACE_SETS][WAYS]; /* the newest in front */
};

struct groups *groups_new(unsigned most, uint64_t a_minute)
{
	struct groups *g = MEM_NEW(struct groups);
	g->key = hash_key_random();
	g->most = most;
	g->limit_m = a_minute * RATE_UNIT;
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

static uint64_t pace_ms(const struct groups *g, const struct group *x)
{
	uint64_t rate = x->rate_m ? x->rate_m : g->limit_m;
	return rate ? ((uint64_t)MINUTE_MS * RATE_UNIT + rate - 1) / rate : 0;
}

static void count(struct group *x, uint64_t now_ms, unsigned n)
{
	uint64_t minute = now_ms / MINUTE_MS;
	if (minute != x->minute) {
		x->sent[1] = minute == x->minute + 1 ? x->sent[0] : 0;
		x->sent[0] = 0;
		x->minute = minute;
	}
	x->sent[0] += n;
}

/* Of the last minute: as much of the clock minute before as lies in it. */
static uint64_t sent_m(struct group *x, uint64_t now_ms)
{
	count(x, now_ms, 0);
	return x->sent[0] * (uint64_t)RATE_UNIT + x->sent[1] * (uint64_t)RATE_UNIT * (MINUTE_MS - now_ms % MINUTE_MS) / MINUTE_MS;
}

void group_enter(struct groups *g, struct group *x, uint64_t now_ms)
{
	if (!x)
		return;
	x->running++;
	x->used_ms = now_ms;
	count(x, now_ms, 1);
	x->next_ms = (x->next_ms > now_ms ? x->next_ms : now_ms) + pace_ms(g, x);
}

/* From what it may send, or if that is more, has sent. */
static void cut(struct groups *g, struct group *x, uint64_t now_ms)
{
	uint64_t allowed = x->rate_m ? x->rate_m : g->limit_m, sent = sent_m(x, now_ms);
	x->knee_m = allowed && (!sent || allowed < sent) ? allowed : sent ? sent : RATE_UNKNOWN_M;
	x->rate_m = x->knee_m / 2 > RATE_LEAST_M ? x->knee_m / 2 : RATE_LEAST_M;
	x->cut_ms = x->grown_ms = now_ms;
	x->next_ms = now_ms + pace_ms(g, x);
}

static void grow(struct groups *g, struct group *x, uint64_t now_ms)
{
	uint64_t passed = now_ms - x->grown_ms, most = g->limit_m ? g->limit_m : 2 * x->knee_m;
	uint64_t least = x->knee_m > 10 * RATE_UNIT ? x->knee_m : 10 * RATE_UNIT;
	x->rate_m += least / 10 * (passed < MINUTE_MS ? passed : MINUTE_MS) / MINUTE_MS;
	x->grown_ms = now_ms;
	if (x->rate_m >= most)
		x->rate_m = 0;
}

void group_heard(struct groups *g, struct group *x, enum group_word word, uint64_t entered_ms, uint64_t now_ms)
{
	if (!x)
		return;
	if (word == GROUP_TOO_FAST && entered_ms >= x->cut_ms)
		cut(g, x, now_ms);
	else if (word == GROUP_TAKEN && x->rate_m && entered_ms >= x->cut_ms)
		grow(g, x, now_ms);
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
			if (!x->key || (!x->running && x->window >= WINDOW_FIRST && !x->rate_m))
				continue;
			buf_addf(json, "%s{\"house\":", before);
			text_add_json(json, slice_of(x->name));
			buf_addf(json, ",\"window\":%u,\"running\":%u,\"rate\":%.1f}", x->window, x->running, (double)(x->rate_m ? x->rate_m : g->limit_m) / RATE_UNIT);
			before = ",";
		}
	buf_add_byte(json, ']');
}
