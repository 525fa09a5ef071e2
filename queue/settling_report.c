/* The reports that are due on a message: who is concerned and wants to hear, what the gate says, the report itself, and the notes that are kept of it. */
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "queue/queue_settings.h"
#include "queue/settling.h"

static void next_kind(struct settling *s);

/* -- who is concerned ------------------------------------------------------------------------------------------------------------------------ */

static bool concerns(const struct settling *s, enum report_kind kind, size_t i)
{
	const struct recipient_state *r = &s->message.state.recipients[i];
	const struct envelope *e = &s->message.envelope;
	switch (kind) {
	case REPORT_FAILURE:
		return r->fate == RECIPIENT_FAILED && !r->reported;
	case REPORT_SUCCESS:
		return r->fate == RECIPIENT_DONE && !r->reported && (envelope_wants(&e->recipients[i], NOTIFY_SUCCESS) ||
		       (!slice_eq(r->place, ENVELOPE_PLACE_LOCAL) && envelope_wants_relayed(e, &e->recipients[i], false)));
	case REPORT_DELAY:
		return r->fate == RECIPIENT_WAITING && !r->delay_told && settling_delay_due(&s->message.envelope, &s->message.state, clock_wall_s()) &&
		       queue_believes_clock(s->queue);
	case REPORT_REPLY:
	case REPORT_INNER:
		break;
	}
	return false;
}

static uint8_t wish_of(enum report_kind kind)
{
	return kind == REPORT_DELAY ? NOTIFY_DELAY : NOTIFY_FAILURE;
}

static void note_recipient(struct settling *s, uint32_t index, const char *text)
{
	struct event e = { .kind = s->kind == REPORT_DELAY ? EVENT_DELAYED : EVENT_REPORTED, .at_s = clock_wall_s(), .recipient = index,
		           .status = { MAIL_OK, 250, { 0, 0 }, slice_of(text) } };
	event_put(&s->append.records, &e);
}

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
		if (s->kind != REPORT_SUCCESS && !envelope_wants(&e->recipients[i], wish_of(s->kind))) {
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
	return (struct report_facts){
		.kind = s->kind, .evidence = e->evidence, .to = e->report ? SLICE_NONE : e->reverse_path,
		.organisation = report_organisation(&e->evidence, e->reverse_path), .mode_none = slice_eq(queue_settings.reports, SLICE("none"))
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

static struct made_report *making(struct settling *s)
{
	return &s->made[s->made_count];
}

static void report_put(struct spool_put *p)
{
	struct settling *s = (struct settling *)((char *)p - offsetof(struct settling, put));
	struct made_report *r = making(s);
	char text[80];
	if (p->job.error) { /* no room for it: the failure stays unreported, and is looked at again */
		log_event(LOG_ERROR, "report-failed", LOG_CSTR("id", s->id), LOG_ERRNO(p->job.error), LOG_END);
		s->waiting = true;
		next_kind(s);
		return;
	}
	s->made_count++;
	s->queue->counts.reports++;
	log_event(LOG_INFO, "report", LOG_CSTR("id", s->id), LOG_STR("report", unique_slice(&r->id)), LOG_STR("kind", report_kind_name(s->kind)),
	          LOG_STR("to", r->to.address), LOG_UINT("recipients", s->count), LOG_END);
	snprintf(text, sizeof text, SETTLING_SENT_AS "%s", r->id.text);
	for (size_t i = 0; i < s->count; i++)
		note_recipient(s, s->indices[i], text);
	next_kind(s);
}

/* The report's own envelope: it goes where the reverse-path leads, and nothing is ever reported on it. Its transaction is the message that it tells of. */
static void address_report(struct settling *s, struct made_report *r)
{
	const struct envelope *e = &s->message.envelope;
	int64_t now = clock_wall_s();
	r->to = queue_address(s->queue, e->reverse_path, &s->mem);
	r->envelope = (struct envelope){
		.id = unique_slice(&r->id), .arrived_s = now, .expires_s = queue_expiry(now), .evidence = e->evidence, .report = true,
		.utf8 = !slice_is_ascii(e->reverse_path), .eight_bit = r->eight_bit, .require_tls = e->require_tls, .client = SLICE("local"), .transaction = e->id, .sign = true,
		.priority = e->priority, .recipients = &r->to, .recipient_count = 1
	};
}

static void send_report(struct settling *s)
{
	struct queue *q = s->queue;
	struct made_report *made = making(s);
	made->id = unique_new();
	struct report r = {
		.kind = s->kind, .envelope = &s->message.envelope, .items = s->items, .count = s->count, .header = buf_slice(&s->header),
		.id = unique_slice(&made->id), .host = q->host, .from = slice_of(q->postmaster_text), .now_s = clock_wall_s()
	};
	buf_clear(&s->text);
	if (report_write(&s->text, &r, &made->eight_bit)) {
		withhold(s, "the report would be too large");
		return;
	}
	address_report(s, made);
	s->put = (struct spool_put){ .envelope = &made->envelope, .where = SPOOL_MADE, .pen = PEN_NONE, .copy = -1, .content = buf_slice(&s->text), .done = report_put };
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
	settling_reported(s);
}

void settling_make_reports(struct settling *s)
{
	s->kinds[0] = REPORT_DELAY, s->kinds[1] = REPORT_SUCCESS, s->kinds[2] = REPORT_FAILURE;
	s->kind_count = 3;
	next_kind(s);
}
