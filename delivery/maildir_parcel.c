/* A message on its way into the Maildirs of one file system. The steps run in that file system's syncer, between its syncs; the loop only
 * sees the answer. */
#include "delivery/maildir_parcel.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "delivery/mailbox_status.h"
#include "delivery/maildir.h"

/* Folders kept open from write to the last sync for at most so many recipients: a bound on descriptors; others are opened again. */
enum { MAX_KEPT = 8 };

struct target {
	int folder;      /* new/, or -1: to be opened again */
	bool reserved;   /* in the quota */
	bool linked;
};

struct maildir_parcel {
	struct parcel base;
	struct syncer_job job;
	struct maildir_parcel_place where;
	struct pen own;
	struct pen *pen;           /* own, or the transaction's */
	struct target *targets;
	char name[MAILDIR_MAX_NAME];
};

static struct maildir_parcel *of_job(struct syncer_job *j)
{
	return (struct maildir_parcel *)((char *)j - offsetof(struct maildir_parcel, job));
}

/* One leaf could not be served: its own answer for the sender, the reason for the postmaster. */
static void fail_leaf(struct maildir_parcel *m, size_t i, const char *what, int error)
{
	m->base.results[i]->status = mailbox_status_of(error);
	log_event(error == -EDQUOT ? LOG_INFO : LOG_WARN, "mailbox-failed", LOG_STR("id", m->base.content->transaction),
	          LOG_STR("mailbox", m->base.leaves[i]->place), LOG_CSTR("step", what), LOG_ERRNO(error), LOG_END);
}

static bool has_quota(const struct mailbox_leaf *l)
{
	return l->quota_bytes || l->quota_messages;
}

static int reserve(struct maildir_parcel *m, size_t i)
{
	const struct mailbox_leaf *l = m->base.leaves[i];
	struct quota_limits limits = { l->quota_bytes, l->quota_messages };
	if (!has_quota(l))
		return 0;
	int error = quota_reserve(m->where.store->quota, l->place, &limits, m->base.content->length);
	m->targets[i].reserved = error == 0;
	return error;
}

/* Ends the reservations; closes what is open. */
static void release(struct maildir_parcel *m, bool kept)
{
	for (size_t i = 0; i < m->base.count; i++) {
		struct target *t = &m->targets[i];
		file_close(&t->folder);
		if (t->reserved)
			quota_settle(m->where.store->quota, m->base.leaves[i]->place, m->base.content->length, kept);
		t->reserved = false;
	}
	pen_drop(&m->own);
}

/* A folder on another file system than the mount table said would escape our sync. */
static int check_device(const struct maildir_parcel *m, int folder)
{
	struct stat st;
	int error = file_stat_fd(folder, &st);
	if (error)
		return error;
	return st.st_dev == m->where.store->store.device ? 0 : -EXDEV;
}

static int reach(struct maildir_parcel *m, size_t i)
{
	struct target *t = &m->targets[i];
	if (t->folder >= 0)
		return 0;
	int error = maildir_open(m->where.root, m->base.leaves[i]->place, MAILDIR_NEW, true, &t->folder);
	if (error == 0)
		error = check_device(m, t->folder);
	if (error)
		file_close(&t->folder);
	return error;
}

static int open_pen(struct maildir_parcel *m)
{
	enum pen_way way = m->where.store->store.way;
	int tmp, error;
	if (way == PEN_UNNAMED) {
		error = reach(m, 0);
		return error ? error : pen_open(&m->own, way, m->targets[0].folder, m->name);
	}
	error = maildir_open(m->where.root, m->base.leaves[0]->place, MAILDIR_TMP, true, &tmp);
	if (error)
		return error;
	error = pen_open(&m->own, way, tmp, m->name);
	file_close(&tmp);
	return error;
}

static int fill_pen(struct maildir_parcel *m)
{
	const struct parcel_content *c = m->base.content;
	if (m->pen != &m->own)
		return pen_check_length(m->pen, c->length);
	int error = open_pen(m);
	if (error)
		return error;
	return c->pen ? pen_copy(&m->own, c->pen, c->length) : pen_write(&m->own, c->bytes);
}

static int take_leaf(struct maildir_parcel *m, size_t i)
{
	int error = reserve(m, i);
	if (error == 0)
		error = reach(m, i);
	if (error == 0 && (i >= MAX_KEPT || m->job.goal == SYNCER_PREPARE))
		file_close(&m->targets[i].folder);
	if (error)
		fail_leaf(m, i, "prepare", error);
	return error;
}

