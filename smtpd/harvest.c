/* The budget of unknown recipients, and rates. Counts are kept in 1/65536, so that a second's decay is seen, and halved lazily: what an entry's count is worth is
 * worked out from its time stamp when it is looked at, so nothing ever walks the table. */
#include "smtpd/harvest.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/shared.h"

enum {
	WAYS = 8,              /* entries of a set */
	ONE = 1 << 16,         /* a recipient, in the unit of counts */
	TOKEN = 256,           /* and what a bucket gives */
	BLIND = ONE / 4,       /* one that a blind client named */
	BUCKET_S = 3600,       /* a bucket that was let alone for so long is full: its burst is less than an hour's tokens */
	GOOD_LASTS = 24,       /* a good name lasts longer than a bad one, in half-lives */
	NETWORK_FACTOR = 4,
	NAME_MAX_BYTES = 64,
	FORM = 1
};
#define COUNT_MAX ((uint64_t)1000000 * ONE)

enum { KIND_ADDRESS = 0x80, KIND_NETWORK, KIND_DOMAIN };

struct entry {
	uint64_t key;          /* 0: free */
	int64_t at_s;          /* time of the counts; for a bucket: of the tokens, in ms */
	uint64_t unknown, good;
	int64_t refused_until_s;
	char name[NAME_MAX_BYTES];
};

struct set {
	atomic_uint lock;
	struct entry entries[WAYS];
};

struct harvest {
	struct shared_head *head;
	struct set *sets;
	size_t set_count;
	struct harvest_limits limits;
};

size_t harvest_size(size_t entries)
{
	return sizeof(struct shared_head) + (entries + WAYS - 1) / WAYS * sizeof(struct set);
}

struct harvest *harvest_attach(void *memory, size_t size, const struct harvest_limits *limits)
{
	assert(size >= harvest_size(1));
	struct harvest *h = MEM_NEW(struct harvest);
	h->head = memory;
	h->sets = (struct set *)(h->head + 1);
	h->set_count = (size - sizeof(struct shared_head)) / sizeof(struct set);
	h->limits = *limits;
	if (shared_begin(h->head, FORM))
		return h;
	mem_free(h);
	return NULL;
}

void harvest_detach(struct harvest *h)
{
	mem_free(h);
}

/* -- what a count is worth now ------------------------------------------------------------------------------------------ */

static uint64_t decayed(uint64_t count, int64_t age_s, uint64_t half_life_s)
{
	if (age_s <= 0)
		return count;
	uint64_t halvings = (uint64_t)age_s / half_life_s;
	if (halvings >= 64)
		return 0;
	count >>= halvings;
	/* within a half-life along 1 - x (4 - x) / 6: 1 at its begin, 1/2 at its end, and nearly as steep as it should be for who is looked at often */
	uint64_t part = (uint64_t)age_s % half_life_s;
	return count - count * part / half_life_s / 6 * (4 * half_life_s - part) / half_life_s;
}

static void refresh(const struct harvest *h, struct entry *e, int64_t now_s)
{
	int64_t age = now_s - e->at_s;
	e->unknown = decayed(e->unknown, age, h->limits.half_life_s);
	e->good = decayed(e->good, age, h->limits.half_life_s * GOOD_LASTS);
	e->at_s = now_s;
	if (e->refused_until_s > now_s + (int64_t)h->limits.refuse_s) /* the clock was set back, or refusals are shorter now */
		e->refused_until_s = now_s + (int64_t)h->limits.refuse_s;
}

/* -- finding entries ------------------------------------------------------------------------------------------------------ */

static uint64_t key_of(const struct harvest *h, unsigned kind, struct slice name)
{
	uint64_t key = hash_bytes(&h->head->key, name) ^ (uint64_t)kind * 0x9e3779b97f4a7c15;
	return key ? key : 1;
}

static struct set *set_of(const struct harvest *h, uint64_t key)
{
	return &h->sets[(key >> 8) % h->set_count];
}

static struct entry *find(struct set *s, uint64_t key)
{
	for (int i = 0; i < WAYS; i++)
		if (s->entries[i].key == key)
			return &s->entries[i];
	return NULL;
}

static bool is_bucket(const struct entry *e)
{
	return e->name[0] == 0;
}

