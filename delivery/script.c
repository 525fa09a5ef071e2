/* Rows, a send cursor, a reply cursor. The texts of rows not yet sent lie in one buffer in the rows' order, so that what may go together goes with one
 * write. A body is pumped while its row is under the send cursor: as fast as the connection takes it, never more than a piece ahead. */
#include "delivery/script.h"

#include <errno.h>

#include "base/mem.h"

enum { MAX_TEXT = 8 << 20, AHEAD = 256 << 10, STALL_MS = 180000 /* 5321 4.5.3.2.5: three minutes for a block of data */, REPLY_ARENA = 256 << 10 };

struct row {
	struct script_row is;
	size_t text;                   /* bytes of command and after, in the buffer */
	bool begun;                    /* its text is sent, its body under way */
};

struct script {
	struct loop *loop;
	struct conn *conn;
	const struct script_handler *handler;
	void *arg;
	struct row *rows;
	size_t count, room, send, reply;
	struct buf text;               /* of rows from `send` on */
	struct loop_timer *timer;
	struct arena mem;              /* of one reply */
	bool pipeline, ended, freed, busy, body_sent, leaves; /* leaves: it said 421 */
	size_t left;                   /* input behind the reply that is being told */
	uint64_t steps, timed;         /* of the cursors; where they stood when the timer was set, 0: it isn't */
};

static void timed_out(void *arg);

struct script *script_new(struct loop *l, struct conn *c, const struct script_handler *h, void *arg)
{
	struct script *s = MEM_NEW(struct script);
	*s = (struct script){ .loop = l, .conn = c, .handler = h, .arg = arg, .steps = 1 };
	buf_init(&s->text, MAX_TEXT);
	s->mem.max = REPLY_ARENA;
	s->timer = loop_timer_new(l, timed_out, s);
	return s;
}

static void forget_body(struct script *s)
{
	if (s->send < s->count && s->rows[s->send].is.body)
		body_forget(s->rows[s->send].is.body);
}

static void release(struct script *s)
{
	loop_timer_free(s->timer);
	buf_free(&s->text);
	arena_free(&s->mem);
	mem_free(s->rows);
	mem_free(s);
}

void script_free(struct script *s)
{
	if (!s || s->freed)
		return;
	forget_body(s);
	s->freed = s->ended = true;
	if (!s->busy)
		release(s);
}

void script_pipeline(struct script *s, bool may)
{
	s->pipeline = may;
}

bool script_is_idle(const struct script *s)
{
	return s->reply == s->count;
}

bool script_body_sent(const struct script *s)
{
	return s->body_sent;
}

size_t script_input_left(const struct script *s)
{
	return s->left;
}

static void end(struct script *s, enum script_end how, const char *why, const struct mail_reply *r)
{
	if (s->ended)
		return;
	forget_body(s);
	s->ended = true;
	loop_timer_stop(s->timer);
	s->handler->on_end(s->arg, how, why, r);
}

/* Callbacks may free the script: whoever calls them holds it. */
static bool hold(struct script *s)
{
	bool was = s->busy;
	s->busy = true;
	return was;
}

static void let_go(struct script *s, bool was)
{
	s->busy = was;
	if (!was && s->freed)
		release(s);
}

static void timed_out(void *arg)
{
	struct script *s = arg;
	bool was = hold(s);
	end(s, SCRIPT_TIMEOUT, "no reply in time", NULL);
	let_go(s, was);
}

/* -- rows ------------------------------------------------------------------------------------------------------------------------ */

void script_add(struct script *s, const struct script_row *row)
{
	if (s->reply == s->count)
		s->send = s->reply = s->count = 0; /* all done: the array begins anew */
	if (s->count == s->room) {
		s->room = s->room ? s->room * 2 : 16;
		s->rows = mem_grow(s->rows, s->room, sizeof *s->rows);
	}
	struct row *r = &s->rows[s->count++];
	size_t before = s->text.n;
	*r = (struct row){ .is = *row };
	if (row->body)
		s->body_sent = false;
	if (row->command.p) {
		buf_add(&s->text, row->command);
		buf_add(&s->text, SLICE("\r\n"));
	}
	buf_add(&s->text, row->after);
	r->text = s->text.n - before;
	if (r->text == 0 && !row->body && s->send + 1 == s->count) { /* nothing to say: its reply may have come right behind the one before (PRDR) */
		r->begun = true;
		s->send++;
		s->steps++;
	}
}

void script_unsay(struct script *s)
{
	if (s->send < s->count && s->rows[s->send].begun)
		return; /* a body is under way: it is the last one */
	s->count = s->send;
	buf_clear(&s->text);
}

/* The reply cursor came to a row, or the row under it was sent: its time begins. A piece of a reply is no reply, and gives it no more time. */
static void set_timer(struct script *s, bool sending)
{
	if (s->ended)
		return;
	bool waits = s->reply < s->send, stalls = !waits && s->reply < s->count && s->rows[s->reply].begun;
	if (!waits && !stalls) {
		loop_timer_stop(s->timer);
		s->timed = 0;
		return;
	}
	if (s->timed == s->steps && !(stalls && sending))
		return;
	s->timed = s->steps;
	loop_timer_set(s->timer, waits ? s->rows[s->reply].is.timeout_ms : STALL_MS);
}

