/* The driver. It runs until the input is used up or a question is open, gathers the replies of that time and writes them as one: so a client that
 * pipelines gets its replies together, and a client that doesn't gets each at once. */
#include "smtpd/dialog.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/general_settings.h"
#include "base/log.h"
#include "base/mail_reply.h"
#include "base/tls.h"
#include "smtpd/check.h"
#include "smtpd/content.h"
#include "smtpd/heard.h"
#include "smtpd/listener.h"
#include "smtpd/policy.h"
#include "smtpd/smtpd_settings.h"
#include "smtpd/transaction.h"
#include "smtpd/verbs.h"

enum { MAX_UNREAD_REPLIES = 16 << 10, MAX_SYNTAX_ERRORS = 3, MAX_SKIPPED = 1 << 20, FINISH_MS = 10000, OUT_MAX = DIALOG_MAX_OUTPUT, TEXT_MAX = 1000 };

/* The replies of the run that is at work; the process has one thread and one run at a time. */
static struct buf out = BUF_INIT(OUT_MAX);
static char line_copy[DIALOG_MAX_LINE];

/* -- steps ------------------------------------------------------------------------------------------------------------------------------ */

static void log_reply(const struct session *s, const struct mail_status *status)
{
	if (status->code < 400 || log_get_level() < LOG_DEBUG)
		return;
	log_event(LOG_DEBUG, "reply", LOG_STR("session", unique_slice(&s->facts.id)), LOG_UINT("code", status->code), LOG_STR("text", status->text), LOG_END);
}

/* RFC 6531, 3.7.4: who didn't say SMTPUTF8 gets no UTF-8, though a next hop or a filter says it. The log has it as it was. */
void dialog_add_reply(const struct session *s, const struct mail_status *status, struct buf *to)
{
	static char text[TEXT_MAX];
	struct mail_status tame = *status;
	log_reply(s, status);
	size_t n = 0;
	for (size_t i = 0; status->code >= 400 && !s->hears_utf8 && i < status->text.n && n < TEXT_MAX; i++) {
		unsigned char c = (unsigned char)status->text.p[i];
		if ((c & 0xc0) != 0x80)         /* one for each character */
			text[n++] = c < 0x80 ? (char)c : '?';
		tame.text = slice(text, n);
	}
	mail_reply_add(to, &tame);
}

static void add_reply(const struct session *s, const struct mail_status *status)
{
	dialog_add_reply(s, status, &out);
}

static void close_session(struct session *s, struct mail_status status)
{
	add_reply(s, &status);
	s->closed = true;
}

static void count_error(struct session *s, unsigned code)
{
	if (code < 500 || s->in_rcpt)
		return;
	if (++s->errors > smtpd_settings.max_errors)
		close_session(s, MAIL_STATUS(MAIL_LATER, 421, 7, 0, "Too many errors, good-bye"));
}

static void start_tls(struct session *s)
{
	struct slice replies = buf_slice(&out);
	conn_write(s->conn, replies);
	buf_clear(&out);
	if (conn_start_tls(s->conn, s->smtpd->tls, SLICE_NONE) < 0)
		s->closed = true;
	else
		s->tls_pending = true;
}

static void apply(struct session *s, const struct step *step)
{
	static const struct slice go_ahead[] = { SLICE_INIT("Go ahead, end with a dot on a line of its own") };
	buf_add(&out, buf_slice(&s->before));
	buf_free(&s->before);
	switch (step->kind) {
	case STEP_REPLY:
		add_reply(s, &step->status);
		count_error(s, step->status.code);
		break;
	case STEP_LINES:
		mail_reply_add_lines(&out, step->code, step->lines, step->line_count);
		break;
	case STEP_WAIT:
		s->waiting = !s->has_early;
		break;
	case STEP_CONTENT:
		mail_reply_add_lines(&out, 354, go_ahead, 1);
		conn_set_timeout(s->conn, smtpd_settings.data_timeout_s * 1000);
		break;
	case STEP_CHUNK:
		break;
	case STEP_START_TLS:
		mail_reply_add(&out, &step->status);
		start_tls(s);
		break;
	case STEP_CLOSE:
		close_session(s, step->status);
		break;
	}
}