static int64_t seen_s(const struct entry *e)
{
	return is_bucket(e) ? e->at_s / 1000 : e->at_s;
}

/* What would be lost with it now. What stands in it is as old as its time stamp: old numbers must not keep new ones out, nor those of a clock that went ahead. */
static uint64_t worth(const struct harvest *h, const struct entry *e, int64_t now_s)
{
	int64_t age = now_s > seen_s(e) ? now_s - seen_s(e) : seen_s(e) - now_s;
	if (is_bucket(e))
		return age < BUCKET_S ? e->unknown * (ONE / TOKEN) : 0;
	uint64_t unknown = decayed(e->unknown, age, h->limits.half_life_s), good = decayed(e->good, age, h->limits.half_life_s * GOOD_LASTS);
	return unknown > good ? unknown : good;
}

/* The entry that is missed least: a free one, else the one that is worth least, the oldest of those. now: in the unit of the new entry's time stamp. */
static struct entry *make(const struct harvest *h, struct set *s, uint64_t key, struct slice name, int64_t now)
{
	int64_t now_s = name.n ? now : now / 1000;
	struct entry *least = NULL;
	uint64_t least_worth = 0;
	for (int i = 0; i < WAYS; i++) {
		struct entry *e = &s->entries[i];
		if (e->key == 0) {
			least = e;
			break;
		}
		uint64_t w = worth(h, e, now_s);
		if (!least || w < least_worth || (w == least_worth && seen_s(e) < seen_s(least))) {
			least = e;
			least_worth = w;
		}
	}
	*least = (struct entry){ .key = key, .at_s = now };
	size_t n = name.n < NAME_MAX_BYTES - 1 ? name.n : NAME_MAX_BYTES - 1;
	if (n)
		memcpy(least->name, name.p, n);
	return least;
}

/* -- the names that a client is counted under ----------------------------------------------------------------------------- */

struct name {
	unsigned kind;
	char text[NAME_MAX_BYTES];
	size_t n;
};

static struct slice name_slice(const struct name *n)
{
	return slice(n->text, n->n);
}

static void name_domain(struct name *out, struct slice domain)
{
	int n = snprintf(out->text, sizeof out->text, "domain %.*s", SLICE_FMT(domain));
	out->kind = KIND_DOMAIN;
	out->n = (size_t)n < sizeof out->text ? (size_t)n : sizeof out->text - 1;
}

static void name_ip(struct name *out, unsigned kind, struct net_ip ip)
{
	struct buf text = BUF_INIT(NAME_MAX_BYTES);
	if (kind == KIND_NETWORK && ip.is_v4)
		ip.bytes[15] = 0;
	else if (kind == KIND_NETWORK)
		memset(ip.bytes + 6, 0, 10);
	net_ip_print(&text, &ip);
	if (kind == KIND_NETWORK)
		buf_add_cstr(&text, ip.is_v4 ? "/24" : "/48");
	out->kind = kind;
	out->n = text.n;
	memcpy(out->text, text.p, text.n);
	buf_free(&text);
}

static size_t names_of_ip(struct net_ip ip, struct name out[2])
{
	name_ip(&out[0], KIND_ADDRESS, ip);
	name_ip(&out[1], KIND_NETWORK, ip);
	return 2;
}

/* One name for a proven domain, else two: address and network. */
static size_t names_of(const struct harvest_who *who, struct name out[2])
{
	if (!who->domain.n)
		return names_of_ip(who->ip, out);
	name_domain(&out[0], who->domain);
	return 1;
}

/* -- levels --------------------------------------------------------------------------------------------------------------- */

static enum harvest_level level_of(const struct harvest *h, unsigned kind, const struct entry *e, int64_t now_s)
{
	uint64_t factor = ONE * (kind == KIND_NETWORK ? NETWORK_FACTOR : 1);
	if (e->refused_until_s > now_s || e->unknown >= h->limits.refuse * factor)
		return HARVEST_REFUSE;
	if (e->unknown >= h->limits.blind * factor)
		return HARVEST_BLIND;
	return e->unknown >= h->limits.slow * factor ? HARVEST_SLOW : HARVEST_OPEN;
}

/* What `change` does to an entry; NULL only looks. */
typedef void (*change_fn)(const struct harvest *h, unsigned kind, struct entry *e, int64_t now_s);

