/* The table of greylisting. */
#include "smtpd/greylist.h"

#include <stdatomic.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/shared.h"

enum { WAYS = 8 };

struct entry {
	uint64_t key;                   /* 0: free */
	uint32_t first_s, passed_s;     /* since 1970 (until 2106); passed_s 0: not yet, else when it was last seen */
};

struct set {
	atomic_uint lock;
	unsigned spare;
	struct entry entries[WAYS];
};

struct greylist {
	struct shared_head *head;
	struct set *sets;
	size_t set_count;
	struct greylist_limits limits;
};

size_t greylist_size(size_t entries)
{
	return sizeof(struct shared_head) + (entries + WAYS - 1) / WAYS * sizeof(struct set);
}

struct greylist *greylist_attach(void *memory, size_t size, const struct greylist_limits *limits)
{
	struct shared_head *head = memory;
	if (size < greylist_size(1) || !shared_begin(head, GREYLIST_FORM))
		return NULL;
	struct greylist *g = MEM_NEW(struct greylist);
	*g = (struct greylist){ head, (struct set *)(head + 1), (size - sizeof *head) / sizeof(struct set), *limits };
	return g;
}

void greylist_detach(struct greylist *g)
{
	mem_free(g);
}

static uint64_t key_of(const struct greylist *g, struct slice client, struct slice sender, struct slice recipient)
{
	struct buf b = BUF_INIT(4096);
	const struct slice parts[] = { client, sender, recipient };
	for (size_t i = 0; i < 3; i++) {
		buf_add(&b, slice_head(parts[i], 1000));
		buf_add_byte(&b, '\0');
	}
	uint64_t key = hash_bytes(&g->head->key, buf_slice(&b));
	buf_free(&b);
	return key ? key : 1;
}

/* A time that is yet to come is one of a clock that was set back since: it was seen, so now is the latest that it can have been. */
static void set_right(struct entry *e, uint64_t now)
{
	e->first_s = e->first_s > now ? (uint32_t)now : e->first_s;
	e->passed_s = e->passed_s > now ? (uint32_t)now : e->passed_s;
}

static bool is_over(const struct greylist *g, const struct entry *e, uint64_t now)
{
	return e->passed_s ? now > e->passed_s + g->limits.keep_s : now > e->first_s + g->limits.window_s;
}

/* The entry with this key; else the free, outdated or oldest one, cleared. */
static struct entry *find(const struct greylist *g, struct set *s, uint64_t key, uint64_t now)
{
	struct entry *least = &s->entries[0];
	for (int i = 0; i < WAYS; i++) {
		struct entry *e = &s->entries[i];
		set_right(e, now);
		if (e->key == key && !is_over(g, e, now))
			return e;
		if (e->key == key || !e->key || is_over(g, e, now))
			*e = (struct entry){ 0 };
		if ((e->passed_s > e->first_s ? e->passed_s : e->first_s) < (least->passed_s > least->first_s ? least->passed_s : least->first_s))
			least = e;
	}
	*least = (struct entry){ 0 };
	return least;
}

enum greylist_verdict greylist_look(struct greylist *g, struct slice client, struct slice sender, struct slice recipient, int64_t now_s, uint64_t *wait_s)
{
	uint64_t key = key_of(g, client, sender, recipient), now = now_s > 0 ? (uint64_t)now_s : 0;
	struct set *s = &g->sets[(key >> 8) % g->set_count];
	enum greylist_verdict verdict = GREYLIST_WAIT;
	shared_lock(&s->lock);
	struct entry *e = find(g, s, key, now);
	if (!e->key)
		*e = (struct entry){ key, (uint32_t)now, 0 };
	uint64_t age = now > e->first_s ? now - e->first_s : 0;
	if (e->passed_s || age >= g->limits.delay_s) {
		e->passed_s = (uint32_t)now;
		verdict = GREYLIST_PASS;
	} else {
		*wait_s = g->limits.delay_s - age;
	}
	shared_unlock(&s->lock);
	return verdict;
}
