/* A client that says what the plan says and nothing else. The whole dialog is a cursor over steps; a reply moves it on or ends it. The server is
 * taken for hostile: a reply has at most 100 lines of at most 2,000 bytes, each step a minute, the whole five. */
#include "ctl/rndr_probe.h"

#include <assert.h>
#include <errno.h>

#include "base/conn.h"
#include "base/mem.h"
#include "base/scan.h"
#include "base/text.h"

enum { MAX_LINE = 2000, MAX_LINES = 100, MAX_NOTE = 600, CHUNK = 32 << 10, FILL_LINE = 72 };

enum step { STEP_GREETING, STEP_EHLO, STEP_HELO, STEP_MAIL, STEP_RCPT, STEP_DATA, STEP_CONTENT, STEP_QUIT };

struct probe {
	const struct probe_plan *plan;   /* outlives us */
	struct conn *conn;
	struct loop_timer *total, *tell;
	void (*done)(void *arg, const struct probe_result *r);
	void *arg;
	enum step step;
	size_t next_recipient, lines;
	uint64_t size_limit, to_fill;
	bool connected, over;
	struct probe_result result;
};

static struct conn_limits limits = { MAX_LINE + 100, 4 * CHUNK };

/* Ends with the first reason given; done is called from the loop, so that callers are never surprised. */
static void finish(struct probe *p, enum probe_end end, struct slice note)
{
	if (p->over)
		return;
	p->over = true;
	p->result.end = end;
	if (note.n) {
		buf_clear(&p->result.note);
		text_add_escaped(&p->result.note, slice_head(note, MAX_NOTE / 4));
	}
	loop_timer_set(p->tell, 0);
}

static void tell_now(void *arg)
{
	struct probe *p = arg;
	if (p->conn)
		conn_finish(p->conn, 1000);   /* QUIT may still be on its way */
	p->conn = NULL;
	p->done(p->arg, &p->result);
}

static void too_long(void *arg)
{
	finish(arg, PROBE_NO_SERVER, SLICE("the server did not end within five minutes"));
}

static void say(struct probe *p, const char *format, struct slice a, struct slice b)
{
	struct buf line = BUF_INIT(MAX_LINE);
	buf_addf(&line, format, SLICE_FMT(a), SLICE_FMT(b));
	if (buf_full(&line) || conn_write(p->conn, buf_slice(&line)) < 0)
		finish(p, PROBE_UNFIT, SLICE("an address of the probe is too long"));
	buf_free(&line);
}

static size_t first_open(const struct probe *p, size_t i)
{
	while (i < p->plan->recipient_count && (p->plan->settled >> i & 1))
		i++;
	return i;
}

static void say_rcpt(struct probe *p)
{
	p->step = STEP_RCPT;
	p->next_recipient = first_open(p, p->next_recipient);
	say(p, "RCPT TO:<%.*s>%.*s\r\n", p->plan->recipients[p->next_recipient++], p->plan->rcpt_parameters);
}

static void say_quit(struct probe *p, enum probe_end end)
{
	conn_write(p->conn, SLICE("QUIT\r\n"));
	finish(p, end, SLICE_NONE);
}

/* Content goes out in pieces as the kernel takes it, since an oversize probe is large by intent. */
static void pour(struct probe *p)
{
	static const char line[] = "filler filler filler filler filler filler filler filler filler filler \r\n";
	_Static_assert(sizeof line - 1 == FILL_LINE, "as counted");
	struct buf piece = BUF_INIT(2 * CHUNK);
	while (p->to_fill && !p->over && conn_output_pending(p->conn) == 0) {
		buf_clear(&piece);
		while (piece.n < CHUNK && p->to_fill) {
			buf_add(&piece, slice(line, FILL_LINE));
			p->to_fill -= p->to_fill < FILL_LINE ? p->to_fill : FILL_LINE;
		}
		p->result.sent_bytes += piece.n;
		if (!p->to_fill)
			buf_add(&piece, SLICE(".\r\n"));
		if (conn_write(p->conn, buf_slice(&piece)) < 0)
			finish(p, PROBE_NO_SERVER, SLICE("the connection broke while the content was sent"));
	}
	buf_free(&piece);
}

