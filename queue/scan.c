/* What lies in the spool at start: each of queue/'s folders is one job for a worker, which reads every message and keeps of it what the schedule must know.
 * We serve meanwhile; what is put in is in the schedule at once, and what is settled stays in its table until the scan is over, so that
 * nothing is taken in twice. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/queue_inside.h"

enum { SCANNERS = 2, MAX_RAW = (64 + 16 + 8) << 20, MAX_MEMORY = 64 << 20, MAX_SHARD_NAME = 4, SHARDS_AHEAD = 8 };

struct shard {
	struct shard *next;
	struct queue *queue;
	char name[MAX_SHARD_NAME + 1];
	struct buf raw;
	struct arena one, mem;           /* of the message that is read; of what is kept */
	struct taken *found;
	size_t count, room;
	size_t damaged;
	char last_damaged[SPOOL_ID_MAX + 1];
	const char *why;
};

struct scan {
	struct shard *todo;
	size_t busy, messages, shards;
	uint64_t started_ms;
	struct message **gone;           /* settled meanwhile */
	size_t gone_count, gone_room;
};

/* -- in a worker -------------------------------------------------------------------------------------------------------------------------- */

static struct slice keep(struct shard *d, struct slice s)
{
	return arena_copy(&d->mem, s);
}

static void keep_taken(struct shard *d, const struct taken *t)
{
	if (d->count == d->room) {
		d->room = d->room ? d->room * 2 : 64;
		d->found = mem_grow(d->found, d->room, sizeof *d->found);
	}
	struct taken *kept = &d->found[d->count++];
	*kept = *t;
	kept->id = keep(d, t->id);
	kept->sender = keep(d, t->sender);
	kept->groups = ARENA_ARRAY(&d->mem, struct taken_group, t->group_count ? t->group_count : 1);
	for (size_t i = 0; i < t->group_count; i++) {
		kept->groups[i] = t->groups[i];
		kept->groups[i].place = keep(d, t->groups[i].place);
	}
}

static bool read_one(void *arg, struct slice id)
{
	struct shard *d = arg;
	struct spool_message m;
	struct taken t;
	const char *why;
	int error = spool_read(d->queue->spool, SPOOL_QUEUE, id, &d->raw, &d->one, &m, &why);
	if (error == 0) {
		if (taken_from(&m.envelope, &m.state, &d->one, &t))
			keep_taken(d, &t);
		file_close(&m.fd);
	}
	if (error == -EBADMSG && spool_move(d->queue->spool, SPOOL_QUEUE, SPOOL_ASIDE, id) == 0) {
		d->damaged++;
		d->why = why;
		snprintf(d->last_damaged, sizeof d->last_damaged, "%.*s", SLICE_FMT(slice_head(id, SPOOL_ID_MAX)));
	}
	arena_reset(&d->one);
	return true;
}

static void read_shard(void *arg)
{
	struct shard *d = arg;
	spool_scan_shard(d->queue->spool, slice_of(d->name), read_one, d);
	buf_free(&d->raw);
	arena_free(&d->one);
}

/* -- in the loop ---------------------------------------------------------------------------------------------------------------------------- */

static void shard_free(struct shard *d)
{
	buf_free(&d->raw);
	arena_free(&d->one);
	arena_free(&d->mem);
	mem_free(d->found);
	mem_free(d);
}

static void start_more(struct queue *q);

static void scan_over(struct queue *q)
{
	struct scan *s = q->scan;
	q->scan = NULL;
	for (size_t i = 0; i < s->gone_count; i++)
		schedule_remove(q->schedule, s->gone[i]);
	log_event(LOG_INFO, "queue-scanned", LOG_UINT("messages", s->messages), LOG_UINT("ms", clock_mono_ms() - s->started_ms), LOG_END);
	mem_free(s->gone);
	mem_free(s);
}

static void shard_read(void *arg)
{
	struct shard *d = arg;
	struct queue *q = d->queue;
	struct scan *s = q->scan;
	s->busy--;
	s->messages += d->count;
	for (size_t i = 0; i < d->count; i++)
		queue_take(q, &d->found[i]);
	if (d->damaged) {
		q->counts.damaged += d->damaged;
		queue_alert(q, "%zu damaged message(s) in the queue were set aside, the last one %s: %s", d->damaged, d->last_damaged, d->why);
	}
	shard_free(d);
	start_more(q);
	queue_wake(q);
	if (s->busy == 0)
		scan_over(q);
}

static void start_more(struct queue *q)
{
	struct scan *s = q->scan;
	while (s->todo && s->busy < SHARDS_AHEAD) {
		struct shard *d = s->todo;
		s->todo = d->next;
		s->busy++;
		worker_add(q->scanner, read_shard, shard_read, d);
	}
}

static bool found_shard(void *arg, struct slice name)
{
	struct queue *q = arg;
	if (name.n > MAX_SHARD_NAME)
		return true;
	struct shard *d = MEM_NEW(struct shard);
	d->queue = q;
	memcpy(d->name, name.p, name.n);
	buf_init(&d->raw, MAX_RAW);
	d->one = (struct arena)ARENA_INIT(MAX_MEMORY);
	d->mem = (struct arena)ARENA_INIT(0);
	d->next = q->scan->todo;
	q->scan->todo = d;
	return true;
}

void scan_start(struct queue *q)
{
	q->scan = MEM_NEW(struct scan);
	q->scan->started_ms = clock_mono_ms();
	q->scanner = worker_new(q->loop, SCANNERS, "scan");
	spool_shards(q->spool, found_shard, q);
	start_more(q);
	if (q->scan->busy == 0)
		scan_over(q);
}

void scan_forget(struct queue *q, struct message *m)
{
	struct scan *s = q->scan;
	if (!s) {
		schedule_remove(q->schedule, m);
		return;
	}
	m->gone = true;
	m->settling = false;
	while (message_items(m))
		schedule_remove_item(q->schedule, message_items(m));
	if (s->gone_count == s->gone_room) {
		s->gone_room = s->gone_room ? s->gone_room * 2 : 64;
		s->gone = mem_grow(s->gone, s->gone_room, sizeof *s->gone);
	}
	s->gone[s->gone_count++] = m;
}

void scan_free(struct queue *q)
{
	struct scan *s = q->scan;
	if (!s)
		return;
	for (struct shard *d = s->todo, *next; d; d = next) {
		next = d->next;
		shard_free(d);
	}
	mem_free(s->gone);
	mem_free(s);
	q->scan = NULL;
}

bool queue_is_scanned(const struct queue *q)
{
	return q->scan == NULL;
}
