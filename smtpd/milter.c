/* A milter in a session: each stage of the session moves the goal. The walk tells all steps up to it in one go, since most answers are `continue` and a filter reads
 * one frame after the other; it stops where an answer decides what is told (options, a piece of the body, the goal). Another answer while more was told leaves open
 * which of the rest is answered at all: then the connection ends. */
#include "smtpd/milter_inside.h"

#include <errno.h>

#include "base/log.h"
#include "base/mem.h"
#include "smtpd/filter_settings.h"
#include "smtpd/smtpd.h"

enum { MAX_OUTPUT = 1 << 20, FLUSH_AT = 32 << 10, MAX_PIECE = 1 << 20 };

/* -- losing it ------------------------------------------------------------------------------------------------------------------------------ */

static void hang_up(struct milter *m)
{
	filter_dial_cancel(m->dial);
	conn_free(m->conn);
	m->dial = NULL;
	m->conn = NULL;
	loop_timer_stop(m->timer);
	buf_free(&m->out);
	memset(m->awaited, 0, sizeof m->awaited);
	m->unknown_asked = m->draining = false;
	m->at = AT_OPTIONS;
}

unsigned milter_next_awaited(const struct milter *m)
{
	unsigned at = 0;
	while (at < MILTER_STEPS && !m->awaited[at])
		at++;
	return at;
}

void milter_lose(struct milter *m, const char *why)
{
	log_event(LOG_WARN, "milter-down", LOG_STR("session", unique_slice(&check_facts(m->check)->id)), LOG_STR("milter", m->service->name), LOG_CSTR("why", why),
	          LOG_CSTR("then", m->service->accept_when_down ? "accept" : "defer"), LOG_END);
	hang_up(m);
	m->lost = true;
}

enum check_step milter_down(const struct milter *m)
{
	if (m->service->accept_when_down)
		return CHECK_GO_ON;
	check_refuse(m->check, MAIL_STATUS(MAIL_LATER, 451, 7, 1, "A filter can't be asked just now; try again later"));
	return CHECK_REFUSE;
}

/* The answer to a run that waits; while the body is being read, that has to end first. */
static void settle(struct milter *m, enum check_step step)
{
	if (step == CHECK_WAIT || !m->waiting || m->reading)
		return;
	m->waiting = false;
	m->done(m->arg, step);
}

/* -- the walk ------------------------------------------------------------------------------------------------------------------------------- */

static bool flush(struct milter *m)
{
	int error = !m->conn ? -EPIPE : buf_full(&m->out) ? -EMSGSIZE : m->out.n ? conn_write(m->conn, buf_slice(&m->out)) : 0;
	buf_clear(&m->out);
	if (error)
		milter_lose(m, "can't be written to");
	return !error;
}

/* Before the answers to these nobody knows what is told next; nor does a body come from a file while an answer may end the whole. */
static bool must_wait(const struct milter *m)
{
	if (m->draining || m->reading || m->awaited[AT_OPTIONS])
		return true;
	bool told_all = m->body_over && !m->piece.n;
	return m->at == AT_BODY && !told_all && milter_next_awaited(m) < MILTER_STEPS && (m->awaited[AT_BODY] || message_is_spilled(check_message(m->check)));
}

static bool is_due(const struct milter *m)
{
	return m->at < m->goal && !m->lost && !m->passed_message && !m->passed_session && !must_wait(m);
}

enum check_step milter_walk(struct milter *m)
{
	while (is_due(m)) {
		unsigned at = m->at;
		enum wrote wrote = m->options & milter_steps[at].no ? NOTHING : milter_steps[at].put(m);
		if (wrote == NOTHING || (wrote == WROTE && !milter_steps[at].repeats))
			m->at++;
		if (wrote == WROTE)
			m->awaited[at] += !(m->options & milter_steps[at].quiet);
		if (m->out.n >= FLUSH_AT && flush(m))
			m->draining = conn_output_pending(m->conn) > 0;
	}
	if (m->lost || !flush(m))
		return milter_down(m);
	if (m->reading)
		return CHECK_WAIT;
	if (!m->draining && milter_next_awaited(m) == MILTER_STEPS)
		return CHECK_GO_ON;
	loop_timer_set(m->timer, m->service->timeout_ms);
	return CHECK_WAIT;
}

static void walk_on(struct milter *m)
{
	settle(m, milter_walk(m));
}

void milter_body_was_read(struct milter *m, int error)
{
	m->reading = false;
	if (error && !m->lost)
		milter_lose(m, "the body can't be read");
	walk_on(m); /* where it is lost, what was waited for is this call */
}

