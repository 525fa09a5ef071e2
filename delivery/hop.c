/* Peers and pass-through: BEGIN, RCPT, CONTENT, ABORT to an attempt, and its answers back. */
#include "delivery/hop.h"

#include <errno.h>

#include "base/log.h"
#include "base/mem.h"
#include "delivery/hop_inside.h"
#include "queue/job_proto.h"

enum { ANSWER_MAX = 2 << 20 };

struct asked_about {
	uint64_t id;                   /* of HOP_RCPT; 0 answered */
	struct slice address;
	bool ask;                      /* only the hop knows */
};

/* One transaction of a peer. */
struct passing {
	struct hop_peer *peer;
	struct passing *next;
	struct arena mem;
	struct slice transaction, place;
	struct hop_envelope envelope;
	struct attempt *attempt;
	struct asked_about *rcpts;
	size_t count, room;
	uint64_t content_id;
	bool content_asked, late;      /* late: its asker has heard 451, and the hop still thinks */
	struct slice digest;           /* of its content */
};

/* -- peers ------------------------------------------------------------------------------------------------------------------------ */

static bool is_idle(const struct hop *h)
{
	return h->peers == NULL && h->under_way == 0;
}

bool hop_is_idle(const struct hop *h)
{
	return is_idle(h);
}

static void forget_peer(struct hop_peer *p)
{
	struct hop *h = p->hop;
	struct hop_peer **at = &h->peers;
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	mem_free(p);
}

static void tell_idle(struct hop *h)
{
	if (is_idle(h) && h->setup.on_idle)
		h->setup.on_idle(h->setup.arg);
}

void hop_peer_use(struct hop_peer *p)
{
	p->users++;
	p->hop->under_way++;
}

void hop_peer_leave(struct hop_peer *p)
{
	struct hop *h = p->hop;
	p->users--;
	h->under_way--;
	if (!p->ipc && p->users == 0)
		forget_peer(p);
	tell_idle(h);
}

void hop_answer(struct hop_peer *p, uint16_t type, uint64_t id, struct buf *b)
{
	if (p->ipc)
		ipc_send(p->ipc, type, id, buf_slice(b), -1);
	buf_free(b);
}

/* -- answers --------------------------------------------------------------------------------------------------------------------- */

static const struct hop_facts no_facts;

/* 421 and 521 are about the hop's own connection or host (RFC 5321, 3.8; 7504): said by us they would end the client's session, or all of its mail to us. */
static struct mail_status as_ours(struct mail_status s)
{
	s.code = s.code == 421 ? 451 : s.code == 521 ? 554 : s.code;
	return s;
}

/* Of each in its place. */
static struct hop_content_done done_as_ours(const struct hop_content_done *d)
{
	struct hop_content_done ours = *d;
	ours.status = as_ours(d->status);
	for (size_t i = 0; i < d->count; i++)
		ours.each[i] = as_ours(d->each[i]);
	return ours;
}

static void answer_rcpt(struct hop_peer *p, uint64_t id, struct mail_status s, const struct hop_facts *f, bool accept_all, bool about_recipient)
{
	struct buf b = BUF_INIT(ANSWER_MAX);
	hop_put_rcpt_done(&b, &(struct hop_rcpt_done){ as_ours(s), *f, accept_all, about_recipient });
	hop_answer(p, HOP_RCPT_DONE, id, &b);
}

static void answer_content(struct hop_peer *p, uint64_t id, const struct hop_content_done *d)
{
	struct buf b = BUF_INIT(ANSWER_MAX);
	struct hop_content_done ours = done_as_ours(d);
	hop_put_content_done(&b, &ours);
	hop_answer(p, HOP_CONTENT_DONE, id, &b);
}

static void passing_free(struct passing *t)
{
	struct hop_peer *p = t->peer;
	struct passing **at = &p->hop->passings;
	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	attempt_free(t->attempt);
	mem_free(t->rcpts);
	arena_free(&t->mem);
	mem_free(t);
	hop_peer_leave(p);
}

static void on_rcpt(void *arg, size_t index, const struct mail_status *s, struct slice reply)
{
	struct passing *t = arg;
	const struct hop_facts *f = attempt_facts(t->attempt);
	struct ask_cache *cache = t->peer->hop->cache;
	struct asked_about *r = &t->rcpts[index];
	uint64_t id = r->id;
	(void)reply;
	r->id = 0;
	bool heard = attempt_heard(t->attempt, index);
	if (heard)
		ask_learn(cache, t->place, r->address, s);
	if (r->ask && s->fate == MAIL_OK)
		ask_probe(t->peer, &t->envelope, r->address);
	answer_rcpt(t->peer, id, *s, f, ask_takes_all(cache, t->place, r->address), heard && (s->fate == MAIL_OK || ask_is_unknown(s)));
}

static void count_fate(struct hop *h, const struct hop_content_done *d)
{
	if (d->status.fate == MAIL_OK)
		h->passed++;
	else if (d->facts.unknown)
		h->lost++;
	else
		h->refused++;
}

