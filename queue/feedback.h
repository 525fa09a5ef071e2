#ifndef QUEUE_FEEDBACK_H
#define QUEUE_FEEDBACK_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/dmarc_report.h"
#include "base/slice.h"
#include "base/unique.h"

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

/* The rows, in one file, for one thread at a time. It is synced once a minute, so what a crash loses is statistics of that; a damaged file is begun anew. Opening it looks at each row. */
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

/* -- one report --------------------------------------------------------------------------------------------------------------- */

/* Who we are. */
struct feedback_house {
	struct slice name, postmaster;
};
/* The same report as a mail for each destination. */
struct feedback_mail {
	struct unique id;
	char *to;
	struct buf text;
};
struct feedback_made {
	char *domain;
	uint64_t messages;
	struct feedback_mail mails[FEEDBACK_MAX_URIS];
	size_t count;
	int error;
};
int feedback_report_make(const struct feedback_house *h, const struct feedback_batch *b, struct feedback_made *out); /* 0, or -errno: no mails, what there was is told all the same */
void feedback_made_free(struct feedback_made *m);

/* -- all of them, in the queue (feedback_turn.c) -------------------------------------------------------------------------------- */

struct queue;
struct ipc_message;
struct peer;
void feedback_begin(struct queue *q);                    /* at start; the store is opened by a worker */
int feedback_message(struct peer *p, struct ipc_message *m);
/* Once a minute: what was counted is made durable; what is of yesterday or older begins to be sent. */
void feedback_on_minute(struct queue *q);
/* What was gathered until now, at most FEEDBACK_MAX_AT_ONCE reports; answered, with their number, when they lie in the queue. HOUSE_LATER. */
enum { FEEDBACK_MAX_AT_ONCE = 100 };
int feedback_send_now(struct queue *q, uint64_t question);
void feedback_stop(struct queue *q);                     /* before the workers end */
void feedback_free(struct queue *q);
#endif
