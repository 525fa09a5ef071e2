/* Places, senders and lanes: who waits for whom, and whose turn it is. */
#include <string.h>

#include "base/mem.h"
#include "queue/schedule_inside.h"

/* -- names -------------------------------------------------------------------------------------------------------------------------- */

static uint64_t hash_place(const struct index_node *n, const void *arg)
{
	const struct place *p = (const struct place *)n;
	return hash_bytes(&((const struct schedule *)arg)->key, slice(p->name, p->n));
}

static uint64_t hash_sender(const struct index_node *n, const void *arg)
{
	const struct sender *p = (const struct sender *)n;
	return hash_bytes(&((const struct schedule *)arg)->key, slice(p->name, p->n));
}

static uint64_t hash_pair(const struct sender *s, const struct place *p)
{
	return ((uintptr_t)s * 0x9e3779b97f4a7c15u ^ (uintptr_t)p * 0xc2b2ae3d27d4eb4fu) >> 8;
}

static uint64_t hash_lane(const struct index_node *n, const void *arg)
{
	const struct lane *l = (const struct lane *)n;
	(void)arg;
	return hash_pair(l->sender, l->place);
}

static bool is_place(const struct index_node *n, const void *key)
{
	const struct place *p = (const struct place *)n;
	return slice_eq(slice(p->name, p->n), *(const struct slice *)key);
}

static bool is_sender(const struct index_node *n, const void *key)
{
	const struct sender *p = (const struct sender *)n;
	return slice_eq(slice(p->name, p->n), *(const struct slice *)key);
}

static bool is_lane(const struct index_node *n, const void *key)
{
	const struct lane *l = (const struct lane *)n, *wanted = key;
	return l->sender == wanted->sender && l->place == wanted->place;
}

struct place *schedule_need_place(struct schedule *s, struct slice name)
{
	name = slice_head(name, UINT16_MAX);
	uint64_t hash = hash_bytes(&s->key, name);
	struct place *p = (struct place *)index_find(&s->places, hash, is_place, &name);
	if (!p) {
		p = mem_new(sizeof *p + name.n);
		p->n = (uint16_t)name.n;
		if (name.n)
			memcpy(p->name, name.p, name.n);
		index_add(&s->places, &p->by_name, hash);
	}
	p->refs++;
	return p;
}

void schedule_drop_place(struct schedule *s, struct place *p)
{
	if (--p->refs)
		return;
	index_remove(&s->places, &p->by_name, hash_place(&p->by_name, s));
	mem_free(p);
}

struct sender *schedule_find_sender(const struct schedule *s, struct slice name)
{
	name = slice_head(name, UINT16_MAX);
	return (struct sender *)index_find(&s->senders, hash_bytes(&s->key, name), is_sender, &name);
}

struct sender *schedule_need_sender(struct schedule *s, struct slice name)
{
	name = slice_head(name, UINT16_MAX);
	uint64_t hash = hash_bytes(&s->key, name);
	struct sender *p = (struct sender *)index_find(&s->senders, hash, is_sender, &name);
	if (!p) {
		p = mem_new(sizeof *p + name.n);
		p->n = (uint16_t)name.n;
		if (name.n)
			memcpy(p->name, name.p, name.n);
		index_add(&s->senders, &p->by_name, hash);
	}
	p->refs++;
	return p;
}

void schedule_drop_sender(struct schedule *s, struct sender *p)
{
	if (--p->refs)
		return;
	schedule_leave_ring(s, p);
	index_remove(&s->senders, &p->by_name, hash_sender(&p->by_name, s));
	mem_free(p);
}

/* -- lanes and the ring ----------------------------------------------------------------------------------------------------------------- */

static void join_ring(struct schedule *s, struct sender *p)
{
	if (p->in_ring)
		return;
	p->in_ring = true;
	p->deficit = SCHEDULE_QUANTUM;
	p->next = NULL;
	*s->ring_last = p;
	s->ring_last = &p->next;
}

void schedule_leave_ring(struct schedule *s, struct sender *p)
{
	if (!p->in_ring)
		return;
	struct sender **at = &s->ring;
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	if (s->ring_last == &p->next)
		s->ring_last = at;
	p->in_ring = false;
}

void schedule_ring_turn(struct schedule *s)
{
	struct sender *p = s->ring;
	if (!p->next)
		return;
	s->ring = p->next;
	p->next = NULL;
	*s->ring_last = p;
	s->ring_last = &p->next;
}

/* The ring that a lane stands in, or would stand in, by its last. */
static struct lane **ring_of(const struct lane *l, enum lane_state state)
{
	return state == LANE_OPEN ? &l->sender->lanes : &l->place->parked;
}

static void lane_out(struct lane *l)
{
	if (l->state == LANE_OUTSIDE)
		return;
	struct lane **last = ring_of(l, l->state);
	l->before->next = l->next;
	l->next->before = l->before;
	if (*last == l)
		*last = l->before == l ? NULL : l->before;
	l->state = LANE_OUTSIDE;
}

void schedule_lane_to(struct schedule *s, struct lane *l, enum lane_state state)
{
	lane_out(l);
	struct lane **last = ring_of(l, state);
	l->state = state;
	l->next = *last ? (*last)->next : l;
	l->before = *last ? *last : l;
	l->before->next = l;
	l->next->before = l;
	*last = l;
	if (state == LANE_OPEN)
		join_ring(s, l->sender);
}

struct lane *schedule_find_lane(const struct schedule *s, struct sender *sender, struct place *place)
{
	struct lane wanted = { .sender = sender, .place = place };
	return (struct lane *)index_find(&s->lanes, hash_pair(sender, place), is_lane, &wanted);
}

struct lane *schedule_need_lane(struct schedule *s, struct sender *sender, struct place *place)
{
	struct lane *l = schedule_find_lane(s, sender, place);
	if (l)
		return l;
	l = MEM_NEW(struct lane);
	l->sender = sender;
	l->place = place;
	sender->refs++;
	place->refs++;
	index_add(&s->lanes, &l->by_pair, hash_pair(sender, place));
	return l;
}

void schedule_drop_empty_lane(struct schedule *s, struct lane *l)
{
	if (l->ready.count)
		return;
	lane_out(l);
	index_remove(&s->lanes, &l->by_pair, hash_pair(l->sender, l->place));
	heap_free(&l->ready);
	schedule_drop_place(s, l->place);
	schedule_drop_sender(s, l->sender);
	mem_free(l);
}

uint32_t schedule_place_limit(const struct schedule *s, const struct place *p)
{
	return p->window && p->window < s->limits.place_jobs ? p->window : s->limits.place_jobs;
}

bool schedule_is_full(const struct schedule *s, const struct place *p)
{
	return p->paused || p->out >= schedule_place_limit(s, p);
}

void schedule_init_names(struct schedule *s)
{
	s->places = (struct index)INDEX_INIT(hash_place, s);
	s->senders = (struct index)INDEX_INIT(hash_sender, s);
	s->lanes = (struct index)INDEX_INIT(hash_lane, s);
	s->ring_last = &s->ring;
}
