/* Dead letters, by the postmaster's word: released into the queue, where their failed recipients are tried once more as if they had only been deferred (of a report that was
 * withheld, all for the first time); or dropped. Answered when it is done. */
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/house.h"
#include "base/mem.h"
#include "queue/queue_inside.h"

enum { MAX_RAW = 88 << 20, MAX_MEMORY = 64 << 20, MAX_ANSWER = 200 };

struct dead_acts {
	struct queue *queue;
	uint64_t question;
	size_t done, left, open;
};

struct dead_act {
	struct dead_acts *whole;
	int error;
	struct spool_gone gone;
	struct spool_append append;
};

static void act_over(struct dead_act *a, bool good)
{
	struct dead_acts *all = a->whole;
	struct queue *q = all->queue;
	struct buf text = BUF_INIT(MAX_ANSWER);
	buf_free(&a->append.records);
	mem_free(a);
	*(good ? &all->done : &all->left) += 1;
	if (--all->open)
		return;
	buf_addf(&text, "{\"done\":%zu,\"left\":%zu}\n", all->done, all->left);
	queue_answer(q, all->question, 0, buf_slice(&text));
	buf_free(&text);
	mem_free(all);
	queue_end(q);
}

/* -- dropped -------------------------------------------------------------------------------------------------------------------------- */

static void dropped(struct spool_gone *g)
{
	act_over((struct dead_act *)((char *)g - offsetof(struct dead_act, gone)), !g->job.error);
}

static void drop(struct dead_act *a)
{
	a->gone.done = dropped;
	spool_forget(a->whole->queue->spool, &a->gone, SPOOL_DEAD);
}

/* -- released ------------------------------------------------------------------------------------------------------------------------- */

static void written(struct spool_append *s)
{
	struct dead_act *a = (struct dead_act *)((char *)s - offsetof(struct dead_act, append));
	if (s->job.error)
		queue_alert(a->whole->queue, "an act on the message %s can't be written: %s", s->id, strerror(-s->job.error));
	queue_take_anew(a->whole->queue, s->id); /* also then: it may stand there all the same */
	act_over(a, !s->job.error);
}

static void moved(struct spool_gone *g)
{
	struct dead_act *a = (struct dead_act *)((char *)g - offsetof(struct dead_act, gone));
	if (g->job.error) {
		act_over(a, false);
		return;
	}
	memcpy(a->append.id, g->id, sizeof a->append.id);
	a->append.done = written;
	spool_append(a->whole->queue->spool, &a->append, true);
}

/* In a worker: who is to be tried again. */
static void read_message(void *arg)
{
	struct dead_act *a = arg;
	struct buf raw = BUF_INIT(MAX_RAW);
	struct arena mem = ARENA_INIT(MAX_MEMORY);
	struct spool_message m;
	const char *why;
	a->error = spool_read(a->whole->queue->spool, SPOOL_DEAD, slice_of(a->gone.id), &raw, &mem, &m, &why);
	if (!a->error)
		file_close(&m.fd);
	for (uint32_t i = 0; !a->error && i < m.envelope.recipient_count; i++)
		if (m.state.recipients[i].fate != RECIPIENT_DONE) {
			struct event e = { .kind = EVENT_RELEASE, .at_s = clock_wall_s(), .recipient = i, .status = MAIL_STATUS_OK };
			event_put(&a->append.records, &e);
		}
	buf_free(&raw);
	arena_free(&mem);
}

static void was_read(void *arg)
{
	struct dead_act *a = arg;
	a->gone.done = moved;
	if (a->error)
		act_over(a, false);
	else
		spool_bring(a->whole->queue->spool, &a->gone, SPOOL_DEAD, SPOOL_QUEUE);
}

static void release(struct dead_act *a)
{
	buf_init(&a->append.records, SPOOL_JOURNAL_MAX);
	worker_add(a->whole->queue->files, read_message, was_read, a);
}

/* A word holds many ids, with spaces between them. */
static void begin(struct dead_acts *all, struct slice ids, void (*act)(struct dead_act *a))
{
	while (ids.n) {
		struct slice id = slice_cut(ids, ' ', &ids);
		if (id.n != SCHEDULE_ID) {
			all->left++;
			continue;
		}
		struct dead_act *a = MEM_NEW(struct dead_act);
		a->whole = all;
		memcpy(a->gone.id, id.p, id.n);
		all->open++;
		act(a);
	}
}

int dead_act(struct queue *q, uint64_t question, bool released, const struct slice *words, size_t count, struct buf *answer)
{
	struct dead_acts *all = MEM_NEW(struct dead_acts);
	*all = (struct dead_acts){ .queue = q, .question = question };
	for (size_t i = 0; i < count; i++)
		begin(all, words[i], released ? release : drop);
	if (all->open) {
		queue_begin(q);
		return HOUSE_LATER;
	}
	buf_addf(answer, "{\"done\":0,\"left\":%zu}\n", all->left);
	mem_free(all);
	return 0;
}