static void say_content(struct probe *p)
{
	p->step = STEP_CONTENT;
	conn_write(p->conn, p->plan->content);
	p->result.sent_bytes = p->plan->content.n;
	if (p->plan->fill_past_limit) {
		p->to_fill = p->size_limit + CHUNK;
		pour(p);
	} else {
		conn_write(p->conn, SLICE(".\r\n"));
	}
}

/* What EHLO must offer for this plan. NULL: it fits. */
static const char *unfit(const struct probe *p)
{
	if (p->plan->fill_past_limit && !p->size_limit)
		return "the server names no SIZE limit to go past";
	if (p->plan->fill_past_limit && p->size_limit > p->plan->fill_max)
		return "the server's SIZE limit is larger than what a harmless probe may send";
	return NULL;
}

static void note_line(struct probe *p, struct slice line)
{
	struct buf words = BUF_INIT(MAX_NOTE * 4);
	text_add_escaped(&words, slice_head(line, 400));
	if (slice_find_slice(buf_slice(&p->result.note), buf_slice(&words)) == p->result.note.n) { /* what was said before is not said again */
		if (p->result.note.n)
			buf_add(&p->result.note, SLICE(" "));
		buf_add(&p->result.note, buf_slice(&words));
	}
	buf_free(&words);
}

static void read_extension(struct probe *p, struct slice line)
{
	struct slice word = slice_skip(line, 4);
	if (slice_starts_nocase(word, SLICE("SIZE ")))
		scan_uint_all(slice_skip(word, 5), UINT64_MAX / 2, &p->size_limit);
}

/* A recipient's answer is counted; when all are asked the content goes to those that were taken. */
static void on_rcpt(struct probe *p, unsigned class)
{
	uint32_t bit = 1u << (p->next_recipient - 1);
	if (class == 2)
		p->result.accepted |= bit;
	else if (class == 5)
		p->result.refused |= bit;
	else
		p->result.later |= bit;
	if (first_open(p, p->next_recipient) < p->plan->recipient_count)
		return say_rcpt(p);
	if (!p->result.accepted)
		return say_quit(p, p->result.later ? PROBE_LATER : PROBE_REFUSED);
	p->step = STEP_DATA;
	conn_write(p->conn, SLICE("DATA\r\n"));
}

static void on_reply(struct probe *p, unsigned class)
{
	if (class == 4 && p->step != STEP_RCPT)
		return say_quit(p, PROBE_LATER);
	if (class == 5 && p->step == STEP_EHLO) {
		p->step = STEP_HELO;
		return say(p, "HELO %.*s%.*s\r\n", p->plan->helo, SLICE_NONE);
	}
	if (class == 5 && p->step != STEP_RCPT)
		return say_quit(p, p->step < STEP_MAIL ? PROBE_NO_SERVER : PROBE_REFUSED);
	switch (p->step) {
	case STEP_GREETING:
		p->step = STEP_EHLO;
		return say(p, "EHLO %.*s%.*s\r\n", p->plan->helo, SLICE_NONE);
	case STEP_EHLO:
	case STEP_HELO:
		if (unfit(p))
			return finish(p, PROBE_UNFIT, slice_of(unfit(p)));
		p->step = STEP_MAIL;
		return say(p, "MAIL FROM:<%.*s>%.*s\r\n", p->plan->reverse_path, SLICE_NONE);
	case STEP_MAIL:
		return say_rcpt(p);
	case STEP_RCPT:
		return on_rcpt(p, class);
	case STEP_DATA:
		return class == 3 ? say_content(p) : say_quit(p, PROBE_REFUSED);
	case STEP_CONTENT:
		p->step = STEP_QUIT;
		return say_quit(p, PROBE_ACCEPTED);
	case STEP_QUIT:
		return;
	}
}

