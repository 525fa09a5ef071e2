#ifndef QUEUE_QUEUE_PROTO_H
#define QUEUE_QUEUE_PROTO_H
#include <stdbool.h>
#include <stdint.h>
#include "base/answer.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/crypto.h"
#include "base/hash.h"
#include "base/mail_status.h"
#include "base/slice.h"
#include "queue/envelope.h"

/* What smtpd and web ask the queue process, over base/ipc. The id of base/ipc is the asker's, the answer carries the same. Jobs that the queue
 * hands out are in queue/job_proto.h.
 *
 *	question              answer              when
 *	QUEUE_PEN             QUEUE_PEN_READY     a body grows past what memory may hold and no mailbox pen is wanted (or beside it)
 *	QUEUE_PUT (commit)    QUEUE_TAKEN         the dot, the queue alone: prepared and published with one question
 *	QUEUE_PUT (hold)      QUEUE_TAKEN         the dot, together with mailboxes: content and envelopes durable, not yet ours
 *	QUEUE_COMMIT          QUEUE_TAKEN         publish what is held
 *	QUEUE_ABORT           -                   the transaction is over: pen and what is held are dropped; unknown ones are fine
 *	QUEUE_GATE            QUEUE_GATED         RCPT with a null reverse-path from inside, for a foreign recipient: may it go out?
 *	QUEUE_SUCCESS         -                   recipients with NOTIFY=SUCCESS were delivered inside the transaction: report that (the gate decides)
 *	QUEUE_REPLY           -                   a message was committed to a mailbox that has a vacation text (the gate decides)
 *	QUEUE_SEEN            -                   reverse-paths that came with evidence >= spf, at the dot
 *	QUEUE_SENT            -                   Message-IDs that left by pass-through (what is queued is noted by QUEUE_PUT itself)
 *	QUEUE_SENT_LOOK       QUEUE_SENT_LOOKED   a null reverse-path for a sole-sender domain: is one of these Message-IDs ours?
 *	LEDGER_LOOK           LEDGER_LOOKED       RCPT, only if ledger_hint_hit: is there an entry for (reverse-path, leaf)?
 *	LEDGER_DECIDE         LEDGER_DECIDED      the dot, only if a LOOK of this transaction found one
 *	LEDGER_NOTE           LEDGER_NOTED        intent, done, refused, lost (which is not answered)
 *	LEDGER_CLEAR          -                   what was noted as pending was told, and the client has heard it: a LEDGER_DECIDE's payload
 *	ASK_LOOK              ASK_LOOKED          RCPT for a relayed domain with recipients=ask: what did the hop say last?
 *	ASK_NOTE              -                   what it said now
 *	QUEUE_LETTER          -                   the page's alone: may the mail server of this domain be checked? texts: domain, host, link, the asker's network
 *	QUEUE_FEEDBACK        -                   DMARC was judged for a domain that wants aggregate reports (queue/feedback.h)
 *	QUEUE_OWNER           -                   when a channel comes up: whose slots in queue/flight are the asker's
 *	-                     LEDGER_KEY          when a channel comes up: under which key contents are digested
 *	-                     QUEUE_STATE         when a channel comes up and once a second while it changes
 *	-                     QUEUE_HINTS         when a channel comes up, and when entries were removed: which (reverse-path, leaf) may have an entry
 *	-                     QUEUE_HINT          one more
 *	-                     QUEUE_VACATIONS     when a channel comes up and when it changes: the addresses that have a vacation text
 *
 * QUEUE_TAKEN to a commit with MAIL_OK is the promise of the 250. A PUT is all or nothing save a crash between two of its names, where the client, having
 * heard nothing, sends again. Channel lost: what was not asked to commit is dropped. */
