#ifndef SMTPD_POLICY_H
#define SMTPD_POLICY_H
#include "smtpd/session.h"

/* What the administrator and the rules want at each step: the map `access`, rates, harvesting, evidence by login and client, the null reverse-path; and the checks in
 * between. Each question ends by a call of done, now or later, with MAIL_OK or the refusal. */
typedef void (*policy_done)(struct session *s, struct mail_status status);

bool policy_is_exempt(const struct net_ip *ip);

/* Does access by-pass this check for the client? */
bool policy_by_passes(const struct session *s, struct slice check);

/* What access says of the client's confirmed name. */
struct mail_status policy_client_name(struct session *s);

/* A client was accepted. Ends with the greeting, or with 554 or 421; s may be gone behind it. */
void policy_connect(struct session *s);
void policy_hello(struct session *s, policy_done done);

/* MAIL: s->transaction is there with its facts. */
void policy_mail(struct session *s, policy_done done);

/* RCPT: r is parsed. Resolves it, runs its checks and asks its destinations; on MAIL_OK it belongs to the transaction. */
void policy_rcpt(struct session *s, struct recipient *r, policy_done done);

/* The dot was answered 250: what speaks for the client's network. */
void policy_delivered(struct session *s);

/* DATA or the first BDAT. */
void policy_data(struct session *s, policy_done done);

/* A command that is none of ours: filters hear of it, and may refuse it in other words than the usual ones. */
void policy_unknown(struct session *s, struct slice line, policy_done done);

/* smtpd/verb_hello.c: says 220. */
void hello_greet(struct session *s);
#endif
