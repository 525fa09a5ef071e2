/* Idle connections: one list, newest first, bounded. */
#include "delivery/pool.h"

#include "base/clock.h"
#include "base/mem.h"

enum { KEY_MAX = 4096 };

struct pool {
	struct loop *loop;
	struct link *first;
	size_t count;
};

static void keep(struct buf *b, struct slice s)
{
	buf_init(b, KEY_MAX);
	buf_add(b, s);
}

struct link *link_new(struct slice place, struct slice peer, struct slice host, const struct net_address *address)
{
	struct link *l = MEM_NEW(struct link);
	keep(&l->place, place), keep(&l->peer, peer), keep(&l->host, host);
	l->address = *address;
	l->made_ms = clock_mono_ms();
	return l;
}

static void free_rest(struct link *l)
{
	loop_timer_free(l->timer);
	buf_free(&l->place), buf_free(&l->peer), buf_free(&l->host);
	mem_free(l);
}

void link_free(struct link *l)
{
	if (!l)
		return;
	client_free(l->client);
	free_rest(l);
}

void link_quit(struct link *l)
{
	if (!l)
		return;
	client_quit(l->client);
	free_rest(l);
}

struct pool *pool_new(struct loop *l)
{
	struct pool *p = MEM_NEW(struct pool);
	p->loop = l;
	return p;
}

static void take_out(struct link *l)
{
	struct link **at = &l->pool->first;
	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	l->pool->count--;
	l->pool = NULL;
	loop_timer_stop(l->timer);
}

void pool_clear(struct pool *p)
{
	while (p->first) {
		struct link *l = p->first;
		take_out(l);
		link_quit(l);
	}
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	pool_clear(p);
	mem_free(p);
}

size_t pool_count(const struct pool *p)
{
	return p->count;
}

/* -- while it is idle -------------------------------------------------------------------------------------------------------------- */

static void on_ready(void *arg, struct client *c)
{
	(void)arg, (void)c;
}

static void on_reply(void *arg, struct client *c, enum client_step step, size_t index, const struct mail_reply *r)
{
	struct link *l = arg;
	(void)index;
	bool no_reset = step == CLIENT_RESET && r->code / 100 != 2, wants_content = step == CLIENT_DATA && r->code / 100 == 3;
	if (no_reset || wants_content) {
		take_out(l);
		link_free(l);
	} else if (l->settling && client_is_idle(c)) {
		l->settling = false;
		client_reset(c);
		client_go(c);
	}
}

static void on_end(void *arg, struct client *c, enum client_end how, struct mail_status s)
{
	struct link *l = arg;
	(void)c, (void)how, (void)s;
	take_out(l);
	link_free(l);
}

static void idle_too_long(void *arg)
{
	struct link *l = arg;
	take_out(l);
	link_quit(l);
}

/* -- in and out ------------------------------------------------------------------------------------------------------------------ */

static struct link *take(struct pool *p, struct slice key, bool by_peer)
{
	for (struct link *l = p->first; l; l = l->next)
		if (!l->settling && slice_eq(buf_slice(by_peer ? &l->peer : &l->place), key)) {
			take_out(l);
			return l;
		}
	return NULL;
}

struct link *pool_take_place(struct pool *p, struct slice place)
{
	return take(p, place, false);
}

struct link *pool_take_peer(struct pool *p, struct slice peer)
{
	return take(p, peer, true);
}

static size_t count_same(const struct pool *p, const struct link *as)
{
	size_t n = 0;
	for (const struct link *l = p->first; l; l = l->next)
		n += slice_eq(buf_slice(&l->peer), buf_slice(&as->peer));
	return n;
}

void pool_put(struct pool *p, struct link *l, bool open)
{
	static const struct client_handler handler = { on_ready, on_reply, on_end };
	const struct client_offer *o = client_offer(l->client);
	bool worn = client_served(l->client) >= (o->mail_max ? o->mail_max : POOL_MAX_SERVED) || clock_mono_ms() - l->made_ms > POOL_MAX_AGE_MS;
	if (!client_may_settle(l->client) || worn || p->count >= POOL_MAX || count_same(p, l) >= POOL_MAX_SAME) {
		link_quit(l);
		return;
	}
	client_own(l->client, &handler, l);
	if (!l->timer)
		l->timer = loop_timer_new(p->loop, idle_too_long, l);
	loop_timer_set(l->timer, POOL_IDLE_MS);
	l->pool = p;
	l->next = p->first;
	p->first = l;
	p->count++;
	l->settling = !client_is_idle(l->client);
	if (open && !l->settling) {
		client_reset(l->client);
		client_go(l->client);
	}
}
