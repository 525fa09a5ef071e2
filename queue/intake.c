/* What peers put in: transactions with a pen and, at the dot, one content with one or more envelopes, which is judged and then goes to disk (intake_put.c). */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/flight.h"
#include "queue/intake_inside.h"

enum { MAX_WAITING = 256 << 20, MAX_PUT_MEMORY = 16 << 20, MAX_STATUS = 8 << 10 };

/* -- the table of transactions ------------------------------------------------------------------------------------------------------------ */

static uint64_t hash_intake(const struct index_node *n, const void *arg)
{
	const struct queue *q = arg;
	return hash_bytes(&q->key, slice_of(((const struct intake *)n)->id));
}

static bool is_intake(const struct index_node *n, const void *key)
{
	return slice_eq(slice_of(((const struct intake *)n)->id), *(const struct slice *)key);
}

static struct intake *find_intake(struct peer *p, struct slice id)
{
	return (struct intake *)index_find(&p->transactions, hash_bytes(&p->queue->key, id), is_intake, &id);
}

static struct intake *need_intake(struct peer *p, struct slice id)
{
	struct intake *t = find_intake(p, id);
	if (t)
		return t;
	if (!p->transactions.hash_of)
		p->transactions = (struct index)INDEX_INIT(hash_intake, p->queue);
	t = MEM_NEW(struct intake);
	t->peer = p;
	t->pen = PEN_NONE;
	memcpy(t->id, id.p, id.n);
	index_add(&p->transactions, &t->node, hash_bytes(&p->queue->key, id));
	p->open++;
	return t;
}

void intake_end(struct intake *t)
{
	struct peer *p = t->peer;
	if (t->pen_busy || (t->putting && t->putting->waiting)) {
		t->aborted = true;
		return;
	}
	if (t->putting)
		putting_free(t->putting);
	pen_drop(&t->pen);
	index_remove(&p->transactions, &t->node, hash_bytes(&p->queue->key, slice_of(t->id)));
	mem_free(t);
	peer_release(p);
}

/* -- pens ------------------------------------------------------------------------------------------------------------------------------- */

static struct intake *of_pen_job(struct syncer_job *j)
{
	return (struct intake *)((char *)j - offsetof(struct intake, pen_job));
}

static int pen_write_job(struct syncer_job *j)
{
	struct intake *t = of_pen_job(j);
	return spool_pen(t->peer->queue->spool, &t->pen);
}

static struct mail_status status_of_error(int error)
{
	switch (-error) {
	case 0:
		return MAIL_STATUS_OK;
	case ENOSPC:
	case EDQUOT:
		return MAIL_STATUS(MAIL_LATER, 452, 3, 1, "There is no room for the message just now, please try again later");
	default:
		return MAIL_STATUS(MAIL_LATER, 451, 3, 0, "The message can't be stored just now, please try again later");
	}
}

static void pen_done(struct syncer_job *j)
{
	struct intake *t = of_pen_job(j);
	struct mail_status s = status_of_error(j->error);
	struct buf record = BUF_INIT(MAX_STATUS);
	t->pen_busy = false;
	if (t->aborted) {
		intake_end(t);
		return;
	}
	queue_put_status(&record, &s);
	peer_send(t->peer, QUEUE_PEN_READY, t->pen_question, &record, j->error ? -1 : t->pen.fd);
}

static const struct syncer_verbs pen_verbs = { .write = pen_write_job, .done = pen_done };

static int on_pen(struct peer *p, const struct ipc_message *m)
{
	struct slice id;
	if (queue_get_transaction(m->payload, &id))
		return -EPROTO;
	struct intake *t = need_intake(p, id);
	if (t->pen_busy || t->putting)
		return -EPROTO;
	pen_drop(&t->pen);
	t->pen_busy = true;
	t->pen_question = m->id;
	t->pen_job = (struct syncer_job){ .verbs = &pen_verbs, .goal = SYNCER_RUN };
	syncer_add(spool_syncer(p->queue->spool), &t->pen_job);
	return 0;
}

/* -- the dot --------------------------------------------------------------------------------------------------------------------------------- */

void intake_answer(struct putting *w, int error)
{
	struct mail_status s = status_of_error(error);
	if (error)
		log_event(LOG_WARN, "queue-put-failed", LOG_STR("transaction", w->put.transaction), LOG_ERRNO(error), LOG_END);
	peer_send_status(w->intake->peer, QUEUE_TAKEN, w->question, s);
}

static bool pen_is_good(struct intake *t, const struct queue_put *m)
{
	struct stat st;
	return t->pen.fd >= 0 && m->content_offset >= SPOOL_HEAD && file_stat_fd(t->pen.fd, &st) == 0 &&
	       (uint64_t)st.st_size == m->content_offset + m->content_length;
}

/* Null reverse-paths from inside: what QUEUE_GATE said is not taken from smtpd's word. */
struct judging {
	struct putting *whole;
	size_t at;
};

static void judge_next(struct judging *j);

static void refuse(struct putting *w, struct mail_status s)
{
	struct intake *t = w->intake;
	t->peer->queue->counts.refused++;
	peer_send_status(t->peer, QUEUE_TAKEN, w->question, s);
	putting_free(w);
	intake_end(t);
}

static void on_seen(void *arg, struct buf *answer)
{
	struct judging *j = arg;
	struct putting *w = j->whole;
	enum answer a = UNSURE;
	w->waiting = 0;
	queue_get_answer(buf_slice(answer), &a);
	if (w->intake->aborted) {
		intake_end(w->intake);
	} else if (a == FOUND) {
		j->at++;
		judge_next(j);
		return;
	} else {
		refuse(w, a == UNSURE ? MAIL_STATUS_UNSURE("It is not known just now whether this may go out, please try again later") :
		                        MAIL_STATUS(MAIL_NEVER, 550, 7, 1, "A report may go only to somebody who wrote to us"));
	}
	mem_free(j);
}

