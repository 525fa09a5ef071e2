/* What peers put in: transactions with a pen and, at the dot, one content with one or more envelopes. All envelopes of a PUT are prepared, then all
 * published; with one envelope both are one question to the syncer. */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/unique.h"
#include "queue/attacks.h"
#include "queue/flight.h"
#include "queue/queue_inside.h"
#include "queue/sent.h"

enum { MAX_WAITING = 256 << 20, MAX_PUT_MEMORY = 16 << 20, MAX_STATUS = 8 << 10 };

/* One envelope of a PUT on its way to disk. */
struct part {
	struct spool_put put;            /* first */
	struct putting *whole;
	struct spool_gone gone;
	bool published;
};

/* A PUT. Lives in its transaction until it is taken, dropped or failed. */
struct putting {
	struct intake *intake;
	char *payload;                   /* what all views point into */
	size_t payload_n;
	struct arena mem;
	struct queue_put put;
	struct part *parts;
	uint64_t question;
	size_t waiting;                  /* parts in the syncer */
	int error;
	enum { PUT_WRITING, PUT_HELD, PUT_PUBLISHING } stage;
};

/* A transaction of a peer. */
struct intake {
	struct index_node node;          /* first */
	struct peer *peer;
	char id[QUEUE_MAX_TRANSACTION + 1];
	struct pen pen;
	struct syncer_job pen_job;
	uint64_t pen_question;
	bool pen_busy, aborted;
	struct putting *putting;
};

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

static void free_putting(struct putting *w)
{
	for (size_t i = 0; i < w->put.envelope_count; i++)
		if (w->parts)
			spool_put_drop(&w->parts[i].put);
	w->intake->peer->queue->waiting_bytes -= w->payload_n;
	w->intake->putting = NULL;
	arena_free(&w->mem);
	mem_free(w->parts);
	mem_free(w->payload);
	mem_free(w);
}

