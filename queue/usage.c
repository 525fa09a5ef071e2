/* The table of what users have handed in. */
#include "queue/usage.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/house.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/shared.h"

enum { WAYS = 8 };
static const int64_t lengths[USAGE_WINDOWS] = { 3600, 86400 };

struct window {
	uint32_t index;                  /* of the clock hour or day that `now` belongs to */
	uint32_t now[USAGE_WHATS], before[USAGE_WHATS];
};

struct entry {
	uint64_t key;                    /* 0: free */
	char name[USAGE_MAX_NAME];
	struct window windows[USAGE_WINDOWS];
};

struct set {
	atomic_uint lock;
	unsigned spare;
	struct entry entries[WAYS];
};

struct usage {
	struct shared_head *head;
	struct set *sets;
	size_t set_count;
};

size_t usage_size(void)
{
	return sizeof(struct shared_head) + USAGE_ENTRIES / WAYS * sizeof(struct set);
}

struct usage *usage_attach(void *memory, size_t size)
{
	struct shared_head *head = memory;
	if (size != usage_size() || !shared_begin(head, USAGE_FORM))
		return NULL;
	struct usage *u = MEM_NEW(struct usage);
	*u = (struct usage){ head, (struct set *)(head + 1), USAGE_ENTRIES / WAYS };
	return u;
}

void usage_detach(struct usage *u)
{
	mem_free(u);
}

/* What was counted under a clock that has been set back since is this window's: nothing is opened by it, nor shut until that time comes again. */
static void refresh(struct entry *e, int64_t now_s)
{
	for (int w = 0; w < USAGE_WINDOWS; w++) {
		struct window *v = &e->windows[w];
		uint32_t index = (uint32_t)(now_s / lengths[w]);
		if (index <= v->index) {
			v->index = index;
			continue;
		}
		for (int k = 0; k < USAGE_WHATS; k++) {
			v->before[k] = index == v->index + 1 ? v->now[k] : 0;
			v->now[k] = 0;
		}
		v->index = index;
	}
}

static struct usage_counts counts_of(const struct entry *e, int64_t now_s)
{
	struct usage_counts c;
	for (int w = 0; w < USAGE_WINDOWS; w++)
		for (int k = 0; k < USAGE_WHATS; k++) {
			uint64_t length = (uint64_t)lengths[w], left = length - (uint64_t)now_s % length;
			c.of[w][k] = e->windows[w].now[k] + (e->windows[w].before[k] * left + length - 1) / length; /* what is begun counts whole */
		}
	return c;
}

/* The user's entry; else the free one, or the one that was seen longest ago, as a new one. */
static struct entry *find(struct set *s, uint64_t key, struct slice who)
{
	struct entry *least = &s->entries[0];
	for (int i = 0; i < WAYS; i++) {
		struct entry *e = &s->entries[i];
		if (e->key == key)
			return e;
		if (!e->key || (least->key && e->windows[USAGE_HOUR].index < least->windows[USAGE_HOUR].index))
			least = e;
	}
	*least = (struct entry){ .key = key };
	who = slice_head(who, USAGE_MAX_NAME - 1);
	if (who.n)
		memcpy(least->name, who.p, who.n);
	return least;
}

static void add_to(uint32_t *count, uint64_t n)
{
	*count = n > UINT32_MAX / 2 || *count > UINT32_MAX / 2 ? UINT32_MAX / 2 : *count + (uint32_t)n;
}

bool usage_over(struct usage *u, struct slice who, const struct usage_counts *limits, uint64_t messages, uint64_t recipients, bool add, int64_t now_s,
                enum usage_window *window, enum usage_what *what)
{
	uint64_t key = hash_bytes(&u->head->key, who), more[USAGE_WHATS] = { messages, recipients };
	struct set *s = &u->sets[(key >> 8) % u->set_count];
	bool over = false;
	shared_lock(&s->lock);
	struct entry *e = find(s, key ? key : 1, who);
	refresh(e, now_s);
	struct usage_counts c = counts_of(e, now_s);
	for (int w = 0; w < USAGE_WINDOWS; w++)
		for (int k = 0; k < USAGE_WHATS; k++)
			if (limits->of[w][k] && more[k] && c.of[w][k] + more[k] > limits->of[w][k]) {
				over = true;
				*window = (enum usage_window)w;
				*what = (enum usage_what)k;
			}
	for (int w = 0; add && !over && w < USAGE_WINDOWS; w++)
		for (int k = 0; k < USAGE_WHATS; k++)
			add_to(&e->windows[w].now[k], more[k]);
	shared_unlock(&s->lock);
	return over;
}

