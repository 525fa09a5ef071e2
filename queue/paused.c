/* Which destinations the postmaster has paused, in the spool's file `paused`, a line for each: a restart or a reload for some other reason must not let go what an
 * act of theirs holds. A pause holds at once; it is answered when the file says so. One worker writes at a time, and what comes meanwhile shares the next write. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"
#include "base/house.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scan.h"
#include "base/text.h"
#include "queue/queue_inside.h"

enum { MAX_PAUSED = 4 << 20, MAX_ANSWER = 8 << 10 };

struct pausing {
	struct pausing *next;
	uint64_t question;
	bool paused;
	char *place;
};

struct pauses {
	struct queue *queue;
	struct pausing *waiting, *writing;
	struct buf text;
	int error;
};

static bool add_line(void *arg, struct slice place)
{
	buf_addf(arg, "%.*s\n", SLICE_FMT(place));
	return true;
}

void paused_list(struct queue *q, struct buf *out)
{
	schedule_each_paused(q->schedule, add_line, out);
}

/* In a worker. */
static void write_all(void *arg)
{
	struct pauses *p = arg;
	int dir = p->queue->setup.spool, fd, error = buf_full(&p->text) ? -EMSGSIZE : file_open(dir, "paused.new", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600, &fd);
	if (!error) {
		error = file_write(fd, buf_slice(&p->text));
		error = error ? error : file_sync(fd);
		file_close(&fd);
	}
	error = error ? error : file_rename(dir, "paused.new", dir, "paused");
	p->error = error ? error : file_sync(dir);
}

static void answer(struct queue *q, struct pausing *one, bool saved)
{
	struct buf text = BUF_INIT(MAX_ANSWER);
	buf_add_cstr(&text, "{\"place\":");
	text_add_json(&text, slice_of(one->place));
	buf_addf(&text, ",\"paused\":%s,\"saved\":%s}\n", one->paused ? "true" : "false", saved ? "true" : "false");
	queue_answer(q, one->question, 0, buf_slice(&text));
	buf_free(&text);
	mem_free(one->place);
	mem_free(one);
	queue_end(q);
}

static void start(struct pauses *p);

static void written(void *arg)
{
	struct pauses *p = arg;
	struct pausing *all = p->writing;
	p->writing = NULL;
	buf_free(&p->text);
	if (p->error)
		log_event(LOG_ERROR, "paused-unsaved", LOG_ERRNO(p->error), LOG_END);
	start(p);
	for (struct pausing *next; all; all = next) {
		next = all->next;
		answer(p->queue, all, !p->error);
	}
}

static void start(struct pauses *p)
{
	if (p->writing || !p->waiting)
		return;
	p->writing = p->waiting;
	p->waiting = NULL;
	buf_init(&p->text, MAX_PAUSED);
	paused_list(p->queue, &p->text);
	worker_add(p->queue->files, write_all, written, p);
}

int paused_set(struct queue *q, uint64_t question, bool paused, struct slice place)
{
	struct pausing *one = MEM_NEW(struct pausing);
	*one = (struct pausing){ .next = q->pauses->waiting, .question = question, .paused = paused, .place = mem_copy(place.p, place.n) };
	schedule_pause(q->schedule, place, paused);
	queue_begin(q);
	q->pauses->waiting = one;
	start(q->pauses);
	queue_wake(q);
	return HOUSE_LATER;
}

void paused_load(struct queue *q)
{
	struct buf text = BUF_INIT(MAX_PAUSED);
	int fd;
	ssize_t n = 1;
	q->pauses = MEM_NEW(struct pauses);
	q->pauses->queue = q;
	if (file_open(q->setup.spool, "paused", O_RDONLY | O_NOFOLLOW, 0, &fd))
		return;
	while (n > 0) {
		char *room = buf_room(&text, 4096);
		n = room ? read(fd, room, 4096) : 0;
		buf_used(&text, n > 0 ? (size_t)n : 0);
	}
	file_close(&fd);
	struct slice rest = buf_slice(&text), line;
	while (scan_line(&rest, &line))
		if (line.n)
			schedule_pause(q->schedule, line, true);
	buf_free(&text);
}

void paused_free(struct queue *q)
{
	mem_free(q->pauses);
}
