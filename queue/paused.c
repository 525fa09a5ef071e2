/* Which destinations the postmaster has paused, in the spool's file `paused`, a line for each: a restart or a reload for some other reason must not let go what an
 * act of theirs holds. */
#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/scan.h"
#include "queue/queue_inside.h"

enum { MAX_PAUSED = 4 << 20 };

static bool add_line(void *arg, struct slice place)
{
	buf_addf(arg, "%.*s\n", SLICE_FMT(place));
	return true;
}

void paused_list(struct queue *q, struct buf *out)
{
	schedule_each_paused(q->schedule, add_line, out);
}

static int write_all(struct queue *q, struct slice text)
{
	int fd, error = file_open(q->setup.spool, "paused.new", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600, &fd);
	if (error)
		return error;
	error = file_write(fd, text);
	error = error ? error : file_sync(fd);
	file_close(&fd);
	error = error ? error : file_rename(q->setup.spool, "paused.new", q->setup.spool, "paused");
	return error ? error : file_sync(q->setup.spool);
}

int paused_save(struct queue *q)
{
	struct buf text = BUF_INIT(MAX_PAUSED);
	paused_list(q, &text);
	int error = write_all(q, buf_slice(&text));
	buf_free(&text);
	if (error)
		log_event(LOG_ERROR, "paused-unsaved", LOG_ERRNO(error), LOG_END);
	return error;
}

void paused_load(struct queue *q)
{
	struct buf text = BUF_INIT(MAX_PAUSED);
	int fd;
	ssize_t n = 1;
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
