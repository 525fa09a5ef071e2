/* The files of a large message. Pieces are gathered in one buffer while the worker writes the other; what is written first in the file is written last, since our own
 * fields are known only at the dot. */
#include "smtpd/message_spill.h"

#include <errno.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

enum { MAX_WAITING = 64 << 20, MAX_LINE = 900, PAGE = 4096, COPY_BLOCK = 64 << 10 };

static struct message_spill *spill_new(struct message *m, int fd, bool lf, uint64_t start)
{
	struct message_spill *s = MEM_NEW(struct message_spill);
	*s = (struct message_spill){ .message = m, .worker = m->worker, .fd = fd, .lf = lf, .start = start, .copy_from = -1 };
	buf_init(&s->front, 2 * MESSAGE_MAX_ADDED);
	buf_init(&s->next, MAX_WAITING);
	buf_init(&s->writing, MAX_WAITING);
	m->spills[m->spill_count++] = s;
	return s;
}

static void destroy(struct message_spill *s)
{
	file_close(&s->fd);
	file_close(&s->copy_from);
	buf_free(&s->front);
	buf_free(&s->next);
	buf_free(&s->writing);
	mem_free(s);
}

void spill_free(struct message_spill *s)
{
	s->message = NULL;
	if (!s->busy)
		destroy(s);
}

/* -- writing -------------------------------------------------------------------------------------------------------------------------- */

static void add_crlf(struct buf *out, struct slice lf)
{
	struct slice rest = lf;
	while (rest.n) {
		size_t n = slice_find(rest, '\n');
		buf_add(out, slice_head(rest, n));
		if (n < rest.n)
			buf_add(out, SLICE("\r\n"));
		rest = slice_skip(rest, n + 1);
	}
}

static void add_lf(struct buf *out, struct slice crlf)
{
	struct slice rest = crlf;
	while (rest.n)
		buf_add(out, slice_cut(rest, '\r', &rest)); /* there is no CR that is none of a line's end */
}

/* A block of the old file in this one's form. */
static int copy_block(struct message_spill *s, struct slice block, uint64_t to, uint64_t *written)
{
	struct buf other = BUF_INIT(2 * COPY_BLOCK);
	if (s->copy_lf != s->lf)
		(s->lf ? add_lf : add_crlf)(&other, block);
	struct slice piece = s->copy_lf == s->lf ? block : buf_slice(&other);
	int error = file_write_at(s->fd, piece, to);
	*written = piece.n;
	buf_free(&other);
	return error;
}

static int copy_body(struct message_spill *s)
{
	char *block = mem_new(COPY_BLOCK); /* not thread-local: each thread of each process would have its own, and touch it */
	uint64_t at = s->copy_at, left = s->copy_length;
	int error = 0;
	s->copied = 0;
	while (left && !error) {
		size_t wanted = left < COPY_BLOCK ? (size_t)left : COPY_BLOCK;
		ssize_t n = pread(s->copy_from, block, wanted, (off_t)at);
		uint64_t written = 0;
		error = n < 0 ? -errno : n == 0 ? -EIO : copy_block(s, slice(block, (size_t)n), s->at + s->copied, &written);
		if (n > 0)
			at += (uint64_t)n, s->copied += written, left -= (uint64_t)n;
	}
	mem_free(block);
	return error;
}

/* The page that the front ends in is written by a call of its own: the page cache keeps a large write in large folios, and each is written to the disk whole again
 * when a byte of it changes behind somebody's sync. */
static int write_piece(struct message_spill *s)
{
	struct slice piece = buf_slice(&s->writing), first = slice_head(piece, (size_t)((PAGE - s->writing_at % PAGE) % PAGE));
	int error = first.n ? file_write_at(s->fd, first, s->writing_at) : 0;
	piece = slice_skip(piece, first.n);
	return error || !piece.n ? error : file_write_at(s->fd, piece, s->writing_at + first.n);
}

static void work(void *arg)
{
	struct message_spill *s = arg;
	if (!s->error && s->writing.n)
		s->error = write_piece(s);
	if (!s->error && s->copy_from >= 0)
		s->error = copy_body(s);
	if (!s->error && s->front_due)
		s->error = file_write_at(s->fd, buf_slice(&s->front), s->start);
}

static void hand_over(struct message_spill *s, bool whole);

static void worked(void *arg)
{
	struct message_spill *s = arg;
	s->busy = false;
	if (!s->message) {
		destroy(s);
		return;
	}
	if (s->copy_from >= 0) {
		s->at += s->copied;
		file_close(&s->copy_from);
	}
	if (!s->front_due)
		buf_clear(&s->writing);
	else
		buf_free(&s->writing);
	s->front_due = false;
	if (s->next.n >= MESSAGE_PIECE)
		hand_over(s, false);
	s->message->on_written(s->message->arg);
}