static void judge_next(struct judging *j)
{
	struct putting *w = j->whole;
	struct queue *q = w->intake->peer->queue;
	size_t per = w->put.envelopes[0].recipient_count;
	while (j->at < per && (w->put.envelopes[0].recipients[j->at].way != WAY_FOREIGN || intake_is_withheld(&w->put.envelopes[0])))
		j->at++; /* one of ours, or nobody at all */
	if (j->at == per) {
		mem_free(j);
		putting_start(w);
		return;
	}
	struct buf payload = BUF_INIT(MAX_STATUS);
	w->waiting = 1;
	if (queue_put_texts(&payload, &w->put.envelopes[0].recipients[j->at].address, 1) || ledger_ask(q->ledger, LEDGER_SEEN_LOOK, buf_slice(&payload), on_seen, j)) {
		w->waiting = 0;
		mem_free(j);
		refuse(w, MAIL_STATUS_UNSURE("It is not known just now whether this may go out, please try again later"));
	}
	buf_free(&payload);
}

static void start_put(struct putting *w)
{
	struct queue *q = w->intake->peer->queue;
	bool inner = false;
	for (size_t i = 0; i < w->put.envelope_count; i++) {
		struct mail_status s = intake_admit(q, &w->put.envelopes[i], w->put.hop_down);
		inner = inner || w->put.envelopes[i].report;
		if (s.fate == MAIL_OK && w->put.envelopes[i].report && w->put.envelope_count > 1)
			s = MAIL_STATUS(MAIL_NEVER, 550, 7, 1, "A null reverse-path goes to one destination");
		if (s.fate != MAIL_OK) {
			refuse(w, s);
			return;
		}
	}
	if (!inner) {
		putting_start(w);
		return;
	}
	struct judging *j = MEM_NEW(struct judging);
	j->whole = w;
	judge_next(j);
}

static int on_put(struct peer *p, const struct ipc_message *m)
{
	struct queue *q = p->queue;
	struct putting *w = MEM_NEW(struct putting);
	w->payload = mem_copy(m->payload.p, m->payload.n);
	w->mem = (struct arena)ARENA_INIT(MAX_PUT_MEMORY);
	w->question = m->id;
	struct intake *t = NULL;
	if (queue_get_put(slice(w->payload, m->payload.n), &w->mem, &w->put) == 0)
		t = need_intake(p, w->put.transaction);
	if (!t || t->putting || t->pen_busy || (w->put.from_pen && !pen_is_good(t, &w->put))) {
		arena_free(&w->mem);
		mem_free(w->payload);
		mem_free(w);
		return -EPROTO;
	}
	w->payload_n = m->payload.n;
	q->waiting_bytes += w->payload_n;
	w->intake = t;
	t->putting = w;
	if (q->draining || q->waiting_bytes > MAX_WAITING || q->state.read_only)
		refuse(w, MAIL_STATUS(MAIL_LATER, 451, 3, 2, "The queue takes nothing just now, please try again later"));
	else
		start_put(w);
	return 0;
}

static int on_commit(struct peer *p, const struct ipc_message *m)
{
	struct slice id;
	if (queue_get_transaction(m->payload, &id))
		return -EPROTO;
	struct intake *t = find_intake(p, id);
	if (!t || !t->putting) { /* lost with an earlier process: nothing of it was kept */
		peer_send_status(p, QUEUE_TAKEN, m->id, MAIL_STATUS_UNSURE("The queue was restarted, please try again later"));
		return 0;
	}
	if (t->putting->stage != PUT_HELD)
		return -EPROTO;
	t->putting->question = m->id;
	putting_publish(t->putting);
	return 0;
}

static int on_abort(struct peer *p, const struct ipc_message *m)
{
	struct slice id;
	if (queue_get_transaction(m->payload, &id))
		return -EPROTO;
	struct intake *t = find_intake(p, id);
	if (t && !(t->putting && t->putting->stage == PUT_PUBLISHING))
		intake_end(t);
	return 0;
}

int intake_message(struct peer *p, struct ipc_message *m)
{
	switch (m->type) {
	case QUEUE_PEN:
		return on_pen(p, m);
	case QUEUE_PUT:
		return on_put(p, m);
	case QUEUE_COMMIT:
		return on_commit(p, m);
	case QUEUE_ABORT:
		return on_abort(p, m);
	default:
		return -EPROTO;
	}
}

static bool is_with(const struct intake *t, uint64_t ticket)
{
	uint64_t one;
	for (size_t i = 0; t->putting && t->putting->stage == PUT_PUBLISHING && (one = flight_ticket(t->putting->put.tickets, i)); i++)
		if (one == ticket)
			return true;
	return false;
}

bool intake_is_under_way(const struct queue *q, uint64_t ticket)
{
	for (const struct peer *p = q->peers; p; p = p->next)
		for (size_t i = 0; i < p->transactions.size; i++)
			for (const struct index_node *n = p->transactions.buckets[i]; n; n = n->next)
				if (is_with((const struct intake *)n, ticket))
					return true;
	return false;
}

/* What was asked to commit goes on; the rest is dropped. */
void intake_peer_gone(struct peer *p)
{
	for (size_t i = 0; i < p->transactions.size; i++)
		for (struct index_node *n = p->transactions.buckets[i], *next; n; n = next) {
			struct intake *t = (struct intake *)n;
			next = n->next;
			if (!(t->putting && t->putting->stage == PUT_PUBLISHING))
				intake_end(t);
		}
}
