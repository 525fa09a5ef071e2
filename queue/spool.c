/* The spool's files. Everything that must be durable passes through one syncer, so many messages share a sync. */
#include "queue/spool.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/field.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/unique.h"

enum { FOLDER_MODE = 0700, FIRST_READ = 8192 };
static const char magic[8] = "PorterQ\1";
static const char *const folder_names[] = { [SPOOL_QUEUE] = "queue", [SPOOL_DEAD] = "dead", [SPOOL_ASIDE] = "aside" };

struct spool {
	int dir, tmp;
	int folders[3];
	uid_t owner;                  /* of the folder, and so of every file in it: porterctl reads as root */
	enum pen_way way;
	struct syncer *syncer;
};

/* -- folders and names -------------------------------------------------------------------------------------------------------------- */

static bool is_id(struct slice id)
{
	return id.n <= SPOOL_ID_MAX && unique_time_us(id) > 0;
}

/* "XX/ID" below queue/, "ID" elsewhere; XX are the last two letters, which count up, so messages spread evenly. */
static void path_of(enum spool_folder where, struct slice id, char out[SPOOL_ID_MAX + 8])
{
	if (where == SPOOL_QUEUE)
		snprintf(out, SPOOL_ID_MAX + 8, "%.2s/%.*s", id.p + id.n - 2, SLICE_FMT(id));
	else
		snprintf(out, SPOOL_ID_MAX + 8, "%.*s", SLICE_FMT(id));
}

static int make_folder(int dir, const char *name, int *fd)
{
	int error = file_mkdir(dir, name, FOLDER_MODE);
	if (error && error != -EEXIST)
		return error;
	return file_open(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, fd);
}

/* The folder of an id, made if it is missing: durable with the name that is about to stand in it, since syncs cover the file system. */
static int shard_of(struct spool *s, enum spool_folder where, struct slice id, int *fd)
{
	char name[3] = { id.p[id.n - 2], id.p[id.n - 1], 0 };
	if (where != SPOOL_QUEUE)
		return file_dup(s->folders[where], fd);
	int error = file_open(s->folders[SPOOL_QUEUE], name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, fd);
	if (error != -ENOENT)
		return error;
	error = make_folder(s->folders[SPOOL_QUEUE], name, fd);
	if (error)
		return error;
	error = file_sync(s->folders[SPOOL_QUEUE]);
	if (error)
		file_close(fd);
	return error;
}

static int each_entry(int folder, bool (*found)(void *arg, const char *name), void *arg)
{
	int fd = -1, error = file_open(folder, ".", O_RDONLY | O_DIRECTORY, 0, &fd);
	if (error)
		return error;
	DIR *d = fdopendir(fd);
	if (!d) {
		error = -errno;
		file_close(&fd);
		return error;
	}
	struct dirent *e;
	while ((e = readdir(d)))
		if (e->d_name[0] != '.' && !found(arg, e->d_name))
			break;
	closedir(d);
	return 0;
}

static bool remove_leftover(void *arg, const char *name)
{
	file_unlink(*(int *)arg, name);
	return true;
}

static enum pen_way probe_way(struct spool *s)
{
	struct pen p;
	if (pen_open(&p, PEN_UNNAMED, s->tmp, "probe") == 0) {
		int error = pen_publish(&p, s->tmp, "probe");
		file_unlink(s->tmp, "probe");
		pen_drop(&p);
		if (error == 0)
			return PEN_UNNAMED;
	}
	return PEN_LINK;
}

int spool_open(struct loop *l, int dir, struct spool **out)
{
	struct spool *s = MEM_NEW(struct spool);
	*s = (struct spool){ .dir = dir, .tmp = -1, .folders = { -1, -1, -1 } };
	int error = file_init();
	for (int i = 0; i < 3 && !error; i++)
		error = make_folder(dir, folder_names[i], &s->folders[i]);
	error = error ? error : make_folder(dir, "tmp", &s->tmp);
	error = error ? error : each_entry(s->tmp, remove_leftover, &s->tmp);
	error = error ? error : file_sync(dir);
	if (error) {
		s->dir = -1; /* stays the caller's */
		spool_close(s);
		return error;
	}
	struct stat st;
	error = file_stat_fd(dir, &st);
	s->owner = error ? geteuid() : st.st_uid;
	s->way = probe_way(s);
	uint64_t before = clock_mono_us();
	bool works = file_sync_store(dir) == 0;
	struct syncer_store store = { dir, file_keeps_order(dir) && file_sync_order(dir) == 0, works, 1000, clock_mono_us() - before + 1 };
	s->syncer = syncer_new(l, &store, "spool-sync");
	*out = s;
	return 0;
}

