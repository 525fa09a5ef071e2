/* When no recipient of a message is out any more, reports that are due are made, one for all that failed meanwhile, each through the gate; what the gate withholds, and what nobody
 * waits for any more, ends as a dead letter or not at all. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/settling.h"

enum { MAX_RAW = (64 + 16 + 8) << 20, MAX_MEMORY = 64 << 20, MAX_HEADER = 64 << 10, MAX_REPORT = 16 << 20, DISK_AGAIN_MS = 5000 };

static void settling_free(struct settling *s)
{
	struct queue *q = s->queue;
	file_close(&s->message.fd);
	buf_free(&s->raw);
	buf_free(&s->header);
	buf_free(&s->text);
	buf_free(&s->append.records);
	arena_free(&s->mem);
	loop_timer_free(s->again);
	mem_free(s);
	queue_end(q);
}

/* -- the end -------------------------------------------------------------------------------------------------------------------------------- */

/* A failure whose report was withheld, now or earlier. */
static bool is_dead_letter(const struct settling *s)
{
	struct slice in = s->message.journal;
	struct event e;
	bool withheld = s->withheld;
	while (event_next(&in, &e))
		if (e.kind == EVENT_REPORTED && slice_starts(e.status.text, SLICE("withheld")))
			for (size_t i = 0; i < s->message.envelope.recipient_count; i++)
				withheld = withheld || (e.recipient == i && s->message.state.recipients[i].fate == RECIPIENT_FAILED);
	return withheld;
}

static void removed(struct spool_gone *g)
{
	struct settling *s = (struct settling *)((char *)g - offsetof(struct settling, gone));
	scan_forget(s->queue, s->entry);
	settling_free(s);
}

static void died(struct spool_gone *g)
{
	struct settling *s = (struct settling *)((char *)g - offsetof(struct settling, gone));
	if (g->job.error)
		log_event(LOG_ERROR, "dead-letter-failed", LOG_CSTR("id", s->id), LOG_ERRNO(g->job.error), LOG_END);
	else
		log_event(LOG_INFO, "dead-letter", LOG_CSTR("id", s->id), LOG_STR("from", s->message.envelope.reverse_path), LOG_END);
	removed(g);
}

/* Its descriptor is closed before its name goes, which frees the file: that is the syncer's, too. */
static void end_message(struct settling *s)
{
	struct queue *q = s->queue;
	bool dead = is_dead_letter(s);
	s->entry->gone = true;
	memcpy(s->gone.id, s->id, sizeof s->id);
	s->gone.done = dead ? died : removed;
	file_close(&s->message.fd);
	if (dead)
		spool_bring(q->spool, &s->gone, SPOOL_QUEUE, SPOOL_DEAD);
	else
		spool_forget(q->spool, &s->gone, SPOOL_QUEUE);
}

static void look_again(void *arg)
{
	struct settling *s = arg;
	struct message *m = s->entry;
	struct queue *q = s->queue;
	m->settling = false;
	settling_free(s);
	settle_check(q, m);
}

static void finish(struct settling *s)
{
	struct message *m = s->entry;
	struct queue *q = s->queue;
	if (s->waiting) {
		m->wants_settling = true;
		s->again = loop_timer_new(q->loop, look_again, s);
		loop_timer_set(s->again, 60000);
		return;
	}
	if (m->look_s <= clock_wall_s()) /* told, or noted that nobody wants to hear it */
		queue_look_at(m, taken_look_s(&s->message.envelope, &s->message.state, true));
	if (!message_items(m) && !m->wants_settling && !m->reread) {
		end_message(s);
		return;
	}
	m->settling = false;
	settling_free(s);
	settle_check(q, m);
	queue_wake(q);
}

/* -- what the message knows of its reports ----------------------------------------------------------------------------------------------------- */

static void try_again(struct settling *s, void (*what)(void *arg))
{
	s->again = s->again ? s->again : loop_timer_new(s->queue->loop, what, s);
	loop_timer_set(s->again, DISK_AGAIN_MS);
}

static void adopt_next(struct settling *s);

static void adopt_again(void *arg)
{
	adopt_next(arg);
}