/* -- lines ------------------------------------------------------------------------------------------------------------------------------- */

static bool is_http(struct slice name)
{
	static const struct slice names[] = {
		SLICE_INIT("GET"), SLICE_INIT("POST"), SLICE_INIT("HEAD"), SLICE_INIT("PUT"), SLICE_INIT("DELETE"), SLICE_INIT("CONNECT"), SLICE_INIT("OPTIONS"),
		SLICE_INIT("TRACE"), SLICE_INIT("PATCH"), SLICE_INIT("PRI")
	};
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (slice_eq_nocase(name, names[i]))
			return true;
	return false;
}

/* security-kit S13: what speaks another protocol is not argued with. */
static struct step syntax_error(struct session *s, bool http, struct mail_status status)
{
	s->smtpd->counts.syntax_errors++;
	s->on_line = NULL; /* an exchange that was under way is over */
	if (!http && ++s->syntax_errors < MAX_SYNTAX_ERRORS)
		return step_reply(status);
	log_event(LOG_INFO, "session-refused", LOG_STR("session", unique_slice(&s->facts.id)), LOG_STR("client", slice_of(s->facts.ip_text)),
	          LOG_CSTR("why", http ? "speaks HTTP" : "syntax errors"), LOG_END);
	return step_close(MAIL_STATUS(MAIL_LATER, 421, 5, 2, "This is SMTP, good-bye"));
}

static struct step out_of_place(const struct session *s, const struct verb *v)
{
	if (s->state == SESSION_GREETED)
		return REPLY(MAIL_NEVER, 503, 5, 1, "Say EHLO or HELO first");
	if (s->state == SESSION_CHUNKS)
		return REPLY(MAIL_NEVER, 503, 5, 1, "BDAT has begun: BDAT, RSET or QUIT");
	if (s->state == SESSION_READY)
		return REPLY(MAIL_NEVER, 503, 5, 1, "Say MAIL first");
	if (s->state == SESSION_MAIL && !(v->welcome & SESSION_READY))
		return REPLY(MAIL_NEVER, 503, 5, 1, "Say RCPT first, and have it accepted");
	return REPLY(MAIL_NEVER, 503, 5, 1, "Not inside of a transaction");
}

static bool is_clean(struct slice line)
{
	for (size_t i = 0; i < line.n; i++)
		if ((unsigned char)line.p[i] < 0x20 && line.p[i] != '\t')
			return false;
	return true;
}

#define UNKNOWN_COMMAND MAIL_STATUS(MAIL_NEVER, 500, 5, 1, "Unknown command")

static void unknown_judged(struct session *s, struct mail_status status)
{
	session_answer(s, status.fate == MAIL_OK ? step_reply(UNKNOWN_COMMAND) : status.code == 421 ? step_close(status) : step_reply(status));
}

static struct step unknown_command(struct session *s, struct slice name, struct slice line)
{
	struct step step = syntax_error(s, is_http(name), UNKNOWN_COMMAND);
	if (step.kind == STEP_CLOSE || s->state == SESSION_GREETED || !s->checks)
		return step;
	policy_unknown(s, line, unknown_judged);
	return STEP_WAITING;
}

static struct step run_verb(struct session *s, struct slice line)
{
	struct slice rest, name = slice_cut(line, ' ', &rest);
	const struct verb *v = verb_find(name);
	if (!v)
		return unknown_command(s, name, line);
	if (!v->quiet && ++s->commands > smtpd_settings.max_commands)
		return step_close(MAIL_STATUS(MAIL_LATER, 421, 7, 0, "Too many commands, good-bye"));
	if (!(v->welcome & s->state))
		return out_of_place(s, v);
	s->in_rcpt = v->run == verb_rcpt;
	return v->run(s, slice_trim(rest));
}

