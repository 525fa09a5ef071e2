/* Heap of times, and turns. */
#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "queue/schedule_inside.h"

enum { WAKE_MOST = 5000 };

static uint64_t hash_message(const struct index_node *n, const void *arg)
{
	const struct schedule *s = arg;
	return hash_bytes(&s->key, slice(((const struct message *)n)->id, SCHEDULE_ID));
}

static bool is_message(const struct index_node *n, const void *key)
{
	return slice_eq(slice(((const struct message *)n)->id, SCHEDULE_ID), *(const struct slice *)key);
}

/* -- items ---------------------------------------------------------------------------------------------------------------------------- */

static uint64_t key_of_time(int64_t s)
{
	return s < 0 ? 0 : (uint64_t)s;
}

static void take_off(struct schedule *s, struct item *i)
{
	struct lane *l;
	switch ((enum item_state)i->state) {
	case ITEM_WAITING:
		heap_remove(&s->waiting, &i->node);
		break;
	case ITEM_READY:
		l = schedule_find_lane(s, i->message->sender, i->place);
		heap_remove(&l->ready, &i->node);
		s->ready--;
		schedule_drop_empty_lane(s, l);
		break;
	case ITEM_IDLE:
	case ITEM_OUT:
		break;
	}
	i->state = ITEM_IDLE;
}

static void wait_until(struct schedule *s, struct item *i, int64_t due_s)
{
	heap_add(&s->waiting, &i->node, key_of_time(due_s));
	i->state = ITEM_WAITING;
}

/* Into its lane. Higher MT-PRIORITY first, then whoever was due first. */
static void make_ready(struct schedule *s, struct item *i)
{
	struct lane *l = schedule_need_lane(s, i->message->sender, i->place);
	uint64_t rank = (uint64_t)(9 - i->message->priority) << 56 | (++s->sequence & (UINT64_MAX >> 8));
	heap_add(&l->ready, &i->node, rank);
	i->state = ITEM_READY;
	s->ready++;
	if (l->state == LANE_OUTSIDE)
		schedule_lane_to(s, l, schedule_is_full(s, l->place) ? LANE_PARKED : LANE_OPEN);
}

struct item *schedule_add_item(struct schedule *s, struct message *m, struct slice place, uint32_t recipients, uint8_t attempts, int64_t due_s)
{
	bool embedded = m->first.message == NULL;
	struct item *i = embedded ? &m->first : MEM_NEW(struct item);
	*i = (struct item){ .message = m, .next = m->first.next, .place = schedule_need_place(s, place), .recipients = recipients, .attempts = attempts, .appointed = i->appointed };
	if (!embedded)
		m->first.next = i;
	s->items++;
	s->recipients += recipients;
	wait_until(s, i, due_s);
	if (m->held)
		take_off(s, i);
	return i;
}

void schedule_shrink(struct schedule *s, struct item *i, uint32_t by)
{
	by = by < i->recipients ? by : i->recipients;
	i->recipients -= by;
	s->recipients -= by;
}

void schedule_remove_item(struct schedule *s, struct item *i)
{
	struct message *m = i->message;
	assert(i->state != ITEM_OUT);
	take_off(s, i);
	s->items--;
	s->recipients -= i->recipients;
	schedule_drop_place(s, i->place);
	if (i == &m->first) {
		m->first.message = NULL;
		return;
	}
	struct item **at = &m->first.next;
	while (*at != i)
		at = &(*at)->next;
	*at = i->next;
	mem_free(i);
}

/* -- messages ------------------------------------------------------------------------------------------------------------------------- */

struct message *schedule_add(struct schedule *s, struct slice id, struct slice sender, int8_t priority)
{
	assert(id.n == SCHEDULE_ID);
	if (schedule_find(s, id))
		return NULL;
	struct message *m = MEM_NEW(struct message);
	memcpy(m->id, id.p, SCHEDULE_ID);
	m->sender = schedule_need_sender(s, sender);
	m->priority = priority < -9 ? -9 : priority > 9 ? 9 : priority;
	index_add(&s->messages, &m->by_id, hash_message(&m->by_id, s));
	return m;
}

static void end_appointment(struct message *m)
{
	m->sender->appointed -= m->first.appointed;
	m->first.appointed = false;
}

void schedule_appoint(struct message *m)
{
	m->sender->appointed += !m->first.appointed;
	m->first.appointed = true;
}

size_t schedule_appointed(const struct schedule *s, struct slice sender)
{
	const struct sender *p = schedule_find_sender(s, sender);
	return p ? p->appointed : 0;
}

struct message *schedule_find(struct schedule *s, struct slice id)
{
	if (id.n != SCHEDULE_ID)
		return NULL;
	return (struct message *)index_find(&s->messages, hash_bytes(&s->key, id), is_message, &id);
}

