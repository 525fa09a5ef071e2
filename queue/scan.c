/* What lies in the spool at start. First the reports of made/, which a crash may have left beside messages that know of them or don't. Then each of queue/'s folders
 * is one job for a worker, which reads every message that its roll (queue/roll.h) doesn't know as it is, and keeps of it what the schedule must know. We serve
 * meanwhile; what is put in is in the schedule at once, and what is settled stays in its table until the scan is over, so that nothing is taken in twice. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/queue_inside.h"
#include "queue/roll.h"
#include "queue/settling.h"

enum { SCANNERS = 2, MAX_RAW = (64 + 16 + 8) << 20, MAX_MEMORY = 64 << 20, MAX_SHARD_NAME = 4, SHARDS_AHEAD = 8 };

struct shard {
	struct shard *next;
	struct queue *queue;
	char name[MAX_SHARD_NAME + 1];
	struct buf raw;
	struct arena one, mem;           /* of the message that is read; of what is kept */
	struct taken *found;
	size_t count, room, unread;      /* unread: of those found, taken from the roll */
	size_t damaged;
	struct roll roll;
	char last_damaged[SPOOL_ID_MAX + 1];
	const char *why;
};

struct scan {
	struct shard *todo;
	struct shard *made;              /* while the reports of made/ are looked at */
	size_t busy, messages, unread;
	uint64_t started_ms;
	struct message **gone;           /* settled meanwhile */
	size_t gone_count, gone_room;
};

/* -- in a worker -------------------------------------------------------------------------------------------------------------------------- */

static void keep_taken(struct shard *d, const struct taken *t)
{
	if (d->count == d->room) {
		d->room = d->room ? d->room * 2 : 64;
		d->found = mem_grow(d->found, d->room, sizeof *d->found);
	}
	d->found[d->count++] = taken_copy(&d->mem, t);
}

/* What can't be moved (a folder of somebody else's) is told all the same. */
static void set_aside(struct shard *d, enum spool_folder from, struct slice id, const char *why)
{
	int error = spool_move(d->queue->spool, from, SPOOL_ASIDE, id);
	if (error)
		log_event(LOG_ERROR, "queue-aside-failed", LOG_STR("id", id), LOG_CSTR("why", why), LOG_ERRNO(error), LOG_END);
	d->damaged++;
	d->why = why;
	snprintf(d->last_damaged, sizeof d->last_damaged, "%.*s", SLICE_FMT(slice_head(id, SPOOL_ID_MAX)));
}

static void cut_torn(struct shard *d, struct slice id, const struct spool_message *m)
{
	int error = spool_cut(d->queue->spool, id, m->sound_size);
	log_event(error ? LOG_ERROR : LOG_WARN, "queue-torn-event", LOG_STR("id", id), LOG_ERRNO(error), LOG_END);
}

static bool is_on_roll(struct shard *d, struct slice id)
{
	const struct roll_entry *e = roll_find(&d->roll, id);
	struct spool *s = d->queue->spool;
	struct roll_mark m;
	struct stat st;
	if (!e || spool_stat(s, SPOOL_QUEUE, id, &st) || !roll_mark_of(s, &st, &m) || !roll_holds(e, &m))
		return false;
	keep_taken(d, &e->taken);
	d->unread++;
	return true;
}

static bool read_one(void *arg, struct slice id)
{
	struct shard *d = arg;
	if (atomic_load(&d->queue->scan_ends))
		return false;
	if (is_on_roll(d, id))
		return true;
	struct spool_message m;
	struct taken t;
	const char *why;
	int error = spool_read(d->queue->spool, SPOOL_QUEUE, id, &d->raw, &d->one, &m, &why);
	if (error == 0) {
		if (m.torn)
			cut_torn(d, id, &m);
		if (taken_from(&m.envelope, &m.state, &d->one, &t))
			keep_taken(d, &t);
		file_close(&m.fd);
	}
	if (error == -EBADMSG)
		set_aside(d, SPOOL_QUEUE, id, why);
	arena_reset(&d->one);
	return true;
}

static void read_shard(void *arg)
{
	struct shard *d = arg;
	struct spool *s = d->queue->spool;
	int error = roll_read(s, slice_of(d->name), &d->roll);
	spool_scan_shard(s, slice_of(d->name), read_one, d);
	bool useless = d->roll.count && !d->unread && !atomic_load(&d->queue->scan_ends);
	if (error == -EBADMSG || useless)
		roll_remove(s, slice_of(d->name)); /* it serves nobody */
	if (error == -EBADMSG)
		log_event(LOG_WARN, "roll-refused", LOG_CSTR("folder", d->name), LOG_END);
	roll_free(&d->roll);
	buf_free(&d->raw);
	arena_free(&d->one);
}

/* -- made/, in a worker -------------------------------------------------------------------------------------------------------------------- */