static int by_recipients(const void *a, const void *b)
{
	uint64_t x = ((const struct usage_user *)a)->counts.of[USAGE_DAY][USAGE_RECIPIENTS], y = ((const struct usage_user *)b)->counts.of[USAGE_DAY][USAGE_RECIPIENTS];
	return (x < y) - (x > y);
}

size_t usage_list(struct usage *u, struct usage_user *out, size_t max, int64_t now_s)
{
	struct usage_user *all = mem_new_array(USAGE_ENTRIES, sizeof *all);
	size_t count = 0;
	for (size_t i = 0; i < u->set_count; i++) {
		shared_lock(&u->sets[i].lock);
		for (int k = 0; k < WAYS; k++) {
			struct entry *e = &u->sets[i].entries[k];
			if (!e->key)
				continue;
			refresh(e, now_s);
			struct usage_user user = { .counts = counts_of(e, now_s) };
			memcpy(user.name, e->name, sizeof user.name - 1);
			if (user.counts.of[USAGE_DAY][USAGE_MESSAGES])
				all[count++] = user;
		}
		shared_unlock(&u->sets[i].lock);
	}
	qsort(all, count, sizeof *all, by_recipients);
	count = count < max ? count : max;
	memcpy(out, all, count * sizeof *out);
	mem_free(all);
	return count;
}

void usage_give_back(struct usage *u, struct slice who, uint64_t messages, uint64_t recipients, int64_t now_s)
{
	uint64_t key = hash_bytes(&u->head->key, who), less[USAGE_WHATS] = { messages, recipients };
	struct set *s = &u->sets[(key >> 8) % u->set_count];
	shared_lock(&s->lock);
	struct entry *e = find(s, key ? key : 1, who);
	refresh(e, now_s);
	for (int w = 0; w < USAGE_WINDOWS; w++)
		for (int k = 0; k < USAGE_WHATS; k++)
			e->windows[w].now[k] -= less[k] < e->windows[w].now[k] ? (uint32_t)less[k] : e->windows[w].now[k];
	shared_unlock(&s->lock);
}

void usage_words(struct buf *out, struct slice who, enum usage_window window, enum usage_what what)
{
	static const char *const whats[] = { "messages", "recipients" }, *const windows[] = { "an hour", "a day" };
	buf_addf(out, "Too many %s: %.*s may hand in %llu %s", whats[what], SLICE_FMT(slice_head(who, 100)), (unsigned long long)usage_limits.of[window][what], windows[window]);
}

struct usage *usage_take(struct house *h)
{
	size_t size;
	void *memory = shared_map(h, SLICE("shared:usage"), 0, &size);
	struct usage *u = memory ? usage_attach(memory, size) : NULL;
	if (!u)
		log_event(LOG_ERROR, "usage-unusable", LOG_END);
	return u;
}

/* -- settings ----------------------------------------------------------------------------------------------------------------------------- */

struct usage_counts usage_limits;

#define AT(window, what) offsetof(struct usage_counts, of[window][what])

static const struct setting rows[] = {
	{ "user-messages-hour", SETTING_UINT, AT(USAGE_HOUR, USAGE_MESSAGES), "0", 0, 100000000, NULL, NULL,
	  "Messages that one user (a login, or a user of this system by sendmail) may hand in within an hour; further ones are answered 451, and what sendmail left in the drop folder stays there until it fits. 0 is no limit; porterctl user usage shows the counts." },
	{ "user-messages-day", SETTING_UINT, AT(USAGE_DAY, USAGE_MESSAGES), "0", 0, 100000000, NULL, NULL, "And within a day." },
	{ "user-recipients-hour", SETTING_UINT, AT(USAGE_HOUR, USAGE_RECIPIENTS), "0", 0, 100000000, NULL, NULL, "Recipients that one user may write to within an hour; further ones are answered 452." },
	{ "user-recipients-day", SETTING_UINT, AT(USAGE_DAY, USAGE_RECIPIENTS), "0", 0, 100000000, NULL, NULL, "And within a day." },
};

struct setting_table usage_setting_table = { "usage", rows, sizeof rows / sizeof rows[0], &usage_limits };
