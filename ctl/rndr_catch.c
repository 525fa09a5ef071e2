/* A mail server of a few verbs that keeps nothing. Content is only looked through, line by line (a longer one in pieces), so that a return of any
 * size costs a buffer of a few kilobytes. */
#include "ctl/rndr_catch.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/conn.h"
#include "base/mem.h"

enum { MAX_LINE = 2000, MAX_RCPT = 4, MAX_ERRORS = 10, MAX_CANARY = 128, IDLE_MS = 60000, MAX_PATH_BYTES = 256 };

struct session {
	struct rndr_catch *catch;
	struct conn *conn;
	struct loop_timer *total;
	struct session *next, **link;
	struct buf recipients[MAX_RCPT];
	size_t recipient_count;
	unsigned errors;
	bool in_data, body;
	uint64_t bytes;
};

struct rndr_catch {
	struct loop *loop;
	int fd;
	struct loop_watch *watch;
	struct session *sessions;
	size_t count;
	char canary[MAX_CANARY];
	size_t canary_n;
	const struct catch_handler *handler;
	void *arg;
};

static const struct conn_limits limits = { 64 << 10, 8 << 10 };

static void forget_message(struct session *s)
{
	for (size_t i = 0; i < s->recipient_count; i++)
		buf_free(&s->recipients[i]);
	s->recipient_count = 0;
	s->in_data = s->body = false;
	s->bytes = 0;
}

static void session_free(struct session *s)
{
	forget_message(s);
	if (s->next)
		s->next->link = s->link;
	*s->link = s->next;
	s->catch->count--;
	loop_timer_free(s->total);
	mem_free(s);
}

static void session_end(struct session *s, struct slice last)
{
	struct conn *c = s->conn;
	conn_write(c, last);
	session_free(s);
	conn_finish(c, 1000);
}

static void reply(struct session *s, struct slice text)
{
	if (text.p[0] == '5' && ++s->errors > MAX_ERRORS)
		return session_end(s, SLICE("421 4.7.0 Too many errors\r\n"));
	conn_write(s->conn, text);
}

/* "RCPT TO:<x>": the bytes between the angle brackets. */
static struct slice path_of(struct slice line)
{
	size_t from = slice_find(line, '<'), to = slice_find(line, '>');
	if (from >= line.n || to >= line.n || to < from || to - from > MAX_PATH_BYTES)
		return SLICE_NONE;
	return slice(line.p + from + 1, to - from - 1);
}

static void on_rcpt(struct session *s, struct slice line)
{
	struct slice path = path_of(line);
	if (!path.n || !s->catch->handler->knows(s->catch->arg, path))
		return reply(s, SLICE("550 5.1.1 Only the reverse-paths of running checks are known here\r\n"));
	if (s->recipient_count == MAX_RCPT)
		return reply(s, SLICE("452 4.5.3 Too many recipients\r\n"));
	buf_init(&s->recipients[s->recipient_count], MAX_PATH_BYTES + 1);
	buf_add(&s->recipients[s->recipient_count++], path);
	reply(s, SLICE("250 2.1.5 Ok\r\n"));
}

static void on_command(struct session *s, struct slice line)
{
	if (slice_starts_nocase(line, SLICE("EHLO")) || slice_starts_nocase(line, SLICE("HELO"))) {
		forget_message(s);
		return reply(s, SLICE("250 rndr-check\r\n"));
	}
	if (slice_starts_nocase(line, SLICE("MAIL FROM:")) || slice_eq_nocase(line, SLICE("RSET")) || slice_starts_nocase(line, SLICE("NOOP"))) {
		if (!slice_starts_nocase(line, SLICE("NOOP")))
			forget_message(s);
		return reply(s, SLICE("250 2.0.0 Ok\r\n"));
	}
	if (slice_starts_nocase(line, SLICE("RCPT TO:")))
		return on_rcpt(s, line);
	if (slice_eq_nocase(line, SLICE("DATA"))) {
		if (!s->recipient_count)
			return reply(s, SLICE("503 5.5.1 No recipient\r\n"));
		s->in_data = true;
		return reply(s, SLICE("354 End with a dot\r\n"));
	}
	if (slice_eq_nocase(line, SLICE("QUIT")))
		return session_end(s, SLICE("221 2.0.0 Bye\r\n"));
	reply(s, SLICE("502 5.5.1 Not here\r\n"));
}

