#ifndef SMTPD_HEARD_H
#define SMTPD_HEARD_H

/* Was our 250 heard (RFC 1047)? A client that has given up, or that we lost on the way, sends the message again. So behind each 250 to the dot it is remembered
 * whose message it was, until the client's kernel has acknowledged the reply's bytes: mostly when its next command comes. Then what stands in the ledger for this
 * transaction is cleared. A reply that met a dead connection, or whose bytes are never acknowledged, is noted as lost: a repeat with the same Message-ID and digest
 * from the same source is then a 250 without a second copy. A plain delivery costs one system call for it, and no message to another process. */
struct queue_put;
struct session;
struct smtpd;
struct transaction;

/* A process begins. The queue process is there: it hears which slots in queue/flight are ours. */
void heard_open(struct smtpd *d);
void heard_queue_is_up(void *smtpd);

/* Mailboxes alone are asked to commit, or the queue is, alone or beside others: what would have to be known of it if we died lies in queue/flight until the
 * transaction is over, or the client has heard its 250. heard_begin_put: the tickets that go out with the PUT. heard_leave_behind: it is not known, and won't be,
 * whether the queue has taken it: the next process of it, or this one, will say. */
void heard_begin(struct transaction *t);
void heard_begin_put(struct transaction *t, struct queue_put *put);
void heard_leave_behind(struct transaction *t);
void heard_end(struct transaction *t);

/* The transaction is about to be answered with 250. */
void heard_expect(struct session *s, struct transaction *t);

/* The client has sent something: by now it may have acknowledged the reply. */
void heard_look(struct session *s);

/* What was written last did not reach the socket. */
void heard_failed(struct session *s);

/* The session ends. What is not acknowledged yet is watched on the socket, for a minute at most. */
void heard_leave(struct session *s);

/* The process ends: what is watched still counts as lost. */
void heard_close(struct smtpd *d);
#endif
