/* AUTH (RFC 4954): on submission listeners, inside TLS, once. The exchange is smtpd/auth's; here its steps become replies. */
#include "smtpd/auth.h"

#include "base/conn.h"
#include "smtpd/verbs.h"

enum { MAX_FAILURES = 5 };

static struct step take_answer(struct session *s, struct slice line);

static struct step challenge(struct session *s)
{
	static struct slice text; /* written out before another session runs */
	text = auth_text(s->auth);
	s->on_line = take_answer;
	return (struct step){ .kind = STEP_LINES, .code = 334, .lines = &text, .line_count = 1 };
}

static struct step good(struct session *s)
{
	s->facts.login = arena_copy(&s->mem, auth_login(s->auth));
	if (!s->facts.login.n)
		return REPLY(MAIL_LATER, 454, 7, 0, "Temporary authentication failure");
	s->facts.login_mechanism = auth_mechanism(s->auth);
	auth_free(s->auth);
	s->auth = NULL;
	return REPLY(MAIL_OK, 235, 7, 0, "Welcome");
}

static struct step failed(struct session *s)
{
	if (++s->auth_failures >= MAX_FAILURES)
		return step_close(MAIL_STATUS(MAIL_LATER, 421, 7, 0, "Too many failed attempts, good-bye"));
	return REPLY(MAIL_NEVER, 535, 7, 8, "Login or password is wrong");
}

static struct step step_of(struct session *s, enum auth_step step)
{
	s->on_line = NULL;
	switch (step) {
	case AUTH_CHALLENGE:
		return challenge(s);
	case AUTH_GOOD:
		return good(s);
	case AUTH_FAILED:
		return failed(s);
	case AUTH_UNSURE:
		return REPLY(MAIL_LATER, 454, 7, 0, "Temporary authentication failure, try again later");
	case AUTH_SYNTAX:
		return REPLY(MAIL_NEVER, 501, 5, 2, "This is not what the mechanism expects");
	case AUTH_CANCELLED:
		return REPLY(MAIL_NEVER, 501, 7, 0, "Authentication cancelled");
	case AUTH_UNKNOWN:
		return REPLY(MAIL_NEVER, 504, 5, 4, "This mechanism is not offered here");
	case AUTH_WAIT:
		return STEP_WAITING;
	}
	return STEP_WAITING;
}

static void done(void *arg, enum auth_step step)
{
	struct session *s = arg;
	session_answer(s, step_of(s, step));
}

static struct step take_answer(struct session *s, struct slice line)
{
	return step_of(s, auth_input(s->auth, line));
}

static bool is_offered(const struct session *s)
{
	return s->facts.listener != LISTENER_MX && s->facts.listener != LISTENER_LOCAL;
}

struct step verb_auth(struct session *s, struct slice rest)
{
	if (!is_offered(s))
		return REPLY(MAIL_NEVER, 502, 5, 1, "AUTH is not offered here: hand in mail on the submission port");
	if (!s->facts.tls)
		return REPLY(MAIL_NEVER, 538, 7, 11, "Encryption comes first: say STARTTLS");
	if (s->state == SESSION_GREETED)
		return REPLY(MAIL_NEVER, 503, 5, 1, "Say EHLO first");
	if (s->state != SESSION_READY)
		return REPLY(MAIL_NEVER, 503, 5, 1, "Not inside of a transaction");
	if (s->facts.login.n)
		return REPLY(MAIL_NEVER, 503, 5, 1, "You are authenticated already");
	struct slice initial, mechanism = slice_cut(rest, ' ', &initial);
	if (!mechanism.n || slice_find(initial, ' ') < initial.n || (initial.p && !initial.n))
		return REPLY(MAIL_NEVER, 501, 5, 4, "Say AUTH MECHANISM, perhaps with an initial response");
	if (!s->auth)
		s->auth = auth_new(s->smtpd, &s->facts, conn_tls_info(s->conn), done, s);
	return step_of(s, auth_begin(s->auth, mechanism, initial));
}

void verb_auth_mechanisms(const struct session *s, struct buf *out)
{
	if (is_offered(s) && s->facts.tls && !s->facts.login.n)
		auth_add_mechanisms(&s->facts, conn_tls_info(s->conn), out);
}