enum queue_message {
	QUEUE_PEN = 0x300,
	QUEUE_PEN_READY,
	QUEUE_PUT,
	QUEUE_TAKEN,
	QUEUE_COMMIT,
	QUEUE_ABORT,
	QUEUE_GATE,
	QUEUE_GATED,
	QUEUE_SUCCESS,
	QUEUE_REPLY,
	QUEUE_SEEN,
	QUEUE_SENT,
	QUEUE_SENT_LOOK,
	QUEUE_SENT_LOOKED,
	LEDGER_LOOK,
	LEDGER_LOOKED,
	LEDGER_DECIDE,
	LEDGER_DECIDED,
	LEDGER_NOTE,
	LEDGER_NOTED,
	LEDGER_CLEAR,
	ASK_LOOK,
	ASK_LOOKED,
	ASK_NOTE,
	QUEUE_STATE,
	QUEUE_HINTS,
	QUEUE_HINT,
	QUEUE_VACATIONS,
	QUEUE_LETTER,
	QUEUE_FEEDBACK,
	QUEUE_OWNER,
	LEDGER_KEY
};

enum {
	QUEUE_MAX_INLINE = 64 << 10,        /* content in the question itself; more goes to a pen */
	QUEUE_MAX_ENVELOPES = 100,          /* of one PUT: one for the sender's own recipients, one for each list owner */
	QUEUE_MAX_TRANSACTION = 32,
	QUEUE_MAX_ENTRIES = 1000,           /* leaves of one ledger question */
	QUEUE_MAX_BATCH = 1000,             /* of SEEN, SENT, SENT_LOOK */
	QUEUE_MAX_VACATIONS = 10000,
	QUEUE_DIGEST = 32                   /* of the content as it came, keyed by LEDGER_KEY (smtpd/message) */
};

/* -- putting in ------------------------------------------------------------------------------------------------------------------- */

/* An empty unnamed file of the spool. Content is written at content_offset >= SPOOL_HEAD (64) with CRLF line ends, no dot-stuffing, our own fields in
 * front; the bytes between 64 and content_offset are a gap. PEN's payload is the transaction id; PEN_READY a status, and the descriptor with MAIL_OK. */

/* One message with one or more envelopes. Each envelope's id is the queue id that the client will be told, chosen by smtpd (unique_new) and different
 * for each. What smtpd does not decide: `report` must be false and grade OWNER never stands there. The queue sets them: OWNER where every recipient is
 * WAY_LIST (reverse_path is then the list's owner), report where reverse_path is null and the gate allows each recipient. Admission is checked
 * again; what it refuses comes back as QUEUE_TAKEN's status.
 * hop_down: the next hop of relayed or forwarded recipients was asked just now and could not be reached. */
struct queue_put {
	struct slice transaction;
	bool hold;
	bool from_pen;
	uint64_t content_offset, content_length; /* from_pen */
	struct slice content;                    /* else */
	bool hop_down;
	struct slice tickets;        /* in queue/flight, marked when it is the queue's: uint64_t each, as they lie in memory; "": none */
	struct envelope *envelopes;
	size_t envelope_count;
};

/* -- the gate --------------------------------------------------------------------------------------------------------------------- */

/* A null reverse-path from inside, to an address that is not a mailbox of ours. to_ours: its domain is one that `domains` relays. */
struct queue_gate {
	struct slice transaction;
	struct slice to;             /* "local@domain" */
	bool to_ours;
};

/* The message that a success report or an automatic reply answers. envelope: as for PUT, its recipients are those delivered. */
struct queue_told {
	struct slice header;         /* its header section, at most 64 KiB of it */
	struct envelope envelope;
};

/* -- lists of texts: SEEN (reverse-paths, each with the grade), SENT (Message-IDs), SENT_LOOK, VACATIONS ----------------------------------- */

struct queue_seen {
	struct slice reverse_path;
	uint8_t grade;               /* enum evidence_grade, >= EVIDENCE_SPF */
};

/* -- the ledger (rule.md, "One transaction, several outcomes") -------------------------------------------------------------------------- */

/* Which pairs may have an entry: a bitmap that smtpd keeps of what the queue sends it, so that RCPT asks only where there is something. Before the first
 * QUEUE_HINTS everything is a hit. */
enum { LEDGER_HINT_BYTES = 8192 };
struct ledger_hints {
	bool known;
	struct hash_key key;
	uint8_t bits[LEDGER_HINT_BYTES];
};
bool ledger_hint_hit(const struct ledger_hints *h, struct slice reverse_path, struct slice leaf);
uint32_t ledger_hint_bit(const struct hash_key *key, struct slice reverse_path, struct slice leaf);

