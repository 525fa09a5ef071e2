/* Questions to another process. An id is the place of the question in a table and a count that makes it unique, so that an answer finds its
 * question without a search and a late one finds none. */
#include "smtpd/peer.h"

#include <assert.h>
#include <errno.h>

#include "base/log.h"
#include "base/mem.h"

enum { INDEX_BITS = 24, MAX_OPEN = 1 << 20 };

struct peer_question {
	struct peer *peer;
	uint64_t id;
	peer_answer answer;
	void *arg;
	struct loop_timer *timer;
};

struct peer {
	struct loop *loop;
	const char *name;
	struct ipc *channel;
	int (*unasked)(void *arg, struct ipc_message *m);
	void (*up)(void *arg);
	void *arg;
	struct peer_question **open;   /* NULL where free */
	uint32_t *free;                /* places that are free, a stack */
	size_t size, free_count;
	uint64_t count;
};

struct peer *peer_new(struct loop *l, const char *name, int (*unasked)(void *arg, struct ipc_message *m), void (*up)(void *arg), void *arg)
{
	struct peer *p = MEM_NEW(struct peer);
	*p = (struct peer){ .loop = l, .name = name, .unasked = unasked, .up = up, .arg = arg };
	return p;
}

static void forget(struct peer_question *q)
{
	struct peer *p = q->peer;
	uint32_t place = (uint32_t)(q->id & ((1 << INDEX_BITS) - 1));
	p->open[place] = NULL;
	p->free[p->free_count++] = place;
	loop_timer_free(q->timer);
	mem_free(q);
}

void peer_cancel(struct peer_question *q)
{
	if (q)
		forget(q);
}

static int tell(struct peer_question *q, struct ipc_message *m)
{
	peer_answer answer = q->answer;
	void *arg = q->arg;
	forget(q);
	return answer(arg, m);
}

void peer_free(struct peer *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->size; i++)
		peer_cancel(p->open[i]);
	ipc_free(p->channel);
	mem_free(p->open);
	mem_free(p->free);
	mem_free(p);
}

/* -- the channel --------------------------------------------------------------------------------------------------------------------- */

static int on_message(void *arg, struct ipc *from, struct ipc_message *m)
{
	struct peer *p = arg;
	size_t place = m->id & ((1 << INDEX_BITS) - 1);
	struct peer_question *q = place < p->size ? p->open[place] : NULL;
	(void)from;
	if (q && q->id == m->id)
		return tell(q, m);
	return p->unasked ? p->unasked(p->arg, m) : 0;
}

/* Questions asked by these answers, on a channel that is new by then, stay. */
static void answer_all(struct peer *p, struct ipc_message *m)
{
	uint64_t until = p->count;
	for (size_t i = 0; i < p->size; i++)
		if (p->open[i] && p->open[i]->id >> INDEX_BITS <= until)
			tell(p->open[i], m);
}

static void on_close(void *arg, struct ipc *which)
{
	struct peer *p = arg;
	ipc_free(which);
	if (p->channel != which)
		return;
	p->channel = NULL;
	/* At a reload this is the way of things; that one died, its parent warns. */
	log_event(LOG_INFO, "peer-gone", LOG_CSTR("peer", p->name), LOG_END);
	answer_all(p, NULL);
}

void peer_attach(struct peer *p, int fd)
{
	static const struct ipc_handler handler = { on_message, on_close };
	struct ipc *old = p->channel;
	p->channel = NULL;
	ipc_free(old);
	if (old)
		answer_all(p, NULL);
	p->channel = ipc_new(p->loop, fd, &handler, p);
	answer_all(p, &(struct ipc_message){ .fd = -1 }); /* what is open now has waited for it */
	if (p->up)
		p->up(p->arg);
}

bool peer_is_up(const struct peer *p)
{
	return p->channel != NULL;
}

struct ipc *peer_channel(struct peer *p)
{
	return p->channel;
}

/* -- asking --------------------------------------------------------------------------------------------------------------------------- */

static void grow(struct peer *p)
{
	size_t size = p->size ? p->size * 2 : 16;
	p->open = mem_grow(p->open, size, sizeof *p->open);
	p->free = mem_grow(p->free, size, sizeof *p->free);
	for (size_t i = size; i-- > p->size;) {
		p->open[i] = NULL;
		p->free[p->free_count++] = (uint32_t)i;
	}
	p->size = size;
}

static void timed_out(void *arg)
{
	struct peer_question *q = arg;
	log_event(LOG_WARN, "peer-slow", LOG_CSTR("peer", q->peer->name), LOG_END);
	tell(q, NULL);
}

static struct peer_question *open_question(struct peer *p, uint64_t timeout_ms, peer_answer answer, void *arg)
{
	if (!p->free_count && p->size >= MAX_OPEN)
		return NULL;
	if (!p->free_count)
		grow(p);
	uint32_t place = p->free[--p->free_count];
	struct peer_question *q = MEM_NEW(struct peer_question);
	*q = (struct peer_question){ .peer = p, .id = ++p->count << INDEX_BITS | place, .answer = answer, .arg = arg };
	p->open[place] = q;
	if (timeout_ms) {
		q->timer = loop_timer_new(p->loop, timed_out, q);
		loop_timer_set(q->timer, timeout_ms);
	}
	return q;
}

struct peer_question *peer_question_new(struct peer *p, uint64_t timeout_ms, peer_answer answer, void *arg)
{
	return p->channel ? open_question(p, timeout_ms, answer, arg) : NULL;
}

struct peer_question *peer_await(struct peer *p, uint64_t timeout_ms, peer_answer answer, void *arg)
{
	assert(!p->channel);
	return open_question(p, timeout_ms, answer, arg);
}

uint64_t peer_question_id(const struct peer_question *q)
{
	return q->id;
}

struct peer_question *peer_ask(struct peer *p, uint16_t type, struct slice payload, int fd, uint64_t timeout_ms, peer_answer answer, void *arg)
{
	struct peer_question *q = peer_question_new(p, timeout_ms, answer, arg);
	if (q)
		ipc_send(p->channel, type, q->id, payload, fd); /* a failure breaks the channel, and that answers */
	return q;
}

int peer_tell(struct peer *p, uint16_t type, uint64_t id, struct slice payload)
{
	return p->channel ? ipc_send(p->channel, type, id, payload, -1) : -EPIPE;
}
