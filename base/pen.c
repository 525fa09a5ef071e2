/* A message's content on one file system. The only difference between the three ways lies here: where the file stands before it
 * has a name in a mailbox, and how it gets that name. */
#include "base/pen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/file.h"

enum { PEN_MODE = 0600 };

static int open_staged(struct pen *p, int folder, const char *name)
{
	int error = file_dup(folder, &p->tmp_fd);
	if (error)
		return error;
	error = file_open(folder, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, PEN_MODE, &p->fd);
	if (error) {
		file_close(&p->tmp_fd);
		return error;
	}
	snprintf(p->staged, sizeof p->staged, "%s", name);
	return 0;
}

int pen_open(struct pen *p, enum pen_way way, int folder, const char *name)
{
	*p = PEN_NONE;
	p->way = way;
	if (way == PEN_UNNAMED)
		return file_open(folder, ".", O_RDWR | O_TMPFILE, PEN_MODE, &p->fd);
	return open_staged(p, folder, name);
}

int pen_write(struct pen *p, struct slice content)
{
	return file_write(p->fd, content);
}

int pen_check_length(const struct pen *p, uint64_t length)
{
	struct stat st;
	int error = file_stat_fd(p->fd, &st);
	if (error)
		return error;
	return (uint64_t)st.st_size == length ? 0 : -EBADMSG;
}

int pen_copy(struct pen *p, const struct pen *from, uint64_t length)
{
	int error = pen_check_length(from, length);
	return error ? error : file_copy(from->fd, p->fd, length);
}

int pen_sync(struct pen *p)
{
	return file_sync_data(p->fd);
}

int pen_start(struct pen *p)
{
	return file_start(p->fd);
}

int pen_await(struct pen *p)
{
	return file_await(p->fd);
}

/* Is the file that stands there ours? Then the folder was named twice. */
static int same_file(const struct pen *p, int folder, const char *name)
{
	struct stat ours, there;
	int error = file_stat_fd(p->fd, &ours);
	if (error == 0)
		error = file_stat_at(folder, name, &there);
	if (error)
		return error;
	return ours.st_ino == there.st_ino && ours.st_dev == there.st_dev ? 0 : -EEXIST;
}

int pen_publish(struct pen *p, int folder, const char *name)
{
	int error = 0;
	switch (p->way) {
	case PEN_UNNAMED:
		error = file_publish(p->fd, folder, name);
		break;
	case PEN_LINK:
		error = file_link(p->tmp_fd, p->staged, folder, name);
		break;
	case PEN_RENAME:
		error = file_rename(p->tmp_fd, p->staged, folder, name);
		if (error == 0)
			p->staged[0] = '\0';
		break;
	}
	return error == -EEXIST ? same_file(p, folder, name) : error;
}

void pen_drop(struct pen *p)
{
	if (p->staged[0])
		file_unlink(p->tmp_fd, p->staged);
	file_close(&p->tmp_fd);
	file_close(&p->fd);
	*p = PEN_NONE;
}
