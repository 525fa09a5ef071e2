/* Answers from the process `resolver`, and from the cache of its last ones. A question keeps its payload until it is answered, so that a new channel, after a restart,
 * gets all that are open; their time is base/dns.c's. */
#include "base/dns_source.h"

#include <errno.h>

#include "base/clock.h"
#include "base/dns_cache.h"
#include "base/dns_proto.h"
#include "base/ipc.h"
#include "base/mem.h"

enum { BUCKETS = 64, MAX_QUESTION = 320 };

struct ticket {
	uint64_t id;             /* 0: its answer is known */
	struct dns_query *query;
	struct ticket *next;     /* in its bucket, or of those known */
	struct buf question;     /* or the answer */
	uint32_t age_s;
};

struct link {
	struct loop *loop;
	struct ipc *channel;     /* NULL while there is none */
	struct ticket *open[BUCKETS], *known;
	uint64_t last_id;
	struct dns_cache *cache;
	struct loop_timer *soon; /* gives what is known: an answer never comes from inside the asking */
};

/* The place of a question in the list of its bucket. */
static struct ticket **place_of(struct link *k, uint64_t id)
{
	struct ticket **at = &k->open[id % BUCKETS];
	while (*at && (*at)->id != id)
		at = &(*at)->next;
	return at;
}

static void forget(struct ticket **at)
{
	struct ticket *t = *at;
	*at = t->next;
	buf_free(&t->question);
	mem_free(t);
}

static void give(struct ticket **at, const struct dns_answer *a)
{
	struct dns_query *q = (*at)->query;
	forget(at);
	dns_source_answer(q, a);
}

/* -- what is known --------------------------------------------------------------------------------------------------------------------- */

static bool find_known(struct link *k, struct ticket *t)
{
	struct slice text = dns_cache_find(k->cache, buf_slice(&t->question), clock_mono_ms(), &t->age_s);
	if (!text.p)
		return false;
	buf_free(&t->question);
	buf_init(&t->question, DNS_CACHE_MAX_VALUE);
	buf_add(&t->question, text);
	t->id = 0;
	t->next = k->known;
	k->known = t;
	loop_timer_set(k->soon, 0);
	return true;
}

static void give_known(void *arg)
{
	struct link *k = arg;
	static const struct dns_answer none = { .answer = UNSURE, .why = "servfail" };
	while (k->known) {
		struct arena mem = ARENA_INIT(64 * DNS_MAX_RECORDS);
		struct buf text = k->known->question;
		struct dns_answer a;
		uint32_t age_s = k->known->age_s;
		k->known->question = (struct buf)BUF_INIT(0);
		if (!dns_get_answer(buf_slice(&text), &mem, &a))
			a = none;
		a.ttl_s -= age_s < a.ttl_s ? age_s : a.ttl_s;
		give(&k->known, &a);
		buf_free(&text);
		arena_free(&mem);
	}
}

/* -- asking ----------------------------------------------------------------------------------------------------------------------------- */

static int ask(void *self, struct dns_query *q, enum dns_type type, const char *name, void **ticket)
{
	struct link *k = self;
	struct ticket *t = MEM_NEW(struct ticket);
	*t = (struct ticket){ .query = q };
	buf_init(&t->question, MAX_QUESTION);
	dns_put_question(&t->question, type, slice_of(name));
	*ticket = t;
	if (find_known(k, t))
		return 0;
	t->id = ++k->last_id;
	*place_of(k, t->id) = t;
	if (k->channel)
		ipc_send(k->channel, DNS_ASK, t->id, buf_slice(&t->question), -1);
	return 0;
}

static void drop(void *self, void *ticket)
{
	struct link *k = self;
	struct ticket *t = ticket, **at = t->id ? place_of(k, t->id) : &k->known;
	if (t->id && k->channel)
		ipc_send(k->channel, DNS_DROP, t->id, SLICE_NONE, -1);
	while (*at != t)
		at = &(*at)->next;
	forget(at);
}

static int from_resolver(void *arg, struct ipc *from, struct ipc_message *m)
{
	struct link *k = arg;
	struct arena mem = ARENA_INIT(64 * DNS_MAX_RECORDS);
	struct dns_answer a;
	(void)from;
	bool good = m->type == DNS_ANSWER && dns_get_answer(m->payload, &mem, &a);
	struct ticket **at = place_of(k, m->id);
	if (good && *at) { /* else dropped */
		if (a.answer != UNSURE)
			dns_cache_put(k->cache, buf_slice(&(*at)->question), m->payload, clock_mono_ms(), a.ttl_s);
		give(at, &a);
	}
	arena_free(&mem);
	return good ? 0 : -EPROTO;
}

static void resolver_gone(void *arg, struct ipc *which)
{
	struct link *k = arg;
	ipc_free(which);
	k->channel = NULL;
}

/* -- begin and end --------------------------------------------------------------------------------------------------------------------- */

static void link_free(void *self)
{
	struct link *k = self;
	for (size_t i = 0; i < BUCKETS; i++)
		while (k->open[i])
			forget(&k->open[i]);
	while (k->known)
		forget(&k->known);
	loop_timer_free(k->soon);
	dns_cache_free(k->cache);
	ipc_free(k->channel);
	mem_free(k);
}

void *dns_link_new(struct loop *l, const struct dns_source **out)
{
	static const struct dns_source source = { link_free, ask, drop };
	struct link *k = MEM_NEW(struct link);
	k->loop = l;
	k->cache = dns_cache_new();
	k->soon = loop_timer_new(l, give_known, k);
	*out = &source;
	return k;
}

void dns_link_attach(void *self, int fd)
{
	static const struct ipc_handler handler = { from_resolver, resolver_gone };
	struct link *k = self;
	ipc_free(k->channel);
	k->channel = ipc_new(k->loop, fd, &handler, k);
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct ticket *t = k->open[i]; t; t = t->next)
			ipc_send(k->channel, DNS_ASK, t->id, buf_slice(&t->question), -1);
}