/* Ends when nothing of it is in the syncer. */
static void end_intake(struct intake *t)
{
	struct peer *p = t->peer;
	if (t->pen_busy || (t->putting && t->putting->waiting)) {
		t->aborted = true;
		return;
	}
	if (t->putting)
		free_putting(t->putting);
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
		end_intake(t);
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

static void answer_put(struct putting *w, int error)
{
	struct mail_status s = status_of_error(error);
	if (error)
		log_event(LOG_WARN, "queue-put-failed", LOG_STR("transaction", w->put.transaction), LOG_ERRNO(error), LOG_END);
	peer_send_status(w->intake->peer, QUEUE_TAKEN, w->question, s);
}

static void log_taken(const struct envelope *e, uint64_t size)
{
	log_event(LOG_INFO, "queued", LOG_STR("id", e->id), LOG_STR("transaction", e->transaction), LOG_STR("from", e->reverse_path),
	          LOG_UINT("recipients", e->recipient_count), LOG_UINT("size", size), LOG_STR("evidence", evidence_name(e->evidence.grade)),
	          LOG_STR("who", e->evidence.who), LOG_STR("message-id", e->message_id), LOG_END);
}

static void take_published(struct queue *q, const struct part *part)
{
	const struct envelope *e = part->put.envelope;
	if (part->put.where == SPOOL_DEAD) {
		struct attack what = { .kind = ATTACK_INNER, .answer = ATTACK_WITHHELD, .domain = SLICE(""), .size = part->put.content_length, .now_s = clock_wall_s() };
		q->counts.dead++;
		if (intake_is_held(e))
			dead_letter_held(q, e);
		else
			attacks_note(q->attacks, &what);
		log_event(LOG_INFO, "dead-letter", LOG_STR("id", e->id), LOG_STR("transaction", e->transaction), LOG_STR("from", e->reverse_path),
		          LOG_STR("to", e->recipients[0].address), LOG_STR("why", e->evidence.reason), LOG_END);
		return;
	}
	q->counts.taken++;
	log_taken(e, part->put.content_length);
	queue_take_in(q, e);
	sent_note(q, e);
}

static void put_over(struct putting *w)
{
	struct intake *t = w->intake;
	struct peer *p = t->peer;
	struct queue *q = p->queue;
	uint64_t first = flight_ticket(w->put.tickets, 0);
	if (!w->error)
		flight_mark(q->setup.flight, w->put.tickets);
	for (size_t i = 0; i < w->put.envelope_count && w->error == 0; i++)
		take_published(q, &w->parts[i]);
	answer_put(w, w->error);
	free_putting(w);
	reclaim_arrived(p, first);
	end_intake(t);
	queue_wake(q);
}

static void taken_back(struct spool_gone *g)
{
	struct part *part = (struct part *)((char *)g - offsetof(struct part, gone));
	if (--part->whole->waiting == 0)
		put_over(part->whole);
}

/* All or nothing: what stands there already goes again, before anybody is told. */
static void all_published(struct putting *w)
{
	struct spool *spool = w->intake->peer->queue->spool;
	for (size_t i = 0; i < w->put.envelope_count && w->error; i++)
		w->waiting += w->parts[i].published;
	if (!w->waiting) {
		put_over(w);
		return;
	}
	for (size_t i = 0; i < w->put.envelope_count; i++) {
		struct part *part = &w->parts[i];
		if (!part->published)
			continue;
		part->gone.done = taken_back;
		memcpy(part->gone.id, w->put.envelopes[i].id.p, w->put.envelopes[i].id.n);
		spool_forget(spool, &part->gone, part->put.where);
	}
}

static void publish_all(struct putting *w);

static void part_done(struct spool_put *p)
{
	struct part *part = (struct part *)p;
	struct putting *w = part->whole;
	if (p->job.error)
		w->error = p->job.error;
	else
		part->published = p->job.goal != SYNCER_PREPARE;
	if (--w->waiting)
		return;
	if (w->stage == PUT_PUBLISHING) {
		all_published(w);
		return;
	}
	struct intake *t = w->intake;
	if (w->error || t->aborted) {
		if (!t->aborted)
			answer_put(w, w->error);
		end_intake(t);
		return;
	}
	if (w->put.hold) {
		w->stage = PUT_HELD;
		answer_put(w, 0);
		return;
	}
	publish_all(w);
}

static void publish_all(struct putting *w)
{
	w->stage = PUT_PUBLISHING;
	w->waiting = w->put.envelope_count;
	for (size_t i = 0; i < w->put.envelope_count; i++)
		spool_put(w->intake->peer->queue->spool, &w->parts[i].put, SYNCER_COMMIT);
}

/* The first part takes the pen, or writes the content; the others copy what it has written. */
static void start_parts(struct putting *w)
{
	struct intake *t = w->intake;
	bool alone = w->put.envelope_count == 1 && !w->put.hold;
	w->parts = mem_new_array(w->put.envelope_count, sizeof *w->parts);
	w->waiting = w->put.envelope_count;
	w->stage = alone ? PUT_PUBLISHING : PUT_WRITING;
	for (size_t i = 0; i < w->put.envelope_count; i++) {
		struct part *part = &w->parts[i];
		part->whole = w;
		part->put = (struct spool_put){
			.envelope = &w->put.envelopes[i], .hop_down = w->put.hop_down, .pen = PEN_NONE, .copy = -1, .done = part_done,
			.where = intake_is_withheld(&w->put.envelopes[i]) ? SPOOL_DEAD : SPOOL_QUEUE,
			.content = w->put.content, .content_offset = w->put.content_offset, .content_length = w->put.content_length
		};
		if (w->put.from_pen && i == 0) {
			part->put.pen = t->pen;
			t->pen = PEN_NONE;
		} else if (w->put.from_pen) {
			part->put.copy = w->parts[0].put.pen.fd;
		}
	}
	for (size_t i = 0; i < w->put.envelope_count; i++)
		spool_put(t->peer->queue->spool, &w->parts[i].put, alone ? SYNCER_DELIVER : SYNCER_PREPARE);
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
	free_putting(w);
	end_intake(t);
}

static void on_seen(void *arg, struct buf *answer)
{
	struct judging *j = arg;
	struct putting *w = j->whole;
	enum answer a = UNSURE;
	w->waiting = 0;
	queue_get_answer(buf_slice(answer), &a);
	if (w->intake->aborted) {
		end_intake(w->intake);
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
		start_parts(w);
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
		start_parts(w);
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
	publish_all(t->putting);
	return 0;
}

static int on_abort(struct peer *p, const struct ipc_message *m)
{
	struct slice id;
	if (queue_get_transaction(m->payload, &id))
		return -EPROTO;
	struct intake *t = find_intake(p, id);
	if (t && !(t->putting && t->putting->stage == PUT_PUBLISHING))
		end_intake(t);
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
				end_intake(t);
		}
}
