/* What came of an attempt is written down before anybody acts by it. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "queue/attempt.h"
#include "queue/queue_settings.h"
#include "queue/settling.h"

enum { DISK_AGAIN_MS = 5000 };

/* -- time to the next attempt ----------------------------------------------------------------------------------------------------------- */

/* Doubling, with a fifth of it as jitter that is the same for the same message and attempt: a crowd does not come back as a crowd. */
int64_t queue_backoff(const struct queue *q, struct slice id, unsigned attempts)
{
	uint64_t span = queue_settings.retry_first_s;
	for (unsigned i = 1; i < attempts && span < queue_settings.retry_most_s; i++)
		span *= 2;
	if (span > queue_settings.retry_most_s)
		span = queue_settings.retry_most_s;
	uint64_t fifth = span / 5 + 1;
	return (int64_t)(span - fifth / 2 + (hash_bytes(&q->key, id) + attempts * 7919u) % fifth);
}

static int64_t next_try(const struct attempt *a, int64_t now)
{
	const struct envelope *e = &a->message.envelope;
	int64_t next = now + queue_backoff(a->queue, e->id, a->item->attempts + 1u), rest = now + (int64_t)(a->rest_ms / 1000);
	next = next < rest ? rest : next;
	if (e->expires_s > now && next > e->expires_s) /* one that is over and still here waits like any other: the clock is doubted */
		next = e->expires_s;
	return e->deliver_by_s > now && next > e->deliver_by_s ? e->deliver_by_s : next;
}

/* -- the end of an attempt ---------------------------------------------------------------------------------------------------------------- */

static void log_outcome(const struct attempt *a, const struct outcome *o)
{
	static const char *const words[] = { [EVENT_DONE] = "delivered", [EVENT_LATER] = "deferred", [EVENT_FAILED] = "failed" };
	const struct envelope_recipient *r = &a->message.envelope.recipients[o->recipient];
	log_event(LOG_INFO, words[o->kind], LOG_STR("id", a->message.envelope.id), LOG_STR("to", r->address), LOG_STR("place", schedule_place_name(a->item)),
	          LOG_STR("host", o->host), LOG_UINT("code", o->status.code), LOG_STR("said", o->status.text), LOG_END);
}

static void count_outcomes(struct attempt *a)
{
	struct queue_counts *c = &a->queue->counts;
	for (size_t i = 0; i < a->outcome_count; i++) {
		const struct outcome *o = &a->outcomes[i];
		*(o->kind == EVENT_DONE ? &c->done : o->kind == EVENT_FAILED ? &c->failed : &c->later) += 1;
		log_outcome(a, o);
	}
}

/* Somebody is to be told that it was taken: RFC 3461's success, where its host doesn't see to that, or RFC 2852's "relayed". */
static bool is_told(const struct attempt *a, const struct outcome *o, bool passed)
{
	const struct envelope *e = &a->message.envelope;
	const struct envelope_recipient *r = &e->recipients[o->recipient];
	bool hop = !slice_eq(schedule_place_name(a->item), ENVELOPE_PLACE_LOCAL);
	return o->kind == EVENT_DONE &&
	       ((envelope_wants(r, NOTIFY_SUCCESS) && !(passed && o->dsn_passed)) || (hop && envelope_wants_relayed(e, r, passed && o->deadline_passed)));
}

static size_t settled_count(const struct attempt *a)
{
	size_t n = 0;
	for (size_t i = 0; i < a->outcome_count; i++)
		n += a->outcomes[i].kind != EVENT_LATER;
	return n;
}

/* Every recipient of the message is done with this attempt and nobody wants to hear of it: the file goes, no event is needed. */
static bool ends_all(const struct attempt *a)
{
	const struct spool_message *m = &a->message;
	size_t done = 0;
	for (size_t i = 0; i < a->outcome_count; i++) {
		const struct outcome *o = &a->outcomes[i];
		done += o->kind == EVENT_DONE && !is_told(a, o, true);
	}
	return done == a->outcome_count && done == m->state.waiting && done && !a->item->message->wants_settling && m->envelope.recipient_count == done;
}

static void remove_done(struct spool_gone *g)
{
	struct attempt *a = (struct attempt *)((char *)g - offsetof(struct attempt, gone));
	struct queue *q = a->queue;
	struct message *m = a->item->message;
	if (g->job.error) /* it stays, and is delivered twice at worst: there is nothing else that could be written */
		log_event(LOG_ERROR, "queue-remove-failed", LOG_CSTR("id", g->id), LOG_ERRNO(g->job.error), LOG_END);
	schedule_back(q->schedule, a->item, INT64_MAX);
	scan_forget(q, m);
	queue_attempt_free(a);
	queue_wake(q);
}

