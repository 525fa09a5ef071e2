/* The asker's side of the keeper: questions in the order they were asked. Each keeps its payload until it is answered, so that a new channel, after a
 * restart of the keeper, gets all that are open. */
#include <errno.h>

#include "base/clock.h"
#include "base/field.h"
#include "base/ipc.h"
#include "base/keeper.h"
#include "base/keeper_proto.h"
#include "base/mem.h"

enum { MAX_PAYLOAD = KEEPER_MAX_DATA + 512, SWEEP_MS = 500 };

struct keeper_question {
	struct keeper_question *next, *before;
	struct keeper *keeper;
	uint64_t id, deadline_ms;
	uint16_t type;
	keeper_done done;
	void *arg;
	int error;               /* told in a round of its own when the asking itself failed */
	struct buf payload;
};

struct keeper {
	struct loop *loop;
	struct ipc *channel;     /* NULL while there is none */
	struct loop_timer *sweep;
	struct keeper_question *first, *last;
	size_t count;
	uint64_t last_id;
};

static void sweep(void *arg);

struct keeper *keeper_new(struct loop *l)
{
	struct keeper *k = MEM_NEW(struct keeper);
	k->loop = l;
	k->sweep = loop_timer_new(l, sweep, k);
	return k;
}

static void forget(struct keeper_question *q)
{
	struct keeper *k = q->keeper;
	*(q->before ? &q->before->next : &k->first) = q->next;
	*(q->next ? &q->next->before : &k->last) = q->before;
	k->count--;
	buf_free(&q->payload);
	mem_free(q);
}

static void finish(struct keeper_question *q, int error, struct slice out, unsigned number)
{
	keeper_done done = q->done;
	void *arg = q->arg;
	forget(q);
	done(arg, error, out, number);
}

void keeper_cancel(struct keeper_question *q)
{
	if (q)
		forget(q);
}

void keeper_free(struct keeper *k)
{
	if (!k)
		return;
	while (k->first)
		forget(k->first);
	ipc_free(k->channel);
	loop_timer_free(k->sweep);
	mem_free(k);
}

static struct keeper_question *overdue(struct keeper *k, uint64_t now)
{
	struct keeper_question *q = k->first;
	while (q && q->deadline_ms > now)
		q = q->next;
	return q;
}

/* Those that could not be asked at all (due at once), and those that waited too long. done may cancel others, so each search begins anew. */
static void sweep(void *arg)
{
	struct keeper *k = arg;
	uint64_t now = clock_mono_ms();
	struct keeper_question *q;
	while ((q = overdue(k, now)))
		finish(q, q->error ? q->error : -ETIMEDOUT, SLICE_NONE, 0);
	if (k->first)
		loop_timer_set(k->sweep, SWEEP_MS);
}

/* -- the channel --------------------------------------------------------------------------------------------------------------------- */

static bool read_answer(struct slice in, int *error, struct slice *data, unsigned *number)
{
	uint8_t tag;
	struct slice v;
	uint64_t n = 0;
	*error = 0, *number = 0, *data = SLICE_NONE;
	while (field_next(&in, &tag, &v)) {
		if (tag == KEEPER_TAG_DATA)
			*data = v;
		else if (tag == KEEPER_TAG_ERROR && field_uint(v, 4095, &n))
			*error = -(int)n;
		else if (tag == KEEPER_TAG_NUMBER && field_uint(v, KEEPER_MAX_MACS, &n))
			*number = (unsigned)n;
		else
			return false;
	}
	return in.n == 0;
}

static int from_keeper(void *arg, struct ipc *from, struct ipc_message *m)
{
	struct keeper *k = arg;
	struct slice data;
	unsigned number;
	int error;
	(void)from;
	if (m->type != KEEPER_ANSWER || !read_answer(m->payload, &error, &data, &number))
		return -EPROTO;
	struct keeper_question *q = k->first;
	while (q && q->id != m->id)
		q = q->next;
	if (q) /* else cancelled */
		finish(q, error, data, number);
	return 0;
}

static void keeper_gone(void *arg, struct ipc *which)
{
	struct keeper *k = arg;
	ipc_free(which);
	k->channel = NULL;
}

static const struct ipc_handler handler = { from_keeper, keeper_gone };

void keeper_attach(struct keeper *k, int fd)
{
	ipc_free(k->channel);
	k->channel = ipc_new(k->loop, fd, &handler, k);
	for (struct keeper_question *q = k->first; q; q = q->next)
		ipc_send(k->channel, q->type, q->id, buf_slice(&q->payload), -1);
}

/* -- questions ------------------------------------------------------------------------------------------------------------------------- */

static struct keeper_question *begin(struct keeper *k, uint16_t type, struct slice key, keeper_done done, void *arg)
{
	struct keeper_question *q = MEM_NEW(struct keeper_question);
	*q = (struct keeper_question){ .before = k->last, .keeper = k, .id = ++k->last_id, .type = type, .done = done, .arg = arg };
	q->deadline_ms = clock_mono_ms() + KEEPER_WAIT_MS;
	buf_init(&q->payload, MAX_PAYLOAD);
	*(k->last ? &k->last->next : &k->first) = q;
	k->last = q;
	k->count++;
	field_add(&q->payload, KEEPER_TAG_KEY, key);
	return q;
}

static struct keeper_question *ask(struct keeper_question *q)
{
	struct keeper *k = q->keeper;
	if (buf_full(&q->payload) || k->count > KEEPER_MAX_OPEN) {
		q->error = buf_full(&q->payload) ? -EMSGSIZE : -EAGAIN;
		q->deadline_ms = 0;
		loop_timer_set(k->sweep, 0);
		return q;
	}
	if (k->channel)
		ipc_send(k->channel, q->type, q->id, buf_slice(&q->payload), -1);
	if (!loop_timer_is_set(k->sweep))
		loop_timer_set(k->sweep, SWEEP_MS);
	return q;
}

struct keeper_question *keeper_sign_tls(struct keeper *k, const uint8_t key[32], unsigned scheme, struct slice data, keeper_done done, void *arg)
{
	struct keeper_question *q = begin(k, KEEPER_SIGN_TLS, slice((const char *)key, 32), done, arg);
	field_add_uint(&q->payload, KEEPER_TAG_SCHEME, scheme);
	field_add(&q->payload, KEEPER_TAG_DATA, data);
	return ask(q);
}

struct keeper_question *keeper_sign_dkim(struct keeper *k, struct slice name, struct slice digest, keeper_done done, void *arg)
{
	struct keeper_question *q = begin(k, KEEPER_SIGN_DKIM, name, done, arg);
	field_add(&q->payload, KEEPER_TAG_DATA, digest);
	return ask(q);
}

struct keeper_question *keeper_mac(struct keeper *k, struct slice purpose, int number, unsigned sha, struct slice data, keeper_done done, void *arg)
{
	struct keeper_question *q = begin(k, KEEPER_MAC, purpose, done, arg);
	if (number >= 0)
		field_add_uint(&q->payload, KEEPER_TAG_NUMBER, (uint64_t)number);
	field_add_uint(&q->payload, KEEPER_TAG_SCHEME, sha);
	field_add(&q->payload, KEEPER_TAG_DATA, data);
	return ask(q);
}
