/* A PUT on its way to disk: all its envelopes are prepared, then all are published, or none stays; with one envelope both are one question to the syncer. */
#include <stddef.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/attacks.h"
#include "queue/flight.h"
#include "queue/intake_inside.h"
#include "queue/sent.h"

void putting_free(struct putting *w)
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
	intake_answer(w, w->error);
	putting_free(w);
	reclaim_arrived(p, first);
	intake_end(t);
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
			intake_answer(w, w->error);
		intake_end(t);
		return;
	}
	if (w->put.hold) {
		w->stage = PUT_HELD;
		intake_answer(w, 0);
		return;
	}
	putting_publish(w);
}

void putting_publish(struct putting *w)
{
	w->stage = PUT_PUBLISHING;
	w->waiting = w->put.envelope_count;
	for (size_t i = 0; i < w->put.envelope_count; i++)
		spool_put(w->intake->peer->queue->spool, &w->parts[i].put, SYNCER_COMMIT);
}

/* The first part takes the pen, or writes the content; the others copy what it has written. */
void putting_start(struct putting *w)
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