void schedule_remove(struct schedule *s, struct message *m)
{
	assert(m->out == 0);
	while (message_items(m))
		schedule_remove_item(s, message_items(m));
	s->held -= m->held;
	end_appointment(m);
	index_remove(&s->messages, &m->by_id, hash_message(&m->by_id, s));
	schedule_drop_sender(s, m->sender);
	mem_free(m);
}

void schedule_retry(struct schedule *s, struct item *i, int64_t due_s)
{
	if (i->state == ITEM_OUT || i->message->held || (i->state == ITEM_READY && due_s == 0))
		return;
	take_off(s, i);
	i->place->rest_s = due_s ? i->place->rest_s : 0;
	wait_until(s, i, due_s);
}

void schedule_hold(struct schedule *s, struct message *m, bool held)
{
	if (m->held == held)
		return;
	m->held = held;
	s->held += held ? 1 : (size_t)-1;
	for (struct item *i = message_items(m); i; i = i->next) {
		if (i->state == ITEM_OUT)
			continue;
		take_off(s, i);
		if (!held)
			wait_until(s, i, 0);
	}
}

/* -- taking ----------------------------------------------------------------------------------------------------------------------------- */

/* Not all at once where very many are due: who calls has others to serve. */
static void wake_due(struct schedule *s, int64_t now_s)
{
	struct heap_node *n;
	for (int count = 0; count < WAKE_MOST && (n = heap_first(&s->waiting)) && n->key <= key_of_time(now_s); count++) {
		struct item *i = (struct item *)n;
		take_off(s, i);
		if (i->place->rest_s > now_s)
			wait_until(s, i, i->place->rest_s);
		else
			make_ready(s, i);
	}
}

/* The first lane of p that may be taken from; the full ones are parked on the way. */
static struct lane *open_lane(struct schedule *s, struct sender *p)
{
	while (p->lanes && schedule_is_full(s, first_of(p->lanes)->place))
		schedule_lane_to(s, first_of(p->lanes), LANE_PARKED);
	return first_of(p->lanes);
}

static void count_out(struct schedule *s, struct item *i)
{
	end_appointment(i->message);
	i->state = ITEM_OUT;
	i->message->out++;
	i->message->sender->out++;
	s->out++;
}

static struct item *take_from(struct schedule *s, struct lane *l)
{
	struct item *i = (struct item *)heap_first(&l->ready);
	struct sender *sender = l->sender;
	sender->deficit -= sender->deficit > (int64_t)i->recipients ? i->recipients : sender->deficit;
	take_off(s, i);       /* and the lane ends when it was the last */
	i->place->out++;
	l = schedule_find_lane(s, sender, i->place);
	if (l) /* to the end: the next lane's turn, here or at the place */
		schedule_lane_to(s, l, schedule_is_full(s, i->place) ? LANE_PARKED : LANE_OPEN);
	count_out(s, i);
	return i;
}

void schedule_take_this(struct schedule *s, struct item *i)
{
	assert(i->state != ITEM_OUT);
	take_off(s, i);
	i->place->out++;
	count_out(s, i);
}

/* A sender may hold twice what it leaves free. */
static bool has_room(const struct schedule *s, const struct sender *p)
{
	return s->out < s->limits.jobs && p->out < 2 * (s->limits.jobs - s->out);
}

struct item *schedule_take(struct schedule *s, int64_t now_s)
{
	wake_due(s, now_s);
	struct sender *crowded = NULL; /* the first of those that have too much out: seen again, everybody has */
	while (s->ring && s->out < s->limits.jobs) {
		struct sender *p = s->ring;
		struct lane *l = open_lane(s, p);
		if (!l) {
			schedule_leave_ring(s, p);
			continue;
		}
		if (!has_room(s, p)) {
			if (p == crowded)
				return NULL;
			crowded = crowded ? crowded : p;
			schedule_ring_turn(s);
			continue;
		}
		struct item *i = (struct item *)heap_first(&l->ready);
		if (p->deficit >= (int64_t)i->recipients || !p->next)
			return take_from(s, l);
		p->deficit += SCHEDULE_QUANTUM; /* for its next turn */
		crowded = NULL;
		schedule_ring_turn(s);
	}
	return NULL;
}

void schedule_back(struct schedule *s, struct item *i, int64_t due_s)
{
	struct place *p = i->place;
	assert(i->state == ITEM_OUT);
	i->state = ITEM_IDLE;
	i->message->out--;
	i->message->sender->out--;
	p->out--;
	s->out--;
	if (!i->message->held)
		wait_until(s, i, due_s);
	if (p->parked && !schedule_is_full(s, p))
		schedule_lane_to(s, first_of(p->parked), LANE_OPEN);
}

static void open_parked(struct schedule *s, struct place *p)
{
	for (uint32_t room = p->out < schedule_place_limit(s, p) ? schedule_place_limit(s, p) - p->out : 0; room && p->parked && !p->paused; room--)
		schedule_lane_to(s, first_of(p->parked), LANE_OPEN);
}

