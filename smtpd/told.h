#ifndef SMTPD_TOLD_H
#define SMTPD_TOLD_H
#include "base/ipc.h"
#include "smtpd/facts.h"
#include "smtpd/message.h"

/* What the queue is told of a transaction that was answered 250: recipients who were delivered to inside of it though success was to be told (NOTIFY=SUCCESS), and
 * mailboxes that have a vacation text; and the name of what our own people handed in, where a report on it may come back. What comes of it is the queue's to decide
 * (queue/told.c, the gate); nobody waits for it, and a crash loses at most a courtesy. */
struct peer;

/* From the queue: whose mailboxes have a vacation text. 0 or -EPROTO. */
int told_vacations(const struct ipc_message *m);

/* Before the session hears of it, while the transaction is whole. */
void told_taken(struct peer *queue, const struct session_facts *f, const struct message *m, struct slice message_id);
#endif