static void on_content(void *arg, const struct hop_content_done *d, struct slice reply)
{
	struct passing *t = arg;
	t->late = d->facts.unknown;
	count_fate(t->peer->hop, d);
	log_event(LOG_INFO, "hop", LOG_STR("id", t->transaction), LOG_STR("place", t->place), LOG_STR("host", d->facts.host), LOG_STR("address", d->facts.address),
		LOG_STR("tls", d->facts.tls), LOG_UINT("code", d->status.code), LOG_STR("reply", reply.n ? reply : d->status.text), LOG_END);
	answer_content(t->peer, t->content_id, d);
	if (!d->facts.unknown)
		passing_free(t);
}

/* d NULL: it will never be known. */
static void on_late(void *arg, const struct hop_content_done *d)
{
	struct passing *t = arg;
	struct hop_content_done never = { .status = MAIL_STATUS_UNSURE("The next hop's reply was lost") };
	struct buf b = BUF_INIT(ANSWER_MAX);
	if (d)
		log_event(LOG_INFO, "hop-late", LOG_STR("id", t->transaction), LOG_STR("host", d->facts.host), LOG_UINT("code", d->status.code), LOG_END);
	hop_put_late(&b, &(struct hop_late){ t->transaction, d ? done_as_ours(d) : never });
	hop_answer(t->peer, HOP_LATE, 0, &b);
	passing_free(t);
}

/* -- questions ---------------------------------------------------------------------------------------------------------------------- */

static struct passing *find(struct hop_peer *p, struct slice transaction)
{
	for (struct passing *t = p->hop->passings; t; t = t->next)
		if (t->peer == p && !t->content_asked && slice_eq(t->transaction, transaction))
			return t;
	return NULL;
}

static int begin(struct hop_peer *p, struct ipc_message *m)
{
	static const struct attempt_handler handler = { on_rcpt, on_content, on_late, NULL };
	struct hop_envelope e;
	if (hop_get_envelope(m->payload, &e) < 0 || find(p, e.transaction))
		return -EPROTO;
	struct passing *t = MEM_NEW(struct passing);
	*t = (struct passing){ .peer = p, .next = p->hop->passings };
	t->envelope = e;
	t->envelope.transaction = t->transaction = arena_copy(&t->mem, e.transaction);
	t->envelope.place = t->place = arena_copy(&t->mem, e.place);
	t->envelope.route = arena_copy(&t->mem, e.route);
	t->envelope.reverse_path = arena_copy(&t->mem, e.reverse_path);
	t->envelope.envelope_id = SLICE_NONE;
	t->envelope.size = 0;
	t->attempt = attempt_new(p->hop->setup.hops, &e, &handler, t);
	p->hop->passings = t;
	hop_peer_use(p);
	return 0;
}

/* A refusal that was heard minutes ago needs no call (rule.md, "Relayed domains": negative answers are believed for minutes); who still wants that recipient at the end of these
 * minutes has it asked for again behind the answer. */
static bool is_known_bad(struct passing *t, struct slice address, struct mail_status *s)
{
	bool old;
	if (!ask_recall(t->peer->hop->cache, t->place, address, &t->mem, s, &old) || s->fate != MAIL_NEVER)
		return false;
	if (old)
		ask_refresh(t->peer, &t->envelope, address);
	return true;
}

static int rcpt(struct hop_peer *p, struct ipc_message *m)
{
	struct hop_rcpt r;
	struct mail_status s;
	if (hop_get_rcpt(m->payload, &r) < 0)
		return -EPROTO;
	struct passing *t = find(p, r.transaction);
	if (!t || t->count == HOP_MAX_RECIPIENTS) {
		answer_rcpt(p, m->id, t ? MAIL_STATUS(MAIL_LATER, 452, 5, 3, "Too many recipients") : MAIL_STATUS_UNSURE("The transaction is gone"), &no_facts, false, false);
		return 0;
	}
	if (is_known_bad(t, r.recipient.address, &s)) {
		answer_rcpt(p, m->id, s, &no_facts, false, false);
		return 0;
	}
	if (t->count == t->room) {
		t->room = t->room ? t->room * 2 : 4;
		t->rcpts = mem_grow(t->rcpts, t->room, sizeof *t->rcpts);
	}
	t->rcpts[t->count++] = (struct asked_about){ m->id, arena_copy(&t->mem, r.recipient.address), r.ask };
	attempt_rcpt(t->attempt, &r.recipient);
	return 0;
}

static bool share_recipient(const struct passing *a, const struct passing *b)
{
	for (size_t i = 0; i < a->count; i++)
		for (size_t k = 0; k < b->count; k++)
			if (slice_eq(a->rcpts[i].address, b->rcpts[k].address))
				return true;
	return false;
}

