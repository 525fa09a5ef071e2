/* A message's way into the spool: written, made durable, published. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "queue/spool_inside.h"

static int write_at(int fd, struct slice s, uint64_t at)
{
	if (lseek(fd, (off_t)at, SEEK_SET) < 0)
		return -errno;
	return file_write(fd, s);
}

/* Of what stands in the file where somebody else wrote it. */
static int check_content(const struct spool_put *p, uint64_t *out)
{
	if (p->content_length != p->content.n)
		return spool_check_file(p->pen.fd, p->content_offset, p->content_length, out);
	*out = spool_check_content(p->content);
	return 0;
}

static int write_message(struct spool_put *p)
{
	struct buf envelope = BUF_INIT(ENVELOPE_MAX);
	char front[SPOOL_HEAD];
	int error = 0;
	if (p->copy >= 0) {
		error = spool_pen(p->spool, &p->pen);
		error = error ? error : file_copy(p->copy, p->pen.fd, p->content_offset + p->content_length);
	} else if (p->pen.fd < 0) {
		error = spool_pen(p->spool, &p->pen);
		p->content_offset = SPOOL_HEAD;
		p->content_length = p->content.n;
		error = error ? error : write_at(p->pen.fd, p->content, SPOOL_HEAD);
	}
	error = error ? error : envelope_put(&envelope, p->envelope, p->hop_down);
	struct spool_head h = { p->content_offset, p->content_length, envelope.n, journal_checksum(buf_slice(&envelope)), 0, true };
	error = error ? error : check_content(p, &h.content_check);
	spool_put_head(front, &h);
	error = error ? error : write_at(p->pen.fd, buf_slice(&envelope), h.content_offset + h.content_length);
	error = error ? error : file_truncate(p->pen.fd, h.content_offset + h.content_length + h.envelope_length);
	error = error ? error : write_at(p->pen.fd, slice(front, SPOOL_HEAD), 0);
	buf_free(&envelope);
	return error;
}

static struct spool_put *put_of(struct syncer_job *j)
{
	return (struct spool_put *)j;
}

static int put_write(struct syncer_job *j)
{
	int error = write_message(put_of(j));
	if (error)
		pen_drop(&put_of(j)->pen);
	return error;
}

static int put_start_content(struct syncer_job *j)
{
	return pen_start(&put_of(j)->pen);
}

static int put_await_content(struct syncer_job *j)
{
	return pen_await(&put_of(j)->pen);
}

static int put_publish(struct syncer_job *j)
{
	struct spool_put *p = put_of(j);
	char name[SPOOL_ID_MAX + 1];
	int folder = -1, error = spool_folder_of(p->spool, p->where, p->envelope->id, &folder);
	if (error)
		return error;
	snprintf(name, sizeof name, "%.*s", SLICE_FMT(p->envelope->id));
	error = pen_publish(&p->pen, folder, name);
	file_close(&folder);
	return error;
}

static int put_sync_content(struct syncer_job *j)
{
	return pen_sync(&put_of(j)->pen);
}

static int put_sync_names(struct syncer_job *j)
{
	return spool_sync_folder_of(put_of(j)->spool, put_of(j)->where, put_of(j)->envelope->id);
}

static void put_retract(struct syncer_job *j)
{
	struct spool_put *p = put_of(j);
	spool_remove(p->spool, p->where, p->envelope->id);
	pen_drop(&p->pen);
}

static void put_settled(struct syncer_job *j)
{
	(void)j; /* one name, and nothing to clear away */
}

static void put_done(struct syncer_job *j)
{
	struct spool_put *p = put_of(j);
	if (j->error || j->goal != SYNCER_PREPARE)
		pen_drop(&p->pen);
	p->done(p);
}

static const struct syncer_verbs put_verbs = { put_write, put_start_content, put_await_content, put_publish, put_sync_content, put_sync_names, put_retract, put_settled, put_done };

void spool_put(struct spool *s, struct spool_put *p, enum syncer_goal goal)
{
	assert(spool_is_id(p->envelope->id));
	p->spool = s;
	p->job = (struct syncer_job){ .verbs = &put_verbs, .goal = goal, .names = 1 };
	syncer_add(s->syncer, &p->job);
}

void spool_put_drop(struct spool_put *p)
{
	pen_drop(&p->pen);
}

int spool_sync_message(struct spool *s, struct slice id)
{
	int fd = -1, error = spool_open_message(s, SPOOL_QUEUE, id, O_RDONLY, &fd);
	error = error ? error : file_sync(fd);
	file_close(&fd);
	return error ? error : spool_sync_folder_of(s, SPOOL_QUEUE, id);
}
