/* What came of an attempt is written down before anybody acts by it. When no recipient of a message is out any more, reports that are due are made, one
 * for all that failed meanwhile, each through the gate; what the gate withholds, and what nobody waits for any more, ends as a dead letter or not at all. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mail_path.h"
#include "base/mem.h"
#include "base/suffix.h"
#include "base/unique.h"
#include "maps/resolve.h"
#include "queue/attempt.h"
#include "queue/queue_settings.h"
#include "queue/report.h"

enum { MAX_RAW = (64 + 16 + 8) << 20, MAX_MEMORY = 64 << 20, MAX_HEADER = 64 << 10, MAX_REPORT = 16 << 20, DISK_AGAIN_MS = 5000 };

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
	next = next < e->expires_s ? next : e->expires_s;
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
		bool told = envelope_wants(&m->envelope.recipients[o->recipient], NOTIFY_SUCCESS) && !o->dsn_passed;
		done += o->kind == EVENT_DONE && !told;
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

static bool delay_due(const struct envelope *e, const struct message_state *state, int64_t now)
{
	bool by = e->deliver_by_s && !e->deliver_by_return && now >= e->deliver_by_s; /* RFC 2852: N means notify and go on */
	if (e->report || (!by && (queue_settings.delay_notice_s == 0 || now < e->arrived_s + (int64_t)queue_settings.delay_notice_s)))
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
		if (o->kind == EVENT_FAILED || (o->kind == EVENT_DONE && envelope_wants(&a->message.envelope.recipients[o->recipient], NOTIFY_SUCCESS)))
			m->wants_settling = true;
	}
	if (a->waiting_count > a->outcome_count)
		next = now; /* more than one job takes */
	else
		i->attempts += i->attempts < 255;
	if (delay_due(&a->message.envelope, &a->message.state, now))
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

