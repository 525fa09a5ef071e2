#ifndef QUEUE_ATTACKS_H
#define QUEUE_ATTACKS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/net.h"
#include "base/slice.h"

/* The account of attacks that were fended off: which of the ways of a reverse NDR attack (rule.md, last table) were tried, from which networks, with
 * which forged domains, what each was answered, and what the reports would have cost at Postfix's default behaviour.
 *
 * It is one file of fixed size, mapped shared by every process that has something to tell (smtpd, queue) and read by porterctl and the web
 * process. 35 days are kept, each with counters, an hour's time line and two bounded top lists (Space-Saving: Metwally, Agrawal, El Abbadi 2005), so
 * memory does not grow with the attack; beside them totals that only grow, for /metrics. It lives over restarts; a lock left by a dead process is taken over. */
enum attack_kind {
	ATTACK_UNKNOWN,    /* fictitious recipient in a domain of ours */
	ATTACK_ALIAS,      /* alias that leads nowhere just now */
	ATTACK_FORWARD,    /* forward refused by the remote host at RCPT */
	ATTACK_RELAYED,    /* unknown in a domain that we relay */
	ATTACK_FULL,       /* mailbox full, home missing, disk full */
	ATTACK_VERDICT,    /* late verdict: filter, Sieve reject, program */
	ATTACK_DSN,        /* success DSN or RET=FULL asked by a stranger */
	ATTACK_REPLY,      /* vacation and other automatic replies that the gate withheld */
	ATTACK_OUTCOMES,   /* several recipients with different outcomes */
	ATTACK_LATE,       /* a next hop that refused the content */
	ATTACK_TOO_LARGE,
	ATTACK_LOOP,
	ATTACK_INNER,      /* a report from inside, or back through SRS, for a forged sender */
	ATTACK_RELAYING,   /* a foreign domain, asked by a stranger */
	ATTACK_JOE_JOB,    /* bounce of something that we never sent */
	ATTACK_HARVEST     /* past the budget of unknown recipients: slowed, blind or refused */
};
enum { ATTACK_KINDS = ATTACK_HARVEST + 1 };

enum attack_answer {
	ATTACK_REFUSED,    /* 5xx at RCPT or before */
	ATTACK_REFUSED_DOT,/* 5xx at the dot */
	ATTACK_DEFERRED,   /* 4xx */
	ATTACK_WITHHELD    /* the gate kept a report back: a dead letter */
};
enum { ATTACK_ANSWERS = ATTACK_WITHHELD + 1 };

struct attack {
	enum attack_kind kind;
	enum attack_answer answer;
	struct net_ip ip;         /* all zero: not known here */
	struct slice domain;      /* of the reverse-path; "" for null */
	uint64_t size;            /* of the message, announced or counted; 0 unknown */
	int64_t now_s;            /* wall time */
	bool no_report;           /* not of the kinds' usual sort: Postfix, as shipped, would have delivered it, or refused it itself */
};

enum { ATTACK_DAYS = 35, ATTACK_TOP = 128, ATTACK_NAME = 48 };

size_t attacks_size(void);

/* The parent, at start: memory is the mapped file. What is there is kept if it is ours and of this version, else it starts anew (true: kept). */
bool attacks_create(void *memory, size_t size);

/* A view in any process; NULL if the memory was not made by attacks_create. */
struct attacks;
struct attacks *attacks_attach(void *memory, size_t size);

/* The same from the file that the parent handed to this process, which stays mapped; NULL: there is none. */
struct house;
struct attacks *attacks_take(struct house *h);
void attacks_detach(struct attacks *a); /* NULL is fine */

/* Counts a decision of the gate, an attack or not. a may be NULL: nothing happens. */
enum { ATTACK_REPORTS = 5 };
void attacks_note_report(struct attacks *a, unsigned kind, bool allowed);

/* Counts one. a may be NULL: nothing happens. */
void attacks_note(struct attacks *a, const struct attack *what);

struct attack_top {
	char name[ATTACK_NAME];   /* "192.0.2.0/24", "2001:db8::/48", "example.org", "<>" */
	uint64_t count, error;    /* the true number is count-error..count */
	uint32_t kinds;           /* bits of enum attack_kind */
	struct net_ip last;       /* of a network: the address that came last; all zero: not known */
};

struct attack_report {
	int64_t since_s, until_s;
	uint64_t counts[ATTACK_KINDS][ATTACK_ANSWERS];
	uint64_t attempts;                        /* the sum of counts */
	uint64_t spared_messages, spared_bytes;   /* the reports that Postfix, as shipped, would have sent */
	uint64_t hours[ATTACK_DAYS * 24];         /* attempts, the oldest first */
	size_t hour_count;
	struct attack_top networks[ATTACK_TOP], domains[ATTACK_TOP]; /* most first */
	size_t network_count, domain_count;
};

/* What was counted from since_s (at most ATTACK_DAYS ago) to now_s, in whole hours for the time line and whole days for the lists. */
void attacks_read(struct attacks *a, int64_t since_s, int64_t now_s, struct attack_report *out);

/* Joe-job: refused bounces of what was never sent here (ATTACK_JOE_JOB) rise when somebody forges our addresses. `now` counts this hour and the rest of the one
 * before it, so that it never starts at nothing; `usual` is ten times the mean of an hour in the seven days before. Reads without the lock: a parent waits for nobody. */
enum { ATTACK_RISE_LEAST = 20, ATTACK_RISE_TIMES = 5, ATTACK_USUAL_HOURS = 7 * 24 };
struct attack_rise {
	uint64_t now, usual_tenths;
	bool rising;              /* now is at least ATTACK_RISE_LEAST, and more than ATTACK_RISE_TIMES the usual */
};
void attacks_rise(const struct attacks *a, int64_t now_s, struct attack_rise *out); /* a NULL: nothing rises */

/* Since counting began: what a counter may tell, which never falls. */
struct attack_totals {
	uint64_t counts[ATTACK_KINDS][ATTACK_ANSWERS];
	uint64_t spared_messages, spared_bytes;
	uint64_t reports[ATTACK_REPORTS][2]; /* what the gate decided, by enum report_kind: withheld, allowed */
};
void attacks_totals(struct attacks *a, struct attack_totals *out);

uint64_t attack_withheld(const struct attack_report *r);                     /* reports that were written nowhere because the gate said no */
uint64_t attack_total(const struct attack_report *r, enum attack_kind kind); /* of all answers */

/* "unknown recipient", and whether Postfix as shipped returns such a message after accepting it. */
struct slice attack_name(enum attack_kind kind);
bool attack_is_returned(enum attack_kind kind);
struct slice attack_answer_name(enum attack_answer answer);
#endif
