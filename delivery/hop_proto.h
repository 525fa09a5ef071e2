#ifndef DELIVERY_HOP_PROTO_H
#define DELIVERY_HOP_PROTO_H
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/mail_status.h"
#include "base/slice.h"

/* What smtpd asks the process `delivery`, over base/ipc (the queue's jobs are queue/job_proto.h); payloads are base/field records. The message id of base/ipc
 * is the asker's: the answer carries the same.
 *
 *	question       answer             when
 *	HOP_BEGIN      -                  before a transaction's first HOP_RCPT: where to, who from
 *	HOP_RCPT       HOP_RCPT_DONE      at RCPT: what the next hop says to it (connect, EHLO, STARTTLS and MAIL are part of the first one)
 *	HOP_CONTENT    HOP_CONTENT_DONE   the dot; ends the transaction here (its id is free again), save that HOP_LATE may follow
 *	HOP_ABORT      -                  the transaction is over without content; unknown ones are fine. Open questions are answered 451 first
 *	-              HOP_LATE           a reply that was heard after HOP_CONTENT_DONE said `unknown`: for the ledger. Comes once; when the connection died with no word about anybody
 *
 * Every question is answered once. Channel lost: what that peer has open is aborted (before the dot) or goes on unheard (behind it).
 * A transaction id names one transaction of one peer from HOP_BEGIN to HOP_CONTENT or HOP_ABORT.
 *
 * Once the dot was sent to a host no other host is tried: dot_sent says so, unknown says that no reply was heard (the status is a 451 of ours then).
 * A hop that went away before the dot is dialled again and asked every accepted RCPT again; one that is refused now makes the whole a 451.
 * Places and routes are maps/resolve.h's words: place is a LEAF_HOP's place, or for LEAF_LMTP "lmtp:" and its place; route is leaf.route. */
enum hop_message {
	HOP_BEGIN = 0x200,
	HOP_RCPT,
	HOP_RCPT_DONE,
	HOP_CONTENT,
	HOP_CONTENT_DONE,
	HOP_ABORT,
	HOP_LATE
};

enum {
	HOP_MAX_INLINE = 64 << 10,     /* content in the question itself; more comes as a descriptor */
	HOP_MAX_DIGEST = 32,
	HOP_MAX_TRANSACTION = 32,      /* bytes of a transaction id: letters, digits, '-', '_' */
	HOP_MAX_RECIPIENTS = 1000,     /* of one transaction */
	HOP_BUDGET_MS = 60000          /* the usual budget for everything up to RCPT's reply, where its asker names none */
};

enum hop_flag {
	HOP_8BIT = 1,          /* the client declared BODY=8BITMIME (what the content really holds is found out at the dot) */
	HOP_UTF8 = 2,          /* SMTPUTF8: a hop without it is a 550 5.6.7 */
	HOP_REQUIRETLS = 4,    /* RFC 8689: a hop that does not offer it over verified TLS is a 550 5.7.30, save for the null reverse-path (5) */
	HOP_PRDR = 8,          /* the asker can use a reply for each recipient: ask a hop that offers PRDR for them */
	HOP_RETURN_FULL = 16,  /* RET=FULL, RET=HDRS (RFC 3461), to hops that speak DSN */
	HOP_RETURN_HEADERS = 32,
	HOP_BY_RETURN = 64,    /* deliver_by_s is a limit: a hop that does not take it over is a 550 (RFC 2852, by-mode R) */
	HOP_BY_TRACE = 128,
	HOP_WAIVE_TLS = 256    /* TLS-Required: No: what DANE and MTA-STS demand is not asked for; a route's demand holds, and so does HOP_REQUIRETLS */
};
enum { HOP_FLAGS = 511, HOP_PRIORITY_BASE = 10 };

struct hop_envelope {
	struct slice transaction;
	struct slice place;           /* "mx:DOMAIN", "host:port", "[address]:port", "lmtp:host:port", "lmtp:unix:/path" */
	struct slice route;           /* value of the line of `routes` that decided; "" none */
	struct slice reverse_path;    /* "local@domain" or "" */
	struct slice envelope_id;     /* ENVID, decoded; "" none */
	uint64_t size;                /* announced or known; 0 not known */
	unsigned flags;               /* HOP_ flags */
	uint64_t budget_ms;           /* for each answer to RCPT; 0: the usual */
	uint64_t deliver_by_s;        /* DELIVERBY deadline, wall time; 0 none */
	uint8_t priority;             /* MT-PRIORITY plus HOP_PRIORITY_BASE; 0 none was said */
};

