#ifndef QUEUE_OWN_MAIL_H
#define QUEUE_OWN_MAIL_H
#include "queue/queue_inside.h"

/* Messages of ours. Called by the daily digest and, for the web process's question QUEUE_LETTER, by queue.c. */
struct own_mail {
	struct slice to, subject;   /* an address; ASCII */
	struct slice text;          /* CRLF; ASCII or UTF-8 */
	struct slice what;          /* for the envelope's evidence, in words */
};
void own_mail_send(struct queue *q, const struct own_mail *m);

/* QUEUE_LETTER: writes to the postmaster of a domain that somebody asked to check. -EPROTO: no such question. */
int own_mail_letter(struct peer *p, struct ipc_message *m);
#endif
