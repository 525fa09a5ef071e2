#ifndef QUEUE_REPORT_GATE_H
#define QUEUE_REPORT_GATE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/slice.h"
#include "queue/evidence.h"

/* The one gate: may this report go? NDRs, delay notices, success DSNs, vacation and other automatic replies, and null reverse-paths from
 * inside all pass here and nowhere else (rule.md, "One gate"). What it withholds becomes a dead letter, never a loss.
 *
 * The decision is two steps: report_gate_judge is a pure function of the facts, a table that a test goes through whole; may_report adds
 * the rates, which need memory. */

enum report_kind {
	REPORT_FAILURE,   /* NDR: RFC 3464 action failed */
	REPORT_DELAY,     /* action delayed */
	REPORT_SUCCESS,   /* action delivered, relayed, expanded: only if NOTIFY or BY asked for it */
	REPORT_REPLY,     /* vacation, MDN and other automatic replies (RFC 3834) */
	REPORT_INNER      /* an outgoing null reverse-path from inside, addressed to `to` */
};
enum { REPORT_KINDS = REPORT_INNER + 1 };

struct report_facts {
	enum report_kind kind;
	struct evidence evidence;         /* of the message that is reported on; for REPORT_INNER: of the last mail seen from `to` */
	struct slice to;                  /* the reverse-path that would get the report, "local@domain", lower-case domain; "" is null */
	struct slice organisation;        /* organisational domain of `to` */
	bool to_ours;                     /* `to` is in a domain of ours */
	bool automatic;                   /* the message is auto-submitted (RFC 3834), or bulk, or from a list, or from a -request or owner- address */
	bool mode_none;                   /* setting `reports none` */
};

struct report_verdict {
	bool allowed;
	const char *reason;               /* a fixed phrase, for log and dead letter, in either case */
};

/* `organisation` of the facts, for grade spf, where it counts: the organisational domain of the address; else its domain. A view of it. */
struct slice report_organisation(const struct evidence *evidence, struct slice to);

struct report_verdict report_gate_judge(const struct report_facts *f);

/* The gate with its memory of what went to whom: bounded tables, kept over restarts by report_gate_save and report_gate_load.
 * Rates: to one reverse-path at most `per_path` an hour; with EVIDENCE_SPF at most one a day for each organisational domain and one a day
 * for each destination host, so that a domain whose MX points at a victim gains nothing. */
struct report_gate;
struct report_gate *report_gate_new(uint64_t per_path);
void report_gate_free(struct report_gate *g);

/* Where replies and reports that strangers wanted are counted as attacks when they are withheld; NULL: nowhere. */
struct attacks;
void report_gate_account(struct report_gate *g, struct attacks *attacks);

/* Decides and, when allowed, counts. now_s is wall time. */
struct report_verdict may_report(struct report_gate *g, const struct report_facts *f, int64_t now_s);

/* Before a destination host (a group of MX hosts) of an allowed report is dialled (EVIDENCE_SPF only): false if it had its one today. */
bool report_gate_host(struct report_gate *g, const struct evidence *evidence, struct slice host, int64_t now_s);

/* Counters since the start: allowed and withheld by kind. */
struct report_counts {
	uint64_t allowed[REPORT_KINDS], withheld[REPORT_KINDS];
};
const struct report_counts *report_gate_counts(const struct report_gate *g);

/* The memory as one record of base/field (version first), to be stored by the queue. gate_load refuses what it can't read: -EPROTO, and the gate
 * then behaves for a day as if every organisation and host had had its report (closed is the safe side). */
struct buf;
int report_gate_save(const struct report_gate *g, struct buf *out);
int report_gate_load(struct report_gate *g, struct slice record, int64_t now_s);

struct slice report_kind_name(enum report_kind kind);
#endif
