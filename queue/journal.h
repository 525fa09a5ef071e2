#ifndef QUEUE_JOURNAL_H
#define QUEUE_JOURNAL_H
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/mail_status.h"
#include "base/slice.h"
#include "queue/envelope.h"

/* What happened to a queued message since it came: events appended to its file, each with a length and a checksum. The state of a message is
 * its envelope plus its events, folded in order; an end that is torn by a crash is left out (at worst an attempt is made again). */
enum event_kind {
	EVENT_DONE,        /* recipient: the next hop said 2xx, `status` is its reply */
	EVENT_LATER,       /* recipient: 4xx or no connection; try again at next_s */
	EVENT_FAILED,      /* recipient: for good; text kept word for word */
	EVENT_REPORTED,    /* recipient: its failure was reported, or the report withheld (text says which and why) */
	EVENT_DELAYED,     /* recipient: the delay notice went out or was withheld */
	EVENT_HOLD,        /* message: by the postmaster */
	EVENT_RELEASE,     /* message; of one recipient: a dead letter is released, tried once more */
	EVENT_REROUTE      /* recipient: text is the new place */
};
enum { EVENT_KINDS = EVENT_REROUTE + 1, EVENT_MAX = 4096 };
static const uint32_t EVENT_ALL_RECIPIENTS = UINT32_MAX;

struct event {
	enum event_kind kind;
	int64_t at_s, next_s;
	uint32_t recipient;          /* index in the envelope, or EVENT_ALL_RECIPIENTS */
	struct mail_status status;   /* DONE, LATER, FAILED; text also for REPORTED, DELAYED, REROUTE */
	struct slice host;           /* who answered: "mx.example.org[192.0.2.1]:25" */
};

/* One framed event: {u32 length, u64 checksum, fields}. */
int event_put(struct buf *out, const struct event *e);

/* The next event at the front of *in. True: *in begins behind it. False: the end, or a torn or damaged rest (in->n tells). */
bool event_next(struct slice *in, struct event *out);

enum recipient_fate { RECIPIENT_WAITING, RECIPIENT_DONE, RECIPIENT_FAILED };

struct recipient_state {
	enum recipient_fate fate;
	bool reported, delay_told;
	uint32_t attempts;
	int64_t next_s, last_s;
	struct mail_status status;   /* of the last attempt */
	struct slice host;
	struct slice place;          /* where to now: the envelope's, or a reroute */
};

struct message_state {
	struct recipient_state *recipients;
	size_t waiting;              /* recipients that are */
	bool held;
};

/* Folds a journal over the envelope. Views into journal; arrays in mem. -ENOMEM past mem's ceiling. *used: bytes of journal that are sound. */
int journal_fold(const struct envelope *e, struct slice journal, struct arena *mem, struct message_state *out, size_t *used);

/* The checksum of records in the spool: against bit rot and torn writes, not against people. */
uint64_t journal_checksum(struct slice s);
struct slice event_name(enum event_kind kind);
#endif
