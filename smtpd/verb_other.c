/* The small verbs. */
#include "base/conn.h"
#include "base/general_settings.h"
#include "base/log.h"
#include "smtpd/verbs.h"

#define NO_ARGUMENT REPLY(MAIL_NEVER, 501, 5, 4, "This command takes no argument")

struct step verb_rset(struct session *s, struct slice rest)
{
	if (rest.n)
		return NO_ARGUMENT;
	session_reset(s);
	return REPLY(MAIL_OK, 250, 0, 0, "Ok");
}

struct step verb_noop(struct session *s, struct slice rest)
{
	(void)s, (void)rest; /* 5321 4.1.1.9: a parameter is ignored */
	return REPLY(MAIL_OK, 250, 0, 0, "Ok");
}

struct step verb_quit(struct session *s, struct slice rest)
{
	if (rest.n)
		return NO_ARGUMENT;
	session_reset(s);
	return step_close(MAIL_STATUS(MAIL_OK, 221, 0, 0, "Good-bye"));
}

struct step verb_vrfy(struct session *s, struct slice rest)
{
	(void)s;
	if (!rest.n)
		return REPLY(MAIL_NEVER, 501, 5, 4, "VRFY takes an address");
	return REPLY(MAIL_OK, 252, 5, 0, "RCPT will tell");
}

struct step verb_expn(struct session *s, struct slice rest)
{
	(void)s, (void)rest;
	return REPLY(MAIL_NEVER, 502, 5, 1, "EXPN is not offered here");
}

struct step verb_help(struct session *s, struct slice rest)
{
	(void)s, (void)rest;
	return REPLY(MAIL_OK, 214, 0, 0, "EHLO HELO MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY HELP STARTTLS, see RFC 5321");
}

struct step verb_starttls(struct session *s, struct slice rest)
{
	if (rest.n)
		return NO_ARGUMENT;
	if (!s->smtpd->tls || s->facts.listener == LISTENER_LOCAL)
		return REPLY(MAIL_NEVER, 502, 5, 1, "STARTTLS is not offered here");
	if (s->facts.tls || s->facts.login.n)
		return REPLY(MAIL_NEVER, 503, 5, 1, "TLS is on already, or it is too late for it");
	if (conn_input(s->conn).n) { /* security-kit S2: nothing said in the clear is believed behind it */
		log_event(LOG_WARN, "starttls-injection", LOG_STR("session", unique_slice(&s->facts.id)), LOG_STR("client", slice_of(s->facts.ip_text)), LOG_END);
		return step_close(MAIL_STATUS(MAIL_NEVER, 554, 5, 1, "Nothing may follow STARTTLS before TLS is on"));
	}
	return (struct step){ .kind = STEP_START_TLS, .status = MAIL_STATUS(MAIL_OK, 220, 0, 0, "Go ahead with TLS") };
}
