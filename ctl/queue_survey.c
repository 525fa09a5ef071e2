/* Asking the queue's schedule, piece by piece. */
#include "ctl/queue_survey.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/ipc.h"
#include "base/text.h"
#include "base/unique.h"
#include "queue/queue_proto.h"
#include "queue/roll.h"

enum { US = 1000000 };

struct asking {
	struct ctl *c;
	const struct queue_query *query;
	bool (*each)(void *arg, const struct taken *t);
	void *arg;
	struct arena mem;
	int64_t now_s;
	uint64_t told;
	size_t shown;
	bool enough;
};

bool queue_survey_serves(const struct queue_query *q)
{
	return !q->sender.n && !q->recipient.n && !q->domain.n && !q->reason.n && !q->evidence.n && !q->larger && !q->smaller && !q->id_count;
}

static bool fits_place(struct asking *a, const struct taken *t)
{
	for (size_t i = 0; i < t->group_count; i++) {
		struct slice lower = text_lower(&a->mem, t->groups[i].place);
		if (slice_find_slice(lower, a->query->place) < lower.n)
			return true;
	}
	return a->query->place.n == 0;
}

static bool fits(struct asking *a, const struct taken *t)
{
	const struct queue_query *q = a->query;
	int64_t came_s = unique_time_us(t->id) / US;
	uint64_t age = a->now_s > came_s ? (uint64_t)(a->now_s - came_s) : 0;
	return (!q->older_s || age >= q->older_s) && (!q->newer_s || age <= q->newer_s) && (!q->held || t->held) && fits_place(a, t);
}

static bool take_piece(struct asking *a, struct slice reply, struct survey_head *head)
{
	struct buf text = BUF_INIT(IPC_MAX_PAYLOAD);
	struct roll piece;
	if (!survey_get_head(&reply, head) || head->omitted || head->anew || buf_add(&text, reply) || roll_parse(&text, false, &piece)) {
		buf_free(&text);
		return false;
	}
	for (size_t i = 0; i < piece.count && !a->enough; i++) {
		if (fits(a, &piece.entries[i].taken))
			a->enough = !a->each(a->arg, &piece.entries[i].taken) || (a->query->limit && ++a->shown >= a->query->limit);
		arena_reset(&a->mem);
	}
	a->told += piece.count;
	roll_free(&piece);
	return true;
}

static bool ask_piece(struct asking *a, struct survey_head *head)
{
	char size[24], at[24], anew[24];
	const char *words[] = { "survey", size, at, anew };
	struct buf reply = BUF_INIT(IPC_MAX_PAYLOAD);
	snprintf(size, sizeof size, "%llu", (unsigned long long)head->size);
	snprintf(at, sizeof at, "%llu", (unsigned long long)head->at);
	snprintf(anew, sizeof anew, "%llu", (unsigned long long)head->anew);
	bool good = ctl_ask(a->c, "queue", words, sizeof words / sizeof *words, &reply) == 0 && take_piece(a, buf_slice(&reply), head);
	buf_free(&reply);
	return good;
}

bool queue_survey_walk(struct ctl *c, const struct queue_query *q, bool (*each)(void *arg, const struct taken *t), void *arg)
{
	struct asking a = { .c = c, .query = q, .each = each, .arg = arg, .mem = ARENA_INIT(0), .now_s = clock_wall_s() };
	struct survey_head head = { .more = true };
	bool good = true;
	while (head.more && !a.enough && (good = ask_piece(&a, &head)))
		if (head.more)
			ctl_progress(c, "asking", a.told < head.messages ? a.told : head.messages, head.messages + 1);
	arena_free(&a.mem);
	if (head.messages)
		ctl_progress(c, "asking", 1, 1); /* the bar goes */
	return good;
}
