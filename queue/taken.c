/* From a message on disk to the schedule: its waiting recipients by place. */
#include "base/clock.h"
#include "queue/queue_inside.h"
#include "queue/queue_settings.h"

struct slice queue_sender_of(const struct envelope *e)
{
	return e->evidence.grade >= EVIDENCE_CLIENT && e->evidence.who.n ? e->evidence.who : e->reverse_path;
}

static void group_recipient(struct taken *t, struct slice place, int64_t next_s, uint32_t attempts)
{
	size_t g = 0;
	while (g < t->group_count && !slice_eq(t->groups[g].place, place))
		g++;
	if (g == t->group_count)
		t->groups[t->group_count++] = (struct taken_group){ .place = place, .next_s = INT64_MAX };
	struct taken_group *at = &t->groups[g];
	at->recipients++;
	at->next_s = next_s < at->next_s ? next_s : at->next_s;
	at->attempts = attempts > 255 ? 255 : attempts > at->attempts ? (uint8_t)attempts : at->attempts;
}

/* A failure, or a wish for a success report, that nobody was told of yet. */
static bool wants_settling(const struct envelope *e, const struct message_state *state)
{
	for (size_t i = 0; state && i < e->recipient_count; i++)
		if (state->recipients[i].fate != RECIPIENT_WAITING && !state->recipients[i].reported &&
		    (state->recipients[i].fate == RECIPIENT_FAILED || envelope_wants(&e->recipients[i], NOTIFY_SUCCESS)))
			return true;
	return false;
}

int64_t taken_delay_s(const struct envelope *e)
{
	int64_t from = e->hold_until_s > e->arrived_s ? e->hold_until_s : e->arrived_s;
	int64_t at = queue_settings.delay_notice_s ? from + (int64_t)queue_settings.delay_notice_s : INT64_MAX;
	if (e->report)
		return INT64_MAX;
	return e->deliver_by_s && !e->deliver_by_return && e->deliver_by_s < at ? e->deliver_by_s : at;
}

int64_t taken_look_s(const struct envelope *e, const struct message_state *state, bool told)
{
	int64_t at = e->expires_s, delay = told ? INT64_MAX : taken_delay_s(e);
	if (e->deliver_by_s && e->deliver_by_return && e->deliver_by_s < at)
		at = e->deliver_by_s;
	for (size_t i = 0; i < e->recipient_count && delay < at; i++) {
		const struct recipient_state *r = state ? &state->recipients[i] : NULL;
		if ((!r || (r->fate == RECIPIENT_WAITING && !r->delay_told)) && envelope_wants(&e->recipients[i], NOTIFY_DELAY))
			at = delay;
	}
	return at;
}

bool taken_from(const struct envelope *e, const struct message_state *state, struct arena *mem, struct taken *out)
{
	*out = (struct taken){ .id = e->id, .sender = queue_sender_of(e), .priority = e->priority, .held = state && state->held };
	out->groups = ARENA_ARRAY(mem, struct taken_group, e->recipient_count);
	if (!out->groups)
		return false;
	for (size_t i = 0; i < e->recipient_count; i++) {
		const struct recipient_state *r = state ? &state->recipients[i] : NULL;
		if (!r)
			group_recipient(out, e->recipients[i].place, e->hold_until_s, 0);
		else if (r->fate == RECIPIENT_WAITING)
			group_recipient(out, r->place, r->next_s, r->attempts);
	}
	out->wants_settling = wants_settling(e, state);
	out->look_s = taken_look_s(e, state, false);
	return true;
}

struct taken taken_copy(struct arena *mem, const struct taken *t)
{
	struct taken copy = *t;
	copy.id = arena_copy(mem, t->id);
	copy.sender = arena_copy(mem, t->sender);
	copy.groups = ARENA_ARRAY(mem, struct taken_group, t->group_count ? t->group_count : 1);
	for (size_t i = 0; i < t->group_count; i++) {
		copy.groups[i] = t->groups[i];
		copy.groups[i].place = arena_copy(mem, t->groups[i].place);
	}
	return copy;
}

bool taken_known(struct message *m, struct arena *mem, struct taken *out)
{
	size_t count = 0, at = 0;
	for (const struct item *i = message_items(m); i; i = i->next)
		count++;
	*out = (struct taken){ .id = slice(m->id, SCHEDULE_ID), .sender = schedule_sender_name(m), .priority = m->priority, .held = m->held, .wants_settling = m->wants_settling, .look_s = m->look_s,
		               .groups = ARENA_ARRAY(mem, struct taken_group, count ? count : 1), .group_count = count };
	for (const struct item *i = message_items(m); i; i = i->next) {
		if (i->recipients == 0)
			return false;
		out->groups[at++] = (struct taken_group){ schedule_place_name(i), i->recipients, i->attempts, schedule_due_s(i) };
	}
	return true;
}

void queue_look_at(struct message *m, int64_t at_s)
{
	m->look_s = at_s > UINT32_MAX ? UINT32_MAX : (uint32_t)(at_s < 0 ? 0 : at_s);
}

void queue_take(struct queue *q, const struct taken *t)
{
	struct message *m = schedule_add(q->schedule, t->id, t->sender, t->priority);
	if (!m)
		return;
	queue_look_at(m, t->look_s);
	if (t->held)
		schedule_hold(q->schedule, m, true);
	int64_t now = clock_wall_s();
	for (size_t g = 0; g < t->group_count; g++) {
		schedule_add_item(q->schedule, m, t->groups[g].place, t->groups[g].recipients, t->groups[g].attempts, t->groups[g].next_s);
		if (!t->groups[g].attempts && t->groups[g].next_s > now) /* never tried: it waits for the time that was named */
			schedule_appoint(m);
	}
	m->wants_settling = t->wants_settling;
	if (m->wants_settling || !message_items(m))
		settle_check(q, m);
	queue_wake(q);
}

void queue_take_in(struct queue *q, const struct envelope *e)
{
	struct arena mem = ARENA_INIT(0);
	struct taken t;
	if (taken_from(e, NULL, &mem, &t))
		queue_take(q, &t);
	arena_free(&mem);
}