struct view {
	enum harvest_level level;
	uint64_t unknown, good;
};

static struct view visit(struct harvest *h, const struct name *name, change_fn change, int64_t now_s)
{
	uint64_t key = key_of(h, name->kind, name_slice(name));
	struct set *s = set_of(h, key);
	struct view v = { HARVEST_OPEN, 0, 0 };
	shared_lock(&s->lock);
	struct entry *e = find(s, key);
	if (!e && change)
		e = make(h, s, key, name_slice(name), now_s);
	if (e) {
		refresh(h, e, now_s);
		if (change)
			change(h, name->kind, e, now_s);
		v = (struct view){ level_of(h, name->kind, e, now_s), e->unknown, e->good };
	}
	shared_unlock(&s->lock);
	return v;
}

static void count(const struct harvest *h, unsigned kind, struct entry *e, uint64_t amount, int64_t now_s)
{
	e->unknown = e->unknown + amount < COUNT_MAX ? e->unknown + amount : COUNT_MAX;
	if (level_of(h, kind, e, now_s) == HARVEST_REFUSE && e->refused_until_s <= now_s)
		e->refused_until_s = now_s + (int64_t)h->limits.refuse_s;
}

static void count_unknown(const struct harvest *h, unsigned kind, struct entry *e, int64_t now_s)
{
	count(h, kind, e, ONE, now_s);
}

static void count_blind(const struct harvest *h, unsigned kind, struct entry *e, int64_t now_s)
{
	count(h, kind, e, BLIND, now_s);
}

static void count_good(const struct harvest *h, unsigned kind, struct entry *e, int64_t now_s)
{
	(void)h, (void)kind, (void)now_s;
	e->good = e->good + ONE < COUNT_MAX ? e->good + ONE : COUNT_MAX;
}

/* The worst of the names' levels, but never more than slow for a network that has been good. */
static struct view look(struct harvest *h, const struct harvest_who *who, change_fn change, int64_t now_s)
{
	struct name names[2];
	struct view worst = { HARVEST_OPEN, 0, 0 };
	if (who->exempt)
		return worst;
	size_t count = names_of(who, names);
	uint64_t good = 0;
	for (size_t i = 0; i < count; i++) {
		struct view v = visit(h, &names[i], change, now_s);
		if (v.level > worst.level || i == 0)
			worst.level = v.level;
		if (v.unknown > worst.unknown)
			worst.unknown = v.unknown;
		if (v.good > good)
			good = v.good;
	}
	if (worst.level > HARVEST_SLOW && good >= h->limits.good_history * ONE)
		worst.level = HARVEST_SLOW;
	return worst;
}

enum harvest_level harvest_level(struct harvest *h, const struct harvest_who *who, int64_t now_s)
{
	return look(h, who, NULL, now_s).level;
}

enum harvest_level harvest_unknown(struct harvest *h, const struct harvest_who *who, int64_t now_s)
{
	return look(h, who, count_unknown, now_s).level;
}

enum harvest_level harvest_blind(struct harvest *h, const struct harvest_who *who, int64_t now_s)
{
	return look(h, who, count_blind, now_s).level;
}

void harvest_good(struct harvest *h, const struct harvest_who *who, int64_t now_s)
{
	struct name names[2];
	size_t count = who->exempt || !who->domain.n ? 0 : names_of_ip(who->ip, names);
	for (size_t i = 0; i < count; i++)
		visit(h, &names[i], count_good, now_s);
	look(h, who, count_good, now_s);
}

uint64_t harvest_delay_ms(struct harvest *h, const struct harvest_who *who, int64_t now_s)
{
	struct view v = look(h, who, NULL, now_s);
	if (v.level == HARVEST_OPEN)
		return 0;
	uint64_t over = v.unknown / ONE > h->limits.slow ? v.unknown / ONE - h->limits.slow : 0;
	return over >= 95 ? 10000 : 500 + over * 100;
}

/* -- rates ------------------------------------------------------------------------------------------------------------------ */

