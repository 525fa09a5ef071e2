/* What next hops said about recipients (rule.md, "Relayed domains"): a fixed table, positive answers believed for days, negative ones for minutes and only
 * when they were the hop's own 5.1.x. A question of our own goes to a hop behind the client's back in two cases: a refusal whose time is nearly over is asked about
 * again while it still serves, and a domain that only its hop knows gets a made-up recipient once a day: a hop that takes it takes everybody, its word is worth nothing. */

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/unique.h"
#include "delivery/hop_inside.h"

enum { SETS = 8192, WAYS = 4, TEXT_MAX = 96, ADDRESS_MAX = 1024, MOST_QUESTIONS = 16, PROBE_S = 86400, UNDECIDED_S = 3600, LAST_PART = 4 };

struct memory {
	uint64_t hash;                 /* 0 free */
	int64_t until_s, heard_s;
	uint16_t code;                 /* 250, or the refusal's */
	uint8_t enhanced[2], length;
	char text[TEXT_MAX];
};

struct ask_cache {
	struct hop *hop;
	struct hash_key key;
	struct memory *sets[SETS];     /* made when first written to */
	struct question *questions;
	size_t question_count;
};

/* One question of our own, which nobody waits for. */
struct question {
	struct hop_peer *peer;
	struct question *next;
	uint64_t hash;                 /* what it is about */
	bool probe;                    /* a made-up recipient, asked for its domain */
	struct arena mem;
	struct slice place, address;
	struct attempt *attempt;
	struct loop_timer *end;
};

static void question_free(struct question *q);

struct ask_cache *ask_cache_new(struct hop *h)
{
	struct ask_cache *c = MEM_NEW(struct ask_cache);
	c->hop = h;
	c->key = hash_key_random();
	return c;
}

void ask_cache_free(struct ask_cache *c)
{
	while (c->questions)
		question_free(c->questions);
	for (size_t i = 0; i < SETS; i++)
		mem_free(c->sets[i]);
	mem_free(c);
}

/* -- the table ---------------------------------------------------------------------------------------------------------------------- */

static uint64_t hash_of(const struct ask_cache *c, struct slice place, struct slice address)
{
	struct buf b = BUF_INIT(8192);
	buf_add(&b, place);
	buf_add_byte(&b, '\0');
	buf_add(&b, address);
	uint64_t h = hash_bytes(&c->key, buf_slice(&b));
	buf_free(&b);
	return h ? h : 1;
}

/* What was heard later than now was so before the clock was set back: a refusal of minutes must not be believed for a year. */
static struct memory *recall(const struct ask_cache *c, uint64_t hash)
{
	struct memory *set = c->sets[hash % SETS];
	int64_t now = clock_wall_s();
	for (size_t i = 0; set && i < WAYS; i++)
		if (set[i].hash == hash && set[i].heard_s <= now && set[i].until_s > now)
			return &set[i];
	return NULL;
}

static struct memory *place_for(struct ask_cache *c, uint64_t hash)
{
	struct memory **set = &c->sets[hash % SETS];
	if (!*set)
		*set = mem_new_array(WAYS, sizeof **set);
	struct memory *best = *set;
	for (size_t i = 0; i < WAYS; i++) {
		if ((*set)[i].hash == hash)
			return &(*set)[i];
		if ((*set)[i].until_s < best->until_s)
			best = &(*set)[i];
	}
	return best;
}

static void remember(struct ask_cache *c, uint64_t hash, const struct mail_status *s, uint64_t seconds)
{
	struct memory *m = place_for(c, hash);
	struct slice text = slice_head(s->text, TEXT_MAX);
	*m = (struct memory){ .hash = hash, .heard_s = clock_wall_s(), .until_s = clock_wall_s() + (int64_t)seconds, .code = s->code,
		.enhanced = { s->enhanced[0], s->enhanced[1] }, .length = slice_is_ascii(text) ? (uint8_t)text.n : 0 };
	memcpy(m->text, text.p ? text.p : "", m->length);
}

/* 5.1.7 and 5.1.8 are the sender's (3463, 3.2); 5.1.0 is of some address, and Postfix says it of senders. A stranger who is refused so must not make a recipient
 * unknown to everybody. */
static bool is_of_sender(const struct mail_status *s)
{
	return s->enhanced[0] == 1 && (s->enhanced[1] == 0 || s->enhanced[1] == 7 || s->enhanced[1] == 8);
}

bool ask_is_unknown(const struct mail_status *s)
{
	return s->fate == MAIL_NEVER && s->enhanced[0] == 1 && !is_of_sender(s);
}

void ask_learn(struct ask_cache *c, struct slice place, struct slice address, const struct mail_status *s)
{
	if (s->fate == MAIL_OK)
		remember(c, hash_of(c, place, address), s, c->hop->setup.positive_s);
	else if (ask_is_unknown(s))
		remember(c, hash_of(c, place, address), s, c->hop->setup.negative_s);
}