static void look_for_canary(struct session *s, struct slice line)
{
	struct slice canary = slice(s->catch->canary, s->catch->canary_n);
	if (!s->body && slice_find_slice(line, canary) < line.n)
		s->body = true;
}

static void on_content_line(struct session *s, struct slice line)
{
	if (slice_eq(line, SLICE("."))) {
		for (size_t i = 0; i < s->recipient_count; i++) {
			struct catch_message m = { buf_slice(&s->recipients[i]), s->bytes, s->body };
			s->catch->handler->on_message(s->catch->arg, &m);
		}
		forget_message(s);
		return reply(s, SLICE("250 2.0.0 Counted, thank you\r\n"));
	}
	s->bytes += line.n + 2;
	look_for_canary(s, line);
}

static void on_data(void *arg, struct conn *c)
{
	struct session *s = arg;
	struct rndr_catch *catch = s->catch;
	for (;;) {
		struct slice in = conn_input(c);
		size_t end = slice_find(in, '\n');
		if (end == in.n && in.n <= MAX_LINE)
			return;
		if (end == in.n && !s->in_data)
			return session_end(s, SLICE("500 5.5.2 Line too long\r\n"));
		bool whole = end < in.n;
		struct slice line = slice_head(in, whole && end > 0 && in.p[end - 1] == '\r' ? end - 1 : end);
		size_t count = catch->count;
		if (s->in_data && s->bytes > CATCH_MAX_BYTES)
			return session_end(s, SLICE("552 5.3.4 Enough\r\n"));
		if (s->in_data)
			on_content_line(s, line);
		else
			on_command(s, line);
		if (catch->count < count)
			return;          /* the session ended */
		conn_consume(c, whole ? end + 1 : in.n);
	}
}

static void on_event(void *arg, struct conn *c, enum conn_event what)
{
	struct session *s = arg;
	if (what == CONN_CONNECTED || what == CONN_TLS_READY)
		return;
	session_free(s);
	conn_free(c);
}

static void too_long(void *arg)
{
	session_end(arg, SLICE("421 4.4.2 Enough time\r\n"));
}

static const struct conn_handler handler = { on_data, on_event, NULL };

static void session_new(struct rndr_catch *c, int fd)
{
	struct session *s = MEM_NEW(struct session);
	s->catch = c;
	s->conn = conn_new(c->loop, fd, &limits, &handler, s);
	s->total = loop_timer_new(c->loop, too_long, s);
	loop_timer_set(s->total, CATCH_SESSION_MS);
	s->next = c->sessions;
	if (s->next)
		s->next->link = &s->next;
	s->link = &c->sessions;
	c->sessions = s;
	c->count++;
	conn_set_timeout(s->conn, IDLE_MS);
	conn_write(s->conn, SLICE("220 rndr-check ESMTP: counts what forged senders get\r\n"));
}

static void on_accept(void *arg, int what)
{
	(void)what;
	struct rndr_catch *c = arg;
	for (int i = 0; i < 16; i++) {
		int fd = accept4(c->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
			return;
		if (c->count >= CATCH_MAX_SESSIONS)
			close(fd);
		else
			session_new(c, fd);
	}
}

struct rndr_catch *rndr_catch_new(struct loop *l, int fd, struct slice canary, const struct catch_handler *h, void *arg)
{
	struct rndr_catch *c = MEM_NEW(struct rndr_catch);
	c->loop = l;
	c->fd = fd;
	c->canary_n = canary.n < MAX_CANARY ? canary.n : MAX_CANARY;
	memcpy(c->canary, canary.p, c->canary_n);
	c->handler = h;
	c->arg = arg;
	c->watch = loop_watch_new(l, fd, on_accept, c);
	loop_watch_set(c->watch, LOOP_READ);
	return c;
}

void rndr_catch_free(struct rndr_catch *c)
{
	if (!c)
		return;
	while (c->sessions) {
		struct conn *conn = c->sessions->conn;
		session_free(c->sessions);
		conn_free(conn);
	}
	loop_watch_free(c->watch);
	close(c->fd);
	mem_free(c);
}