/* Tokens are kept as what is spent, in 1/TOKEN, in `unknown`; at_s is in milliseconds here. */
bool harvest_take(struct harvest *h, enum harvest_rate kind, struct slice key_text, uint64_t per_hour, uint64_t burst, int64_t now_ms)
{
	if (per_hour == 0)
		return true;
	uint64_t key = key_of(h, kind, key_text);
	struct set *s = set_of(h, key);
	shared_lock(&s->lock);
	struct entry *e = find(s, key);
	if (!e)
		e = make(h, s, key, SLICE_NONE, now_ms);
	if (e->at_s > now_ms) /* the clock was set back: they come back from now on, not from then */
		e->at_s = now_ms;
	uint64_t age = (uint64_t)(now_ms - e->at_s);
	uint64_t back = age > 86400000 ? e->unknown : age * per_hour * TOKEN / 3600000;
	if (back) { /* the rest below one unit stays with the old time */
		e->unknown -= back < e->unknown ? back : e->unknown;
		e->at_s = now_ms;
	}
	bool had = e->unknown + TOKEN <= burst * TOKEN;
	if (had)
		e->unknown += TOKEN;
	shared_unlock(&s->lock);
	return had;
}

/* -- for people --------------------------------------------------------------------------------------------------------------- */

static int most_first(const void *a, const void *b)
{
	const struct harvest_entry *x = a, *y = b;
	return (x->unknown < y->unknown) - (x->unknown > y->unknown);
}

static unsigned kind_of(const char *name)
{
	return strncmp(name, "domain ", 7) == 0 ? KIND_DOMAIN : strchr(name, '/') ? KIND_NETWORK : KIND_ADDRESS;
}

/* Who has been good, or whose network has, is never answered worse than slowly. */
static void soften(struct harvest *h, struct harvest_entry *row, int64_t now_s)
{
	struct harvest_who who = { 0 };
	struct name names[2];
	uint64_t good = row->good;
	if (row->level > HARVEST_SLOW && kind_of(row->name) == KIND_ADDRESS && net_ip_parse(slice_of(row->name), &who.ip)) {
		names_of(&who, names);
		struct view network = visit(h, &names[1], NULL, now_s);
		good = network.good / ONE > good ? network.good / ONE : good;
	}
	if (row->level > HARVEST_SLOW && good >= h->limits.good_history)
		row->level = HARVEST_SLOW;
}

size_t harvest_list(struct harvest *h, struct harvest_entry *out, size_t max, int64_t now_s)
{
	size_t count = 0;
	for (size_t i = 0; i < h->set_count; i++) {
		shared_lock(&h->sets[i].lock);
		for (int k = 0; k < WAYS; k++) {
			struct entry *e = &h->sets[i].entries[k];
			if (e->key == 0 || is_bucket(e))
				continue;
			refresh(h, e, now_s);
			if (e->unknown < ONE / 2)
				continue;
			struct harvest_entry row = { .unknown = (e->unknown + ONE / 2) / ONE, .good = (e->good + ONE / 2) / ONE, .level = level_of(h, kind_of(e->name), e, now_s),
				                     .refused_for_s = e->refused_until_s > now_s ? (uint64_t)(e->refused_until_s - now_s) : 0 };
			memcpy(row.name, e->name, sizeof row.name);
			if (count < max)
				out[count++] = row;
			else if (max && row.unknown > out[max - 1].unknown)
				out[max - 1] = row;
			else
				continue;
			if (count == max) /* keep the smallest last, so that it is the one that gives way */
				qsort(out, count, sizeof *out, most_first);
		}
		shared_unlock(&h->sets[i].lock);
	}
	qsort(out, count, sizeof *out, most_first);
	for (size_t i = 0; i < count; i++)
		soften(h, &out[i], now_s);
	return count;
}

bool harvest_forgive(struct harvest *h, const struct harvest_who *who)
{
	struct name names[2];
	size_t count = names_of(who, names);
	bool found = false;
	for (size_t i = 0; i < count; i++) {
		uint64_t key = key_of(h, names[i].kind, name_slice(&names[i]));
		struct set *s = set_of(h, key);
		shared_lock(&s->lock);
		struct entry *e = find(s, key);
		if (e) {
			*e = (struct entry){ 0 };
			found = true;
		}
		shared_unlock(&s->lock);
	}
	return found;
}

struct slice harvest_level_name(enum harvest_level level)
{
	static const struct slice names[] = { SLICE_INIT("open"), SLICE_INIT("slow"), SLICE_INIT("blind"), SLICE_INIT("refuse") };
	return names[level];
}
