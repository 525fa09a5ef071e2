/* One greeting, at most BANNER_MAX bytes of it, in at most BANNER_MS altogether: the server is a stranger until it has shown the token. */
#include "ctl/rndr_banner.h"

#include "base/conn.h"
#include "base/mem.h"

struct banner {
	struct conn *conn;
	struct loop_timer *end;         /* patience, then the moment to tell */
	struct buf words;
	void (*done)(void *arg, struct slice words);
	void *arg;
};

static const struct conn_limits limits = { BANNER_MAX, 1024 };

static void tell(void *arg)
{
	struct banner *b = arg;
	if (b->conn)
		conn_finish(b->conn, 1000);
	b->conn = NULL;
	b->done(b->arg, buf_slice(&b->words));
}

/* The end of the line "220 ..." in the input, or 0. */
static size_t greeting_end(struct slice in)
{
	for (size_t at = 0; at < in.n;) {
		struct slice line = slice_head(slice_skip(in, at), slice_find(slice_skip(in, at), '\n'));
		if (at + line.n == in.n)
			return 0;
		at += line.n + 1;
		if (slice_starts(line, SLICE("220")) && !slice_starts(line, SLICE("220-")))
			return at;
	}
	return 0;
}

static void on_data(void *arg, struct conn *c)
{
	struct banner *b = arg;
	struct slice in = conn_input(c);
	size_t end = greeting_end(in);
	if (!end && in.n < BANNER_MAX)
		return;
	buf_add(&b->words, slice_head(in, end));
	conn_pause_reading(c, true);
	conn_write(c, SLICE("QUIT\r\n"));
	loop_timer_set(b->end, 0);
}

static void on_event(void *arg, struct conn *c, enum conn_event what)
{
	struct banner *b = arg;
	(void)c;
	if (what != CONN_CONNECTED)
		loop_timer_set(b->end, 0);
}

struct banner *banner_read(struct loop *l, const struct net_address *server, void (*done)(void *arg, struct slice words), void *arg)
{
	static const struct conn_handler handler = { on_data, on_event, NULL };
	struct banner *b = MEM_NEW(struct banner);
	int error = 0;
	*b = (struct banner){ .words = BUF_INIT(BANNER_MAX), .done = done, .arg = arg };
	b->end = loop_timer_new(l, tell, b);
	b->conn = conn_connect(l, server, NULL, &limits, &handler, b, &error);
	loop_timer_set(b->end, b->conn ? BANNER_MS : 0);
	return b;
}

void banner_free(struct banner *b)
{
	if (!b)
		return;
	conn_free(b->conn);
	loop_timer_free(b->end);
	buf_free(&b->words);
	mem_free(b);
}