/* Every leaf is asked, also behind one that fails: each has its own answer. */
static int write_job(struct syncer_job *j)
{
	struct maildir_parcel *m = of_job(j);
	int error = 0;
	for (size_t i = 0; i < m->base.count; i++) {
		int leaf_error = take_leaf(m, i);
		error = error ? error : leaf_error;
	}
	if (error == 0)
		error = fill_pen(m);
	if (error)
		release(m, false);
	return error;
}

static void unlink_all(struct maildir_parcel *m)
{
	for (size_t i = 0; i < m->base.count; i++) {
		if (m->targets[i].linked && reach(m, i) == 0)
			file_unlink(m->targets[i].folder, m->name);
		m->targets[i].linked = false;
	}
}

static void retract_job(struct syncer_job *j)
{
	struct maildir_parcel *m = of_job(j);
	unlink_all(m);
	release(m, false);
}

static int publish_job(struct syncer_job *j)
{
	struct maildir_parcel *m = of_job(j);
	int error = 0;
	for (size_t i = 0; i < m->base.count && error == 0; i++) {
		error = reach(m, i);
		if (error == 0)
			error = pen_publish(m->pen, m->targets[i].folder, m->name);
		m->targets[i].linked = error == 0;
		if (error)
			fail_leaf(m, i, "publish", error);
		else if (i >= MAX_KEPT)
			file_close(&m->targets[i].folder);
	}
	if (error)
		retract_job(j);
	else
		pen_drop(&m->own);
	return error;
}

static int start_content(struct syncer_job *j)
{
	return pen_start(of_job(j)->pen);
}

static int await_content(struct syncer_job *j)
{
	return pen_await(of_job(j)->pen);
}

static int sync_content(struct syncer_job *j)
{
	return pen_sync(of_job(j)->pen);
}

static int sync_names(struct syncer_job *j)
{
	struct maildir_parcel *m = of_job(j);
	int error = 0;
	for (size_t i = 0; i < m->base.count && error == 0; i++) {
		error = reach(m, i);
		if (error == 0)
			error = file_sync(m->targets[i].folder);
		if (i >= MAX_KEPT)
			file_close(&m->targets[i].folder);
	}
	return error;
}

static void done_job(struct syncer_job *j)
{
	struct maildir_parcel *m = of_job(j);
	if (j->error)
		log_event(LOG_WARN, "store-failed", LOG_STR("id", m->base.content->transaction), LOG_CSTR("mount", m->where.store->mount_point),
		          LOG_ERRNO(j->error), LOG_END);
	parcel_answer(&m->base, mailbox_status_of(j->error));
}

static void settled_job(struct syncer_job *j)
{
	release(of_job(j), true);
}

static const struct syncer_verbs maildir_verbs = {
	write_job, start_content, await_content, publish_job, sync_content, sync_names, retract_job, settled_job, done_job
};

static int undo_job(struct syncer_job *j)
{
	retract_job(j);
	return 0;
}

static const struct syncer_verbs undo_verbs = { .write = undo_job, .done = done_job };

static void start(struct parcel *p, enum parcel_step step)
{
	struct maildir_parcel *m = (struct maildir_parcel *)p;
	static const enum syncer_goal goals[] = {
		[PARCEL_PREPARE] = SYNCER_PREPARE, [PARCEL_COMMIT] = SYNCER_COMMIT, [PARCEL_DELIVER] = SYNCER_DELIVER, [PARCEL_UNDO] = SYNCER_RUN
	};
	m->job.verbs = step == PARCEL_UNDO ? &undo_verbs : &maildir_verbs;
	m->job.goal = goals[step];
	syncer_add(m->where.store->syncer, &m->job);
}

static void free_parcel(struct parcel *p)
{
	struct maildir_parcel *m = (struct maildir_parcel *)p;
	mem_free(m->targets);
	mem_free(p->leaves);
	mem_free(p->results);
	mem_free(m);
}

static const struct parcel_kind maildir_kind = { start, free_parcel, false };

struct parcel *maildir_parcel_new(const struct maildir_parcel_place *where, const struct parcel_content *content,
                                  const struct mailbox_leaf **leaves, struct mailbox_leaf_result **results, size_t count, bool use_pen)
{
	struct maildir_parcel *m = MEM_NEW(struct maildir_parcel);
	m->base = (struct parcel){ .kind = &maildir_kind, .content = content, .leaves = leaves, .results = results, .count = count };
	m->where = *where;
	m->own = PEN_NONE;
	m->pen = use_pen ? content->pen : &m->own;
	m->job.names = (unsigned)count;
	m->targets = mem_new_array(count, sizeof *m->targets);
	maildir_name(m->name, content->transaction, where->host, content->length);
	for (size_t i = 0; i < count; i++) {
		m->targets[i].folder = -1;
		results[i]->name = slice_of(m->name);
	}
	return &m->base;
}