static struct mail_status as_status(const struct memory *m, struct arena *mem)
{
	struct slice text = m->length ? arena_copy(mem, slice(m->text, m->length)) : SLICE("The next hop knows no such recipient");
	return (struct mail_status){ m->code / 100 == 2 ? MAIL_OK : MAIL_NEVER, m->code, { m->enhanced[0], m->enhanced[1] }, text };
}

bool ask_recall(struct ask_cache *c, struct slice place, struct slice address, struct arena *mem, struct mail_status *s, bool *old)
{
	const struct memory *m = recall(c, hash_of(c, place, address));
	if (!m)
		return false;
	*s = as_status(m, mem);
	*old = (m->until_s - clock_wall_s()) * LAST_PART < m->until_s - m->heard_s;
	return true;
}

static struct slice domain_of(struct slice address)
{
	return slice_skip(address, slice_rfind(address, '@')); /* with its '@': no address is spelled so */
}

bool ask_takes_all(const struct ask_cache *c, struct slice place, struct slice address)
{
	const struct memory *m = recall(c, hash_of(c, place, domain_of(address)));
	return m && m->code == 250;
}

/* -- asking -------------------------------------------------------------------------------------------------------------------------- */

static void question_free(struct question *q)
{
	struct hop_peer *p = q->peer;
	struct question **at = &p->hop->cache->questions;
	while (*at != q)
		at = &(*at)->next;
	*at = q->next;
	p->hop->cache->question_count--;
	attempt_free(q->attempt);
	loop_timer_free(q->end);
	arena_free(&q->mem);
	mem_free(q);
	hop_peer_leave(p);
}

static void on_end(void *arg)
{
	question_free(arg);
}

/* A hop that puts made-up recipients off, too, or doesn't want the sender or us (x.7), says nothing of them: it is tried again in an hour. */
static void learn_domain(struct ask_cache *c, const struct question *q, const struct mail_status *s, bool heard)
{
	bool decided = heard && (s->fate == MAIL_OK || (s->fate == MAIL_NEVER && s->enhanced[0] != 7 && !is_of_sender(s)));
	remember(c, q->hash, decided ? s : &MAIL_STATUS_UNSURE(""), decided ? PROBE_S : UNDECIDED_S);
	if (decided && s->fate == MAIL_OK)
		log_event(LOG_WARN, "hop-takes-all", LOG_STR("place", q->place), LOG_STR("domain", slice_skip(domain_of(q->address), 1)), LOG_END);
}

static void on_rcpt(void *arg, size_t index, const struct mail_status *s, struct slice reply)
{
	struct question *q = arg;
	struct ask_cache *c = q->peer->hop->cache;
	bool heard = attempt_heard(q->attempt, index);
	(void)reply;
	if (q->probe)
		learn_domain(c, q, s, heard);
	else if (heard)
		ask_learn(c, q->place, q->address, s);
	loop_timer_set(q->end, 0);
}

static void on_content(void *arg, const struct hop_content_done *d, struct slice reply)
{
	(void)arg, (void)d, (void)reply;
}

static void on_late(void *arg, const struct hop_content_done *d)
{
	(void)arg, (void)d;
}

static bool is_asked(const struct ask_cache *c, uint64_t hash)
{
	for (const struct question *q = c->questions; q; q = q->next)
		if (q->hash == hash)
			return true;
	return c->question_count >= MOST_QUESTIONS;
}

static void ask(struct hop_peer *p, const struct hop_envelope *e, struct slice address, uint64_t hash, bool probe)
{
	static const struct attempt_handler handler = { on_rcpt, on_content, on_late, NULL };
	struct ask_cache *c = p->hop->cache;
	struct question *q = MEM_NEW(struct question);
	*q = (struct question){ .peer = p, .next = c->questions, .hash = hash, .probe = probe };
	q->place = arena_copy(&q->mem, e->place);
	q->address = arena_copy(&q->mem, address);
	q->end = loop_timer_new(p->hop->loop, on_end, q);
	c->questions = q;
	c->question_count++;
	hop_peer_use(p);
	q->attempt = attempt_new(p->hop->setup.hops, e, &handler, q);
	attempt_rcpt(q->attempt, &(struct hop_recipient){ .address = q->address });
}

void ask_refresh(struct hop_peer *p, const struct hop_envelope *e, struct slice address)
{
	uint64_t hash = hash_of(p->hop->cache, e->place, address);
	if (!is_asked(p->hop->cache, hash))
		ask(p, e, address, hash, false);
}

void ask_probe(struct hop_peer *p, const struct hop_envelope *e, struct slice address)
{
	struct ask_cache *c = p->hop->cache;
	struct slice domain = domain_of(address);
	uint64_t hash = hash_of(c, e->place, domain);
	struct unique made_up = unique_new();
	struct buf probe = BUF_INIT(ADDRESS_MAX);
	buf_addf(&probe, "porter-%.*s%.*s", SLICE_FMT(unique_slice(&made_up)), SLICE_FMT(domain));
	if (domain.n > 1 && !buf_full(&probe) && !recall(c, hash) && !is_asked(c, hash))
		ask(p, e, buf_slice(&probe), hash, true);
	buf_free(&probe);
}
