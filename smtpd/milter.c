/* A milter in a session: each stage of the session moves the goal. The walk tells all steps up to it in one go, since most answers are `continue` and a filter reads one frame after the other; it stops
 * where an answer decides what is told (options, a piece of the body, the goal). Another answer while more was told leaves open which of the rest is answered at all: then the connection ends. */
#include "smtpd/milter_inside.h"

#include <assert.h>
#include <errno.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "smtpd/filter_settings.h"
#include "smtpd/milter_apply.h"
#include "smtpd/smtpd.h"

enum { MAX_OUTPUT = 1 << 20, FLUSH_AT = 32 << 10, MAX_PIECE = 1 << 20, MAX_MACRO_NAMES = 1024,
	MAX_END_MS = 540000 /* of RFC 5321's ten minutes for the client's wait at the dot (4.5.3.2.6) */ };

static const struct session_facts *facts(const struct milter *m)
{
	return check_facts(m->check);
}

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

/* The step whose answer comes next; MILTER_STEPS: none does. */
static unsigned next_awaited(const struct milter *m)
{
	unsigned at = 0;
	while (at < MILTER_STEPS && !m->awaited[at])
		at++;
	return at;
}

static void lose(struct milter *m, const char *why)
{
	log_event(LOG_WARN, "milter-down", LOG_STR("session", unique_slice(&facts(m)->id)), LOG_STR("milter", m->service->name), LOG_CSTR("why", why),
	          LOG_CSTR("then", m->service->accept_when_down ? "accept" : "defer"), LOG_END);
	hang_up(m);
	m->lost = true;
}

static enum check_step down(struct milter *m)
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
		lose(m, "can't be written to");
	return !error;
}

/* Before the answers to these nobody knows what is told next; nor does a body come from a file while an answer may end the whole. */
static bool must_wait(const struct milter *m)
{
	if (m->draining || m->reading || m->awaited[AT_OPTIONS])
		return true;
	bool told_all = m->body_over && !m->piece.n;
	return m->at == AT_BODY && !told_all && next_awaited(m) < MILTER_STEPS && (m->awaited[AT_BODY] || message_is_spilled(check_message(m->check)));
}

static bool is_due(const struct milter *m)
{
	return m->at < m->goal && !m->lost && !m->passed_message && !m->passed_session && !must_wait(m);
}

/* Tells what is due. CHECK_WAIT: answers are to come, or the body, or what was written has to go out first. */
static enum check_step walk(struct milter *m)
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
		return down(m);
	if (m->reading)
		return CHECK_WAIT;
	if (!m->draining && next_awaited(m) == MILTER_STEPS)
		return CHECK_GO_ON;
	loop_timer_set(m->timer, m->service->timeout_ms);
	return CHECK_WAIT;
}

static void walk_on(struct milter *m)
{
	settle(m, walk(m));
}

void milter_body_was_read(struct milter *m, int error)
{
	m->reading = false;
	if (error && !m->lost)
		lose(m, "the body can't be read");
	walk_on(m); /* where it is lost, what was waited for is this call */
}

/* The answer that came is one to the connection or HELO. */
static bool is_of_session(const struct milter *m)
{
	return m->answered == AT_CONNECT || m->answered == AT_HELO;
}

static enum check_step refuse(struct milter *m, struct mail_status status)
{
	if (is_of_session(m)) {
		m->refused_session = true;
		m->refusal = mail_status_copy(&m->mem, status);
	}
	log_event(LOG_INFO, "milter-refuses", LOG_STR("session", unique_slice(&facts(m)->id)), LOG_STR("milter", m->service->name), LOG_UINT("code", status.code),
	          LOG_STR("text", status.text), LOG_END);
	check_refuse(m->check, status);
	return CHECK_REFUSE;
}

/* "550 5.7.1 text", perhaps in several lines, each with its code. */
static enum check_step refuse_with(struct milter *m, struct slice text)
{
	struct slice rest, first = slice_trim(slice_cut(text, '\n', &rest));
	unsigned code = 0;
	for (size_t i = 0; i < 3 && i < first.n; i++)
		code = code * 10 + (unsigned)(first.p[i] - '0');
	if (first.n < 3 || (first.p[0] != '4' && first.p[0] != '5') || code < 400 || code > 599 || (first.n > 3 && first.p[3] != ' ' && first.p[3] != '-')) {
		lose(m, "a reply that is none");
		return down(m);
	}
	struct arena mem = ARENA_INIT(8192);
	enum check_step step = refuse(m, mail_status_from_reply(&mem, code, slice_skip(first, 4)));
	arena_free(&mem);
	return step;
}