static bool is_noted(const struct spool_message *m, struct slice report)
{
	struct slice in = m->journal;
	struct event e;
	while (event_next(&in, &e))
		if ((e.kind == EVENT_REPORTED || e.kind == EVENT_DELAYED) && slice_starts(e.status.text, SLICE(SETTLING_SENT_AS)) &&
		    slice_eq(slice_skip(e.status.text, sizeof SETTLING_SENT_AS - 1), report))
			return true;
	return false;
}

/* Its message doesn't know of it, and will make it again. What can't be found out is not lost: a message that is gone had noted what there was to note. */
static bool is_stray(struct shard *d, struct slice report, struct slice message)
{
	struct spool_message m;
	const char *why;
	if (spool_read(d->queue->spool, SPOOL_QUEUE, message, &d->raw, &d->one, &m, &why))
		return false;
	bool noted = is_noted(&m, report);
	file_close(&m.fd);
	return !noted;
}

static void look_at_made(struct shard *d, struct slice id)
{
	struct spool *spool = d->queue->spool;
	struct spool_message m;
	const char *why;
	int error = spool_read(spool, SPOOL_MADE, id, &d->raw, &d->one, &m, &why);
	if (error == 0) {
		struct slice message = arena_copy(&d->one, m.envelope.transaction);
		file_close(&m.fd);
		error = is_stray(d, id, message) ? spool_remove(spool, SPOOL_MADE, id) : spool_move(spool, SPOOL_MADE, SPOOL_QUEUE, id);
	} else if (error == -EBADMSG) {
		set_aside(d, SPOOL_MADE, id, why);
		error = 0;
	}
	if (error)
		log_event(LOG_ERROR, "report-failed", LOG_STR("id", id), LOG_ERRNO(error), LOG_END);
	arena_reset(&d->one);
}

static void read_made(void *arg)
{
	struct shard *d = arg;
	for (size_t i = 0; i < d->count; i++)
		look_at_made(d, d->found[i].id);
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
	log_event(LOG_INFO, "queue-scanned", LOG_UINT("messages", s->messages), LOG_UINT("unread", s->unread), LOG_UINT("ms", clock_mono_ms() - s->started_ms), LOG_END);
	mem_free(s->gone);
	mem_free(s);
}

static void tell_damaged(const struct shard *d)
{
	if (!d->damaged)
		return;
	d->queue->counts.damaged += d->damaged;
	queue_alert(d->queue, "%zu damaged message(s) in the queue were set aside, the last one %s: %s", d->damaged, d->last_damaged, d->why);
}

static void shard_read(void *arg)
{
	struct shard *d = arg;
	struct queue *q = d->queue;
	struct scan *s = q->scan;
	s->busy--;
	if (atomic_load(&q->scan_ends)) { /* what is left is scan_free's */
		shard_free(d);
		return;
	}
	s->messages += d->count;
	s->unread += d->unread;
	for (size_t i = 0; i < d->count; i++)
		queue_take(q, &d->found[i]);
	tell_damaged(d);
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

static struct shard *shard_new(struct queue *q)
{
	struct shard *d = MEM_NEW(struct shard);
	d->queue = q;
	buf_init(&d->raw, MAX_RAW);
	d->one = (struct arena)ARENA_INIT(MAX_MEMORY);
	d->mem = (struct arena)ARENA_INIT(0);
	return d;
}

static bool found_shard(void *arg, struct slice name)
{
	struct queue *q = arg;
	if (name.n > MAX_SHARD_NAME)
		return true;
	struct shard *d = shard_new(q);
	memcpy(d->name, name.p, name.n);
	d->next = q->scan->todo;
	q->scan->todo = d;
	return true;
}

static void scan_queue(struct queue *q)
{
	spool_shards(q->spool, found_shard, q);
	start_more(q);
	if (q->scan->busy == 0)
		scan_over(q);
}

static void made_read(void *arg)
{
	struct shard *d = arg;
	struct queue *q = d->queue;
	q->scan->made = NULL;
	tell_damaged(d);
	shard_free(d);
	if (!atomic_load(&q->scan_ends))
		scan_queue(q);
}

static bool found_made(void *arg, struct slice id)
{
	struct taken t = { .id = id };
	keep_taken(arg, &t);
	return true;
}

/* The names of made/ are taken at once: what is made from now on is not for us to look at. */
void scan_start(struct queue *q)
{
	struct scan *s = MEM_NEW(struct scan);
	q->scan = s;
	s->started_ms = clock_mono_ms();
	q->scanner = worker_new(q->loop, SCANNERS, "scan");
	s->made = shard_new(q);
	spool_scan(q->spool, SPOOL_MADE, found_made, s->made);
	if (s->made->count)
		worker_add(q->scanner, read_made, made_read, s->made);
	else
		made_read(s->made);
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
	if (s->made)
		shard_free(s->made);
	mem_free(s->gone);
	mem_free(s);
	q->scan = NULL;
}

bool queue_is_scanned(const struct queue *q)
{
	return q->scan == NULL;
}
