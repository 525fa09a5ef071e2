/* What next hops said about recipients (rule.md, "Relayed domains"): a fixed table, positive answers believed for days, negative ones for minutes and only
 * when they were the hop's own 5.1.x. A hop that takes a made-up recipient takes everything: its word is worth nothing, and that is told, too. */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/unique.h"
#include "delivery/hop_inside.h"

enum { SETS = 8192, WAYS = 4, TEXT_MAX = 96, ANSWER_MAX = 64 << 10, PROBE_S = 86400 };

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
};

/* One question, or a probe that nobody waits for. */
struct question {
	struct hop_peer *peer;
	uint64_t id;
	bool wanted;                   /* an answer is due */
	bool probe;
	struct arena mem;
	struct slice place, address, domain;
	struct attempt *attempt;
	struct loop_timer *end;
};

struct ask_cache *ask_cache_new(struct hop *h)
{
	struct ask_cache *c = MEM_NEW(struct ask_cache);
	c->hop = h;
	c->key = hash_key_random();
	return c;
}

void ask_cache_free(struct ask_cache *c)
{
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

static struct memory *recall(const struct ask_cache *c, uint64_t hash)
{
	struct memory *set = c->sets[hash % SETS];
	for (size_t i = 0; set && i < WAYS; i++)
		if (set[i].hash == hash && set[i].until_s > clock_wall_s())
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

void ask_learn(struct ask_cache *c, struct slice place, struct slice address, const struct mail_status *s)
{
	if (s->fate == MAIL_OK)
		remember(c, hash_of(c, place, address), s, c->hop->setup.positive_s);
	else if (s->fate == MAIL_NEVER && s->enhanced[0] == 1)
		remember(c, hash_of(c, place, address), s, c->hop->setup.negative_s);
}

static struct mail_status as_status(const struct memory *m, struct arena *mem)
{
	return (struct mail_status){ m->code / 100 == 2 ? MAIL_OK : MAIL_NEVER, m->code, { m->enhanced[0], m->enhanced[1] },
		arena_copy(mem, slice(m->text, m->length)) };
}

bool ask_recall(struct ask_cache *c, struct slice place, struct slice address, struct arena *mem, struct mail_status *s)
{
	const struct memory *m = recall(c, hash_of(c, place, address));
	if (m)
		*s = as_status(m, mem);
	return m != NULL;
}

/* -- asking -------------------------------------------------------------------------------------------------------------------------- */

static struct slice domain_of(struct slice address)
{
	return slice_skip(address, slice_rfind(address, '@')); /* with its '@': no address is spelled so */
}

static bool takes_all(const struct question *q, bool *known)
{
	struct ask_cache *c = q->peer->hop->cache;
	const struct memory *m = recall(c, hash_of(c, q->place, q->domain));
	*known = m != NULL;
	return m && m->code == 250;
}

static void answer(struct question *q, struct mail_status s, bool cached, const struct hop_facts *f)
{
	struct buf b = BUF_INIT(ANSWER_MAX);
	bool known;
	struct hop_asked a = { .status = s, .cached = cached, .accept_all = takes_all(q, &known) };
	if (f)
		a.facts = *f;
	q->wanted = false;
	hop_put_asked(&b, &a);
	hop_answer(q->peer, HOP_ASKED, q->id, &b);
}

static void question_free(struct question *q)
{
	struct hop_peer *p = q->peer;
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

/* Recipient 0 is the one asked about, 1 the made-up one. */
static void on_rcpt(void *arg, size_t index, const struct mail_status *s, struct slice reply)
{
	struct question *q = arg;
	struct ask_cache *c = q->peer->hop->cache;
	const struct hop_facts *f = attempt_facts(q->attempt);
	(void)reply;
	if (index == 0) {
		if (!f->down)
			ask_learn(c, q->place, q->address, s);
		if (q->wanted)
			answer(q, *s, false, f);
	} else if (!f->down && s->fate != MAIL_LATER) {
		remember(c, hash_of(c, q->place, q->domain), s, PROBE_S);
		if (s->fate == MAIL_OK)
			log_event(LOG_WARN, "hop-takes-all", LOG_STR("place", q->place), LOG_STR("domain", slice_skip(q->domain, 1)), LOG_END);
	}
	if (index + 1 == attempt_rcpt_count(q->attempt))
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

static void call(struct question *q, const struct hop_ask *a)
{
	static const struct attempt_handler handler = { on_rcpt, on_content, on_late, NULL };
	struct unique made_up = unique_new();
	struct buf probe = BUF_INIT(1024);
	bool known;
	takes_all(q, &known);
	q->attempt = attempt_new(q->peer->hop->setup.hops, &a->envelope, &handler, q);
	attempt_rcpt(q->attempt, &a->recipient);
	buf_addf(&probe, "porter-%.*s%.*s", SLICE_FMT(unique_slice(&made_up)), SLICE_FMT(q->domain));
	if (!known && q->domain.n > 1)
		attempt_rcpt(q->attempt, &(struct hop_recipient){ .address = buf_slice(&probe) });
	buf_free(&probe);
}

int ask_take(struct hop_peer *p, struct ipc_message *m)
{
	struct hop_ask a;
	if (hop_get_ask(m->payload, &a) < 0)
		return -EPROTO;
	struct question *q = MEM_NEW(struct question);
	struct ask_cache *c = p->hop->cache;
	*q = (struct question){ .peer = p, .id = m->id, .wanted = true };
	q->place = arena_copy(&q->mem, a.envelope.place);
	q->address = arena_copy(&q->mem, a.recipient.address);
	q->domain = domain_of(q->address);
	q->end = loop_timer_new(p->hop->loop, on_end, q);
	hop_peer_use(p);
	const struct memory *known = recall(c, hash_of(c, q->place, q->address));
	if (known)
		answer(q, as_status(known, &q->mem), true, NULL);
	/* a good answer past half its time is asked again while it still serves */
	if (known && (known->code != 250 || clock_wall_s() - known->heard_s < (int64_t)c->hop->setup.positive_s / 2))
		loop_timer_set(q->end, 0);
	else
		call(q, &a);
	return 0;
}
