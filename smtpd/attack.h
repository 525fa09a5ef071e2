#ifndef SMTPD_ATTACK_H
#define SMTPD_ATTACK_H
#include "base/mail_status.h"
#include "queue/attacks.h"
#include "smtpd/session.h"

/* Tells the account of attacks (queue/attacks.h) which refusals were an attempt at a reverse NDR attack. What an authenticated sender hears is no attack: a report may go to
 * him. Called where a reply is decided; costs nothing where nothing is refused. */

/* kind is known: the budget of unknown recipients, a success DSN asked by a stranger. */
void attack_note(struct session *s, enum attack_kind kind, const struct mail_status *status);

/* The same for what Postfix, as shipped, sends no report for: RET alone, without a NOTIFY that wants one. */
void attack_note_free(struct session *s, enum attack_kind kind, const struct mail_status *status);

/* The recipient r was answered status; what this was is read from it and from where r leads. by_check: access, a list or a rate said it, and where r leads was not asked. */
void attack_note_rcpt(struct session *s, const struct recipient *r, bool by_check, const struct mail_status *status);

/* The dot was answered status, MAIL_OK included; size of the content; by_check: a filter or a check of ours said it, no mailbox or next hop: what
 * Postfix, as shipped, would have delivered. */
void attack_note_dot(struct session *s, uint64_t size, bool by_check, const struct mail_status *status);

/* Behind the dot r was answered for itself (PRDR), as its status says. */
void attack_note_each(struct session *s, const struct recipient *r, uint64_t size);
#endif
