#ifndef QUEUE_FEEDBACK_H
#define QUEUE_FEEDBACK_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/dmarc_report.h"
#include "base/slice.h"

/* What DMARC found, gathered for the domains that ask for it (RFC 9990): smtpd tells each message, the queue counts equal ones in a Berkeley DB and mails a
 * day's aggregate reports when the day (UTC) is over. The destinations were checked by smtpd (RFC 9990, 4). Failure reports are not sent.
 * Strangers decide how much there is to count: rows are bounded in all and for an organisation, and so are the reports that its domains get. */
enum { FEEDBACK_MAX_URIS = 4, FEEDBACK_MAX_RECORD = 4096, FEEDBACK_MAX_ROWS = 200000, FEEDBACK_MAX_ORGANISATION_ROWS = 20000 };

/* QUEUE_FEEDBACK: one message of one domain. report.rows is one row; its count is not told. */
struct feedback {
	struct dmarc_report report;    /* domain, policies, discovery; rows[0] */
	struct slice organisation;     /* of the author's domain */
	struct slice to[FEEDBACK_MAX_URIS]; /* addresses */
	size_t to_count;
};
int feedback_put(struct buf *out, const struct feedback *f);                             /* 0 or -EMSGSIZE */
int feedback_get(struct slice payload, struct dmarc_report_row *row, struct feedback *out); /* 0 or -EPROTO; views of payload */

/* -- the store ---------------------------------------------------------------------------------------------------------------- */

/* The rows, in one file. What a crash loses is statistics of minutes, so nothing is synced by force; a damaged file is begun anew. */
struct feedback_store;
struct feedback_store *feedback_store_open(struct slice path); /* NULL: it can't be opened */
void feedback_store_close(struct feedback_store *s);           /* NULL is fine */
int feedback_store_count(struct feedback_store *s, const struct feedback *f, int64_t day); /* 0; -ENOSPC: a bound is reached; -EMSGSIZE, -EIO */

/* The rows of one report: one domain, one day, one policy, as many as a report holds. */
struct feedback_batch {
	struct arena mem;              /* all strings and rows */
	int64_t day;
	struct feedback first;         /* of the first row; to: of all rows */
	struct dmarc_report_row *rows;
	size_t count, weight;          /* weight: bytes of XML at most */
	uint64_t messages;
};
enum { FEEDBACK_MAX_XML = 8 << 20 };

/* Takes the next rows of a day before until_day out of the store. 1: *b is set, the caller frees its mem; 0: there are none; -EIO: the file is damaged. */
int feedback_store_take(struct feedback_store *s, int64_t until_day, struct feedback_batch *b);
int feedback_store_sync(struct feedback_store *s);

/* -- the reports -------------------------------------------------------------------------------------------------------------- */

struct queue;
struct ipc_message;
struct peer;
int feedback_message(struct peer *p, struct ipc_message *m);
/* Once a minute: begins to send what is of yesterday or older, a report each turn of the loop. */
void feedback_send_due(struct queue *q);
/* What was gathered until now, at most FEEDBACK_MAX_AT_ONCE reports; returns how many were posted. */
enum { FEEDBACK_MAX_AT_ONCE = 100 };
unsigned feedback_send_now(struct queue *q);
void feedback_free(struct queue *q);
#endif