bool settling_delay_due(const struct envelope *e, const struct message_state *state, int64_t now)
{
	if (now < taken_delay_s(e))
		return false;
	for (size_t i = 0; i < e->recipient_count; i++)
		if (state->recipients[i].fate == RECIPIENT_WAITING && !state->recipients[i].delay_told && envelope_wants(&e->recipients[i], NOTIFY_DELAY))
			return true;
	return false;
}

/* What came of it stands on disk. */
static void let_go(struct attempt *a)
{
	struct queue *q = a->queue;
	struct item *i = a->item;
	struct message *m = i->message;
	int64_t now = clock_wall_s(), next = INT64_MAX;
	size_t settled = settled_count(a);
	for (size_t k = 0; k < a->outcome_count; k++) {
		const struct outcome *o = &a->outcomes[k];
		if (o->kind == EVENT_LATER && o->next_s < next)
			next = o->next_s;
		if (o->kind == EVENT_FAILED || is_told(a, o, false))
			m->wants_settling = true;
	}
	if (a->waiting_count > a->outcome_count)
		next = now; /* more than one job takes */
	else
		i->attempts += i->attempts < 255;
	if (settling_delay_due(&a->message.envelope, &a->message.state, now) && queue_believes_clock(q))
		m->wants_settling = true;
	schedule_window(q->schedule, i, a->window, a->rest_ms ? now + (int64_t)(a->rest_ms + 999) / 1000 : 0);
	schedule_back(q->schedule, i, next);
	if (a->waiting_count == settled)
		schedule_remove_item(q->schedule, i);
	else
		schedule_shrink(q->schedule, i, (uint32_t)settled);
	settle_check(q, m);
	queue_attempt_free(a);
	queue_wake(q);
}

static void write_events(struct attempt *a);

static void write_again(void *arg)
{
	write_events(arg);
}

/* An event that can't be written must not be forgotten: the item stays out until it can. One that only puts off may be: on a full disk, where what goes out makes
 * room, nothing would go out any more. */
static void events_written(struct spool_append *s)
{
	struct attempt *a = (struct attempt *)((char *)s - offsetof(struct attempt, append));
	if (s->job.error && s->job.error != -ENOENT && settled_count(a)) {
		log_event(LOG_ERROR, "queue-event-failed", LOG_CSTR("id", s->id), LOG_ERRNO(s->job.error), LOG_END);
		if (!a->again)
			a->again = loop_timer_new(a->queue->loop, write_again, a);
		loop_timer_set(a->again, DISK_AGAIN_MS);
		return;
	}
	let_go(a);
}

static void write_events(struct attempt *a)
{
	bool durable = false;
	int64_t now = clock_wall_s();
	buf_clear(&a->append.records);
	for (size_t k = 0; k < a->outcome_count; k++) {
		struct outcome *o = &a->outcomes[k];
		if (o->kind == EVENT_LATER && o->next_s == 0)
			o->next_s = next_try(a, now);
		durable = durable || o->kind != EVENT_LATER;
		struct event e = { .kind = o->kind, .at_s = now, .next_s = o->next_s, .recipient = o->recipient, .status = o->status, .host = o->host };
		event_put(&a->append.records, &e);
		if (is_told(a, o, false) && !is_told(a, o, true)) {
			struct event told = { .kind = EVENT_REPORTED, .at_s = now, .recipient = o->recipient, .status = MAIL_STATUS(MAIL_OK, 250, 0, 0, "its host sees to that") };
			event_put(&a->append.records, &told);
		}
	}
	memcpy(a->append.id, a->message_id, sizeof a->message_id);
	a->append.done = events_written;
	spool_append(a->queue->spool, &a->append, durable);
}

void settle_attempt(struct attempt *a)
{
	count_outcomes(a);
	if (a->outcome_count == 0) {
		let_go(a);
	} else if (ends_all(a)) {
		a->item->message->gone = true;
		memcpy(a->gone.id, a->message_id, sizeof a->message_id);
		a->gone.done = remove_done;
		spool_forget(a->queue->spool, &a->gone, SPOOL_QUEUE);
	} else {
		write_events(a);
	}
}
