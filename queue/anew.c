/* A message whose file an act has changed, or that came back from dead/, into the schedule as its file says now. A worker reads it; what the schedule had goes when that is
 * known. If it was tried meanwhile, or changed once more, it is read again. */
#include <errno.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/queue_inside.h"

enum { MAX_RAW = 88 << 20, MAX_MEMORY = 64 << 20, DISK_AGAIN_MS = 5000 };

struct anew {
	struct queue *queue;
	char id[SCHEDULE_ID + 1];
	bool known;                      /* the schedule had it */
	int error;
	const char *why;
	struct buf raw;
	struct arena mem;
	struct spool_message message;
	struct loop_timer *again;        /* it could not be read just now */
};

static void anew_free(struct anew *a)
{
	struct queue *q = a->queue;
	loop_timer_free(a->again);
	mem_free(a);
	q->acts--;
	queue_wake(q);
	queue_end(q);
}

/* In a worker. */
static void read_message(void *arg)
{
	struct anew *a = arg;
	buf_init(&a->raw, MAX_RAW);
	a->mem = (struct arena)ARENA_INIT(MAX_MEMORY);
	a->error = spool_read(a->queue->spool, SPOOL_QUEUE, slice_of(a->id), &a->raw, &a->mem, &a->message, &a->why);
	if (!a->error)
		file_close(&a->message.fd);
}

static void take(struct anew *a, struct message *old)
{
	struct queue *q = a->queue;
	struct taken t;
	bool hurry = old && old->hurry;
	if (a->error && old)
		scan_forget(q, old);
	else if (old)
		schedule_remove(q->schedule, old);
	if (a->error == -EBADMSG)
		queue_set_aside(q, a->id, a->why);
	if (!a->error && taken_from(&a->message.envelope, &a->message.state, &a->mem, &t))
		queue_take(q, &t);
	struct message *m = hurry ? schedule_find(q->schedule, slice_of(a->id)) : NULL;
	if (m)
		queue_retry(q, m);
}

static void read_again(void *arg);

static void was_read(void *arg)
{
	struct anew *a = arg;
	struct queue *q = a->queue;
	struct message *m = schedule_find(q->schedule, slice_of(a->id));
	bool over = (a->known && !m) || (m && m->gone), changed = m && m->reread, busy = m && (m->out || m->settling);
	bool failed = a->error && a->error != -ENOENT && a->error != -EBADMSG;
	if (!over && !changed && !busy && !failed)
		take(a, m); /* m is gone then */
	buf_free(&a->raw);
	arena_free(&a->mem);
	if (over || (!changed && !busy && !failed)) {
		anew_free(a);
	} else if (busy) { /* settle_check comes to it */
		m->rereading = false;
		m->reread = true;
		anew_free(a);
	} else if (failed) {
		log_event(LOG_WARN, "queue-read-failed", LOG_CSTR("id", a->id), LOG_ERRNO(a->error), LOG_END);
		a->again = a->again ? a->again : loop_timer_new(q->loop, read_again, a);
		loop_timer_set(a->again, DISK_AGAIN_MS);
	} else {
		read_again(a);
	}
}

static void read_again(void *arg)
{
	struct anew *a = arg;
	struct message *m = schedule_find(a->queue->schedule, slice_of(a->id));
	if (m)
		m->reread = false; /* whatever has changed, is read now */
	worker_add(a->queue->files, read_message, was_read, a);
}

void queue_take_anew(struct queue *q, const char id[SCHEDULE_ID])
{
	struct message *old = schedule_find(q->schedule, slice(id, SCHEDULE_ID));
	if (old && (old->out || old->settling || old->rereading)) {
		old->reread = true;
		return;
	}
	if (old && old->gone)
		return; /* the scan's, until it is over */
	struct anew *a = MEM_NEW(struct anew);
	a->queue = q;
	a->known = old != NULL;
	memcpy(a->id, id, SCHEDULE_ID);
	if (old)
		old->rereading = true;
	q->acts++;
	queue_begin(q);
	read_again(a);
}