static struct step take_line(struct session *s, struct slice line)
{
	if (!line.n || line.p[line.n - 1] != '\r')
		return syntax_error(s, false, MAIL_STATUS(MAIL_NEVER, 500, 5, 2, "A line ends with CR and LF"));
	line.n--;
	if (!is_clean(line))
		return syntax_error(s, false, MAIL_STATUS(MAIL_NEVER, 500, 5, 2, "A command holds a control byte"));
	s->in_rcpt = false;
	if (s->on_line)
		return s->on_line(s, line);
	while (line.n && (line.p[line.n - 1] == ' ' || line.p[line.n - 1] == '\t'))
		line.n--;
	return run_verb(s, line);
}

/* A line that is longer than any of ours: dropped up to its end as it comes, then answered. */
static bool skip_long_line(struct session *s, struct slice in, size_t end, struct step *step)
{
	bool whole = end < in.n;
	s->skipped += whole ? end : in.n;
	conn_consume(s->conn, whole ? end + 1 : in.n);
	if (s->skipped > MAX_SKIPPED) {
		*step = step_close(MAIL_STATUS(MAIL_LATER, 421, 5, 2, "This line has no end, good-bye"));
		return true;
	}
	if (!whole)
		return false;
	s->skipped = 0;
	*step = syntax_error(s, false, MAIL_STATUS(MAIL_NEVER, 500, 5, 2, "The line is too long"));
	return true;
}

/* The step that the next line gives; false: there is none yet. */
static bool next_line(struct session *s, struct step *step)
{
	struct slice in = conn_input(s->conn);
	size_t end = slice_find(in, '\n');
	if (s->skipped || end >= DIALOG_MAX_LINE)
		return in.n && skip_long_line(s, in, end, step);
	if (end == in.n)
		return false;
	memcpy(line_copy, in.p, end);
	conn_consume(s->conn, end + 1);
	*step = take_line(s, slice(line_copy, end));
	return true;
}

/* The bytes of a BDAT that came out of place. */
static bool skip_chunk(struct session *s, struct step *step)
{
	size_t n = conn_input(s->conn).n;
	n = n < s->skip_bytes ? n : (size_t)s->skip_bytes;
	conn_consume(s->conn, n);
	s->skip_bytes -= n;
	if (s->skip_bytes)
		return false;
	s->skipping_chunk = false;
	*step = REPLY(MAIL_NEVER, 503, 5, 1, "BDAT comes behind MAIL and RCPT");
	return true;
}

/* -- the run ------------------------------------------------------------------------------------------------------------------------------ */

static bool next_step(struct session *s, struct step *step)
{
	if (s->has_early) {
		s->has_early = false;
		*step = s->early;
		return true;
	}
	if (s->state == SESSION_NEW)
		return false;
	if (clock_mono_ms() - s->began_ms > smtpd_settings.session_timeout_s * 1000)
		s->ending = MAIL_STATUS(MAIL_LATER, 421, 4, 2, "This session has lasted too long, good-bye");
	if (s->ending.code) {
		*step = step_close(s->ending);
		return true;
	}
	if (s->skipping_chunk)
		return skip_chunk(s, step);
	if (s->content && content_is_open(s->content))
		return content_take(s->content, step);
	return next_line(s, step);
}

static bool may_go_on(const struct session *s)
{
	return !s->closed && !s->waiting && !s->tls_pending && conn_output_pending(s->conn) + out.n < MAX_UNREAD_REPLIES;
}

/* Something is under way that will come back to the session by itself. */
static bool is_busy(const struct session *s)
{
	return s->waiting || s->tls_pending || (s->content && content_is_stuck(s->content)) || conn_output_pending(s->conn);
}

static void finish(struct session *s)
{
	struct conn *c = s->conn;
	heard_leave(s);
	s->conn = NULL;
	conn_finish(c, FINISH_MS);
	session_free(s);
}

/* Steps until there is none or the replies are many, then those replies; true: the steps have stopped for the replies' sake. */
static bool run_steps(struct session *s)
{
	struct step step;
	while (may_go_on(s) && next_step(s, &step))
		apply(s, &step);
	bool many = out.n >= MAX_UNREAD_REPLIES;
	if (out.n && conn_write(s->conn, buf_slice(&out)) < 0) {
		s->closed = true;
		heard_failed(s);
	}
	buf_clear(&out);
	return many;
}

