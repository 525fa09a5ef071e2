/* Questions to the login process about routes' credentials. One timer for each question: it is its patience, and its end when nobody can be asked. */
#include "delivery/route_login.h"

#include <errno.h>

#include "base/ipc.h"
#include "base/login_proto.h"
#include "base/mem.h"

struct route_login_query {
	struct route_login_query *next, **link;
	struct route_logins *owner;
	uint64_t id;
	struct loop_timer *timer;
	void (*done)(void *arg, enum answer a, struct slice user, struct slice password);
	void *arg;
};

struct route_logins {
	struct loop *loop;
	struct ipc *channel;
	struct route_login_query *open;
	size_t count;
	uint64_t last_id;
};

struct route_logins *route_logins_new(struct loop *l)
{
	struct route_logins *r = MEM_NEW(struct route_logins);
	r->loop = l;
	return r;
}

void route_login_cancel(struct route_login_query *q)
{
	if (!q)
		return;
	*q->link = q->next;
	if (q->next)
		q->next->link = q->link;
	q->owner->count--;
	loop_timer_free(q->timer);
	mem_free(q);
}

void route_logins_free(struct route_logins *r)
{
	if (!r)
		return;
	while (r->open)
		route_login_cancel(r->open);
	ipc_free(r->channel);
	mem_free(r);
}

static void finish(struct route_login_query *q, enum answer a, struct slice user, struct slice password)
{
	void (*done)(void *arg, enum answer answer, struct slice u, struct slice p) = q->done;
	void *arg = q->arg;
	route_login_cancel(q);
	done(arg, a, user, password);
}

static void timed_out(void *arg)
{
	finish(arg, UNSURE, SLICE_NONE, SLICE_NONE);
}

static int on_message(void *arg, struct ipc *from, struct ipc_message *m)
{
	struct route_logins *r = arg;
	struct route_login_query *q = r->open;
	struct login_answer a;
	(void)from;
	if (m->type != LOGIN_ANSWER || !login_answer_read(m->payload, &a))
		return -EPROTO;
	while (q && q->id != m->id)
		q = q->next;
	if (q)
		finish(q, a.answer == FOUND && (!a.name.n || !a.proof.n) ? UNSURE : a.answer, a.name, a.proof);
	return 0;
}

static void on_close(void *arg, struct ipc *which)
{
	struct route_logins *r = arg;
	ipc_free(which);
	r->channel = NULL;
}

void route_logins_attach(struct route_logins *r, int fd)
{
	static const struct ipc_handler handler = { on_message, on_close };
	ipc_free(r->channel);
	r->channel = ipc_new(r->loop, fd, &handler, r);
}

struct route_login_query *route_login_find(struct route_logins *r, struct slice name,
                                           void (*done)(void *arg, enum answer a, struct slice user, struct slice password), void *arg)
{
	struct route_login_query *q = MEM_NEW(struct route_login_query);
	struct login_question question = { .name = name };
	struct buf b = BUF_INIT(LOGIN_MAX_PAYLOAD);
	*q = (struct route_login_query){ .next = r->open, .link = &r->open, .owner = r, .id = ++r->last_id, .done = done, .arg = arg };
	if (q->next)
		q->next->link = &q->next;
	r->open = q;
	r->count++;
	q->timer = loop_timer_new(r->loop, timed_out, q);
	int error = r->channel && r->count <= ROUTE_LOGIN_MAX_OPEN ? login_question_add(&b, &question) : -EAGAIN;
	error = error ? error : ipc_send(r->channel, LOGIN_HOP, q->id, buf_slice(&b), -1);
	buf_free(&b);
	loop_timer_set(q->timer, error ? 0 : ROUTE_LOGIN_WAIT_MS);
	return q;
}