/* An event that can't be written must not be forgotten: the item stays out until it can. */
static void events_written(struct spool_append *s)
{
	struct attempt *a = (struct attempt *)((char *)s - offsetof(struct attempt, append));
	if (s->job.error && s->job.error != -ENOENT) {
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
		if (o->dsn_passed) {
			struct event told = { .kind = EVENT_REPORTED, .at_s = now, .recipient = o->recipient, .status = MAIL_STATUS(MAIL_OK, 250, 0, 0, "its host speaks DSN") };
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
		spool_forget(a->queue->spool, &a->gone);
	} else {
		write_events(a);
	}
}

/* -- a message of which none is out ----------------------------------------------------------------------------------------------------------- */

struct settling {
	struct queue *queue;
	struct message *entry;
	char id[SCHEDULE_ID + 1];
	int error;
	const char *why;
	struct buf raw, header, text;
	struct arena mem;
	struct spool_message message;
	enum report_kind kinds[3];       /* still to be looked at */
	size_t kind_count;
	struct report_item *items;
	uint32_t *indices;
	size_t count;
	enum report_kind kind;
	struct unique report_id;
	struct envelope report;          /* of the report that is being put in */
	struct envelope_recipient to;
	bool eight_bit, waiting, withheld;
	const char *reason;
	struct spool_put put;
	struct spool_append append;
	struct spool_gone gone;
	struct loop_timer *again;
};

static void settling_free(struct settling *s)
{
	struct queue *q = s->queue;
	file_close(&s->message.fd);
	buf_free(&s->raw);
	buf_free(&s->header);
	buf_free(&s->text);
	buf_free(&s->append.records);
	arena_free(&s->mem);
	loop_timer_free(s->again);
	mem_free(s);
	queue_end(q);
}

static bool concerns(const struct settling *s, enum report_kind kind, size_t i)
{
	const struct recipient_state *r = &s->message.state.recipients[i];
	switch (kind) {
	case REPORT_FAILURE:
		return r->fate == RECIPIENT_FAILED && !r->reported;
	case REPORT_SUCCESS:
		return r->fate == RECIPIENT_DONE && !r->reported && envelope_wants(&s->message.envelope.recipients[i], NOTIFY_SUCCESS);
	case REPORT_DELAY:
		return r->fate == RECIPIENT_WAITING && !r->delay_told && delay_due(&s->message.envelope, &s->message.state, clock_wall_s());
	case REPORT_REPLY:
	case REPORT_INNER:
		break;
	}
	return false;
}

static uint8_t wish_of(enum report_kind kind)
{
	return kind == REPORT_FAILURE ? NOTIFY_FAILURE : kind == REPORT_DELAY ? NOTIFY_DELAY : NOTIFY_SUCCESS;
}

static void note_recipient(struct settling *s, uint32_t index, const char *text)
{
	struct event e = { .kind = s->kind == REPORT_DELAY ? EVENT_DELAYED : EVENT_REPORTED, .at_s = clock_wall_s(), .recipient = index,
		           .status = { MAIL_OK, 250, { 0, 0 }, slice_of(text) } };
	event_put(&s->append.records, &e);
}

static void next_kind(struct settling *s);
static void write_notes(struct settling *s);

/* -- what goes into the report --------------------------------------------------------------------------------------------------------------- */

static enum report_action action_of(const struct settling *s, size_t i)
{
	switch (s->kind) {
	case REPORT_DELAY:
		return ACTION_DELAYED;
	case REPORT_SUCCESS:
		return slice_eq(s->message.state.recipients[i].place, ENVELOPE_PLACE_LOCAL) ? ACTION_DELIVERED : ACTION_RELAYED;
	case REPORT_FAILURE:
	case REPORT_REPLY:
	case REPORT_INNER:
		break;
	}
	return ACTION_FAILED;
}

/* Those who are concerned and want it; those who asked for none are noted at once. */
static void collect(struct settling *s)
{
	const struct envelope *e = &s->message.envelope;
	s->count = 0;
	for (size_t i = 0; i < e->recipient_count; i++) {
		const struct recipient_state *r = &s->message.state.recipients[i];
		if (!concerns(s, s->kind, i))
			continue;
		if (!envelope_wants(&e->recipients[i], wish_of(s->kind))) {
			note_recipient(s, (uint32_t)i, "not wanted (NOTIFY)");
			continue;
		}
		s->items[s->count] = (struct report_item){ &e->recipients[i], action_of(s, i), r->status, r->host, r->last_s };
		s->indices[s->count++] = (uint32_t)i;
	}
}

static struct report_facts facts_of(const struct settling *s)
{
	const struct envelope *e = &s->message.envelope;
	struct slice domain = slice_skip(e->reverse_path, slice_rfind(e->reverse_path, '@') + 1), organisation = SLICE_NONE;
	struct suffix_list *suffixes = e->evidence.grade == EVIDENCE_SPF ? suffix_list_new(SLICE_NONE) : NULL;
	if (suffixes)
		organisation = suffix_organisation(suffixes, domain);
	suffix_list_free(suffixes);
	return (struct report_facts){
		.kind = s->kind, .evidence = e->evidence, .to = e->report ? SLICE_NONE : e->reverse_path, .organisation = organisation.n ? organisation : domain,
		.mode_none = slice_eq(queue_settings.reports, SLICE("none"))
	};
}

static void withhold(struct settling *s, const char *reason)
{
	char text[200];
	s->queue->counts.dead += s->kind == REPORT_FAILURE;
	s->withheld = s->withheld || s->kind == REPORT_FAILURE;
	snprintf(text, sizeof text, "withheld: %s", reason);
	log_event(LOG_INFO, "report-withheld", LOG_CSTR("id", s->id), LOG_STR("kind", report_kind_name(s->kind)), LOG_STR("to", s->message.envelope.reverse_path),
	          LOG_STR("evidence", evidence_name(s->message.envelope.evidence.grade)), LOG_CSTR("reason", reason), LOG_END);
	for (size_t i = 0; i < s->count; i++)
		note_recipient(s, s->indices[i], text);
	next_kind(s);
}

static void report_put(struct spool_put *p)
{
	struct settling *s = (struct settling *)((char *)p - offsetof(struct settling, put));
	char text[80];
	if (p->job.error) { /* no room for it: the failure stays unreported, and is looked at again */
		log_event(LOG_ERROR, "report-failed", LOG_CSTR("id", s->id), LOG_ERRNO(p->job.error), LOG_END);
		s->waiting = true;
		next_kind(s);
		return;
	}
	s->queue->counts.reports++;
	log_event(LOG_INFO, "report", LOG_CSTR("id", s->id), LOG_STR("report", unique_slice(&s->report_id)), LOG_STR("kind", report_kind_name(s->kind)),
	          LOG_STR("to", s->to.address), LOG_UINT("recipients", s->count), LOG_END);
	snprintf(text, sizeof text, "sent as %s", s->report_id.text);
	for (size_t i = 0; i < s->count; i++)
		note_recipient(s, s->indices[i], text);
	queue_take_in(s->queue, &s->report);
	next_kind(s);
}

/* The report's own envelope: it goes where the reverse-path leads, and nothing is ever reported on it. */
static void address_report(struct settling *s)
{
	const struct envelope *e = &s->message.envelope;
	struct queue *q = s->queue;
	struct mail_path path;
	struct resolved r = { .class = RESOLVE_OURS };
	const char *why;
	int64_t now = clock_wall_s();
	if (q->maps && mail_path_parse_address(e->reverse_path, &s->mem, &path, &why) == 0)
		resolve_path(q->maps, &path, false, &s->mem, &r);
	bool outside = r.class == RESOLVE_FOREIGN && r.count == 1;
	s->to = (struct envelope_recipient){ .address = e->reverse_path, .place = ENVELOPE_PLACE_LOCAL, .way = WAY_FOREIGN, .notify = NOTIFY_NEVER };
	if (outside)
		s->to.place = r.leaves[0].place, s->to.route = r.leaves[0].route;
	s->report = (struct envelope){
		.id = unique_slice(&s->report_id), .arrived_s = now, .expires_s = queue_expiry(now), .evidence = e->evidence, .report = true,
		.utf8 = e->utf8 && !slice_is_ascii(e->reverse_path), .eight_bit = s->eight_bit, .client = SLICE("local"), .transaction = e->id, .sign = true,
		.recipients = &s->to, .recipient_count = 1
	};
}

static void send_report(struct settling *s)
{
	struct queue *q = s->queue;
	s->report_id = unique_new();
	struct report r = {
		.kind = s->kind, .envelope = &s->message.envelope, .items = s->items, .count = s->count, .header = buf_slice(&s->header),
		.id = unique_slice(&s->report_id), .host = q->host, .from = slice_of(q->postmaster_text), .now_s = clock_wall_s()
	};
	buf_clear(&s->text);
	if (report_write(&s->text, &r, &s->eight_bit)) {
		withhold(s, "the report would be too large");
		return;
	}
	address_report(s);
	s->put = (struct spool_put){ .envelope = &s->report, .pen = PEN_NONE, .copy = -1, .content = buf_slice(&s->text), .done = report_put };
	spool_put(q->spool, &s->put, SYNCER_DELIVER);
}

static void next_kind(struct settling *s)
{
	while (s->kind_count) {
		s->kind = s->kinds[--s->kind_count];
		collect(s);
		if (s->count == 0)
			continue;
		struct report_facts f = facts_of(s);
		struct report_verdict v = may_report(s->queue->gate, &f, clock_wall_s());
		s->queue->gate_dirty = true;
		if (v.allowed)
			send_report(s);
		else
			withhold(s, v.reason);
		return;
	}
	write_notes(s);
}

/* -- the end -------------------------------------------------------------------------------------------------------------------------------- */

/* A failure whose report was withheld, now or earlier. */
static bool is_dead_letter(const struct settling *s)
{
	struct slice in = s->message.journal;
	struct event e;
	bool withheld = s->withheld;
	while (event_next(&in, &e))
		if (e.kind == EVENT_REPORTED && slice_starts(e.status.text, SLICE("withheld")))
			for (size_t i = 0; i < s->message.envelope.recipient_count; i++)
				withheld = withheld || (e.recipient == i && s->message.state.recipients[i].fate == RECIPIENT_FAILED);
	return withheld;
}

static void removed(struct spool_gone *g)
{
	struct settling *s = (struct settling *)((char *)g - offsetof(struct settling, gone));
	scan_forget(s->queue, s->entry);
	settling_free(s);
}

static void end_message(struct settling *s)
{
	struct queue *q = s->queue;
	if (is_dead_letter(s)) {
		int error = spool_move(q->spool, SPOOL_QUEUE, SPOOL_DEAD, slice_of(s->id));
		if (error)
			log_event(LOG_ERROR, "dead-letter-failed", LOG_CSTR("id", s->id), LOG_ERRNO(error), LOG_END);
		else
			log_event(LOG_INFO, "dead-letter", LOG_CSTR("id", s->id), LOG_STR("from", s->message.envelope.reverse_path), LOG_END);
		scan_forget(q, s->entry);
		settling_free(s);
		return;
	}
	s->entry->gone = true;
	memcpy(s->gone.id, s->id, sizeof s->id);
	s->gone.done = removed;
	spool_forget(q->spool, &s->gone);
}

static void look_again(void *arg)
{
	struct settling *s = arg;
	struct message *m = s->entry;
	struct queue *q = s->queue;
	m->settling = false;
	settling_free(s);
	settle_check(q, m);
}

static void finish(struct settling *s)
{
	struct message *m = s->entry;
	struct queue *q = s->queue;
	if (s->waiting) {
		m->wants_settling = true;
		s->again = loop_timer_new(q->loop, look_again, s);
		loop_timer_set(s->again, 60000);
		return;
	}
	if (!message_items(m) && !m->wants_settling) {
		end_message(s);
		return;
	}
	m->settling = false;
	settling_free(s);
	settle_check(q, m);
	queue_wake(q);
}

static void notes_written(struct spool_append *a)
{
	struct settling *s = (struct settling *)((char *)a - offsetof(struct settling, append));
	if (a->job.error && a->job.error != -ENOENT)
		s->waiting = true;
	finish(s);
}

static void write_notes(struct settling *s)
{
	if (s->append.records.n == 0) {
		finish(s);
		return;
	}
	memcpy(s->append.id, s->id, sizeof s->id);
	s->append.done = notes_written;
	spool_append(s->queue->spool, &s->append, true);
}

/* In a worker: the message, and its header section. */
static void read_message(void *arg)
{
	struct settling *s = arg;
	s->error = spool_read(s->queue->spool, SPOOL_QUEUE, slice_of(s->id), &s->raw, &s->mem, &s->message, &s->why);
	if (s->error)
		return;
	size_t n = s->message.content_length < MAX_HEADER ? (size_t)s->message.content_length : MAX_HEADER;
	char *to = buf_room(&s->header, n + 1);
	ssize_t got = to ? pread(s->message.fd, to, n, (off_t)s->message.content_offset) : 0;
	buf_used(&s->header, got > 0 ? (size_t)got : 0);
	s->items = ARENA_ARRAY(&s->mem, struct report_item, s->message.envelope.recipient_count);
	s->indices = ARENA_ARRAY(&s->mem, uint32_t, s->message.envelope.recipient_count);
	if (!s->items || !s->indices)
		s->error = -ENOMEM;
}

static void was_read(void *arg)
{
	struct settling *s = arg;
	struct queue *q = s->queue;
	if (s->error == -ENOENT || s->error == -EBADMSG) {
		if (s->error == -EBADMSG) {
			q->counts.damaged++;
			queue_alert(q, "Message %s was set aside: %s", s->id, s->why ? s->why : "damaged");
			spool_move(q->spool, SPOOL_QUEUE, SPOOL_ASIDE, slice_of(s->id));
		}
		if (s->entry->out == 0)
			scan_forget(q, s->entry);
		else
			s->entry->settling = false;
		settling_free(s);
		return;
	}
	if (s->error) {
		s->waiting = true;
		finish(s);
		return;
	}
	next_kind(s);
}

void settle_check(struct queue *q, struct message *m)
{
	if (m->out || m->settling || m->gone || (message_items(m) && !m->wants_settling))
		return;
	struct settling *s = MEM_NEW(struct settling);
	m->settling = true;
	m->wants_settling = false;
	s->queue = q;
	s->entry = m;
	s->message.fd = -1;
	memcpy(s->id, m->id, SCHEDULE_ID);
	buf_init(&s->raw, MAX_RAW);
	buf_init(&s->header, MAX_HEADER + 1);
	buf_init(&s->text, MAX_REPORT);
	buf_init(&s->append.records, SPOOL_JOURNAL_MAX);
	s->mem = (struct arena)ARENA_INIT(MAX_MEMORY);
	s->kinds[0] = REPORT_DELAY, s->kinds[1] = REPORT_SUCCESS, s->kinds[2] = REPORT_FAILURE;
	s->kind_count = 3;
	queue_begin(q);
	worker_add(q->files, read_message, was_read, s);
}