void dialog_run(struct session *s)
{
	if (s->running)
		return;
	s->running = true;
	while (run_steps(s) && may_go_on(s))
		; /* the kernel took them all: no event will say so, and input lies here still */
	s->running = false;
	s->closed |= s->half_closed && !is_busy(s);
	if (s->closed)
		finish(s);
}

/* -- the connection ------------------------------------------------------------------------------------------------------------------------ */

static void on_data(void *arg, struct conn *c)
{
	struct session *s = arg;
	(void)c;
	heard_look(s);
	if (s->state == SESSION_NEW && !s->tls_pending && !s->waiting_tls) {
		s->talked_early = true;
		return;
	}
	dialog_run(s);
}

static void on_drained(void *arg, struct conn *c)
{
	(void)c;
	dialog_run(arg);
}

static void log_lost(const struct session *s, const char *what)
{
	if (log_get_level() < LOG_DEBUG && !s->transaction)
		return;
	struct slice id = s->transaction ? unique_slice(&transaction_facts_of(s->transaction)->id) : SLICE_NONE;
	log_event(s->transaction ? LOG_INFO : LOG_DEBUG, "session-lost", LOG_STR("session", unique_slice(&s->facts.id)), LOG_STR("id", id),
	          LOG_STR("client", slice_of(s->facts.ip_text)), LOG_CSTR("what", what), LOG_STR("error", conn_error(s->conn)), LOG_END);
}

static void tls_ready(struct session *s)
{
	const struct tls_info *i = conn_tls_info(s->conn);
	bool first = s->state == SESSION_NEW;
	s->tls_pending = s->waiting_tls = false;
	s->facts.tls = true;
	s->facts.tls_protocol = i->protocol;
	s->facts.tls_cipher = i->cipher;
	s->facts.client_certificate = i->has_peer;
	if (i->has_peer)
		memcpy(s->facts.certificate_sha256, i->peer_sha256, sizeof s->facts.certificate_sha256);
	s->smtpd->counts.tls_sessions++;
	if (first) {
		policy_connect(s);
	} else {
		session_forget(s);
		dialog_run(s);
	}
}

static void on_event(void *arg, struct conn *c, enum conn_event what)
{
	struct session *s = arg;
	(void)c;
	switch (what) {
	case CONN_CONNECTED:
		return;
	case CONN_TLS_READY:
		tls_ready(s);
		return;
	case CONN_TLS_FAILED:
		log_event(LOG_INFO, "tls-failed", LOG_STR("session", unique_slice(&s->facts.id)), LOG_STR("client", slice_of(s->facts.ip_text)),
		          LOG_STR("error", conn_error(s->conn)), LOG_END);
		break;
	case CONN_CLOSED:
		if (!s->facts.tls && is_busy(s)) {
			s->half_closed = true;
			return;
		}
		log_lost(s, "closed");
		break;
	case CONN_FAILED:
		log_lost(s, "failed");
		break;
	case CONN_TIMEOUT:
		if (s->waiting) {
			conn_set_timeout(s->conn, smtpd_settings.command_timeout_s * 1000); /* it is we who are slow */
			return;
		}
		log_lost(s, "timeout");
		if (s->tls_pending || s->waiting_tls || conn_output_pending(s->conn))
			break; /* there is no way to tell it */
		s->ending = MAIL_STATUS(MAIL_LATER, 421, 4, 2, "Nothing came for too long, good-bye");
		session_reset(s);
		dialog_run(s);
		return;
	}
	if (s->transaction && transaction_is_deciding(s->transaction))
		return; /* what is asked to commit is not taken back: the answer comes, and finds nobody */
	session_free(s);
}

const struct conn_handler dialog_conn_handler = { on_data, on_event, on_drained };

/* -- the beginning ------------------------------------------------------------------------------------------------------------------------- */

void dialog_begin(struct session *s)
{
	if (s->facts.listener != LISTENER_SUBMISSIONS) {
		policy_connect(s);
		return;
	}
	s->waiting_tls = true;
	if (!s->smtpd->tls || conn_start_tls(s->conn, s->smtpd->tls, SLICE_NONE) < 0)
		session_free(s);
}
