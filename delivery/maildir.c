/* Maildir folders. Each open walks the place anew from the root: a kept descriptor would go on delivering into a folder that an
 * administrator has moved away, and the walk is one system call (openat2) where the kernel is asked to refuse links. */
#include "delivery/maildir.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/scan.h"

enum { FOLDER_MODE = 0700, MAX_HOST = 64, MAX_ID = 32 };

static const char *const folder_names[] = { [MAILDIR_NEW] = "new", [MAILDIR_CUR] = "cur", [MAILDIR_TMP] = "tmp" };

bool maildir_place_ok(struct slice place)
{
	struct slice rest = place.n && place.p[0] == '/' ? slice_skip(place, 1) : place;
	if (rest.n && rest.p[rest.n - 1] == '/')
		rest.n--;
	if (rest.n == 0 || place.n > MAILDIR_MAX_PLACE || slice_find(place, '\0') < place.n)
		return false;
	while (rest.p) {
		struct slice part = slice_cut(rest, '/', &rest);
		if (part.n == 0 || part.n > NAME_MAX || slice_eq(part, SLICE(".")) || slice_eq(part, SLICE("..")))
			return false;
	}
	return true;
}

/* One that is there already is fine. *made is set if it wasn't, and never cleared. */
static int make_folder(int parent, const char *name, bool *made)
{
	int error = file_mkdir(parent, name, FOLDER_MODE);
	if (error == 0)
		*made = true;
	return error == -EEXIST ? 0 : error;
}

/* Opens `name` in *fd and puts it in *fd's place, making it if asked. */
static int step_into(int *fd, const char *name, bool make)
{
	int next = -1;
	bool made = false;
	int error = file_open(*fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &next);
	if (error == -ENOENT && make) {
		error = make_folder(*fd, name, &made);
		if (error == 0 && made)
			error = file_sync(*fd); /* its name must be durable before anything in it is */
		if (error == 0)
			error = file_open(*fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &next);
	}
	if (error)
		return error;
	file_close(fd);
	*fd = next;
	return 0;
}

static int walk_parts(char *path, bool make, int *fd)
{
	char *save = NULL;
	int error = 0;
	for (char *part = strtok_r(path, "/", &save); part && error == 0; part = strtok_r(NULL, "/", &save))
		error = step_into(fd, part, make);
	return error;
}

static int make_folders(int maildir)
{
	int error = 0;
	bool made = false;
	for (size_t i = 0; i < sizeof folder_names / sizeof folder_names[0] && error == 0; i++)
		error = make_folder(maildir, folder_names[i], &made);
	return error == 0 && made ? file_sync(maildir) : error;
}

/* The slow way, once for each mailbox: component by component. */
static int walk(int root, char *place, bool make, int *out)
{
	bool absolute = place[0] == '/';
	int fd = -1, error = absolute ? file_open(root, "/", O_RDONLY | O_DIRECTORY, 0, &fd) : file_dup(root, &fd);
	if (error == 0)
		error = walk_parts(place, make && !absolute, &fd);
	if (error)
		file_close(&fd);
	else
		*out = fd;
	return error;
}

static int walk_maildir(int root, char *place, const char *folder, bool make, int *out)
{
	int fd = -1, error = walk(root, place, make, &fd);
	if (error == 0 && make)
		error = make_folders(fd);
	if (error == 0)
		error = step_into(&fd, folder, false);
	if (error)
		file_close(&fd);
	else
		*out = fd;
	return error;
}

int maildir_open(int root, struct slice place, enum maildir_folder which, bool make, int *fd)
{
	char path[MAILDIR_MAX_PLACE + 8];
	if (!maildir_place_ok(place))
		return -EINVAL;
	snprintf(path, sizeof path, "%.*s/%s", SLICE_FMT(place), folder_names[which]);
	int error = file_open_no_links(root, path, O_RDONLY | O_DIRECTORY, fd);
	if (error == 0 || (error != -ENOSYS && error != -ENOENT))
		return error;
	path[place.n] = '\0';
	return walk_maildir(root, path, folder_names[which], make, fd);
}

int maildir_open_folder(int root, struct slice place, bool make, int *fd)
{
	char path[MAILDIR_MAX_PLACE + 8];
	if (place.n == 0)
		return file_dup(root, fd);
	if (!slice_eq(place, SLICE("/")) && !maildir_place_ok(place))
		return -EINVAL;
	snprintf(path, sizeof path, "%.*s", SLICE_FMT(place));
	return walk(root, path, make, fd);
}

void maildir_name(char out[MAILDIR_MAX_NAME], struct slice transaction, struct slice host, uint64_t size)
{
	static atomic_uint_fast64_t count;
	int64_t now_us = clock_wall_us();
	snprintf(out, MAILDIR_MAX_NAME, "%" PRId64 ".M%06" PRId64 "P%dQ%" PRIuFAST64 "_%.*s.%.*s,S=%" PRIu64, now_us / 1000000, now_us % 1000000,
	         (int)getpid(), ++count, SLICE_FMT(transaction), SLICE_FMT(slice_head(host, MAX_HOST)), size);
}

static bool is_name_byte(unsigned char c)
{
	return c != '.' && c != '/';
}

static bool scan_tagged(struct slice *in, char tag, uint64_t max, uint64_t *out)
{
	return scan_byte(in, tag) && scan_uint(in, max, out);
}

bool maildir_name_parse(struct slice name, struct slice host, struct maildir_origin *out)
{
	uint64_t seconds, us, pid, count;
	struct slice id;
	host = slice_head(host, MAX_HOST);
	if (!scan_uint(&name, INT64_MAX, &seconds) || !scan_byte(&name, '.') || !scan_tagged(&name, 'M', 999999, &us))
		return false;
	if (!scan_tagged(&name, 'P', INT32_MAX, &pid) || !scan_tagged(&name, 'Q', UINT64_MAX, &count) || !scan_byte(&name, '_'))
		return false;
	if (!scan_while(&name, is_name_byte, MAX_ID, &id) || !scan_byte(&name, '.') || !slice_starts(name, host))
		return false;
	if (!slice_starts(slice_skip(name, host.n), SLICE(",S=")) || pid == 0)
		return false;
	*out = (struct maildir_origin){ (int64_t)seconds, (pid_t)pid };
	return true;
}

bool maildir_name_size(struct slice name, uint64_t *size)
{
	struct slice rest = slice_skip(name, slice_find_slice(name, SLICE(",S=")));
	if (rest.n == 0)
		return false;
	rest = slice_skip(rest, 3);
	return scan_uint(&rest, INT64_MAX, size);
}
