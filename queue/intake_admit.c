/* What may come in (rule.md, "No queue for strangers"): what smtpd may not decide is decided, and what it says is checked. */
#include "base/clock.h"
#include "base/unique.h"
#include "queue/queue_inside.h"
#include "queue/queue_settings.h"

static void fill_times(struct envelope *e)
{
	int64_t now = clock_wall_s();
	e->arrived_s = e->arrived_s ? e->arrived_s : now;
	e->expires_s = e->expires_s ? e->expires_s : queue_expiry(e->hold_until_s > now ? e->hold_until_s : now);
}

/* Only here does a message become the owner's: every recipient is a copy of a list of ours. */
static bool make_owners(struct envelope *e)
{
	size_t lists = 0;
	for (size_t i = 0; i < e->recipient_count; i++)
		lists += e->recipients[i].way == WAY_LIST;
	if (lists == 0)
		return true;
	if (lists != e->recipient_count || e->reverse_path.n == 0)
		return false;
	e->evidence = (struct evidence){ EVIDENCE_OWNER, e->reverse_path, SLICE("a copy of a list of ours") };
	return true;
}

bool intake_is_held(const struct envelope *e)
{
	return e->recipient_count && e->recipients[0].way == WAY_HELD;
}

bool intake_is_withheld(const struct envelope *e)
{
	return e->recipient_count && (e->recipients[0].way == WAY_WITHHELD || intake_is_held(e));
}

/* What is withheld has an envelope of its own; a report has one recipient and no reverse-path. */
static bool withholds_all(const struct envelope *e)
{
	for (size_t i = 0; i < e->recipient_count; i++)
		if ((intake_is_withheld(e) || e->recipients[i].way >= WAY_WITHHELD) && e->recipients[i].way != e->recipients[0].way)
			return false;
	return !intake_is_withheld(e) || intake_is_held(e) || e->reverse_path.n == 0;
}

/* RFC 4865 asks for a bound on what waits for a time. Those on their way to the disk aren't counted yet: who hands in side by side may pass it by as many. */
static bool has_too_many_appointed(struct queue *q, const struct envelope *e)
{
	return queue_settings.user_held && e->hold_until_s > clock_wall_s() && schedule_appointed(q->schedule, queue_sender_of(e)) >= queue_settings.user_held;
}

struct mail_status intake_admit(struct queue *q, struct envelope *e, bool hop_down)
{
	if (e->report || e->sign || e->evidence.grade == EVIDENCE_OWNER || e->id.n != UNIQUE_LENGTH || unique_time_us(e->id) == 0 || !make_owners(e) ||
	    !withholds_all(e))
		return MAIL_STATUS(MAIL_LATER, 451, 3, 5, "Internal confusion, please try again later");
	fill_times(e);
	if (e->reverse_path.n == 0 || intake_is_held(e))
		e->report = true;        /* reported on to nobody; each recipient passed QUEUE_GATE, and is judged once more in intake.c */
	struct mail_status s = envelope_admit(e, hop_down);
	if (s.fate != MAIL_OK)
		return s;
	if (has_too_many_appointed(q, e))
		return MAIL_STATUS(MAIL_LATER, 452, 7, 1, "Too many messages of yours wait for a time already (HOLDFOR, HOLDUNTIL), please try again later");
	if (queue_settings.most_messages) {
		struct schedule_counts c;
		schedule_count(q->schedule, &c);
		if (c.messages >= queue_settings.most_messages)
			return MAIL_STATUS(MAIL_LATER, 452, 3, 1, "The queue is full, please try again later");
	}
	return MAIL_STATUS_OK;
}