/* A hop thinks about this very message: whoever sends it again, since he was put off or did not wait, hears what became of it when it is known. */
static bool is_thought_about(const struct passing *t, const struct hop_content *c)
{
	for (const struct passing *x = t->peer->hop->passings; x; x = x->next)
		if (x->content_asked && (x->late || c->named) && c->digest.n && slice_eq(x->digest, c->digest) && slice_eq(x->place, t->place) &&
		    slice_eq(x->envelope.reverse_path, t->envelope.reverse_path) && share_recipient(x, t))
			return true;
	return false;
}

static int content(struct hop_peer *p, struct ipc_message *m)
{
	struct hop_content c;
	if (hop_get_content(m->payload, &c) < 0 || (c.from_file && m->fd < 0))
		return -EPROTO;
	struct passing *t = find(p, c.transaction);
	if (!t) {
		answer_content(p, m->id, &(struct hop_content_done){ .status = MAIL_STATUS_UNSURE("The transaction is gone") });
		return 0;
	}
	if (is_thought_about(t, &c)) {
		log_event(LOG_INFO, "hop-asked-already", LOG_STR("id", t->transaction), LOG_STR("place", t->place), LOG_END);
		answer_content(p, m->id, &(struct hop_content_done){ .status = MAIL_STATUS(MAIL_LATER, 451, 4, 2, "The next hop has not answered to this message yet, try again later") });
		passing_free(t);
		return 0;
	}
	t->digest = arena_copy(&t->mem, c.digest);
	struct body_plan plan = { .content = c.content, .fd = c.from_file ? m->fd : -1, .offset = c.offset, .length = c.length, .lf_ends = c.lf_ends,
		.eight_bit = c.eight_bit };
	if (c.from_file)
		m->fd = -1;
	t->content_asked = true;
	t->content_id = m->id;
	attempt_content(t->attempt, body_new(p->hop->loop, p->hop->setup.hops->worker, &plan), c.budget_ms);
	return 0;
}

static void answer_open(struct passing *t)
{
	for (size_t i = 0; i < t->count; i++)
		if (t->rcpts[i].id)
			answer_rcpt(t->peer, t->rcpts[i].id, MAIL_STATUS_UNSURE("The transaction was given up"), &no_facts, false, false);
}

static int abort_one(struct hop_peer *p, struct ipc_message *m)
{
	struct slice transaction;
	if (hop_get_transaction(m->payload, &transaction) < 0)
		return -EPROTO;
	struct passing *t = find(p, transaction);
	if (t) {
		answer_open(t);
		passing_free(t);
	}
	return 0;
}

static int on_message(void *arg, struct ipc *from, struct ipc_message *m)
{
	struct hop_peer *p = arg;
	(void)from;
	switch (m->type) {
	case HOP_BEGIN: return begin(p, m);
	case HOP_RCPT: return rcpt(p, m);
	case HOP_CONTENT: return content(p, m);
	case HOP_ABORT: return abort_one(p, m);
	case JOB_START: return job_take(p, m);
	case JOB_CANCEL: return job_cancel(p, m);
	case JOB_HOST_OK: return job_host_ok(p, m);
	}
	return -EPROTO;
}

/* Before the dot: aborted. Behind it: goes on, unheard. */
static void on_close(void *arg, struct ipc *which)
{
	struct hop_peer *p = arg;
	struct hop *h = p->hop;
	ipc_free(which);
	p->ipc = NULL;
	hop_peer_use(p);
	for (struct passing *t = h->passings, *next; t; t = next) {
		next = t->next;
		if (t->peer == p && !t->content_asked)
			passing_free(t);
	}
	job_peer_gone(p);
	hop_peer_leave(p);
}

void hop_add_peer(struct hop *h, int fd)
{
	static const struct ipc_handler handler = { on_message, on_close };
	struct hop_peer *p = MEM_NEW(struct hop_peer);
	*p = (struct hop_peer){ .hop = h, .next = h->peers };
	h->peers = p;
	p->ipc = ipc_new(h->loop, fd, &handler, p);
}

struct hop *hop_new(struct loop *l, const struct hop_setup *s)
{
	struct hop *h = MEM_NEW(struct hop);
	*h = (struct hop){ .loop = l, .setup = *s };
	h->lanes = lanes_new(h);
	h->cache = ask_cache_new(h);
	return h;
}

void hop_free(struct hop *h)
{
	if (!h)
		return;
	h->setup.on_idle = NULL;
	while (h->passings)
		passing_free(h->passings);
	ask_cache_free(h->cache);
	lanes_free(h->lanes);
	while (h->peers) {
		ipc_free(h->peers->ipc);
		forget_peer(h->peers);
	}
	mem_free(h);
}

void hop_report(struct hop *h, struct buf *json)
{
	buf_addf(json, "{\"under_way\":%zu,\"passed\":%llu,\"refused\":%llu,\"unknown\":%llu", h->under_way, (unsigned long long)h->passed,
		(unsigned long long)h->refused, (unsigned long long)h->lost);
	lanes_report(h->lanes, json);
	buf_add_byte(json, '}');
}