int spool_open_to_look(int dir, struct spool **out)
{
	struct spool *s = MEM_NEW(struct spool);
	struct stat st;
	*s = (struct spool){ .dir = dir, .tmp = -1, .folders = { -1, -1, -1 } };
	int error = file_stat_fd(dir, &st);
	for (int i = 0; i < 3 && !error; i++)
		error = file_open(dir, folder_names[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &s->folders[i]);
	if (error) {
		s->dir = -1; /* stays the caller's */
		spool_close(s);
		return error;
	}
	s->owner = st.st_uid;
	*out = s;
	return 0;
}

void spool_close(struct spool *s)
{
	if (s->syncer)
		syncer_free(s->syncer);
	for (int i = 0; i < 3; i++)
		file_close(&s->folders[i]);
	file_close(&s->tmp);
	file_close(&s->dir);
	mem_free(s);
}

struct syncer *spool_syncer(struct spool *s)
{
	return s->syncer;
}

int spool_pen(struct spool *s, struct pen *out)
{
	struct unique name = unique_new();
	return pen_open(out, s->way, s->way == PEN_UNNAMED ? s->folders[SPOOL_QUEUE] : s->tmp, name.text);
}

/* -- the head ----------------------------------------------------------------------------------------------------------------------- */

struct head {
	uint64_t content_offset, content_length, envelope_length, envelope_check;
};

static void put_u64(char *to, uint64_t v)
{
	for (int i = 7; i >= 0; i--, v >>= 8)
		to[i] = (char)v;
}

static uint64_t get_u64(const char *from)
{
	uint64_t v = 0;
	for (int i = 0; i < 8; i++)
		v = v << 8 | (unsigned char)from[i];
	return v;
}

static void put_head(char to[SPOOL_HEAD], const struct head *h)
{
	memset(to, 0, SPOOL_HEAD);
	memcpy(to, magic, sizeof magic);
	put_u64(to + 8, h->content_offset);
	put_u64(to + 16, h->content_length);
	put_u64(to + 24, h->envelope_length);
	put_u64(to + 32, h->envelope_check);
	put_u64(to + 40, journal_checksum(slice(to, 40)));
}

static const char *get_head(const char from[SPOOL_HEAD], uint64_t file_size, struct head *h)
{
	if (memcmp(from, magic, sizeof magic - 1))
		return "not a file of the spool";
	if (from[7] != magic[7])
		return "of another version";
	if (get_u64(from + 40) != journal_checksum(slice(from, 40)))
		return "the head is damaged";
	*h = (struct head){ get_u64(from + 8), get_u64(from + 16), get_u64(from + 24), get_u64(from + 32) };
	if (h->content_offset < SPOOL_HEAD || h->content_offset > file_size || h->content_length > file_size - h->content_offset ||
	    h->envelope_length > ENVELOPE_MAX || h->envelope_length > file_size - h->content_offset - h->content_length)
		return "truncated";
	return NULL;
}

/* -- putting in ----------------------------------------------------------------------------------------------------------------------- */

static int write_at(int fd, struct slice s, uint64_t at)
{
	if (lseek(fd, (off_t)at, SEEK_SET) < 0)
		return -errno;
	return file_write(fd, s);
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
	struct head h = { p->content_offset, p->content_length, envelope.n, journal_checksum(buf_slice(&envelope)) };
	put_head(front, &h);
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

static enum spool_folder folder_of(const struct spool_put *p)
{
	return p->dead ? SPOOL_DEAD : SPOOL_QUEUE;
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
	int folder = -1, error = shard_of(p->spool, folder_of(p), p->envelope->id, &folder);
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
	struct spool_put *p = put_of(j);
	int folder = -1, error = shard_of(p->spool, folder_of(p), p->envelope->id, &folder);
	if (error)
		return error;
	error = file_sync(folder);
	file_close(&folder);
	return error;
}

static void put_retract(struct syncer_job *j)
{
	struct spool_put *p = put_of(j);
	spool_remove(p->spool, folder_of(p), p->envelope->id);
	pen_drop(&p->pen);
}

static void settled_nothing(struct syncer_job *j)
{
	(void)j;
}

static void put_done(struct syncer_job *j)
{
	struct spool_put *p = put_of(j);
	if (j->error || j->goal != SYNCER_PREPARE)
		pen_drop(&p->pen);
	p->done(p);
}

static const struct syncer_verbs put_verbs = { put_write, put_start_content, put_await_content, put_publish, put_sync_content, put_sync_names, put_retract, settled_nothing, put_done };

void spool_put(struct spool *s, struct spool_put *p, enum syncer_goal goal)
{
	assert(is_id(p->envelope->id));
	p->spool = s;
	p->job = (struct syncer_job){ .verbs = &put_verbs, .goal = goal, .names = 1 };
	syncer_add(s->syncer, &p->job);
}

void spool_put_drop(struct spool_put *p)
{
	pen_drop(&p->pen);
}

/* -- reading -------------------------------------------------------------------------------------------------------------------------- */

static int read_at(int fd, uint64_t at, size_t n, struct buf *out)
{
	char *to = buf_room(out, n);
	if (!to)
		return -EMSGSIZE;
	for (size_t got = 0; got < n;) {
		ssize_t r = pread(fd, to + got, n - got, (off_t)(at + got));
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? -errno : -EBADMSG;
		got += (size_t)r;
	}
	buf_used(out, n);
	return 0;
}

static int open_message(struct spool *s, enum spool_folder where, struct slice id, int flags, int *fd)
{
	char path[SPOOL_ID_MAX + 8];
	if (!is_id(id))
		return -ENOENT;
	path_of(where, id, path);
	return file_open(s->folders[where], path, flags | O_NOFOLLOW | O_NONBLOCK, 0, fd);
}

static int read_parts(const struct spool *s, int fd, struct slice id, struct buf *raw, struct arena *mem, struct spool_message *m, const char **why)
{
	struct stat st;
	struct head h;
	int error = file_stat_fd(fd, &st);
	if (error)
		return error;
	*why = !S_ISREG(st.st_mode) ? "not a plain file" : st.st_uid != s->owner ? "owned by another user" : st.st_size < SPOOL_HEAD ? "truncated" : NULL;
	if (*why)
		return -EBADMSG;
	buf_clear(raw);
	size_t first = (uint64_t)st.st_size < FIRST_READ ? (size_t)st.st_size : FIRST_READ; /* most messages are read whole by one call */
	error = read_at(fd, 0, first, raw);
	if (error)
		return error;
	if ((*why = get_head(raw->p, (uint64_t)st.st_size, &h)))
		return -EBADMSG;
	uint64_t envelope_at = h.content_offset + h.content_length, journal_at = envelope_at + h.envelope_length;
	uint64_t journal_n = (uint64_t)st.st_size - journal_at;
	if (journal_n > SPOOL_JOURNAL_MAX)
		journal_n = SPOOL_JOURNAL_MAX;
	size_t start = (size_t)envelope_at;
	if (journal_at + journal_n > first) {
		buf_clear(raw);
		start = 0;
		error = read_at(fd, envelope_at, (size_t)(h.envelope_length + journal_n), raw);
		if (error)
			return error;
	}
	struct slice envelope = slice(raw->p + start, h.envelope_length), journal = slice(raw->p + start + h.envelope_length, journal_n);
	*why = "the envelope is damaged";
	if (journal_checksum(envelope) != h.envelope_check || envelope_get(envelope, mem, &m->envelope) || !slice_eq(m->envelope.id, id))
		return -EBADMSG;
	size_t sound;
	error = journal_fold(&m->envelope, journal, mem, &m->state, &sound);
	m->journal = slice_head(journal, sound);
	m->content_offset = h.content_offset, m->content_length = h.content_length;
	*why = NULL;
	return error;
}

int spool_read(struct spool *s, enum spool_folder where, struct slice id, struct buf *raw, struct arena *mem, struct spool_message *out, const char **why)
{
	struct spool_message m = { .fd = -1 };
	*why = NULL;
	int error = open_message(s, where, id, O_RDONLY, &m.fd);
	if (error == -ELOOP) {
		*why = "a link";
		return -EBADMSG;
	}
	if (error)
		return error;
	error = read_parts(s, m.fd, id, raw, mem, &m, why);
	if (error) {
		file_close(&m.fd);
		return error;
	}
	*out = m;
	return 0;
}

/* -- events ------------------------------------------------------------------------------------------------------------------------- */

static struct spool_append *append_of(struct syncer_job *j)
{
	return (struct spool_append *)j;
}

static int append_write(struct syncer_job *j)
{
	struct spool_append *a = append_of(j);
	int error = open_message(a->spool, SPOOL_QUEUE, slice_of(a->id), O_WRONLY | O_APPEND, &a->fd);
	error = error ? error : file_write(a->fd, buf_slice(&a->records));
	if (error)
		file_close(&a->fd);
	return error;
}

static int append_nothing(struct syncer_job *j)
{
	(void)j;
	return 0;
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

static const struct syncer_verbs append_verbs = { append_write, append_start, append_await, append_nothing, append_sync, append_nothing, append_retract, settled_nothing, append_done };

void spool_append(struct spool *s, struct spool_append *a, bool durable)
{
	a->spool = s;
	a->fd = -1;
	a->job = (struct syncer_job){ .verbs = &append_verbs, .goal = durable ? SYNCER_PREPARE : SYNCER_RUN };
	syncer_add(s->syncer, &a->job);
}

/* -- forgetting --------------------------------------------------------------------------------------------------------------------- */

static struct spool_gone *gone_of(struct syncer_job *j)
{
	return (struct spool_gone *)j;
}

static int gone_publish(struct syncer_job *j)
{
	int error = spool_remove(gone_of(j)->spool, SPOOL_QUEUE, slice_of(gone_of(j)->id));
	return error == -ENOENT ? 0 : error;
}

static int gone_sync(struct syncer_job *j)
{
	int folder = -1, error = shard_of(gone_of(j)->spool, SPOOL_QUEUE, slice_of(gone_of(j)->id), &folder);
	error = error ? error : file_sync(folder);
	file_close(&folder);
	return error;
}

static void gone_nothing(struct syncer_job *j)
{
	(void)j;
}

static void gone_done(struct syncer_job *j)
{
	gone_of(j)->done(gone_of(j));
}

static int gone_write(struct syncer_job *j)
{
	(void)j;
	return 0;
}

static const struct syncer_verbs gone_verbs = { gone_write, NULL, NULL, gone_publish, gone_write, gone_sync, gone_nothing, gone_nothing, gone_done };

void spool_forget(struct spool *s, struct spool_gone *g)
{
	g->spool = s;
	g->job = (struct syncer_job){ .verbs = &gone_verbs, .goal = SYNCER_COMMIT, .names = 1 };
	syncer_add(s->syncer, &g->job);
}

/* -- moving ------------------------------------------------------------------------------------------------------------------------- */

int spool_remove(struct spool *s, enum spool_folder where, struct slice id)
{
	char path[SPOOL_ID_MAX + 8];
	if (!is_id(id))
		return -ENOENT;
	path_of(where, id, path);
	return file_unlink(s->folders[where], path);
}

int spool_move(struct spool *s, enum spool_folder from, enum spool_folder to, struct slice id)
{
	char old_path[SPOOL_ID_MAX + 8], name[SPOOL_ID_MAX + 1];
	int folder = -1;
	if (!is_id(id))
		return -ENOENT;
	path_of(from, id, old_path);
	snprintf(name, sizeof name, "%.*s", SLICE_FMT(id));
	int error = shard_of(s, to, id, &folder);
	if (error)
		return error;
	error = file_rename(s->folders[from], old_path, folder, name);
	error = error ? error : file_sync(folder);
	file_close(&folder);
	return error;
}

/* -- walking ------------------------------------------------------------------------------------------------------------------------ */

struct walk {
	struct spool *spool;
	enum spool_folder where;
	bool (*found)(void *arg, struct slice id);
	void *arg;
	bool go_on;
};

static bool walk_entry(void *arg, const char *name)
{
	struct walk *w = arg;
	w->go_on = w->found(w->arg, slice_of(name));
	return w->go_on;
}

static bool walk_shard(void *arg, const char *name)
{
	struct walk *w = arg;
	int fd = -1;
	if (file_open(w->spool->folders[SPOOL_QUEUE], name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &fd))
		return true; /* not a folder: nobody's */
	each_entry(fd, walk_entry, w);
	file_close(&fd);
	return w->go_on;
}

int spool_shards(struct spool *s, bool (*found)(void *arg, struct slice name), void *arg)
{
	struct walk w = { s, SPOOL_QUEUE, found, arg, true };
	return each_entry(s->folders[SPOOL_QUEUE], walk_entry, &w);
}

int spool_scan_shard(struct spool *s, struct slice shard, bool (*found)(void *arg, struct slice id), void *arg)
{
	struct walk w = { s, SPOOL_QUEUE, found, arg, true };
	char name[SPOOL_ID_MAX + 1];
	snprintf(name, sizeof name, "%.*s", SLICE_FMT(slice_head(shard, SPOOL_ID_MAX)));
	walk_shard(&w, name);
	return 0;
}

int spool_scan(struct spool *s, enum spool_folder where, bool (*found)(void *arg, struct slice id), void *arg)
{
	struct walk w = { s, where, found, arg, true };
	return each_entry(s->folders[where], where == SPOOL_QUEUE ? walk_shard : walk_entry, &w);
}

int spool_room(struct spool *s, uint64_t reserve, uint64_t size)
{
	struct statvfs v;
	int error = file_stat_store(s->dir, &v);
	if (error)
		return error;
	if (v.f_flag & ST_RDONLY)
		return -EROFS;
	uint64_t free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
	return free_bytes < reserve || free_bytes - reserve < size || v.f_favail < 16 ? -ENOSPC : 0;
}