/* leaf: a name for where a copy goes, the same each time: leaf.address of maps/resolve, lower-case domain. */
struct ledger_look {
	struct slice reverse_path, leaf;
};
enum ledger_found {
	LEDGER_NOTHING,
	LEDGER_OPEN,       /* done, refused or intent: this recipient travels alone, and DECIDE at the dot */
	LEDGER_MAYBE,      /* a lost 250, or what was told since: nothing at RCPT, DECIDE at the dot */
	LEDGER_LEFT_OUT    /* it held others up: 4xx this time, and the entry is gone */
};
struct ledger_looked {
	enum answer answer;          /* FOUND: see found. UNSURE: the ledger can't be read just now, 451 */
	enum ledger_found found;
};

/* Who says so, for lost 250s: a repeat is swallowed only with the same Message-ID and digest from the same network or proven domain. */
struct ledger_source {
	struct slice reverse_path;
	struct slice digest;         /* QUEUE_DIGEST bytes */
	struct slice message_id;     /* "" none: never swallowed */
	struct slice network;        /* "192.0.2.0/24", "2001:db8::/48" */
	struct slice domain;         /* SPF- or DKIM-passing domain; "" none */
};

struct ledger_decide {
	struct ledger_source source;
	struct slice *leaves;
	size_t leaf_count;
};

enum ledger_fate {
	LEDGER_UNKNOWN,    /* nothing with this digest: deliver */
	LEDGER_DONE,       /* this leaf has it: count it as delivered, don't deliver again. In queue/flight: once the slot is marked, or the spool holds the message `name` */
	LEDGER_REFUSED,    /* the hop refused this content: status is its reply */
	LEDGER_INTENT,     /* a mailbox was about to commit it, in a file whose name holds `name`, the transaction's id: look whether it is there */
	LEDGER_LOST,       /* NOTE only: our 250 for it may not have been heard. DECIDE gives it back as LEDGER_DONE, once source matches */
	LEDGER_HELD_UP     /* NOTE only: it could not take it just then, and others could: the next LOOK leaves it out */
};

struct ledger_entry {
	struct slice leaf;
	enum ledger_fate fate;
	struct mail_status status;   /* LEDGER_REFUSED: what the hop said; else MAIL_STATUS_OK */
	struct slice name;           /* LEDGER_INTENT: what the file's name holds; LEDGER_DONE in queue/flight: the queue id; else "" */
};

struct ledger_decided {
	enum answer answer;          /* UNSURE: 451. Else FOUND, entries in the order of the question's leaves */
	struct ledger_entry *entries;
	size_t count;
};

enum ledger_note_kind {
	LEDGER_NOTE_FIRM,      /* durable when answered; from now on a RCPT asks for it */
	LEDGER_NOTE_PENDING,   /* durable when answered; the asker still has the transaction in hand, so RCPT asks for it only when the asker's channel is lost */
	LEDGER_NOTE_SOON       /* a lost 250: durable with whatever is made durable next */
};

struct ledger_note {
	struct ledger_source source;
	enum ledger_note_kind kind;
	struct ledger_entry *entries;
	size_t count;
};

/* -- what next hops said about relayed recipients ------------------------------------------------------------------------------------------- */

struct ask_note {
	struct slice address;        /* canonical */
	struct slice place;          /* of whom */
	struct mail_status status;   /* OK: valid; NEVER with 5.1.x: unknown. Others are not kept */
	bool accept_all;             /* the hop took a random address, too: what it says of this place proves nothing */
};
struct ask_looked {
	enum answer answer;          /* FOUND: status is what it said; ABSENT: ask it (status is MAIL_STATUS_OK then) */
	struct mail_status status;
	bool accept_all;
};

/* -- what the schedule knows, for porterctl ---------------------------------------------------------------------------------------------- */

/* The question "survey SIZE AT ANEW" (of struct schedule_cursor; zeros at first) is answered by this record, behind which a roll (queue/roll.h) stands whose entries
 * have no marks and no order. */
struct survey_head {
	uint64_t size, at, anew;     /* for the next question */
	bool more;
	uint64_t messages;           /* that the schedule has in all */
	uint64_t omitted;            /* too large to be told of, being settled just now, or not yet scanned: look at the files then */
};
int survey_put_head(struct buf *out, const struct survey_head *h);
bool survey_get_head(struct slice *in, struct survey_head *out);

