/* The checksum of a message's content: against bit rot and whoever edits files of the spool by mistake, not against people. Made when the content is put in, asked
 * for before it is delivered. */
#include <errno.h>
#include <unistd.h>

#include "base/hash.h"
#include "queue/spool_inside.h"

enum { PIECE = 64 << 10 };

static uint64_t check_piece(uint64_t before, struct slice piece)
{
	struct hash_key key = { 0x506f727465722773, before };
	return hash_bytes(&key, piece);
}

uint64_t spool_check_content(struct slice content)
{
	uint64_t check = content.n;
	for (; content.n; content = slice_skip(content, PIECE))
		check = check_piece(check, slice_head(content, PIECE));
	return check;
}

static int read_piece(int fd, char *to, size_t n, uint64_t at)
{
	for (size_t got = 0; got < n;) {
		ssize_t r = pread(fd, to + got, n - got, (off_t)(at + got));
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? -errno : -EBADMSG;
		got += (size_t)r;
	}
	return 0;
}

int spool_check_file(int fd, uint64_t offset, uint64_t length, uint64_t *out)
{
	char piece[PIECE];
	uint64_t check = length;
	for (uint64_t at = 0; at < length; at += PIECE) {
		size_t n = length - at < PIECE ? (size_t)(length - at) : PIECE;
		int error = read_piece(fd, piece, n, offset + at);
		if (error)
			return error;
		check = check_piece(check, slice(piece, n));
	}
	*out = check;
	return 0;
}

int spool_verify(const struct spool_message *m, const char **why)
{
	uint64_t check = 0;
	int error = 0;
	if (!m->has_check)
		return 0;
	if (m->content.p)
		check = spool_check_content(m->content);
	else
		error = spool_check_file(m->fd, m->content_offset, m->content_length, &check);
	if (!error && check == m->content_check)
		return 0;
	*why = "the content is damaged";
	return error ? error : -EBADMSG;
}
