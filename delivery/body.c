/* Content on its way out. One encoder, line by line, whatever the source; reading never blocks the loop: preadv2 with RWF_NOWAIT takes what the page
 * cache has, and what it hasn't is fetched by a worker. */
#include "delivery/body.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

struct body {
	struct loop *loop;
	struct worker *worker;
	struct buf memory;             /* content from memory, in front of the file's */
	int fd;
	uint64_t offset, length, at;   /* length: memory and file; at: how much of it was taken */
	bool lf_ends, eight_bit, stuff;
	bool in_line;                  /* the last byte was not a line end */
	bool cr;                       /* the last byte was a CR that waits for its LF */
	bool reading, freed;
	void (*ready)(void *arg);
	void *arg;
	char *piece;                   /* a file's: what was read last */
	ssize_t got;                   /* of piece, by the worker; -errno */
	bool fetched;
};

struct body *body_new(struct loop *l, struct worker *w, const struct body_plan *p)
{
	struct body *b = MEM_NEW(struct body);
	*b = (struct body){ .loop = l, .worker = w, .fd = p->fd, .offset = p->offset, .length = p->length, .lf_ends = p->lf_ends,
		.eight_bit = p->eight_bit };
	buf_init(&b->memory, p->content.n);
	buf_add(&b->memory, p->content);
	assert(p->fd < 0 || !p->content.n || !p->lf_ends); /* one kind of line ends */
	b->length = p->content.n + (p->fd < 0 ? 0 : p->length);
	if (p->fd < 0)
		b->lf_ends = false;
	return b;
}

static void release(struct body *b)
{
	file_close(&b->fd);
	buf_free(&b->memory);
	mem_free(b->piece);
	mem_free(b);
}

void body_free(struct body *b)
{
	if (!b)
		return;
	b->freed = true;
	b->ready = NULL;
	if (!b->reading)
		release(b);
}

bool body_is_eight_bit(const struct body *b)
{
	return b->eight_bit;
}

uint64_t body_length(const struct body *b)
{
	return b->length;
}

bool body_is_exact(const struct body *b)
{
	return !b->lf_ends;
}

void body_begin(struct body *b, bool stuff)
{
	b->at = 0;
	b->stuff = stuff;
	b->in_line = b->cr = b->fetched = false;
}

void body_forget(struct body *b)
{
	b->ready = NULL;
}

/* -- encoding ------------------------------------------------------------------------------------------------------------------ */

/* One line of s, its LF included where it has one, is added. 0 or -EBADMSG. */
static int add_line(struct body *b, struct slice line, struct buf *out)
{
	bool ends = line.n && line.p[line.n - 1] == '\n';
	struct slice text = slice_head(line, line.n - ends);
	if (b->cr && !(ends && text.n == 0))
		return -EBADMSG; /* the CR before this was no line end */
	if (b->stuff && !b->in_line && text.n && text.p[0] == '.')
		buf_add_byte(out, '.');
	size_t cr = slice_find(text, '\r');
	if (cr != text.n && (b->lf_ends || cr + 1 != text.n))
		return -EBADMSG;
	if (ends && !b->lf_ends && cr == text.n && !b->cr)
		return -EBADMSG; /* a bare LF */
	b->cr = !ends && cr != text.n;
	b->in_line = !ends;
	buf_add(out, text);
	if (ends)
		buf_add(out, b->lf_ends ? SLICE("\r\n") : SLICE("\n"));
	return buf_full(out) ? -EMSGSIZE : 0;
}

static int encode(struct body *b, struct slice s, struct buf *out)
{
	if (s.n && memchr(s.p, 0, s.n))
		return -EBADMSG;
	while (s.n) {
		size_t end = slice_find(s, '\n');
		size_t n = end == s.n ? end : end + 1;
		int error = add_line(b, slice_head(s, n), out);
		if (error)
			return error;
		s = slice_skip(s, n);
	}
	return 0;
}

/* Adds s, the next bytes of the content, and at the end what makes it end a line. */
static int take(struct body *b, struct slice s, struct buf *out)
{
	int error = encode(b, s, out);
	if (error)
		return error;
	b->at += s.n;
	if (b->at < b->length)
		return 1;
	if (b->cr)
		return -EBADMSG;
	if (b->stuff && b->in_line)
		buf_add(out, SLICE("\r\n"));
	return 0;
}

/* -- reading -------------------------------------------------------------------------------------------------------------------- */

static size_t wanted(const struct body *b)
{
	uint64_t left = b->length - b->at;
	return left < BODY_PIECE ? (size_t)left : BODY_PIECE;
}

static off_t place(const struct body *b)
{
	return (off_t)(b->offset + b->at - b->memory.n);
}

static void read_work(void *arg)
{
	struct body *b = arg;
	ssize_t n;
	do
		n = pread(b->fd, b->piece, wanted(b), place(b));
	while (n < 0 && errno == EINTR);
	b->got = n < 0 ? -errno : n;
}

static void read_done(void *arg)
{
	struct body *b = arg;
	b->reading = false;
	b->fetched = true;
	if (b->freed) {
		release(b);
		return;
	}
	void (*ready)(void *) = b->ready;
	b->ready = NULL;
	if (ready)
		ready(b->arg);
}

static ssize_t read_cached(struct body *b)
{
	struct iovec v = { b->piece, wanted(b) };
	ssize_t n = preadv2(b->fd, &v, 1, place(b), RWF_NOWAIT);
	return n < 0 ? -errno : n;
}

int body_next(struct body *b, struct buf *out, void (*ready)(void *arg), void *arg)
{
	if (b->at == b->length)
		return take(b, SLICE_NONE, out);
	if (b->at < b->memory.n)
		return take(b, slice_head(slice_skip(buf_slice(&b->memory), b->at), BODY_PIECE), out);
	if (!b->piece)
		b->piece = mem_new(BODY_PIECE);
	ssize_t n = b->reading ? -EAGAIN : b->fetched ? b->got : read_cached(b);
	b->fetched = false;
	if (n == -EAGAIN || n == -EOPNOTSUPP || n == -EINTR) {
		b->ready = ready;
		b->arg = arg;
		if (!b->reading)
			worker_add(b->worker, read_work, read_done, b);
		b->reading = true;
		return -EAGAIN;
	}
	if (n <= 0)
		return n < 0 ? (int)n : -EIO; /* the file is shorter than it was said to be */
	return take(b, slice(b->piece, (size_t)n), out);
}
