/* Cleaning, in the worker: a walk through the tables, a part at a time. What is too old goes, and where a table holds more than it may the oldest do, by the ages that
 * the walk before has met; and on its way through the outcomes it finds the hints anew. */
#include <string.h>

#include "base/clock.h"
#include "queue/ledger_inside.h"

enum { WALK = 5000 };

struct cleaning {
	struct ledger *ledger;
	int64_t now_s, oldest_s;
};

/* Steps of an eighth of a power of two, so that few of them tell seconds and months alike. */
static unsigned step_of(int64_t age_s)
{
	uint64_t n = age_s > 0 ? (uint64_t)age_s + 8 : 8;
	unsigned power = 63 - (unsigned)__builtin_clzll(n), step = (power - 3) * 8 + (unsigned)(n >> (power - 3) & 7);
	return step < LEDGER_AGES ? step : LEDGER_AGES - 1;
}

static uint64_t age_of(unsigned step)
{
	return ((uint64_t)(8 + step % 8) << step / 8) - 8;
}

static void count_age(struct cleaning *c, int64_t at_s)
{
	c->ledger->ages[step_of(c->now_s - at_s)]++;
}

static bool clean_one(void *arg, struct slice key, struct slice value, bool *drop)
{
	struct cleaning *c = arg;
	int64_t at_s = value.n < LEDGER_TIME ? 0 : ledger_time_of(value);
	uint64_t bit;
	(void)key;
	if (c->ledger->clean_table == TABLE_OUTCOME) {
		*drop = !ledger_outcome_age(value, &at_s, &bit) || at_s < c->oldest_s;
		if (!*drop)
			c->ledger->found_bits[bit / 8] |= (uint8_t)(1u << bit % 8);
	} else {
		*drop = value.n < LEDGER_TIME || at_s < c->oldest_s;
	}
	if (!*drop)
		count_age(c, at_s);
	return true;
}

static uint64_t life_of(const struct ledger *l, enum ledger_table t)
{
	const uint64_t lives[LEDGER_TABLES] = { l->limits.outcome_s, l->limits.sent_s, l->limits.seen_s, l->limits.ask_s, (uint64_t)60 * 86400 };
	return l->life_s[t] && l->life_s[t] < lives[t] ? l->life_s[t] : lives[t];
}

/* Behind a walk: how old an entry may be so that no more are kept than a table may have. Those of the last second always are. */
static uint64_t life_that_fits(const struct ledger *l)
{
	uint64_t sum = 0;
	for (unsigned step = 0; step < LEDGER_AGES; step++) {
		sum += l->ages[step];
		if (sum > l->limits.entries)
			return step ? age_of(step) : 1;
	}
	return 0;
}

/* What the walk has met and left. */
static void count_table(struct ledger *l, enum ledger_table t)
{
	uint64_t *const counts[LEDGER_TABLES] = { &l->counts.outcomes, &l->counts.sent, &l->counts.seen, &l->counts.asked, &l->counts.replied };
	*counts[t] = 0;
	for (unsigned step = 0; step < LEDGER_AGES; step++)
		*counts[t] += l->ages[step];
}

/* The walk is through this table. What was cut off there is not known to be never sent. */
static int end_table(struct ledger *l, enum ledger_table t)
{
	bool cut = l->life_s[t] != 0;
	int64_t from_s = clock_wall_s() - (int64_t)life_of(l, t);
	l->life_s[t] = life_that_fits(l);
	count_table(l, t);
	memset(l->ages, 0, sizeof l->ages);
	l->pass_over = t == TABLE_OUTCOME;
	l->clean_table = (t + 1) % LEDGER_TABLES;
	l->crowded = false;
	for (unsigned i = 0; i < LEDGER_TABLES; i++)
		l->crowded |= l->life_s[i] != 0;
	return cut && t == TABLE_SENT && from_s > l->since_s ? ledger_set_since(l, from_s) : 0;
}

int ledger_clean_part(struct ledger *l)
{
	enum ledger_table t = (enum ledger_table)l->clean_table;
	int64_t now_s = clock_wall_s();
	struct cleaning c = { l, now_s, now_s - (int64_t)life_of(l, t) };
	struct ledger_walk w = { clean_one, &c, WALK };
	if (t == TABLE_OUTCOME && !l->clean_at_n)
		memset(l->found_bits, 0, sizeof l->found_bits);
	int error = ledger_store_walk(l->store, t, slice(l->clean_at, l->clean_at_n), &w, l->clean_at, &l->clean_at_n);
	return error || l->clean_at_n ? error : end_table(l, t);
}
