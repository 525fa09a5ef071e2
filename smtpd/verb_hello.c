/* The greeting, EHLO and HELO. */
#include <stdio.h>

#include "base/clock.h"
#include "base/general_settings.h"
#include "base/mail_date.h"
#include "base/net.h"
#include "base/text.h"
#include "smtpd/check.h"
#include "smtpd/policy.h"
#include "smtpd/smtpd_settings.h"
#include "smtpd/verbs.h"

enum { MAX_NAME = 255, MAX_LINES = 20, LINE_BYTES = 128 };

static bool is_name_byte(unsigned char c)
{
	return text_is_alnum(c) || c >= 0x80 || (c && strchr("-_.", c));
}

/* A domain, as widely as people set it, or an address literal (4.1.3). Who sends "[" means a literal. */
static bool is_good_name(struct slice s)
{
	if (!s.n || s.n > MAX_NAME)
		return false;
	if (s.p[0] == '[')
		return s.n > 2 && s.p[s.n - 1] == ']' && slice_find(s, ' ') == s.n;
	for (size_t i = 0; i < s.n; i++)
		if (!is_name_byte((unsigned char)s.p[i]))
			return false;
	return s.p[0] != '.';
}

struct lines {
	struct slice at[MAX_LINES];
	char text[MAX_LINES][LINE_BYTES];
	size_t count;
};

/* The lines of the last EHLO; written out before the next one can come. */
static struct lines ehlo;

static void add_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void add_line(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int n = vsnprintf(ehlo.text[ehlo.count], LINE_BYTES, format, args);
	va_end(args);
	ehlo.at[ehlo.count] = slice(ehlo.text[ehlo.count], n < LINE_BYTES ? (size_t)n : LINE_BYTES - 1);
	ehlo.count++;
}

/* RFC 4865, 4: the longest time to hold a message, and the latest date, which is the same. */
static void add_future_release(void)
{
	struct buf until = BUF_INIT(64);
	mail_date_print_iso(&until, clock_wall_s() + VERB_MAX_HOLD_S);
	add_line("FUTURERELEASE %d %.*s", VERB_MAX_HOLD_S, SLICE_FMT(buf_slice(&until)));
	buf_free(&until);
}

static void add_submission_lines(const struct session *s)
{
	struct buf mechanisms = BUF_INIT(LINE_BYTES - 8);
	verb_auth_mechanisms(s, &mechanisms);
	if (mechanisms.n)
		add_line("AUTH%.*s", SLICE_FMT(buf_slice(&mechanisms)));
	buf_free(&mechanisms);
	if (!s->facts.tls && s->facts.listener != LISTENER_LOCAL)
		return;
	add_line("DSN");
	add_line("DELIVERBY");
	add_future_release();
	add_line("MT-PRIORITY MIXER");
	if (s->facts.tls)
		add_line("REQUIRETLS");
}

static struct step ehlo_reply(struct session *s)
{
	ehlo.count = 0;
	add_line("%.*s greets %s", SLICE_FMT(general_settings.hostname), s->facts.ip_text);
	add_line("PIPELINING");
	add_line("SIZE %llu", (unsigned long long)smtpd_settings.size_limit);
	add_line("8BITMIME");
	add_line("SMTPUTF8");
	add_line("CHUNKING");
	add_line("ENHANCEDSTATUSCODES");
	if (s->facts.listener == LISTENER_MX)
		add_line("PRDR");
	add_line("LIMITS RCPTMAX=%llu", (unsigned long long)smtpd_settings.max_recipients);
	if (s->smtpd->tls && !s->facts.tls && !s->facts.login.n && s->facts.listener != LISTENER_LOCAL)
		add_line("STARTTLS");
	if (s->facts.listener != LISTENER_MX)
		add_submission_lines(s);
	return (struct step){ .kind = STEP_LINES, .code = 250, .lines = ehlo.at, .line_count = ehlo.count };
}

static struct step hello_reply(struct session *s)
{
	if (s->facts.esmtp)
		return ehlo_reply(s);
	ehlo.count = 0;
	add_line("%.*s", SLICE_FMT(general_settings.hostname));
	return (struct step){ .kind = STEP_LINES, .code = 250, .lines = ehlo.at, .line_count = ehlo.count };
}

static void hello_judged(struct session *s, struct mail_status status)
{
	if (status.fate != MAIL_OK) {
		s->facts.helo = SLICE("");
		s->state = SESSION_GREETED;
		session_answer(s, status.code == 421 ? step_close(status) : step_reply(status));
		return;
	}
	session_answer(s, hello_reply(s));
}

/* 4.1.4: it begins anew, as after RSET. */
static struct step hello(struct session *s, struct slice name, bool esmtp)
{
	if (!is_good_name(name))
		return REPLY(MAIL_NEVER, 501, 5, 4, "Your name is missing, or is neither a domain nor an address in brackets");
	session_reset(s);
	if (!slice_eq(name, s->facts.helo)) {
		s->facts.helo = arena_copy(&s->mem, name);
		if (!s->facts.helo.p)
			return step_close(MAIL_STATUS(MAIL_LATER, 421, 7, 0, "Too many names, good-bye"));
	}
	s->facts.esmtp = esmtp;
	s->state = SESSION_READY;
	policy_hello(s, hello_judged);
	return STEP_WAITING;
}

struct step verb_ehlo(struct session *s, struct slice rest)
{
	return hello(s, rest, true);
}

struct step verb_helo(struct session *s, struct slice rest)
{
	return hello(s, rest, false);
}

void hello_greet(struct session *s)
{
	ehlo.count = 0;
	add_line("%.*s ESMTP Porter", SLICE_FMT(general_settings.hostname));
	s->state = SESSION_GREETED;
	session_answer(s, (struct step){ .kind = STEP_LINES, .code = 220, .lines = ehlo.at, .line_count = ehlo.count });
}
