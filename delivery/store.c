/* A file system under mailboxes. It is asked by doing once what deliveries will do: a file without a name, a link, a rename, both
 * kinds of sync, with a clock beside it. */
#include "delivery/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"

/* A syncfs slower than this serves somebody else's data, not ours. */
enum { ABSURD_US = 2000000 };

static void probe_name(char out[64], const char *what)
{
	snprintf(out, 64, ".probe-%d-%s", (int)getpid(), what);
}

/* Does a pen of this way reach a name here? */
static int try_way(struct store *s, int folder, enum pen_way way, bool measure)
{
	struct pen p;
	char staged[64], name[64];
	probe_name(staged, "pen");
	probe_name(name, "name");
	int error = pen_open(&p, way, folder, staged);
	if (error)
		return error;
	error = pen_write(&p, SLICE("Porter tries what this file system can do.\n"));
	uint64_t start = clock_mono_us();
	if (error == 0 && measure)
		error = pen_sync(&p);
	s->file_us = clock_mono_us() - start + 1;
	if (error == 0)
		error = pen_publish(&p, folder, name);
	if (error == 0)
		error = file_unlink(folder, name);
	pen_drop(&p);
	return error;
}

static void try_syncfs(struct store *s)
{
	uint64_t start = clock_mono_us();
	int error = file_sync_store(s->fd);
	s->syncfs_us = clock_mono_us() - start + 1;
	s->syncfs = error == 0 && s->syncfs_us < ABSURD_US;
}

static int probe(struct store *s, int folder, bool measure)
{
	static const enum pen_way ways[] = { PEN_UNNAMED, PEN_LINK, PEN_RENAME };
	struct stat st;
	int error = file_stat_fd(folder, &st);
	if (error)
		return error;
	*s = (struct store){ .device = st.st_dev, .fd = -1 };
	error = -EINVAL;
	for (size_t i = 0; i < 3 && error; i++)
		error = try_way(s, folder, s->way = ways[i], measure);
	if (error)
		return error;
	s->fd = folder;
	return 0;
}

int store_probe(struct store *s, int folder)
{
	int error = probe(s, folder, true);
	if (error)
		return error;
	s->ordered = file_keeps_order(folder) && file_sync_order(folder) == 0;
	try_syncfs(s);
	return 0;
}

int store_probe_once(struct store *s, int folder)
{
	return probe(s, folder, false);
}

void store_close(struct store *s)
{
	file_close(&s->fd);
}

int store_state(const struct store *s, uint64_t reserve, struct mailbox_state *out)
{
	struct statvfs v;
	int error = file_stat_store(s->fd, &v);
	if (error)
		return error;
	uint64_t bytes = (uint64_t)v.f_bavail * v.f_frsize;
	out->free_bytes = bytes > reserve ? bytes - reserve : 0;
	out->free_inodes = v.f_files ? v.f_favail : UINT64_MAX; /* btrfs counts none */
	out->read_only = v.f_flag & ST_RDONLY;
	return 0;
}

int store_room(const struct store *s, uint64_t reserve, uint64_t size)
{
	struct mailbox_state now;
	int error = store_state(s, reserve, &now);
	if (error)
		return error;
	if (now.read_only)
		return -EROFS;
	return now.free_bytes > size && now.free_inodes > 0 ? 0 : -ENOSPC;
}