struct hop_recipient {
	struct slice address;         /* "local@domain" */
	struct slice original;        /* ORCPT, decoded "rfc822;ann@example.org"; "" none. Sent to hops that speak DSN */
	uint8_t notify;               /* NOTIFY_ bits of queue/envelope.h; 0 none said */
};

/* What is known about the conversation, for logs, Received lines, reports and the ledger. */
struct hop_facts {
	struct slice host;            /* its name as MX or place told it; "" none was reached */
	struct slice address;         /* "192.0.2.1:25", "unix:/path" */
	struct slice tls;             /* "TLSv1.3 TLS_AES_256_GCM_SHA384 verified"; "" plain */
	bool down;                    /* no host could be asked (DNS, connect, greeting, TLS): a 451 that says nothing about the recipient */
	bool dot_sent;
	bool unknown;                 /* and no reply was heard: it may have been taken */
	bool dsn;                     /* the hop speaks DSN: it got NOTIFY and the rest, success reports are its business */
	bool deliver_by;              /* and DELIVERBY: it got BY */
};

struct hop_rcpt {
	struct slice transaction;
	struct hop_recipient recipient;
	bool ask;                     /* only the hop knows this domain's recipients (recipients=ask): whether it takes everybody is found out */
};

struct hop_rcpt_done {
	struct mail_status status;
	struct hop_facts facts;
	bool accept_all;              /* it took a made-up recipient of this domain lately: its word is worth nothing */
	bool about_recipient;         /* the hop's own answer to that RCPT: a good one, or that it knows no such recipient */
};

/* Where the content is. Exactly the message: our fields in front, nothing behind. Inline: CRLF line ends. A file: `length` bytes from offset, CRLF or,
 * with lf_ends, LF. A CR or LF that is no line end never goes out: such content is refused (554 5.6.0). */
struct hop_content {
	struct slice transaction;
	uint64_t budget_ms;           /* to hear the reply to the dot; then 451, unknown. 0: the usual (RFC 5321: ten minutes) */
	bool eight_bit;               /* there are bytes above 127: a hop without 8BITMIME is a 550 5.6.3 */
	bool from_file, lf_ends;
	uint64_t offset, length;      /* of from_file */
	struct slice content;         /* else */
	struct slice digest;          /* what a repeat of it is known by, "" nothing: while a hop thinks about it, it gets no second one for a recipient of both; the repeat is a 451 */
	bool named;                   /* it has a Message-ID: also one that comes before the first has had its 451 is no other message that says the same */
};

/* each: for every recipient that HOP_RCPT_DONE said MAIL_OK to, in that order. SMTP gives all the same. status: what they have in common, or, when
 * they differ, 451 4.3.0 and mixed. */
struct hop_content_done {
	struct mail_status status;
	bool mixed;
	struct mail_status *each;
	size_t count;
	struct hop_facts facts;
};

struct hop_late {
	struct slice transaction;
	struct hop_content_done done;
};

/* Writers: 0 or -EMSGSIZE. Inline content is the last part of HOP_CONTENT's payload, sent behind the head without a copy by hop_send_content. */
struct ipc;
int hop_put_envelope(struct buf *out, const struct hop_envelope *e);      /* HOP_BEGIN */
int hop_put_rcpt(struct buf *out, const struct hop_rcpt *m);
int hop_put_rcpt_done(struct buf *out, const struct hop_rcpt_done *m);
int hop_put_content(struct buf *out, const struct hop_content *m);        /* the head alone */
int hop_put_content_done(struct buf *out, const struct hop_content_done *m);
int hop_put_transaction(struct buf *out, struct slice transaction);       /* HOP_ABORT */
int hop_put_late(struct buf *out, const struct hop_late *m);
/* fd: the file of from_file, else -1; it stays the caller's. */
int hop_send_content(struct ipc *to, uint64_t id, const struct hop_content *m, int fd);

/* Readers: 0, or -EPROTO for anything that a writer would not write. Slices are views into payload; arrays live in mem. */
int hop_get_envelope(struct slice payload, struct hop_envelope *out);
int hop_get_rcpt(struct slice payload, struct hop_rcpt *out);
int hop_get_rcpt_done(struct slice payload, struct hop_rcpt_done *out);
int hop_get_content(struct slice payload, struct hop_content *out);
int hop_get_content_done(struct slice payload, struct arena *mem, struct hop_content_done *out);
int hop_get_transaction(struct slice payload, struct slice *out);
int hop_get_late(struct slice payload, struct arena *mem, struct hop_late *out);
#endif