static void adopted(struct spool_gone *g)
{
	struct settling *s = (struct settling *)((char *)g - offsetof(struct settling, gone));
	if (g->job.error) {
		log_event(LOG_ERROR, "report-failed", LOG_CSTR("id", g->id), LOG_ERRNO(g->job.error), LOG_END);
		try_again(s, adopt_again);
		return;
	}
	queue_take_in(s->queue, &s->made[s->adopted++].envelope);
	adopt_next(s);
}

static void adopt_next(struct settling *s)
{
	if (s->adopted == s->made_count) {
		loop_timer_free(s->again);
		s->again = NULL;
		finish(s);
		return;
	}
	memcpy(s->gone.id, s->made[s->adopted].id.text, sizeof s->made->id.text);
	s->gone.done = adopted;
	spool_bring(s->queue->spool, &s->gone, SPOOL_MADE, SPOOL_QUEUE);
}

static void write_notes(void *arg);

/* A note that can't be written must not be forgotten: it may stand there all the same, and its report would then be nobody's. */
static void notes_written(struct spool_append *a)
{
	struct settling *s = (struct settling *)((char *)a - offsetof(struct settling, append));
	if (a->job.error && a->job.error != -ENOENT) {
		log_event(LOG_ERROR, "queue-event-failed", LOG_CSTR("id", s->id), LOG_ERRNO(a->job.error), LOG_END);
		try_again(s, write_notes);
		return;
	}
	loop_timer_free(s->again);
	s->again = NULL;
	adopt_next(s);
}

static void write_notes(void *arg)
{
	struct settling *s = arg;
	memcpy(s->append.id, s->id, sizeof s->id);
	s->append.done = notes_written;
	spool_append(s->queue->spool, &s->append, true);
}

void settling_reported(struct settling *s)
{
	if (s->append.records.n)
		write_notes(s);
	else
		finish(s);
}

/* -- its begin ----------------------------------------------------------------------------------------------------------------------------- */

/* In a worker: the message, and its header section. */
static void read_message(void *arg)
{
	struct settling *s = arg;
	s->error = spool_read(s->queue->spool, SPOOL_QUEUE, slice_of(s->id), &s->raw, &s->mem, &s->message, &s->why);
	if (s->error)
		return;
	size_t n = s->message.content_length < MAX_HEADER ? (size_t)s->message.content_length : MAX_HEADER;
	char *to = buf_room(&s->header, n + 1);
	ssize_t got = to ? pread(s->message.fd, to, n, (off_t)s->message.content_offset) : 0;
	buf_used(&s->header, got > 0 ? (size_t)got : 0);
	s->items = ARENA_ARRAY(&s->mem, struct report_item, s->message.envelope.recipient_count);
	s->indices = ARENA_ARRAY(&s->mem, uint32_t, s->message.envelope.recipient_count);
	if (!s->items || !s->indices)
		s->error = -ENOMEM;
}

static void was_read(void *arg)
{
	struct settling *s = arg;
	struct queue *q = s->queue;
	if (s->error == -ENOENT || s->error == -EBADMSG) {
		if (s->error == -EBADMSG)
			queue_set_aside(q, s->id, s->why);
		if (s->entry->out == 0)
			scan_forget(q, s->entry);
		else
			s->entry->settling = false;
		settling_free(s);
		return;
	}
	if (s->error) {
		s->waiting = true;
		finish(s);
		return;
	}
	settling_make_reports(s);
}

void settle_check(struct queue *q, struct message *m)
{
	if (m->rereading) {
		m->reread = true; /* an attempt has ended meanwhile: what is being read is old */
		return;
	}
	if (m->out || m->settling || m->gone || (message_items(m) && !m->wants_settling && !m->reread))
		return;
	if (m->reread) {
		queue_take_anew(q, m->id);
		return;
	}
	struct settling *s = MEM_NEW(struct settling);
	m->settling = true;
	m->wants_settling = false;
	s->queue = q;
	s->entry = m;
	s->message.fd = -1;
	memcpy(s->id, m->id, SCHEDULE_ID);
	buf_init(&s->raw, MAX_RAW);
	buf_init(&s->header, MAX_HEADER + 1);
	buf_init(&s->text, MAX_REPORT);
	buf_init(&s->append.records, SPOOL_JOURNAL_MAX);
	s->mem = (struct arena)ARENA_INIT(MAX_MEMORY);
	queue_begin(q);
	worker_add(q->files, read_message, was_read, s);
}
