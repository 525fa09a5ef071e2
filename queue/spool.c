/* The spool's folders, and the names in them. Everything that must be durable passes through one syncer, so many messages share a sync. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/unique.h"
#include "queue/spool_inside.h"

enum { FOLDER_MODE = 0700 };
static const char *const folder_names[] = { [SPOOL_QUEUE] = "queue", [SPOOL_DEAD] = "dead", [SPOOL_ASIDE] = "aside", [SPOOL_MADE] = "made" };

/* -- folders and names -------------------------------------------------------------------------------------------------------------- */

bool spool_is_id(struct slice id)
{
	return id.n <= SPOOL_ID_MAX && unique_time_us(id) > 0;
}

void spool_path(enum spool_folder where, struct slice id, char out[SPOOL_PATH])
{
	size_t at = 0;
	if (where == SPOOL_QUEUE) {
		memcpy(out, id.p + id.n - 2, 2);
		out[2] = '/';
		at = 3;
	}
	memcpy(out + at, id.p, id.n);
	out[at + id.n] = 0;
}

static int make_folder(int dir, const char *name, int *fd)
{
	int error = file_mkdir(dir, name, FOLDER_MODE);
	if (error && error != -EEXIST)
		return error;
	return file_open(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, fd);
}

int spool_folder_of(struct spool *s, enum spool_folder where, struct slice id, int *fd)
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

int spool_sync_folder_of(struct spool *s, enum spool_folder where, struct slice id)
{
	int folder = -1, error = spool_folder_of(s, where, id, &folder);
	if (error)
		return error;
	error = file_sync(folder);
	file_close(&folder);
	return error;
}

int spool_open_message(struct spool *s, enum spool_folder where, struct slice id, int flags, int *fd)
{
	char path[SPOOL_PATH];
	if (!spool_is_id(id))
		return -ENOENT;
	spool_path(where, id, path);
	return file_open(s->folders[where], path, flags | O_NOFOLLOW | O_NONBLOCK, 0, fd);
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
	*s = (struct spool){ .dir = dir, .tmp = -1, .rolls = -1, .folders = { -1, -1, -1, -1 } };
	int error = file_init();
	for (int i = 0; i < SPOOL_FOLDERS && !error; i++)
		error = make_folder(dir, folder_names[i], &s->folders[i]);
	error = error ? error : make_folder(dir, "tmp", &s->tmp);
	error = error ? error : make_folder(dir, "rolls", &s->rolls);
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
	*s = (struct spool){ .dir = dir, .tmp = -1, .rolls = -1, .folders = { -1, -1, -1, -1 } };
	int error = file_stat_fd(dir, &st);
	for (int i = 0; i <= SPOOL_ASIDE && !error; i++) /* made/ is nobody's to look at */
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
	for (int i = 0; i < SPOOL_FOLDERS; i++)
		file_close(&s->folders[i]);
	file_close(&s->tmp);
	file_close(&s->rolls);
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

/* -- moving ------------------------------------------------------------------------------------------------------------------------- */

int spool_remove(struct spool *s, enum spool_folder where, struct slice id)
{
	char path[SPOOL_PATH];
	if (!spool_is_id(id))
		return -ENOENT;
	spool_path(where, id, path);
	return file_unlink(s->folders[where], path);
}

int spool_stat(struct spool *s, enum spool_folder where, struct slice id, struct stat *st)
{
	char path[SPOOL_PATH];
	if (!spool_is_id(id))
		return -ENOENT;
	spool_path(where, id, path);
	return file_stat_at(s->folders[where], path, st);
}

int spool_rename(struct spool *s, enum spool_folder from, enum spool_folder to, struct slice id)
{
	char old_path[SPOOL_PATH], name[SPOOL_ID_MAX + 1];
	int folder = -1;
	if (!spool_is_id(id))
		return -ENOENT;
	spool_path(from, id, old_path);
	snprintf(name, sizeof name, "%.*s", SLICE_FMT(id));
	int error = spool_folder_of(s, to, id, &folder);
	if (error)
		return error;
	error = file_rename(s->folders[from], old_path, folder, name);
	file_close(&folder);
	return error;
}

int spool_move(struct spool *s, enum spool_folder from, enum spool_folder to, struct slice id)
{
	int error = spool_rename(s, from, to, id);
	error = error ? error : spool_sync_folder_of(s, to, id);
	return error ? error : spool_sync_folder_of(s, from, id);
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
