/* Cleaning, in the worker: a walk through the tables, a part at a time. What is too old, or too much, goes; and on its way through the outcomes it finds the hints anew. */
#include <string.h>

#include "base/clock.h"
#include "queue/ledger_inside.h"

enum { WALK = 5000 };

struct cleaning {
	struct ledger *ledger;
	int64_t oldest_s;
};

static bool clean_one(void *arg, struct slice key, struct slice value, bool *drop)
{
	struct cleaning *c = arg;
	int64_t at_s;
	uint64_t bit;
	(void)key;
	if (c->ledger->clean_table == TABLE_OUTCOME) {
		*drop = !ledger_outcome_age(value, &at_s, &bit) || at_s < c->oldest_s;
		if (!*drop)
			c->ledger->found_bits[bit / 8] |= (uint8_t)(1u << bit % 8);
	} else {
		*drop = value.n < LEDGER_TIME || ledger_time_of(value) < c->oldest_s;
	}
	return true;
}

/* Past the number of entries that a table may have, its life gets as much shorter as it has too many. */
static int64_t oldest_of(struct ledger *l, enum ledger_table t)
{
	const uint64_t lives[LEDGER_TABLES] = { l->limits.outcome_s, l->limits.sent_s, l->limits.seen_s, l->limits.ask_s, (uint64_t)60 * 86400 };
	uint64_t count = ledger_store_count(l->store, t), life = lives[t];
	if (count > l->limits.entries)
		life = (uint64_t)((double)life * (double)l->limits.entries / (double)count);
	return clock_wall_s() - (int64_t)life;
}

static void count_tables(struct ledger *l)
{
	l->counts.outcomes = ledger_store_count(l->store, TABLE_OUTCOME);
	l->counts.sent = ledger_store_count(l->store, TABLE_SENT);
	l->counts.seen = ledger_store_count(l->store, TABLE_SEEN);
	l->counts.asked = ledger_store_count(l->store, TABLE_ASK);
	l->counts.replied = ledger_store_count(l->store, TABLE_REPLIED);
}

int ledger_clean_part(struct ledger *l)
{
	struct cleaning c = { l, oldest_of(l, (enum ledger_table)l->clean_table) };
	struct ledger_walk w = { clean_one, &c, WALK };
	if (l->clean_table == TABLE_OUTCOME && !l->clean_at_n)
		memset(l->found_bits, 0, sizeof l->found_bits);
	int error = ledger_store_walk(l->store, (enum ledger_table)l->clean_table, slice(l->clean_at, l->clean_at_n), &w, l->clean_at, &l->clean_at_n);
	if (error || l->clean_at_n)
		return error;
	l->pass_over = l->clean_table == TABLE_OUTCOME;
	l->clean_table = (l->clean_table + 1) % LEDGER_TABLES;
	count_tables(l);
	return 0;
}
