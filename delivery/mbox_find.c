/* The search for a message in an mbox by the transaction in its Received field, from the end on, in overlapping pieces. Rare, so the file is simply read. */
#include "delivery/mbox_find.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "delivery/mbox.h"

enum { PIECE = 256 << 10, MAX_MARK = 64 };

static int read_piece(int fd, char *to, size_t n, uint64_t at)
{
	size_t have = 0;
	while (have < n) {
		ssize_t got = pread(fd, to + have, n - have, (off_t)(at + have));
		if (got <= 0)
			return got < 0 ? -errno : -EIO;
		have += (size_t)got;
	}
	return 0;
}

/* Each piece reaches a mark's length into the one behind it. */
static int search(const struct mbox *m, struct slice mark, bool *found)
{
	uint64_t least = m->length > MBOX_FIND_TAIL ? m->length - MBOX_FIND_TAIL : 0, end = m->length;
	char *piece = mem_new(PIECE + MAX_MARK);
	int error = 0;
	while (error == 0 && !*found && end > least) {
		uint64_t at = end - least > PIECE ? end - PIECE : least;
		size_t n = (size_t)(end - at), more = m->length - end < mark.n ? (size_t)(m->length - end) : mark.n;
		error = read_piece(m->fd, piece, n + more, at);
		if (error == 0)
			*found = slice_find_slice(slice(piece, n + more), mark) < n + more;
		end = at;
	}
	mem_free(piece);
	return error;
}

int mbox_find(int root, struct slice place, struct slice transaction, uint64_t wait_ms, bool *found)
{
	struct mbox m;
	char mark[MAX_MARK];
	uint64_t size;
	bool there = false;
	int n = snprintf(mark, sizeof mark, " id %.*s", SLICE_FMT(transaction)), error = mbox_size(root, place, &size);
	if (error || n < 0 || n >= MAX_MARK)
		return error ? error : -EINVAL;
	if (size) {
		error = mbox_open(&m, root, place, wait_ms);
		if (error)
			return error;
		error = search(&m, slice(mark, (size_t)n), &there);
		if (error == 0 && there)
			error = file_sync(m.fd);
		mbox_close(&m);
	}
	if (error == 0)
		*found = there;
	return error;
}
