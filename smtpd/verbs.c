/* The table of verbs. */
#include "smtpd/verbs.h"

#define ANYWHERE (SESSION_GREETED | SESSION_READY | SESSION_MAIL | SESSION_RCPT | SESSION_CHUNKS)

static const struct verb verbs[] = {
	{ SLICE_INIT("RCPT"), SESSION_MAIL | SESSION_RCPT, verb_rcpt, "RFC 5321 4.1.1.3", true },
	{ SLICE_INIT("MAIL"), SESSION_READY, verb_mail, "RFC 5321 4.1.1.2", false },
	{ SLICE_INIT("DATA"), SESSION_RCPT, verb_data, "RFC 5321 4.1.1.4", false },
	{ SLICE_INIT("BDAT"), ANYWHERE, verb_bdat, "RFC 3030 2", true },
	{ SLICE_INIT("EHLO"), ANYWHERE, verb_ehlo, "RFC 5321 4.1.1.1", false },
	{ SLICE_INIT("HELO"), ANYWHERE, verb_helo, "RFC 5321 4.1.1.1", false },
	{ SLICE_INIT("QUIT"), ANYWHERE, verb_quit, "RFC 5321 4.1.1.10", false },
	{ SLICE_INIT("RSET"), ANYWHERE, verb_rset, "RFC 5321 4.1.1.5", false },
	{ SLICE_INIT("NOOP"), ANYWHERE, verb_noop, "RFC 5321 4.1.1.9", false },
	{ SLICE_INIT("STARTTLS"), SESSION_GREETED | SESSION_READY, verb_starttls, "RFC 3207", false },
	{ SLICE_INIT("VRFY"), ANYWHERE, verb_vrfy, "RFC 5321 4.1.1.6", false },
	{ SLICE_INIT("EXPN"), ANYWHERE, verb_expn, "RFC 5321 4.1.1.7", false },
	{ SLICE_INIT("HELP"), ANYWHERE, verb_help, "RFC 5321 4.1.1.8", false },
	{ SLICE_INIT("AUTH"), ANYWHERE, verb_auth, "RFC 4954", false },
};

const struct verb *verb_find(struct slice name)
{
	for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
		if (slice_eq_nocase(name, verbs[i].name))
			return &verbs[i];
	return NULL;
}
