#ifndef QUEUE_JOB_PROTO_H
#define QUEUE_JOB_PROTO_H
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/mail_status.h"
#include "base/slice.h"

/* What the queue hands out to be delivered, over base/ipc. It stands in queue/ because arrows point down: delivery includes this, queue/ includes
 * nothing of delivery/. Two processes take jobs: `delivery` those for next hops, `mailbox` those of place "mailbox:" (reports to people of ours,
 * mail from the drop folder).
 *
 *	question       answer        what
 *	JOB_START      JOB_RESULT    deliver this message to these recipients; the descriptor of its spool file (read-only) comes along
 *	JOB_CANCEL     -             the postmaster took the message away: don't begin with it. The result still comes (451 where nothing was tried)
 *	JOB_HOST       JOB_HOST_OK   from delivery, for a job with ask_host: may this host be dialled? (report_gate: one report a day for each host)
 *
 * The id of base/ipc is the job's from JOB_START to JOB_RESULT. Each job gets exactly one result, with every recipient in it. The channel lost: what
 * had no result is tried again later, so a result is sent as soon as it is known. At most `queue-jobs` jobs are out, `queue-destination-jobs` of one
 * place, so the taker need not limit them again; it may let them wait for a connection. */
enum job_message {
	JOB_START = 0x400,
	JOB_RESULT,
	JOB_CANCEL,
	JOB_HOST,
	JOB_HOST_OK
};

enum { JOB_MAX_RECIPIENTS = 1000 };

#define JOB_PLACE_MAILBOX SLICE("mailbox:")

/* For a next hop the leaf_ members are 0. For "mailbox:" one recipient has one job_recipient for each of its leaves, as maps/resolve.h names them. */
struct job_recipient {
	uint32_t index;               /* the queue's; goes back in the result */
	struct slice address;         /* RCPT TO, "local@domain" as it goes on the wire (local-part quoted where it must be) */
	struct slice original;        /* ORCPT, decoded, "rfc822;ann@example.org"; "" none */
	uint8_t notify;               /* NOTIFY_ bits of queue/envelope.h; 0 not said */
	uint8_t leaf_kind;            /* enum leaf_kind */
	struct slice leaf_place;
	uint64_t quota_bytes, quota_messages;
};

struct job {
	struct slice id;              /* queue id, for the log */
	struct slice place;           /* "mx:DOMAIN", "[host]:port", "lmtp:...", "mailbox:" */
	struct slice route;           /* the line of `routes` that decided (maps/resolve); "" none */
	struct slice reverse_path;    /* "local@domain"; "" null */
	struct slice envelope_id;     /* ENVID, decoded */
	bool return_full, return_headers; /* RET=FULL, RET=HDRS */
	bool utf8, eight_bit;         /* the message needs SMTPUTF8; it is 8BITMIME */
	bool require_tls, waive_tls;  /* RFC 8689 */
	struct slice sign_domain;     /* made by the queue itself: DKIM-sign it as this domain; "" not (queue/job_sign.h) */
	struct slice sign_keys;       /* and with these keys, as a line of `signers` has them */
	bool ask_host;                /* ask JOB_HOST before a host is dialled */
	int8_t priority;              /* MT-PRIORITY */
	int64_t deliver_by_s;         /* DELIVERBY deadline, wall time; 0 none */
	bool deliver_by_return, deliver_by_trace; /* its mode: R (true) or N; with T */
	uint64_t content_offset, content_length; /* in the descriptor's file; CRLF line ends, no dot-stuffing */
	struct job_recipient *recipients;
	size_t recipient_count;       /* 1..JOB_MAX_RECIPIENTS */
};

struct job_recipient_result {
	uint32_t index;
	struct mail_status status;    /* the remote's reply word for word, or what went wrong on the way there */
	struct slice host;            /* who said so: "mx.example.org[192.0.2.1]:25"; "" nobody was reached */
	bool down;                    /* no host of the place could be asked (DNS, connect, greeting): says nothing about the recipient */
	bool dsn_passed;              /* taken by a host that speaks DSN, which got NOTIFY: success reports are its matter from now on */
	bool deadline_passed;         /* taken by a host that speaks DELIVERBY: it got BY */
};

/* window: how many jobs for this place may be out at once just now (grows on success, shrinks on 421, 4xx and dead hosts; 0: no opinion); rest_ms: no
 * use to try this place sooner (dead hosts); 0 none. */
struct job_result {
	uint32_t window;
	uint64_t rest_ms;
	struct job_recipient_result *recipients;
	size_t recipient_count;
};

/* Writers: 0 or -EMSGSIZE. Readers: 0, or -EPROTO for anything that a writer would not write; slices are views, arrays live in mem. JOB_CANCEL has no
 * payload, JOB_HOST the host's name as one text (host "mx.example.org", lower case), JOB_HOST_OK a flag. */
int job_put(struct buf *out, const struct job *j);
int job_get(struct slice payload, struct arena *mem, struct job *out);
int job_put_result(struct buf *out, const struct job_result *r);
int job_get_result(struct slice payload, struct arena *mem, struct job_result *out);
int job_put_host(struct buf *out, struct slice host);
int job_get_host(struct slice payload, struct slice *host);
int job_put_host_ok(struct buf *out, bool ok);
int job_get_host_ok(struct slice payload, bool *ok);
#endif
