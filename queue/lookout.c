/* Who waits too long. Delays and the end of the time are told when a message is tried; but one that waits behind thousands for a place that takes minutes for each,
 * or rests, is not tried for days. So every message is passed within about a minute, a few a second, and one whose moment has come is looked at: read, given up or
 * told of, and put back where it was. */
#include <string.h>

#include "base/clock.h"
#include "queue/queue_inside.h"

enum { STEP = 200, ROOM = 2 * STEP, LEAST_A_SECOND = 1000, PASS_S = 60, MOST_UNDER_WAY = 500 };

struct overdue {
	char ids[ROOM][SCHEDULE_ID];
	size_t count;
	int64_t now_s;
};

/* What the postmaster holds is his to judge. */
static void note_overdue(void *arg, struct message *m)
{
	struct overdue *o = arg;
	if (m->look_s <= o->now_s && !m->held && !m->gone && !m->settling && o->count < ROOM)
		memcpy(o->ids[o->count++], m->id, SCHEDULE_ID);
}

static void look(struct queue *q, struct message *m)
{
	for (struct item *i = message_items(m); i; i = i->next)
		if (i->state != ITEM_OUT)
			attempt_look_at(q, i);
}

void lookout_on_second(struct queue *q)
{
	struct schedule_counts c;
	struct overdue o = { .now_s = clock_wall_s() };
	bool more = true;
	schedule_count(q->schedule, &c);
	size_t most = c.messages / PASS_S < LEAST_A_SECOND ? LEAST_A_SECOND : c.messages / PASS_S;
	if (q->draining || !queue_believes_clock(q))
		return;
	for (size_t passed = 0; more && passed < most && q->under_way < MOST_UNDER_WAY; passed += STEP) {
		o.count = 0;
		more = schedule_some(q->schedule, &q->lookout, STEP, note_overdue, &o);
		for (size_t i = 0; i < o.count; i++) {
			struct message *m = schedule_find(q->schedule, slice(o.ids[i], SCHEDULE_ID));
			if (m)
				look(q, m);
		}
	}
	if (!more)
		q->lookout = (struct schedule_cursor){ 0 };
}
