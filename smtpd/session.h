#ifndef SMTPD_SESSION_H
#define SMTPD_SESSION_H
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/conn.h"
#include "base/mail_status.h"
#include "base/slice.h"
#include "smtpd/facts.h"
#include "smtpd/smtpd.h"

/* A session: few states (those of RFC 5321), facts beside them, at most one open question. What a handler wants to happen is a step; only the driver (smtpd/dialog) writes
 * to the socket, so nothing is answered twice or not at all. */
enum session_state {
	SESSION_NEW = 1,        /* before the greeting; `waiting` all the time */
	SESSION_GREETED = 2,    /* no EHLO yet */
	SESSION_READY = 4,      /* no transaction */
	SESSION_MAIL = 8,       /* MAIL taken */
	SESSION_RCPT = 16,      /* and at least one RCPT */
	SESSION_CHUNKS = 32,    /* BDAT begun */
	SESSION_CONTENT = 64    /* DATA: what comes is content */
};

enum step_kind {
	STEP_REPLY,       /* status, with its enhanced code */
	STEP_LINES,       /* code and lines, without one */
	STEP_WAIT,        /* session_answer comes later */
	STEP_CONTENT,     /* DATA: 354, then content */
	STEP_CHUNK,       /* BDAT: content, without a reply */
	STEP_START_TLS,   /* status, then the handshake */
	STEP_CLOSE        /* status, then the end */
};

struct step {
	enum step_kind kind;
	struct mail_status status;
	unsigned code;
	const struct slice *lines;
	size_t line_count;
};

/* Words that access and checks leave. */
enum { SESSION_MAX_WORDS = 16 };
struct words {
	struct slice *at;
	size_t count;
};
void words_add(struct words *w, struct arena *mem, struct slice word); /* copied; once each */

struct auth;
struct listener;
struct promise;
struct checks;
struct content;
struct transaction;

struct session {
	struct smtpd *smtpd;
	struct session *next, **link;
	struct listener *listener;
	struct conn *conn;
	struct loop_timer *timer;           /* the greeting's delay, a slow answer; NULL: none is set */
	struct session_facts facts;
	struct arena mem;                   /* what lives as long as the session */
	enum session_state state;
	bool waiting;                       /* a question is open */
	bool running;                       /* the driver is at work: an answer is kept until its handler has returned */
	bool has_early, closed;
	struct step early;
	struct checks *checks;              /* NULL: no check is interested */
	struct transaction *transaction;    /* NULL outside of one */
	struct content *content;            /* while content comes */
	struct promise *promises;           /* 250s that the client may not have heard yet (smtpd/heard) */
	void (*policy_done)(struct session *s, struct mail_status status); /* whom policy answers */
	void (*sees)(struct session *s);    /* and who goes on with RCPT once the client is known not to be blind */
	struct recipient *candidate;        /* the one that RCPT is about */
	struct arena_mark before_candidate; /* the transaction's arena before it */
	size_t judged_at;                   /* and what was used of it when the maps alone had refused it: nobody else knows of it; 0 not so */
	struct buf reply;                   /* text of an answer that outlives its transaction */
	struct buf before;                  /* whole replies that are said in front of it (PRDR) */
	struct mail_status slow_status;     /* an answer that waits for the timer */
	struct words tags, by_pass;         /* from access, of client and EHLO name; those of paths are in the transaction's facts */
	struct words helo_tags, helo_by_pass; /* of the EHLO name alone: another name, or TLS, and they are forgotten */
	struct arena helo_mem;              /* theirs: however often a name is said, they are all there */
	size_t by_passed_for_sender;        /* how many of facts.transaction->bypass are the reverse-path's */
	struct slice proven_domain;         /* by SPF or DKIM: harvesting goes by it */
	struct auth *auth;                  /* the SASL exchange; NULL outside of one */
	unsigned auth_failures;
	struct step (*on_line)(struct session *s, struct slice line); /* takes the next line in place of the verbs (AUTH); NULL */
	void (*then)(void *session);        /* what the timer is set for */
	struct mail_status ending;          /* the process or the session ends: its 421; code 0: not */
	unsigned commands, errors, syntax_errors;
	uint64_t unknown;                   /* recipients */
	size_t skipped;                     /* bytes of a line that is too long */
	uint64_t chunk_size;                /* BDAT, while checks run */
	uint64_t skip_bytes;                /* of a chunk out of place, and then its 503 */
	bool chunk_last, skipping_chunk;
	uint64_t began_ms;
	bool counted;                       /* by address and network (smtpd/crowd), as counted_as */
	struct net_ip counted_as;
	bool waiting_tls, tls_pending;      /* a handshake comes first; is under way */
	bool talked_early;                  /* before the greeting */
	bool in_rcpt;                       /* the command at work is RCPT: its refusals are no errors */
	bool hears_utf8;                    /* its last MAIL said SMTPUTF8 */
	bool half_closed;                   /* the client has said its last word, and may still listen */
};

struct session *session_new(struct smtpd *d, struct listener *l, int fd, const struct net_address *peer);
void session_free(struct session *s);

/* The answer of an open question; or, from inside a handler, its step. */
void session_answer(struct session *s, struct step step);

/* A status whose text outlives the transaction and whoever made it, until the next one is kept. */
struct mail_status session_keep(struct session *s, struct mail_status status);

/* Back to the state behind EHLO: the transaction, if any, is given up. */
void session_reset(struct session *s);

/* Forgets all that was said (RFC 3207, 4.2). */
void session_forget(struct session *s);
void session_forget_helo_words(struct session *s);

/* 421 and the end, as soon as the question that is open is answered. */
void session_end(struct session *s, struct mail_status status);

/* Timers: one at a time, for the open question. */
void session_after(struct session *s, uint64_t ms, void (*then)(void *session));

static inline struct step step_reply(struct mail_status status)
{
	return (struct step){ .kind = STEP_REPLY, .status = status };
}

static inline struct step step_close(struct mail_status status)
{
	return (struct step){ .kind = STEP_CLOSE, .status = status };
}

#define STEP_WAITING ((struct step){ .kind = STEP_WAIT })
#define REPLY(fate, code, subject, detail, text) step_reply(MAIL_STATUS(fate, code, subject, detail, text))
#endif