static enum check_step pass(struct milter *m)
{
	if (is_of_session(m))
		m->passed_session = true;
	else
		m->passed_message = true;
	return CHECK_GO_ON;
}

/* Its verdict of the whole message: the changes it wanted are made now. */
static enum check_step finish(struct milter *m)
{
	struct mail_status status = milter_apply(&m->changes, m->check, m->service->name);
	if (status.fate == MAIL_OK)
		return CHECK_GO_ON;
	return refuse(m, status);
}

static enum check_step nonsense(struct milter *m, const char *why)
{
	lose(m, why);
	return down(m);
}

static enum check_step on_options(struct milter *m, const struct milter_reply *r)
{
	if (r->version < 2 || r->version > 99)
		return nonsense(m, "a version that can't be");
	m->actions = r->actions;
	m->options = r->options & MILTER_ALL_OPTIONS; /* some filters ask for all they know; what they use is looked at when it comes */
	struct slice lists = r->value, names;
	enum milter_macro_place place;
	arena_reset(&m->names);
	memset(m->macros, 0, sizeof m->macros);
	while (milter_macros_next(&lists, &place, &names)) {
		m->macros[place] = names.n <= MAX_MACRO_NAMES ? arena_copy(&m->names, names) : SLICE_NONE;
		if (!m->macros[place].p)
			return nonsense(m, "a list of macros that is too long");
	}
	return lists.n ? nonsense(m, "a list of macros that makes no sense") : walk(m);
}

static enum check_step on_verdict(struct milter *m, const struct milter_reply *r)
{
	bool end = m->answered == AT_END;
	m->ended |= end;
	if (m->answered == MILTER_STEPS && (r->kind == MILTER_SAYS_CONTINUE || r->kind == MILTER_SAYS_ACCEPT))
		return CHECK_GO_ON;            /* of an unknown command alone: the walk stands where it stood */
	switch (r->kind) {
	case MILTER_SAYS_CONTINUE:
		return end ? finish(m) : walk(m);
	case MILTER_SAYS_ACCEPT:
		return end ? finish(m) : pass(m);
	case MILTER_SAYS_SKIP:
		if (m->answered != AT_BODY)
			return nonsense(m, "it skips what is no body");
		m->body_over = true;
		buf_free(&m->piece);
		return walk(m);
	case MILTER_SAYS_REJECT:
		return refuse(m, MAIL_STATUS(MAIL_NEVER, 550, 7, 1, "Refused by policy"));
	case MILTER_SAYS_DISCARD: /* nothing is accepted and dropped (rule.md) */
		return refuse(m, MAIL_STATUS(MAIL_NEVER, 550, 7, 1, "Refused by policy: it would be dropped"));
	case MILTER_SAYS_LATER:
		return refuse(m, MAIL_STATUS(MAIL_LATER, 451, 7, 1, "Try again later"));
	case MILTER_SAYS_SHUTDOWN:
		return refuse(m, MAIL_STATUS(MAIL_LATER, 421, 7, 0, "Closing: try again later"));
	case MILTER_SAYS_REPLY:
		return refuse_with(m, r->name);
	case MILTER_SAYS_FAIL:
		return nonsense(m, "it says that it failed");
	case MILTER_SAYS_NEGOTIATE:
	case MILTER_SAYS_ADD_RCPT:
	case MILTER_SAYS_ADD_RCPT_ARGS:
	case MILTER_SAYS_DELETE_RCPT:
	case MILTER_SAYS_REPLACE_BODY:
	case MILTER_SAYS_CHANGE_FROM:
	case MILTER_SAYS_ADD_HEADER:
	case MILTER_SAYS_INSERT_HEADER:
	case MILTER_SAYS_CHANGE_HEADER:
	case MILTER_SAYS_PROGRESS:
	case MILTER_SAYS_QUARANTINE:
		break;
	}
	return nonsense(m, "an answer to no question");
}

static enum milter_action needed(enum milter_reply_kind kind)
{
	switch (kind) {
	case MILTER_SAYS_ADD_RCPT: return MILTER_ADD_RCPT;
	case MILTER_SAYS_ADD_RCPT_ARGS: return MILTER_ADD_RCPT_ARGS;
	case MILTER_SAYS_DELETE_RCPT: return MILTER_DELETE_RCPT;
	case MILTER_SAYS_REPLACE_BODY: return MILTER_CHANGE_BODY;
	case MILTER_SAYS_CHANGE_FROM: return MILTER_CHANGE_FROM;
	case MILTER_SAYS_ADD_HEADER:
	case MILTER_SAYS_INSERT_HEADER: return MILTER_ADD_HEADERS;
	case MILTER_SAYS_CHANGE_HEADER: return MILTER_CHANGE_HEADERS;
	case MILTER_SAYS_QUARANTINE: return MILTER_QUARANTINE;
	case MILTER_SAYS_SHUTDOWN:
	case MILTER_SAYS_ACCEPT:
	case MILTER_SAYS_CONTINUE:
	case MILTER_SAYS_DISCARD:
	case MILTER_SAYS_FAIL:
	case MILTER_SAYS_PROGRESS:
	case MILTER_SAYS_REJECT:
	case MILTER_SAYS_SKIP:
	case MILTER_SAYS_LATER:
	case MILTER_SAYS_REPLY:
	case MILTER_SAYS_NEGOTIATE: break;
	}
	return 0;
}