/* One line of a reply. A refusal's words are the note; a later reply of the same kind replaces an earlier one, but a recipient's refusal stays. */
static void on_line(struct probe *p, struct slice line)
{
	if (line.n < 3 || !text_is_digit((unsigned char)line.p[1]) || !text_is_digit((unsigned char)line.p[2]) || line.p[0] < '2' || line.p[0] > '5' ||
	    (line.n > 3 && line.p[3] != ' ' && line.p[3] != '-') || ++p->lines > MAX_LINES)
		return finish(p, PROBE_NO_SERVER, SLICE("it does not answer as SMTP"));
	unsigned class = (unsigned)(line.p[0] - '0');
	if (p->step == STEP_EHLO && class == 2)
		read_extension(p, line);
	bool last = line.n == 3 || line.p[3] == ' ';
	if (class >= 4) {
		if (p->lines == 1 && p->step != STEP_RCPT)
			buf_clear(&p->result.note);
		if (p->result.note.n < MAX_NOTE / 2)
			note_line(p, line);
	} else if (p->step == STEP_CONTENT && !p->result.refused && p->lines == 1) {
		buf_clear(&p->result.note);
		note_line(p, line);
	}
	if (!last)
		return;
	p->lines = 0;
	conn_set_timeout(p->conn, PROBE_STEP_MS);
	on_reply(p, class);
}

static void on_data(void *arg, struct conn *c)
{
	struct probe *p = arg;
	while (!p->over) {
		struct slice in = conn_input(c);
		size_t end = slice_find(in, '\n');
		if (end == in.n) {
			if (in.n > MAX_LINE)
				finish(p, PROBE_NO_SERVER, SLICE("it answers in lines without an end"));
			return;
		}
		struct slice line = slice_head(in, end > 0 && in.p[end - 1] == '\r' ? end - 1 : end);
		on_line(p, line);
		if (p->conn)
			conn_consume(c, end + 1);
	}
}

static void on_event(void *arg, struct conn *c, enum conn_event what)
{
	struct probe *p = arg;
	switch (what) {
	case CONN_CONNECTED:
		p->connected = true;
		conn_set_timeout(c, PROBE_STEP_MS);
		return;
	case CONN_TIMEOUT:
		return finish(p, PROBE_NO_SERVER, p->connected ? SLICE("the server did not answer within a minute") : SLICE("no connection within a minute"));
	case CONN_FAILED: {
		struct buf why = BUF_INIT(MAX_NOTE);
		buf_add(&why, p->connected ? SLICE("connection lost: ") : SLICE("no connection: "));
		buf_add(&why, slice_head(conn_error(c), 200));
		finish(p, PROBE_NO_SERVER, buf_slice(&why));
		return buf_free(&why);
	}
	case CONN_CLOSED:
		return finish(p, p->result.note.n ? PROBE_REFUSED : PROBE_NO_SERVER, p->result.note.n ? SLICE_NONE : SLICE("the server ended the connection"));
	case CONN_TLS_READY:
	case CONN_TLS_FAILED:
		return;
	}
}

static void on_drained(void *arg, struct conn *c)
{
	(void)c;
	struct probe *p = arg;
	if (!p->over && p->step == STEP_CONTENT)
		pour(p);
}

static const struct conn_handler handler = { on_data, on_event, on_drained };

struct probe *probe_new(struct loop *l, const struct probe_plan *plan, void (*done)(void *arg, const struct probe_result *r), void *arg)
{
	assert(plan->recipient_count > 0 && plan->recipient_count <= PROBE_MAX_RECIPIENTS && ~plan->settled & ((1u << plan->recipient_count) - 1));
	struct probe *p = MEM_NEW(struct probe);
	p->plan = plan;
	p->done = done;
	p->arg = arg;
	buf_init(&p->result.note, 4 * MAX_NOTE);
	p->tell = loop_timer_new(l, tell_now, p);
	p->total = loop_timer_new(l, too_long, p);
	loop_timer_set(p->total, PROBE_MAX_MS);
	int error = 0;
	p->conn = conn_connect(l, &plan->target, plan->source, &limits, &handler, p, &error);
	if (p->conn)
		conn_set_timeout(p->conn, PROBE_STEP_MS);
	else
		finish(p, PROBE_NO_SERVER, SLICE("no connection can be made from here"));
	return p;
}

void probe_free(struct probe *p)
{
	if (!p)
		return;
	conn_free(p->conn);
	loop_timer_free(p->tell);
	loop_timer_free(p->total);
	buf_free(&p->result.note);
	mem_free(p);
}