static bool may_send(const struct script *s)
{
	if (s->send == s->count)
		return false;
	if (s->send == s->reply || !s->rows[s->send].is.command.p)
		return true;
	return s->pipeline && !s->rows[s->send - 1].is.alone;
}

/* -- sending ----------------------------------------------------------------------------------------------------------------------- */

static bool write_text(struct script *s, size_t n)
{
	if (n == 0)
		return true;
	int error = conn_write(s->conn, slice_head(buf_slice(&s->text), n));
	buf_drop(&s->text, n);
	return error == 0; /* the connection's own event tells, and ends it */
}

static void body_ready(void *arg)
{
	script_go(arg);
}

static void end_body(struct script *s, int error)
{
	end(s, SCRIPT_BODY, error == -EBADMSG ? "bare CR or LF in content" : "content can't be read", NULL);
}

/* True: the body of the row under the send cursor was sent whole. */
static bool pump(struct script *s, struct row *r)
{
	struct buf piece = BUF_INIT(2 * BODY_PIECE + 8);
	int more = 1;
	while (more == 1 && conn_output_pending(s->conn) < AHEAD) {
		buf_clear(&piece);
		more = body_next(r->is.body, &piece, body_ready, s);
		if (more == 0 && r->is.dot)
			buf_add(&piece, SLICE(".\r\n"));
		if (more >= 0 && piece.n && conn_write(s->conn, buf_slice(&piece)) < 0)
			more = -EPIPE;
	}
	buf_free(&piece);
	if (more < 0 && more != -EAGAIN && more != -EPIPE)
		end_body(s, more);
	s->body_sent = more == 0;
	return more == 0;
}

/* What may go together goes with one write: rows up to a body, or up to the first that has to wait for replies. */
static void send_rows(struct script *s)
{
	size_t n = 0;
	while (!s->ended && may_send(s)) {
		struct row *r = &s->rows[s->send];
		if (!r->begun)
			n += r->text;
		r->begun = true;
		if (r->is.body) {
			size_t text = n;
			n = 0;
			if (!write_text(s, text) || !pump(s, r))
				break;
		}
		s->send++;
		s->steps++;
	}
	if (!s->ended)
		write_text(s, n);
}

void script_go(struct script *s)
{
	if (s->ended)
		return;
	bool was = hold(s);
	send_rows(s);
	set_timer(s, true);
	let_go(s, was);
}

void script_drained(struct script *s)
{
	if (!s->ended && s->send < s->count && s->rows[s->send].begun)
		script_go(s);
}

/* -- replies ----------------------------------------------------------------------------------------------------------------------- */

/* More replies to the same command (LMTP, PRDR): what they say of their recipients counts, also behind a 421 for another one. */
static bool is_followed(const struct script *s)
{
	return s->reply < s->send && !s->rows[s->reply].is.command.p && !s->rows[s->reply].is.body;
}

/* One reply for the row under the cursor. */
static void tell(struct script *s, const struct mail_reply *r)
{
	if (s->reply == s->count) {
		bool shutdown = r->code == 421;
		end(s, shutdown ? SCRIPT_SHUTDOWN : SCRIPT_NONSENSE, shutdown ? "421" : "a reply to nothing", r);
		return;
	}
	struct script_row row = s->rows[s->reply].is;
	bool early = s->reply >= s->send;
	bool good = r->code / 100 == row.hopes;
	if (early && (!s->rows[s->reply].begun || good)) {
		end(s, SCRIPT_NONSENSE, "a reply before its question", NULL);
		return;
	}
	if (early) { /* it refuses in the middle of the content: no dot was sent, and the rest of the connection is worth nothing */
		row.on_reply(s->arg, row.index, false, r);
		end(s, SCRIPT_CLOSED, "content refused before its end", NULL);
		return;
	}
	s->reply++;
	s->steps++;
	row.on_reply(s->arg, row.index, good, r);
	s->leaves |= r->code == 421;
	if (s->leaves && !is_followed(s))
		end(s, SCRIPT_SHUTDOWN, "421", r);
}

static bool read_one(struct script *s)
{
	struct slice in = conn_input(s->conn), rest = in;
	struct mail_reply r;
	const char *why = "";
	arena_reset(&s->mem);
	int n = in.n ? mail_reply_read(&rest, &s->mem, &r, &why) : 0;
	if (n < 0)
		end(s, SCRIPT_NONSENSE, why, NULL);
	if (n <= 0)
		return false;
	s->left = rest.n;
	/* views into the input: told before they are consumed */
	tell(s, &r);
	if (!s->ended)
		conn_consume(s->conn, in.n - rest.n);
	s->left = 0;
	return !s->ended;
}

void script_data(struct script *s)
{
	if (s->ended)
		return;
	bool was = hold(s);
	while (read_one(s))
		;
	if (!s->ended)
		send_rows(s);
	if (!s->ended && s->reply < s->send && s->reply > 0)
		conn_acknowledge(s->conn);
	set_timer(s, false);
	let_go(s, was);
}