/* Before its verdict: a change, or "still at work". NULL, or what is wrong. */
static const char *on_change(struct milter *m, const struct milter_reply *r, struct slice frame)
{
	if (next_awaited(m) != AT_END)
		return "a change before the end";
	if (clock_mono_ms() - m->end_began_ms > MAX_END_MS)
		return "it works for too long";
	loop_timer_set(m->timer, m->service->timeout_ms);
	if (r->kind == MILTER_SAYS_PROGRESS)
		return NULL;
	if (!(m->actions & needed(r->kind)))
		return "a change that it didn't ask for";
	return milter_changes_note(&m->changes, frame, r) ? "too many changes" : NULL;
}

/* -- the connection ---------------------------------------------------------------------------------------------------------------------------- */

/* `r` is the answer to the step `answered`; MILTER_STEPS: to an unknown command. False: whoever waited has been told, and we may be gone. */
static bool take_answer(struct milter *m, unsigned answered, const struct milter_reply *r)
{
	m->answered = answered;
	if (answered < MILTER_STEPS)
		m->awaited[answered]--;
	else
		m->unknown_asked = false;
	bool more = next_awaited(m) < MILTER_STEPS;
	enum check_step step = (r->kind == MILTER_SAYS_NEGOTIATE) != (answered == AT_OPTIONS) ? nonsense(m, "an answer to another question") :
	                       answered == AT_OPTIONS ? on_options(m, r) : on_verdict(m, r);
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
	int got = milter_reply_read(&rest, &r, &why);
	unsigned answered = next_awaited(m);
	if (got == 0)
		return false;
	if (got > 0 && answered == MILTER_STEPS && !m->unknown_asked)
		why = "it speaks without being asked", got = -EPROTO;
	bool verdict = got > 0 && milter_reply_is_verdict(r.kind);
	if (got > 0 && !verdict) {
		why = on_change(m, &r, slice_head(in, in.n - rest.n));
		if (!why) {
			conn_consume(m->conn, in.n - rest.n);
			return true;
		}
		got = -EPROTO;
	}
	if (got < 0) {
		settle(m, nonsense(m, why));
		return false;
	}
	/* the views end with conn_consume: a verdict's text is copied first */
	struct arena mem = ARENA_INIT(MILTER_MAX_FRAME + 64);
	r.name = arena_copy(&mem, r.name);
	r.value = arena_copy(&mem, r.value);
	conn_consume(m->conn, in.n - rest.n);
	loop_timer_stop(m->timer);
	bool goes_on = take_answer(m, answered, &r);
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
		lose(m, "it hung up");
		settle(m, down(m));
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
	lose(m, "no answer in time");
	settle(m, down(m));
}

static void dialled(void *arg, struct conn *c, const char *why)
{
	struct milter *m = arg;
	m->dial = NULL;
	m->conn = c;
	if (!c)
		lose(m, why);
	walk_on(m);
}

/* -- for the check ----------------------------------------------------------------------------------------------------------------------------- */

struct milter *milter_new(const struct filter_service *s, struct check *c, void (*done)(void *arg, enum check_step step), void *arg)
{
	struct milter *m = MEM_NEW(struct milter);
	*m = (struct milter){ .service = s, .check = c, .done = done, .arg = arg, .smtpd = check_smtpd(c), .mem = ARENA_INIT(4096), .names = ARENA_INIT(MILTER_MACRO_PLACES * (MAX_MACRO_NAMES + 64)) };
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
	const struct session_facts *f = facts(m);
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
	struct slice line = facts(m)->unknown_command;
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
		m->at = m->lost || m->at > AT_DATA ? m->at : AT_DATA;
		m->goal = AT_END + 1;
		break;
	}
	if (m->lost)
		return down(m);
	if (m->passed_message || m->passed_session)
		return CHECK_GO_ON;
	if (m->refused_session) {
		check_refuse(m->check, m->refusal);
		return CHECK_REFUSE;
	}
	if (m->conn)
		return walk(m);
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