void schedule_window(struct schedule *s, struct item *i, uint32_t window, int64_t rest_until_s)
{
	i->place->window = window > UINT16_MAX ? UINT16_MAX : (uint16_t)window;
	i->place->rest_s = rest_until_s > UINT32_MAX ? UINT32_MAX : (uint32_t)(rest_until_s < 0 ? 0 : rest_until_s);
	open_parked(s, i->place);
}

void schedule_pause(struct schedule *s, struct slice place, bool paused)
{
	struct place *p = schedule_need_place(s, place);
	if (paused == p->paused) {
		schedule_drop_place(s, p);
		return;
	}
	p->paused = paused;
	if (paused)
		return;              /* the reference stays as long as the pause does */
	open_parked(s, p);
	schedule_drop_place(s, p);
	schedule_drop_place(s, p);
}

int64_t schedule_next_s(const struct schedule *s)
{
	const struct heap_node *n = heap_first(&s->waiting);
	return n ? (int64_t)n->key : INT64_MAX;
}

int64_t schedule_due_s(const struct item *i)
{
	return i->state != ITEM_WAITING ? 0 : i->node.key > INT64_MAX ? INT64_MAX : (int64_t)i->node.key;
}

/* -- the whole ------------------------------------------------------------------------------------------------------------------------ */

struct slice schedule_place_name(const struct item *i)
{
	return slice(i->place->name, i->place->n);
}

struct slice schedule_sender_name(const struct message *m)
{
	return slice(m->sender->name, m->sender->n);
}

void schedule_count(const struct schedule *s, struct schedule_counts *out)
{
	*out = (struct schedule_counts){
		.messages = s->messages.count, .items = s->items, .recipients = s->recipients, .ready = s->ready, .out = s->out,
		.places = s->places.count, .senders = s->senders.count, .held = s->held
	};
}

struct walk {
	bool (*message)(void *arg, struct message *m);
	bool (*place)(void *arg, struct slice place);
	void *arg;
};

static bool walk_message(void *arg, struct index_node *n)
{
	const struct walk *w = arg;
	return w->message(w->arg, (struct message *)n);
}

void schedule_each(const struct schedule *s, bool (*each)(void *arg, struct message *m), void *arg)
{
	struct walk w = { .message = each, .arg = arg };
	index_each(&s->messages, walk_message, &w);
}

struct some {
	void (*each)(void *arg, struct message *m);
	void *arg;
};

static void some_message(void *arg, struct index_node *n)
{
	const struct some *w = arg;
	w->each(w->arg, (struct message *)n);
}

bool schedule_some(const struct schedule *s, struct schedule_cursor *c, size_t most, void (*each)(void *arg, struct message *m), void *arg)
{
	struct some w = { each, arg };
	size_t at = c->size == s->messages.size ? (size_t)c->at : 0;
	c->anew += c->at && c->size != s->messages.size;
	index_some(&s->messages, &at, most, some_message, &w);
	c->size = s->messages.size;
	c->at = at;
	return at < s->messages.size;
}

static bool walk_place(void *arg, struct index_node *n)
{
	const struct walk *w = arg;
	const struct place *p = (const struct place *)n;
	return !p->paused || w->place(w->arg, slice(p->name, p->n));
}

void schedule_each_paused(const struct schedule *s, bool (*each)(void *arg, struct slice place), void *arg)
{
	struct walk w = { .place = each, .arg = arg };
	index_each(&s->places, walk_place, &w);
}

struct schedule *schedule_new(const struct schedule_limits *limits)
{
	struct schedule *s = MEM_NEW(struct schedule);
	s->key = hash_key_random();
	s->limits = *limits;
	s->messages = (struct index)INDEX_INIT(hash_message, s);
	schedule_init_names(s);
	return s;
}

static void free_chain(struct index *x)
{
	for (size_t i = 0; i < x->size; i++)
		for (struct index_node *n = x->buckets[i], *next; n; n = next) {
			next = n->next;
			mem_free(n);
		}
	index_free(x);
}

void schedule_free(struct schedule *s)
{
	for (size_t i = 0; i < s->lanes.size; i++)
		for (struct index_node *n = s->lanes.buckets[i]; n; n = n->next)
			heap_free(&((struct lane *)n)->ready);
	for (size_t i = 0; i < s->messages.size; i++)
		for (struct index_node *n = s->messages.buckets[i]; n; n = n->next)
			for (struct item *item = ((struct message *)n)->first.next, *next; item; item = next) {
				next = item->next;
				mem_free(item);
			}
	free_chain(&s->lanes);
	free_chain(&s->messages);
	free_chain(&s->places);
	free_chain(&s->senders);
	heap_free(&s->waiting);
	mem_free(s);
}
