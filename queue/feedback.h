#ifndef QUEUE_FEEDBACK_H
#define QUEUE_FEEDBACK_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/dmarc_report.h"
#include "base/slice.h"

/* What DMARC found, gathered for the domains that ask for it (RFC 9990): smtpd tells each message, the queue counts equal ones in a Berkeley DB and mails a
 * day's aggregate reports when the day (UTC) is over. The destinations were checked by smtpd (RFC 9990, 4). Failure reports are not sent. */
enum { FEEDBACK_MAX_URIS = 4, FEEDBACK_MAX_ROWS = 200000, FEEDBACK_MAX_RECORD = 4096 };

/* QUEUE_FEEDBACK: one message of one domain. report.rows is one row; its count is not told. */
struct feedback {
	struct dmarc_report report;    /* domain, policies, discovery; rows[0] */
	struct slice to[FEEDBACK_MAX_URIS]; /* addresses */
	size_t to_count;
};
int feedback_put(struct buf *out, const struct feedback *f);                             /* 0 or -EMSGSIZE */
int feedback_get(struct slice payload, struct dmarc_report_row *row, struct feedback *out); /* 0 or -EPROTO; views of payload */

struct queue;
struct ipc_message;
struct peer;
int feedback_message(struct peer *p, struct ipc_message *m);
/* Once a minute: sends what is of yesterday or older; all: today's, too. Returns how many reports were posted. */
unsigned feedback_send(struct queue *q, bool all);
void feedback_close(void);
#endif
