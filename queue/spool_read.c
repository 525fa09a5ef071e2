/* The head of a spool file, and a message as it lies there: checked before anything in it is believed. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "queue/spool_inside.h"

enum { FIRST_READ = 8192 };
enum { VERSION_AT = 7, OLD_VERSION = 1, VERSION = 2, OLD_END = 40, END = 48 };
static const char magic[8] = "PorterQ\2";

/* -- the head ----------------------------------------------------------------------------------------------------------------------- */

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

void spool_put_head(char to[SPOOL_HEAD], const struct spool_head *h)
{
	memset(to, 0, SPOOL_HEAD);
	memcpy(to, magic, sizeof magic);
	put_u64(to + 8, h->content_offset);
	put_u64(to + 16, h->content_length);
	put_u64(to + 24, h->envelope_length);
	put_u64(to + 32, h->envelope_check);
	put_u64(to + 40, h->content_check);
	put_u64(to + END, journal_checksum(slice(to, END)));
}

static const char *get_head(const char from[SPOOL_HEAD], uint64_t file_size, struct spool_head *h)
{
	bool old = from[VERSION_AT] == OLD_VERSION;
	size_t end = old ? OLD_END : END;
	if (memcmp(from, magic, VERSION_AT))
		return "not a file of the spool";
	if (!old && from[VERSION_AT] != VERSION)
		return "of another version";
	if (get_u64(from + end) != journal_checksum(slice(from, end)))
		return "the head is damaged";
	*h = (struct spool_head){ get_u64(from + 8), get_u64(from + 16), get_u64(from + 24), get_u64(from + 32), old ? 0 : get_u64(from + 40), !old };
	if (h->content_offset < SPOOL_HEAD || h->content_offset > file_size || h->content_length > file_size - h->content_offset ||
	    h->envelope_length > ENVELOPE_MAX || h->envelope_length > file_size - h->content_offset - h->content_length)
		return "truncated";
	return NULL;
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

/* The head, and most messages whole, by one call. *got: how much of it is in raw. */
static int read_head(const struct spool *s, int fd, struct buf *raw, struct spool_head *h, uint64_t *size, size_t *got, const char **why)
{
	struct stat st;
	int error = file_stat_fd(fd, &st);
	if (error)
		return error;
	*why = !S_ISREG(st.st_mode) ? "not a plain file" : st.st_uid != s->owner ? "owned by another user" : st.st_size < SPOOL_HEAD ? "truncated" : NULL;
	if (*why)
		return -EBADMSG;
	*size = (uint64_t)st.st_size;
	*got = *size < FIRST_READ ? (size_t)*size : FIRST_READ;
	buf_clear(raw);
	error = read_at(fd, 0, *got, raw);
	if (error)
		return error;
	*why = get_head(raw->p, *size, h);
	return *why ? -EBADMSG : 0;
}

static int read_parts(const struct spool *s, int fd, struct slice id, struct buf *raw, struct arena *mem, struct spool_message *m, const char **why)
{
	struct spool_head h;
	uint64_t size;
	size_t first;
	int error = read_head(s, fd, raw, &h, &size, &first, why);
	if (error)
		return error;
	uint64_t envelope_at = h.content_offset + h.content_length, journal_at = envelope_at + h.envelope_length;
	uint64_t journal_all = size - journal_at, journal_n = journal_all < SPOOL_JOURNAL_MAX ? journal_all : SPOOL_JOURNAL_MAX;
	size_t start = (size_t)envelope_at;
	bool whole = journal_at + journal_n <= first;
	if (!whole) {
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
	size_t sound = 0;
	error = journal_fold(&m->envelope, journal, mem, &m->state, &sound);
	m->journal = slice_head(journal, sound);
	m->sound_size = journal_at + sound;
	m->torn = sound < journal_n && journal_n == journal_all;
	m->content_offset = h.content_offset, m->content_length = h.content_length;
	m->content_check = h.content_check, m->has_check = h.has_check;
	m->content = whole ? slice(raw->p + h.content_offset, h.content_length) : SLICE_NONE;
	*why = NULL;
	return error;
}

/* Reading leaves no mark: else the time of a file's last reading would be written to disk for each message of a list, and again after each attempt (relatime). A file that isn't ours has an owner to ask. */
static int open_to_read(struct spool *s, enum spool_folder where, struct slice id, int *fd)
{
	int error = spool_open_message(s, where, id, O_RDONLY | O_NOATIME, fd);
	return error == -EPERM ? spool_open_message(s, where, id, O_RDONLY, fd) : error;
}

int spool_read(struct spool *s, enum spool_folder where, struct slice id, struct buf *raw, struct arena *mem, struct spool_message *out, const char **why)
{
	struct spool_message m = { .fd = -1 };
	*why = NULL;
	int error = open_to_read(s, where, id, &m.fd);
	*why = error == -ELOOP ? "a link" : error == -EACCES || error == -EPERM ? "owned by another user" : NULL;
	if (*why)
		return -EBADMSG;
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
