/* The search for a file by the transaction in its name. Rare, so the folders are simply read. A crash may have come between the name and its sync, so what is found is synced before it
 * counts. */
#include "delivery/maildir_find.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>

#include "base/file.h"
#include "delivery/maildir.h"

enum { MAX_MARK = 64 };

/* Takes fd. */
static int search_folder(int fd, struct slice mark, bool *found)
{
	DIR *d = fdopendir(fd);
	const struct dirent *e;
	if (d == NULL) {
		int error = -errno;
		file_close(&fd);
		return error;
	}
	errno = 0;
	while (!*found && (e = readdir(d))) {
		struct slice name = slice_of(e->d_name);
		*found = slice_find_slice(name, mark) < name.n;
		errno = 0;
	}
	int error = *found ? file_sync(dirfd(d)) : -errno;
	closedir(d);
	return error;
}

int maildir_find(int root, struct slice place, struct slice transaction, bool *found)
{
	static const enum maildir_folder folders[] = { MAILDIR_NEW, MAILDIR_CUR };
	char mark[MAX_MARK];
	int n = snprintf(mark, sizeof mark, "_%.*s.", SLICE_FMT(transaction)), error = 0;
	bool there = false;
	if (n < 0 || n >= MAX_MARK)
		return -EINVAL;
	for (size_t i = 0; error == 0 && !there && i < sizeof folders / sizeof folders[0]; i++) {
		int fd;
		error = maildir_open(root, place, folders[i], false, &fd);
		if (error == 0)
			error = search_folder(fd, slice(mark, (size_t)n), &there);
		else if (error == -ENOENT)
			error = 0;
	}
	if (error == 0)
		*found = there;
	return error;
}