/* What was gathered goes to the worker; but for the last time it ends with a page, so that none is written twice. */
static void hand_over(struct message_spill *s, bool whole)
{
	struct buf b = s->writing;
	s->writing = s->next;
	s->next = b;
	buf_clear(&s->next);
	s->writing_at = s->at;
	size_t rest = whole ? 0 : (size_t)((s->at + s->writing.n) % PAGE);
	if (rest && rest < s->writing.n) {
		buf_add(&s->next, slice_skip(buf_slice(&s->writing), s->writing.n - rest));
		buf_truncate(&s->writing, s->writing.n - rest);
	}
	s->at += s->writing.n;
	s->busy = true;
	worker_add(s->worker, work, worked, s);
}

void spill_add(struct message_spill *s, struct slice crlf)
{
	if (s->error)
		return;
	if (!s->next.cap)
		buf_room(&s->next, MESSAGE_PIECE + (16 << 10));
	message_add_lines(&s->next, crlf, s->lf);
	if (buf_full(&s->next))
		s->error = -ENOSPC;
	if (s->next.n >= MESSAGE_PIECE && !s->busy)
		hand_over(s, false);
}

void message_spill(struct message *m, int fd, bool lf, uint64_t start, struct slice return_path, size_t room)
{
	struct message_spill *s = spill_new(m, fd, lf, start);
	if (!m->digest)
		message_start_digest(m); /* what is in the files can't be looked through at the end */
	message_add_lines(&s->front, return_path, lf);
	s->return_path = s->front.n;
	message_add_lines(&s->front, buf_slice(&m->front), lf);
	s->room = s->front.n - s->return_path + room;
	buf_truncate(&s->front, s->return_path);
	s->at = start + s->return_path + s->room;
	spill_add(s, buf_slice(&m->head));
	spill_add(s, buf_slice(&m->body));
}

void message_spilled(struct message *m)
{
	buf_free(&m->body);
}

bool message_is_busy(const struct message *m)
{
	for (size_t i = 0; i < m->spill_count; i++)
		if (m->spills[i]->busy)
			return true;
	return false;
}

bool message_is_full(const struct message *m)
{
	for (size_t i = 0; i < m->spill_count; i++)
		if (m->spills[i]->busy && m->spills[i]->next.n >= MESSAGE_PIECE)
			return true;
	return false;
}

int message_error(const struct message *m)
{
	for (size_t i = 0; i < m->spill_count; i++)
		if (m->spills[i]->error)
			return m->spills[i]->error;
	return 0;
}

void message_flush(struct message *m)
{
	for (size_t i = 0; i < m->spill_count; i++)
		if (m->spills[i]->next.n && !m->spills[i]->busy)
			hand_over(m->spills[i], true);
}

/* -- the front -------------------------------------------------------------------------------------------------------------------------- */

static size_t printed_front(const struct message *m, bool lf)
{
	struct buf b = BUF_INIT(2 * MESSAGE_MAX_ADDED);
	message_add_lines(&b, buf_slice(&m->added), lf);
	message_add_lines(&b, buf_slice(&m->front), lf);
	size_t n = b.n;
	buf_free(&b);
	return n;
}

bool message_fits(const struct message *m)
{
	if (m->changed)
		return false;
	for (size_t i = 0; i < m->spill_count; i++)
		if (printed_front(m, m->spills[i]->lf) > m->spills[i]->room)
			return false;
	return true;
}

/* n bytes behind the last field's text: blanks, or comments on folded lines (RFC 5322, 3.2.2: no line may be white space alone). */
static void add_padding(struct buf *out, size_t n, bool lf)
{
	size_t fold = lf ? 2 : 3;
	while (n) {
		size_t line = n > MAX_LINE ? MAX_LINE : n;
		if (n > MAX_LINE && n - MAX_LINE < fold + 2)
			line = MAX_LINE - 8; /* leaves enough for a line of its own */
		if (line < fold + 2) {
			for (size_t i = 0; i < line; i++)
				buf_add_byte(out, ' ');
		} else {
			buf_add_cstr(out, lf ? "\n\t(" : "\r\n\t(");
			for (size_t i = 0; i < line - fold - 2; i++)
				buf_add_byte(out, ' ');
			buf_add_byte(out, ')');
		}
		n -= line;
	}
}

static void make_front(struct message_spill *s)
{
	const struct message *m = s->message;
	size_t end = s->lf ? 1 : 2, before = s->front.n;
	message_add_lines(&s->front, buf_slice(&m->added), s->lf);
	message_add_lines(&s->front, buf_slice(&m->front), s->lf);
	size_t n = s->front.n - before;
	if (n < s->room) {
		buf_truncate(&s->front, s->front.n - end);
		add_padding(&s->front, s->room - n, s->lf);
		buf_add_cstr(&s->front, s->lf ? "\n" : "\r\n");
	}
	s->front_due = true;
}

void message_finish(struct message *m)
{
	for (size_t i = 0; i < m->spill_count; i++) {
		make_front(m->spills[i]);
		hand_over(m->spills[i], true);
	}
}

