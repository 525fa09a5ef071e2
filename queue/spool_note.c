/* What is written of a message once it is ours: events behind its envelope, its end, and that its message knows of a report. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"
#include "queue/spool_inside.h"

static int nothing(struct syncer_job *j)
{
	(void)j;
	return 0;
}

static void left_as_it_is(struct syncer_job *j)
{
	(void)j;
}

/* -- events ------------------------------------------------------------------------------------------------------------------------- */

static struct spool_append *append_of(struct syncer_job *j)
{
	return (struct spool_append *)j;
}

static int append_write(struct syncer_job *j)
{
	struct spool_append *a = append_of(j);
	struct stat st;
	int error = spool_open_message(a->spool, SPOOL_QUEUE, slice_of(a->id), O_WRONLY | O_APPEND, &a->fd);
	if (error)
		return error;
	error = file_stat_fd(a->fd, &st);
	if (error == 0) {
		error = file_write(a->fd, buf_slice(&a->records));
		if (error)
			file_truncate(a->fd, (uint64_t)st.st_size); /* half an event may not stay */
	}
	if (error)
		file_close(&a->fd);
	return error;
}

static int append_start(struct syncer_job *j)
{
	return file_start(append_of(j)->fd);
}

static int append_await(struct syncer_job *j)
{
	return file_await(append_of(j)->fd);
}

static int append_sync(struct syncer_job *j)
{
	return file_sync_data(append_of(j)->fd);
}

static void append_retract(struct syncer_job *j)
{
	file_close(&append_of(j)->fd); /* the event may stand there or not: either is true of what happened */
}

static void append_done(struct syncer_job *j)
{
	file_close(&append_of(j)->fd);
	append_of(j)->done(append_of(j));
}

static const struct syncer_verbs append_verbs = { append_write, append_start, append_await, nothing, append_sync, nothing, append_retract, left_as_it_is, append_done };

void spool_append(struct spool *s, struct spool_append *a, bool durable)
{
	a->spool = s;
	a->fd = -1;
	a->job = (struct syncer_job){ .verbs = &append_verbs, .goal = durable ? SYNCER_PREPARE : SYNCER_RUN };
	syncer_add(s->syncer, &a->job);
}

int spool_cut(struct spool *s, struct slice id, uint64_t sound_size)
{
	int fd = -1, error = spool_open_message(s, SPOOL_QUEUE, id, O_WRONLY, &fd);
	if (error)
		return error;
	error = file_truncate(fd, sound_size);
	file_close(&fd);
	return error;
}

/* -- forgetting --------------------------------------------------------------------------------------------------------------------- */

static struct spool_gone *gone_of(struct syncer_job *j)
{
	return (struct spool_gone *)j;
}

static int gone_publish(struct syncer_job *j)
{
	struct spool_gone *g = gone_of(j);
	int error = spool_remove(g->spool, g->from, slice_of(g->id));
	return error == -ENOENT && g->from == SPOOL_QUEUE ? 0 : error;
}

static int gone_sync(struct syncer_job *j)
{
	return spool_sync_folder_of(gone_of(j)->spool, gone_of(j)->from, slice_of(gone_of(j)->id));
}

static void gone_done(struct syncer_job *j)
{
	gone_of(j)->done(gone_of(j));
}

static const struct syncer_verbs gone_verbs = { nothing, NULL, NULL, gone_publish, nothing, gone_sync, left_as_it_is, left_as_it_is, gone_done };

void spool_forget(struct spool *s, struct spool_gone *g, enum spool_folder from)
{
	g->spool = s;
	g->from = from;
	g->job = (struct syncer_job){ .verbs = &gone_verbs, .goal = SYNCER_COMMIT, .names = 1 };
	syncer_add(s->syncer, &g->job);
}

/* -- to another folder ----------------------------------------------------------------------------------------------------------------- */

static int bring_publish(struct syncer_job *j)
{
	struct spool_gone *g = gone_of(j);
	int error = spool_rename(g->spool, g->from, g->to, slice_of(g->id));
	return error == -ENOENT && g->from == SPOOL_MADE ? 0 : error; /* the second try after a sync that failed */
}

static int bring_sync(struct syncer_job *j)
{
	struct spool_gone *g = gone_of(j);
	int error = spool_sync_folder_of(g->spool, g->to, slice_of(g->id));
	return error ? error : spool_sync_folder_of(g->spool, g->from, slice_of(g->id));
}

static const struct syncer_verbs bring_verbs = { nothing, NULL, NULL, bring_publish, nothing, bring_sync, left_as_it_is, left_as_it_is, gone_done };

void spool_bring(struct spool *s, struct spool_gone *g, enum spool_folder from, enum spool_folder to)
{
	g->spool = s;
	g->from = from;
	g->to = to;
	g->job = (struct syncer_job){ .verbs = &bring_verbs, .goal = SYNCER_COMMIT, .names = 2 };
	syncer_add(s->syncer, &g->job);
}