/* -- the connection ---------------------------------------------------------------------------------------------------------------------------- */

static const char UNASKED[] = "it speaks without being asked";

/* Something, and be it half a frame, lies in the input that no question stands for. */
static bool is_unasked(const struct milter *m)
{
	return milter_next_awaited(m) == MILTER_STEPS && !m->unknown_asked && conn_input(m->conn).n > 0;
}

/* `r` is the answer to the step `answered`; MILTER_STEPS: to an unknown command. False: whoever waited has been told, and we may be gone. */
static bool take_answer(struct milter *m, unsigned answered, const struct milter_reply *r)
{
	m->answered = answered;
	if (answered < MILTER_STEPS)
		m->awaited[answered]--;
	else
		m->unknown_asked = false;
	bool more = milter_next_awaited(m) < MILTER_STEPS;
	/* Two answers to one question: which of the last ones was meant nobody knows, and the surplus would be the next question's. */
	enum check_step step = is_unasked(m) ? milter_nonsense(m, UNASKED) :
	                       (r->kind == MILTER_SAYS_NEGOTIATE) != (answered == AT_OPTIONS) ? milter_nonsense(m, "an answer to another question") :
	                       answered == AT_OPTIONS ? milter_on_options(m, r) : milter_on_verdict(m, r);
	if (more && step != CHECK_WAIT && m->conn)
		hang_up(m); /* what else was told is answered, or not: each library has its own way */
	settle(m, step);
	return step == CHECK_WAIT;
}

/* One reply at the front of the input. False: there is none yet, or the connection is over. */
static bool take_reply(struct milter *m)
{
	struct slice in = conn_input(m->conn), rest = in;
	struct milter_reply r;
	const char *why = NULL;
	int got = is_unasked(m) ? -EPROTO : milter_reply_read(&rest, &r, &why);
	if (got == 0)
		return false;
	bool verdict = got > 0 && milter_reply_is_verdict(r.kind);
	if (got > 0 && !verdict) {
		why = milter_on_change(m, &r, slice_head(in, in.n - rest.n));
		if (!why) {
			conn_consume(m->conn, in.n - rest.n);
			return true;
		}
		got = -EPROTO;
	}
	if (got < 0) {
		settle(m, milter_nonsense(m, why ? why : UNASKED));
		return false;
	}
	/* the views end with conn_consume: a verdict's text is copied first */
	struct arena mem = ARENA_INIT(MILTER_MAX_FRAME + 64);
	r.name = arena_copy(&mem, r.name);
	r.value = arena_copy(&mem, r.value);
	conn_consume(m->conn, in.n - rest.n);
	loop_timer_stop(m->timer);
	bool goes_on = take_answer(m, milter_next_awaited(m), &r);
	arena_free(&mem);
	return goes_on;
}

static void on_data(void *arg, struct conn *c)
{
	struct milter *m = arg;
	while (m->conn == c && take_reply(m))
		;
}

static void on_event(void *arg, struct conn *c, enum conn_event what)
{
	struct milter *m = arg;
	(void)what, (void)c;
	if (m->at > AT_MAIL || m->waiting) {
		milter_lose(m, "it hung up");
		settle(m, milter_down(m));
	} else {
		hang_up(m); /* between two transactions: the next one dials anew */
	}
}

static void on_drained(void *arg, struct conn *c)
{
	struct milter *m = arg;
	(void)c;
	if (!m->draining)
		return;
	m->draining = false;
	loop_timer_stop(m->timer);
	walk_on(m);
}

static const struct conn_handler handler = { on_data, on_event, on_drained };

static void out_of_time(void *arg)
{
	struct milter *m = arg;
	milter_lose(m, "no answer in time");
	settle(m, milter_down(m));
}

static void dialled(void *arg, struct conn *c, const char *why)
{
	struct milter *m = arg;
	m->dial = NULL;
	m->conn = c;
	if (!c)
		milter_lose(m, why);
	walk_on(m);
}

/* -- for the check ----------------------------------------------------------------------------------------------------------------------------- */

struct milter *milter_new(const struct filter_service *s, struct check *c, void (*done)(void *arg, enum check_step step), void *arg)
{
	struct milter *m = MEM_NEW(struct milter);
	*m = (struct milter){ .service = s, .check = c, .done = done, .arg = arg, .smtpd = check_smtpd(c), .mem = ARENA_INIT(4096), .names = ARENA_INIT(MILTER_MACRO_PLACES * (MILTER_MAX_MACRO_NAMES + 64)) };
	buf_init(&m->out, MAX_OUTPUT);
	buf_init(&m->helo, 1024);
	buf_init(&m->piece, MAX_PIECE);
	milter_changes_init(&m->changes, filter_settings.milter_body_limit);
	m->timer = loop_timer_new(m->smtpd->loop, out_of_time, m);
	return m;
}

