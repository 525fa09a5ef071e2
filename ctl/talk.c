/* A blocking SMTP client. */
#include "ctl/talk.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { PATIENCE_S = 300, CONTENT_PATIENCE_S = 600, MAX_LINE = 4096, STEP = 4096, REPLY_MEM = 1 << 20, SHOWN_BYTES = 2000 };

static void set_patience(int fd, time_t seconds)
{
	struct timeval limit = { seconds, 0 };
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

static void show(const struct talk *t, const char *who, struct slice line)
{
	if (!t->shown)
		return;
	printf("%s ", who);
	for (size_t i = 0; i < line.n; i++)
		putchar((unsigned char)line.p[i] < ' ' || line.p[i] == 0x7f ? '?' : line.p[i]);
	putchar('\n');
	fflush(stdout);
}

static int failed(struct talk *t, int error, const char *why)
{
	t->code = 0;
	t->why = why;
	return error;
}

static int more(struct talk *t)
{
	char *room = buf_room(&t->in, STEP);
	ssize_t n = room ? recv(t->fd, room, STEP, 0) : -1;
	if (n > 0) {
		buf_used(&t->in, (size_t)n);
		return 0;
	}
	if (!room)
		return failed(t, -EPROTO, "its reply is too long");
	return n == 0 ? failed(t, -ECONNRESET, "it closed the connection") : failed(t, errno == EAGAIN ? -ETIMEDOUT : -errno, "no reply came");
}

int talk_reply(struct talk *t)
{
	struct mail_reply r;
	for (;;) {
		struct slice in = buf_slice(&t->in);
		const char *why = "";
		arena_reset(&t->mem);
		int found = mail_reply_read(&in, &t->mem, &r, &why);
		if (found < 0)
			return failed(t, found, why);
		if (found)
			break;
		int error = more(t);
		if (error)
			return error;
	}
	for (size_t i = 0; i < r.count && t->shown; i++) {
		char code[8];
		snprintf(code, sizeof code, "S: %u%c", r.code, i + 1 < r.count ? '-' : ' ');
		code[6] = '\0';
		printf("%s", code);
		show(t, "", slice_head(r.lines[i], SHOWN_BYTES));
	}
	t->status = mail_reply_status(&r, &t->mem);
	t->code = r.code;
	size_t used = t->in.n;
	struct slice rest = buf_slice(&t->in);
	mail_reply_read(&rest, &t->mem, &r, &t->why);
	buf_drop(&t->in, used - rest.n);
	return 0;
}

int talk_open(struct talk *t, const struct net_address *to, bool shown)
{
	*t = (struct talk){ .shown = shown, .in = BUF_INIT(MAIL_REPLY_MAX_BYTES * 2), .mem = ARENA_INIT(REPLY_MEM), .why = "" };
	t->fd = socket(to->sa.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (t->fd < 0)
		return failed(t, -errno, "no socket");
	set_patience(t->fd, PATIENCE_S);
	if (connect(t->fd, &to->sa.any, to->length) < 0)
		return failed(t, errno == ENOENT ? -ECONNREFUSED : -errno, "nobody answers there");
	return talk_reply(t);
}

void talk_close(struct talk *t)
{
	if (t->fd >= 0)
		close(t->fd);
	buf_free(&t->in);
	arena_free(&t->mem);
}

static int send_all(struct talk *t, struct slice s)
{
	while (s.n) {
		ssize_t n = send(t->fd, s.p, s.n, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return failed(t, errno == EAGAIN ? -ETIMEDOUT : -errno, "it takes nothing more");
		s = slice_skip(s, (size_t)n);
	}
	return 0;
}

int talk_ask(struct talk *t, const char *format, ...)
{
	struct buf line = BUF_INIT(MAX_LINE);
	va_list args;
	va_start(args, format);
	buf_addv(&line, format, args);
	va_end(args);
	struct slice text = buf_slice(&line);
	bool bad = buf_full(&line) || slice_find(text, '\r') < text.n || slice_find(text, '\n') < text.n || slice_find(text, '\0') < text.n;
	int error = bad ? failed(t, -EINVAL, "this can't be said in a line") : 0;
	if (!error) {
		show(t, "C:", text);
		buf_add_cstr(&line, "\r\n");
		error = send_all(t, buf_slice(&line));
	}
	buf_free(&line);
	return error ? error : talk_reply(t);
}

int talk_content(struct talk *t, struct slice content)
{
	struct slice rest = content;
	int error = 0;
	if (t->shown)
		printf("C: (%zu bytes of content)\n", content.n);
	while (rest.n && !error) {           /* rest begins a line; a piece ends before the next line with a dot */
		size_t end = slice_find_slice(rest, SLICE("\n."));
		struct slice piece = slice_head(rest, end < rest.n ? end + 1 : rest.n);
		error = rest.p[0] == '.' ? send_all(t, SLICE(".")) : 0;
		error = error ? error : send_all(t, piece);
		rest = slice_skip(rest, piece.n);
	}
	set_patience(t->fd, CONTENT_PATIENCE_S);
	error = error ? error : send_all(t, slice_ends(content, SLICE("\n")) || !content.n ? SLICE(".\r\n") : SLICE("\r\n.\r\n"));
	show(t, "C:", SLICE("."));
	return error ? error : talk_reply(t);
}
