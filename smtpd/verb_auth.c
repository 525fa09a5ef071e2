/* AUTH where it is not offered. */
#include "smtpd/verbs.h"

struct step verb_auth(struct session *s, struct slice rest)
{
	(void)s, (void)rest;
	return REPLY(MAIL_NEVER, 502, 5, 1, "AUTH is not offered here");
}

void verb_auth_mechanisms(const struct session *s, struct buf *out)
{
	(void)s, (void)out;
}