bool message_spill_file(const struct message *m, bool lf, int *fd, uint64_t *start, uint64_t *length)
{
	for (size_t i = 0; i < m->spill_count; i++) {
		const struct message_spill *s = m->spills[i];
		if (s->lf != lf)
			continue;
		*fd = s->fd;
		*start = s->start;
		*length = s->at - s->start;
		return true;
	}
	return false;
}

/* -- writing anew ------------------------------------------------------------------------------------------------------------------------ */

static uint64_t body_at(const struct message_spill *s)
{
	const struct message *m = s->message;
	return s->start + s->return_path + s->room + (s->lf ? m->received_head_lf : m->received_head);
}

static void rewrite(struct message *m, const struct message_spill *old, const struct message_pen *pen, struct slice return_path)
{
	struct message_spill *s = spill_new(m, pen->fd, pen->lf, pen->start);
	if (s->lf)
		message_add_lines(&s->front, return_path, true);
	s->return_path = s->front.n;
	s->room = printed_front(m, s->lf);
	s->at = s->start + s->return_path + s->room;
	buf_room(&s->next, m->head.n + 1);
	message_add_lines(&s->next, buf_slice(&m->head), s->lf);
	if (m->body_replaced) {
		message_add_lines(&s->next, buf_slice(&m->body), s->lf);
	} else {
		s->copy_lf = old->lf;
		s->copy_at = body_at(old);
		s->copy_length = old->at - s->copy_at;
		s->error = file_dup(old->fd, &s->copy_from);
	}
	make_front(s);
	hand_over(s, true);
}

/* The old file that needs least work: of the same form. */
static const struct message_spill *source_for(struct message_spill *const *old, size_t count, bool lf)
{
	for (size_t i = 0; i < count; i++)
		if (old[i]->lf == lf)
			return old[i];
	return old[0];
}

void message_rewrite(struct message *m, const struct message_pen *pens, size_t count, struct slice return_path)
{
	struct message_spill *old[MESSAGE_MAX_SPILLS];
	size_t old_count = m->spill_count;
	memcpy(old, m->spills, sizeof old);
	m->spill_count = 0;
	for (size_t i = 0; i < count; i++)
		rewrite(m, source_for(old, old_count, pens[i].lf), &pens[i], return_path);
	for (size_t i = 0; i < old_count; i++)
		spill_free(old[i]);
	m->changed = false;
}

/* -- reading ------------------------------------------------------------------------------------------------------------------------------ */

struct message_reader {
	struct message *message;    /* NULL: nobody listens any more */
	void (*done)(void *arg, struct slice bytes, uint64_t next, int error);
	void *arg;
	int fd;                     /* -1: memory */
	bool lf;
	uint64_t at, next;
	size_t max;
	struct slice view;
	struct buf bytes;
	int error;
};

static void read_done(void *arg)
{
	struct message_reader *r = arg;
	if (r->message) {
		r->message->reader = NULL;
		r->done(r->arg, r->fd < 0 ? r->view : buf_slice(&r->bytes), r->next, r->error);
	}
	file_close(&r->fd);
	buf_free(&r->bytes);
	mem_free(r);
}

static void read_work(void *arg)
{
	struct message_reader *r = arg;
	char *block = mem_new(r->max);
	ssize_t n = pread(r->fd, block, r->max, (off_t)r->at);
	if (n < 0)
		r->error = -errno;
	else if (r->lf)
		add_crlf(&r->bytes, slice(block, (size_t)n));
	else
		buf_add(&r->bytes, slice(block, (size_t)n));
	r->next += n > 0 ? (uint64_t)n : 0;
	mem_free(block);
}

/* Bytes in memory take the same way, so that an answer never comes from inside the asking. */
static void read_nothing(void *arg)
{
	(void)arg;
}

static const struct message_spill *spill_to_read(const struct message *m)
{
	for (size_t i = 0; i < m->spill_count; i++)
		if (!m->spills[i]->lf)
			return m->spills[i];
	return m->spills[0];
}

void spill_read(struct message *m, uint64_t cursor, size_t max, void (*done)(void *arg, struct slice bytes, uint64_t next, int error), void *arg)
{
	struct message_reader *r = MEM_NEW(struct message_reader);
	*r = (struct message_reader){ .message = m, .done = done, .arg = arg, .fd = -1, .next = cursor, .max = max };
	buf_init(&r->bytes, 2 * max + 2);
	m->reader = r;
	if (!m->spill_count || m->body_replaced) {
		r->view = slice_head(slice_skip(buf_slice(&m->body), (size_t)cursor), max);
		r->next += r->view.n;
		worker_add(m->worker, read_nothing, read_done, r);
		return;
	}
	const struct message_spill *s = spill_to_read(m);
	r->at = body_at(s) + cursor;
	uint64_t left = r->at < s->at ? s->at - r->at : 0;
	r->max = left < max ? (size_t)left : max;
	r->lf = s->lf;
	r->error = file_dup(s->fd, &r->fd);
	worker_add(m->worker, r->error ? read_nothing : read_work, read_done, r);
}

void spill_forget_reader(struct message *m)
{
	if (m->reader)
		m->reader->message = NULL;
	m->reader = NULL;
}
