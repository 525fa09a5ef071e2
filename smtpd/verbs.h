#ifndef SMTPD_VERBS_H
#define SMTPD_VERBS_H
#include "smtpd/session.h"

/* A verb is a row: its name, where it is welcome, its handler, what the RFC says. The handler gets the rest of the line without the blanks around it. */
struct verb {
	struct slice name;
	unsigned welcome;               /* SESSION_ bits */
	struct step (*run)(struct session *s, struct slice rest);
	const char *rfc;
	bool quiet;                     /* not counted among commands: it has limits of its own */
};

enum { VERB_MAX_HOLD_S = 30 * 86400 }; /* the longest FUTURERELEASE */

const struct verb *verb_find(struct slice name); /* NULL: unknown */

/* smtpd/verb_hello.c */
struct step verb_ehlo(struct session *s, struct slice rest);
struct step verb_helo(struct session *s, struct slice rest);
/* smtpd/verb_mail.c */
struct step verb_mail(struct session *s, struct slice rest);
/* smtpd/verb_rcpt.c */
struct step verb_rcpt(struct session *s, struct slice rest);
/* smtpd/verb_content.c */
struct step verb_data(struct session *s, struct slice rest);
struct step verb_bdat(struct session *s, struct slice rest);
/* smtpd/verb_other.c */
struct step verb_rset(struct session *s, struct slice rest);
struct step verb_noop(struct session *s, struct slice rest);
struct step verb_quit(struct session *s, struct slice rest);
struct step verb_vrfy(struct session *s, struct slice rest);
struct step verb_expn(struct session *s, struct slice rest);
struct step verb_help(struct session *s, struct slice rest);
struct step verb_starttls(struct session *s, struct slice rest);
/* smtpd/verb_auth.c */
struct step verb_auth(struct session *s, struct slice rest);
void verb_auth_mechanisms(const struct session *s, struct buf *out); /* for EHLO: " PLAIN ...", "" where AUTH is not offered */
#endif
