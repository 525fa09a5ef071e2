#ifndef QUEUE_SETTLING_H
#define QUEUE_SETTLING_H
#include "base/unique.h"
#include "queue/queue_inside.h"
#include "queue/report.h"

/* A message of which no recipient is out, from its reading to its end or to the schedule. Between settling.c, settling_report.c and settle.c alone.
 *
 * A report is made once. It is published into made/, where nobody delivers it; then the message notes it (EVENT_REPORTED), durably; then it goes into the queue. A
 * crash before the note leaves a report that is removed at start, and made again; one after the note leaves a report that goes into the queue at start (scan.c). So
 * there is neither a second one nor none. */
#define SETTLING_SENT_AS "sent as " /* and the report's id: the note's text */

struct made_report {
	struct unique id;
	struct envelope envelope;        /* its own */
	struct envelope_recipient to;
	bool eight_bit;
};

struct settling {
	struct queue *queue;
	struct message *entry;
	char id[SCHEDULE_ID + 1];
	int error;
	const char *why;
	struct buf raw, header, text;
	struct arena mem;
	struct spool_message message;
	enum report_kind kinds[3];       /* still to be looked at */
	size_t kind_count;
	struct report_item *items;
	uint32_t *indices;
	size_t count;
	enum report_kind kind;
	struct made_report made[3];      /* in made/, one for each kind at most */
	size_t made_count, adopted;      /* adopted: so many of them are in the queue */
	bool waiting, withheld;
	struct spool_put put;
	struct spool_append append;
	struct spool_gone gone;
	struct loop_timer *again;
};

/* settling_report.c: makes the reports that are due, each through the gate, and collects what the message must note of them; calls settling_reported. */
void settling_make_reports(struct settling *s);
/* settling.c: all kinds were looked at. */
void settling_reported(struct settling *s);

/* settle.c: somebody waits for too long, and nobody was told. */
bool settling_delay_due(const struct envelope *e, const struct message_state *state, int64_t now);
#endif
