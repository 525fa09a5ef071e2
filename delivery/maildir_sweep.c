/* The walk that removes what a crash left in tmp/. */
#include "delivery/maildir_sweep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "delivery/maildir.h"

struct sweep {
	struct slice host;
	int64_t start_s;
	size_t removed;
};

static bool is_dead(const struct sweep *s, struct slice name)
{
	struct maildir_origin origin;
	struct stat st;
	char path[32];
	if (!maildir_name_parse(name, s->host, &origin))
		return false;
	if (origin.pid == getpid())
		return origin.seconds < s->start_s;
	snprintf(path, sizeof path, "/proc/%d", (int)origin.pid);
	return file_stat_at(AT_FDCWD, path, &st) == -ENOENT;
}

static bool is_folder(int dir, const struct dirent *e)
{
	struct stat st;
	if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
		return false;
	if (e->d_type != DT_UNKNOWN)
		return e->d_type == DT_DIR;
	return file_stat_at(dir, e->d_name, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool holds_mail(const char *name)
{
	return strcmp(name, "new") == 0 || strcmp(name, "cur") == 0;
}

static void sweep_folder(struct sweep *s, int fd, bool is_tmp, unsigned depth);

static void sweep_entry(struct sweep *s, int dir, const struct dirent *e, bool is_tmp, unsigned depth)
{
	int fd;
	if (is_tmp && is_dead(s, slice_of(e->d_name))) {
		s->removed += file_unlink(dir, e->d_name) == 0;
		return;
	}
	if (depth == 0 || holds_mail(e->d_name) || !is_folder(dir, e))
		return;
	if (file_open(dir, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &fd) == 0)
		sweep_folder(s, fd, strcmp(e->d_name, "tmp") == 0, depth - 1);
}

/* Takes fd. The depth bounds the recursion. */
static void sweep_folder(struct sweep *s, int fd, bool is_tmp, unsigned depth)
{
	DIR *d = fdopendir(fd);
	const struct dirent *e;
	if (d == NULL) {
		file_close(&fd);
		return;
	}
	while ((e = readdir(d)))
		sweep_entry(s, fd, e, is_tmp, depth);
	closedir(d);
}

size_t maildir_sweep(int root, struct slice host)
{
	struct sweep s = { host, clock_wall_s(), 0 };
	int fd;
	if (file_open(root, ".", O_RDONLY | O_DIRECTORY, 0, &fd) == 0)
		sweep_folder(&s, fd, false, MAILDIR_SWEEP_DEPTH);
	if (s.removed)
		log_event(LOG_INFO, "swept", LOG_UINT("leftovers", s.removed), LOG_END);
	return s.removed;
}
