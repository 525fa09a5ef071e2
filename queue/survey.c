/* What the schedule knows of all messages, told to porterctl piece by piece, so that no piece holds the loop up: summaries, and acts on queries for which no file need be read. */
#include <errno.h>

#include "base/scan.h"
#include "queue/queue_inside.h"
#include "queue/record.h"
#include "queue/roll.h"

enum { PIECE = 2000, MAX_TEXT = 1 << 20 /* of an answer's 2 MiB */ };

static const struct record_row head_rows[] = {
	RECORD_ROW(1, RECORD_UINT64, survey_head, size), RECORD_ROW(2, RECORD_UINT64, survey_head, at), RECORD_ROW(3, RECORD_UINT64, survey_head, anew),
	RECORD_ROW(4, RECORD_FLAG, survey_head, more), RECORD_ROW(5, RECORD_UINT64, survey_head, messages), RECORD_ROW(6, RECORD_UINT64, survey_head, omitted),
};

int survey_put_head(struct buf *out, const struct survey_head *h)
{
	return record_put(out, RECORD_TABLE(head_rows), h);
}

bool survey_get_head(struct slice *in, struct survey_head *out)
{
	return record_get(in, RECORD_TABLE(head_rows), out);
}

struct survey {
	struct buf text;
	struct arena mem;
	uint64_t omitted;
};

static void add_message(void *arg, struct message *m)
{
	struct survey *s = arg;
	struct roll_entry e = { .mark = { 0 } };
	if (m->gone)
		return;
	if (!taken_known(m, &s->mem, &e.taken) || roll_add(&s->text, &e))
		s->omitted++;
	arena_reset(&s->mem);
}

int queue_survey(struct queue *q, const struct slice *words, size_t count, struct buf *answer)
{
	struct survey s = { .text = BUF_INIT(MAX_TEXT), .mem = ARENA_INIT(0) };
	struct schedule_cursor c = { 0 };
	struct schedule_counts all;
	if (count != 3 || !scan_uint_all(words[0], UINT64_MAX, &c.size) || !scan_uint_all(words[1], UINT64_MAX, &c.at) || !scan_uint_all(words[2], UINT64_MAX, &c.anew))
		return -ENOSYS;
	roll_begin(&s.text);
	bool more = schedule_some(q->schedule, &c, PIECE, add_message, &s);
	roll_end(&s.text);
	schedule_count(q->schedule, &all);
	struct survey_head h = { c.size, c.at, c.anew, more, all.messages, s.omitted + (q->scan != NULL) }; /* what the scan has not come to */
	int error = survey_put_head(answer, &h);
	error = error ? error : buf_add(answer, buf_slice(&s.text));
	buf_free(&s.text);
	arena_free(&s.mem);
	return error ? -ENOSYS : 0;
}
