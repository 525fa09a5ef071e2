#ifndef QUEUE_ENVELOPE_H
#define QUEUE_ENVELOPE_H
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/mail_status.h"
#include "base/slice.h"
#include "queue/evidence.h"

/* What a queued message carries beside its content (RFC 5321 envelope, RFC 3461 DSN, and who the sender was proven to be).
 * envelope_admit is the only way in: a message enters the queue only if its failure can be reported to a proven reverse-path. */
#define ENVELOPE_PLACE_LOCAL SLICE("local:")
enum { ENVELOPE_VERSION = 4, ENVELOPE_MAX = 8 << 20, ENVELOPE_MAX_RECIPIENTS = 20000 };

/* NOTIFY of RFC 3461, 4.1. None set: the client said nothing, which means FAILURE and DELAY. */
enum { NOTIFY_NEVER = 1, NOTIFY_SUCCESS = 2, NOTIFY_FAILURE = 4, NOTIFY_DELAY = 8 };

/* How a recipient may be reached; the grade that admission wants depends on it. */
enum envelope_way {
	WAY_FOREIGN,      /* a foreign domain: authenticated senders only */
	WAY_RELAYED,      /* a domain that `domains` relays, hop down: also evidence spf */
	WAY_FORWARD,      /* an alias of ours to a remote address, hop down: also evidence spf */
	WAY_LIST,         /* a copy of a list of ours: evidence owner */
	WAY_WITHHELD,     /* not at all: a report that came back for a sender who was not proven; a dead letter from the start, sent only when the postmaster releases it */
	WAY_HELD          /* not at all: a message that a filter held back; likewise. Whatever comes of it then is reported to nobody */
};

struct envelope_recipient {
	struct slice address;       /* forward-path, "local@domain" */
	struct slice place;         /* where to: "mx:DOMAIN", "[host]:port", "lmtp:..." (maps/resolve), or ENVELOPE_PLACE_LOCAL: what `address` resolves to */
	struct slice route;         /* the line of `routes` that decided the place; "" none */
	struct slice original;      /* ORCPT, decoded "rfc822;ann@example.org", "" none */
	enum envelope_way way;
	uint8_t notify;             /* NOTIFY_ bits */
};

struct envelope {
	struct slice id;                  /* queue id */
	int64_t arrived_s, expires_s;
	int64_t hold_until_s, hold_for_s; /* FUTURERELEASE (RFC 4865); 0 now. hold_for_s: the seconds that were asked for, 0: a time was */
	struct evidence evidence;
	struct slice reverse_path;        /* "local@domain"; "" is null: admitted only when the gate let it pass (report, inner bounce) */
	bool report;                      /* a report of ours, or one from inside: never reported on */
	struct slice envelope_id;         /* ENVID, decoded */
	bool return_full, return_headers; /* RET=FULL, RET=HDRS: passed on to DSN-speaking hops; our own reports carry headers only */
	bool utf8, eight_bit, require_tls;
	bool waive_tls;                   /* TLS-Required: No of a sender whom we know; REQUIRETLS outdoes it (RFC 8689) */
	int8_t priority;                  /* MT-PRIORITY -9..9 (RFC 6710) */
	int64_t deliver_by_s;             /* DELIVERBY deadline (RFC 2852), 0 none */
	bool deliver_by_return;           /* by-mode R: fail at the deadline; N: notify and go on */
	bool deliver_by_trace;            /* and tell of each time that it was handed on */
	struct slice client;              /* address or "local", for traces and reports */
	struct slice transaction;         /* the id in the log */
	struct slice message_id;
	bool sign;                        /* made here (a report, a notice): delivery signs it; what smtpd hands in is signed already */
	struct envelope_recipient *recipients;
	size_t recipient_count;
};

/* The admission rule of the queue (rule.md, "No queue for strangers"): MAIL_OK, or the reply that the sender gets. hop_down says that the next hop of
 * relayed and forwarded recipients could not be reached just now. */
struct mail_status envelope_admit(const struct envelope *e, bool hop_down);

/* The record form (base/field, version first). put asserts envelope_admit. get refuses everything that put would not write, a record that admission
 * would refuse included (-EPROTO), so that no file in the spool can smuggle a stranger's message in. Views into record; arrays in mem. */
int envelope_put(struct buf *out, const struct envelope *e, bool hop_down);
int envelope_get(struct slice record, struct arena *mem, struct envelope *out);

/* The same form without admission: between processes only, where the queue admits what it was handed before it stores anything. */
int envelope_write(struct buf *out, const struct envelope *e, bool hop_down);
int envelope_read(struct slice record, struct arena *mem, struct envelope *out, bool *hop_down);

/* The wish for a kind of report. */
bool envelope_wants(const struct envelope_recipient *r, uint8_t notify_bit);

/* Is the sender told that a next hop has taken this one (RFC 2852: with trace always, in mode N where the hop doesn't take the deadline over)? */
bool envelope_wants_relayed(const struct envelope *e, const struct envelope_recipient *r, bool deadline_passed);
#endif