/* -- the state of the spool --------------------------------------------------------------------------------------------------------------- */

struct queue_state {
	uint64_t free_bytes;         /* above the reserve */
	bool read_only;
	bool full;                   /* queue-messages reached, or no inodes: 452 */
	bool clock_doubt;            /* the clock was set forward: what is over by it may not be */
};

/* Writers: 0 or -EMSGSIZE. queue_put_put leaves content out: it is the last part of the payload, sent by queue_send_put without a copy. */
struct ipc;
int queue_put_transaction(struct buf *out, struct slice transaction);        /* PEN, COMMIT, ABORT */
int queue_put_status(struct buf *out, const struct mail_status *s);          /* PEN_READY, TAKEN, GATED, LEDGER_NOTED */
int queue_put_put(struct buf *out, const struct queue_put *m);
int queue_send_put(struct ipc *to, uint64_t id, const struct queue_put *m);
int queue_put_gate(struct buf *out, const struct queue_gate *m);
int queue_put_told(struct buf *out, const struct queue_told *m);             /* SUCCESS, REPLY */
int queue_put_seen(struct buf *out, const struct queue_seen *m, size_t count);
int queue_put_texts(struct buf *out, const struct slice *texts, size_t count); /* SENT, SENT_LOOK, VACATIONS */
int queue_put_answer(struct buf *out, enum answer a);                        /* SENT_LOOKED */
int queue_put_state(struct buf *out, const struct queue_state *m);
int queue_put_hints(struct buf *out, const struct ledger_hints *m);
int queue_put_hint(struct buf *out, uint32_t bit);
int queue_put_owner(struct buf *out, uint32_t owner);
int ledger_put_key(struct buf *out, const uint8_t key[CRYPTO_MAC_KEY]);
int ledger_put_look(struct buf *out, const struct ledger_look *m);
int ledger_put_looked(struct buf *out, const struct ledger_looked *m);
int ledger_put_decide(struct buf *out, const struct ledger_decide *m);
int ledger_put_decided(struct buf *out, const struct ledger_decided *m);
int ledger_put_note(struct buf *out, const struct ledger_note *m);
int ask_put_look(struct buf *out, struct slice address, struct slice place);
int ask_put_looked(struct buf *out, const struct ask_looked *m);
int ask_put_note(struct buf *out, const struct ask_note *m);

/* Readers: 0, or -EPROTO for anything that a writer would not write. Slices are views into payload; arrays live in mem. */
int queue_get_transaction(struct slice payload, struct slice *transaction);
int queue_get_status(struct slice payload, struct mail_status *out);
int queue_get_put(struct slice payload, struct arena *mem, struct queue_put *out);
int queue_get_gate(struct slice payload, struct queue_gate *out);
int queue_get_told(struct slice payload, struct arena *mem, struct queue_told *out);
int queue_get_seen(struct slice payload, struct arena *mem, struct queue_seen **out, size_t *count);
int queue_get_texts(struct slice payload, size_t max, struct arena *mem, struct slice **out, size_t *count);
int queue_get_answer(struct slice payload, enum answer *out);
int queue_get_state(struct slice payload, struct queue_state *out);
int queue_get_hints(struct slice payload, struct ledger_hints *into);        /* QUEUE_HINTS: replaces all */
int queue_get_hint(struct slice payload, struct ledger_hints *into);         /* QUEUE_HINT: sets one */
int queue_get_owner(struct slice payload, uint32_t *owner);
int ledger_get_key(struct slice payload, uint8_t key[CRYPTO_MAC_KEY]);
int ledger_get_look(struct slice payload, struct ledger_look *out);
int ledger_get_looked(struct slice payload, struct ledger_looked *out);
int ledger_get_decide(struct slice payload, struct arena *mem, struct ledger_decide *out);
int ledger_get_decided(struct slice payload, struct arena *mem, struct ledger_decided *out);
int ledger_get_note(struct slice payload, struct arena *mem, struct ledger_note *out);
int ask_get_look(struct slice payload, struct slice *address, struct slice *place);
int ask_get_looked(struct slice payload, struct ask_looked *out);
int ask_get_note(struct slice payload, struct ask_note *out);
#endif