void milter_free(struct milter *m)
{
	struct buf bye = BUF_INIT(16);
	struct conn *c = m->conn;
	m->conn = NULL;
	if (c && !milter_put_empty(&bye, MILTER_QUIT) && !conn_write(c, buf_slice(&bye)) && !conn_output_pending(c))
		conn_finish(c, 1000);
	else
		conn_free(c);
	buf_free(&bye);
	hang_up(m);
	loop_timer_free(m->timer);
	milter_changes_free(&m->changes);
	buf_free(&m->helo);
	buf_free(&m->piece);
	arena_free(&m->mem);
	arena_free(&m->names);
	mem_free(m);
}

/* A new transaction begins at MAIL, at HELO where that has changed, or at the very beginning. */
static void begin(struct milter *m)
{
	const struct session_facts *f = check_facts(m->check);
	m->lost = m->passed_message = m->ended = m->body_over = false;
	m->cursor = 0;
	buf_free(&m->piece);
	if (m->conn && m->at > AT_HELO)
		m->at = slice_eq(buf_slice(&m->helo), f->helo) && m->helo_tls == f->tls ? AT_MAIL : AT_HELO;
	m->goal = AT_RCPT;
}

/* Only who is connected hears of it: a command that nobody knows is no reason to dial. */
static enum check_step tell_unknown(struct milter *m)
{
	struct slice line = check_facts(m->check)->unknown_command;
	bool quiet = m->options & MILTER_QUIET_UNKNOWN;
	if (!m->conn || m->lost || m->at <= AT_CONNECT || m->options & MILTER_NO_UNKNOWN)
		return CHECK_GO_ON;
	milter_put_words(&m->out, MILTER_UNKNOWN, &line, 1);
	if (!flush(m) || quiet)
		return CHECK_GO_ON;
	m->unknown_asked = true;
	loop_timer_set(m->timer, m->service->timeout_ms);
	return CHECK_WAIT;
}

static enum check_step run_now(struct milter *m, enum check_stage stage)
{
	switch (stage) {
	case CHECK_UNKNOWN:
		return tell_unknown(m);
	case CHECK_CONNECT:
	case CHECK_HELO:
	case CHECK_ASKER:
		return CHECK_GO_ON;
	case CHECK_MAIL:
		begin(m);
		break;
	case CHECK_RCPT:
		m->at = m->lost ? m->at : AT_RCPT;
		m->goal = AT_DATA;
		break;
	case CHECK_DATA:
		m->at = m->lost ? m->at : AT_DATA;
		m->goal = AT_HEADERS;
		break;
	case CHECK_DOT:
		m->head = buf_slice(&check_message(m->check)->head);
		m->stray = SLICE_NONE;
		m->at = m->lost || m->at > AT_DATA ? m->at : AT_DATA;
		m->goal = AT_END + 1;
		break;
	}
	if (m->lost)
		return milter_down(m);
	if (m->passed_message || m->passed_session)
		return CHECK_GO_ON;
	if (m->refused_session) {
		check_refuse(m->check, m->refusal);
		return CHECK_REFUSE;
	}
	if (m->conn)
		return milter_walk(m);
	static const struct conn_limits limits = { MILTER_MAX_FRAME + 4096, MAX_OUTPUT };
	m->dial = filter_dial(m->smtpd, m->service, &limits, &handler, m, dialled);
	return CHECK_WAIT;
}

enum check_step milter_run(struct milter *m, enum check_stage stage)
{
	enum check_step step = run_now(m, stage);
	m->waiting = step == CHECK_WAIT;
	return step;
}

/* What was asked can't be taken back: the connection goes. */
void milter_cancel(struct milter *m)
{
	m->waiting = m->reading = false;
	hang_up(m);
	m->lost = true;
}

void milter_reset(struct milter *m)
{
	m->reading = false;
	if (m->conn && m->at > AT_MAIL && !m->ended) {
		milter_put_empty(&m->out, MILTER_ABORT);
		flush(m);
	}
	m->lost = m->passed_message = m->ended = false;
	if (!m->conn)
		m->at = AT_OPTIONS;
	else if (m->at > AT_MAIL)
		m->at = AT_MAIL;
	milter_changes_clear(&m->changes);
}
