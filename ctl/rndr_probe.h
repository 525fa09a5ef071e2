#ifndef CTL_RNDR_PROBE_H
#define CTL_RNDR_PROBE_H
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/loop.h"
#include "base/net.h"
#include "base/slice.h"

/* One SMTP session with one transaction, said exactly as planned, to a server that may be anything: it is bounded in time, in bytes read and in lines, and
 * always ends with one call of done. Plain text; it asks for nothing but what RFC 5321 knows. */
enum { PROBE_MAX_RECIPIENTS = 16, PROBE_STEP_MS = 60000, PROBE_MAX_MS = 300000 };

struct probe_plan {
	struct net_address target;
	const struct net_address *source;     /* an address of this machine, or NULL; outlives the probe */
	struct slice helo;
	struct slice reverse_path;            /* "" is null */
	struct slice rcpt_parameters;         /* " NOTIFY=SUCCESS" or "" */
	struct slice recipients[PROBE_MAX_RECIPIENTS];
	size_t recipient_count;
	uint32_t settled;                     /* bits: recipients that are not asked, since an earlier probe has their answer */
	struct slice content;                 /* CRLF lines, no line begins with a dot */
	bool fill_past_limit;                 /* goes on with filler until more was sent than the server's SIZE */
	uint64_t fill_max;                    /* and does not begin when SIZE is above this */
};

enum probe_end {
	PROBE_NO_SERVER,                      /* not reached, no greeting, other protocol, ended early */
	PROBE_REFUSED,                        /* a 5xx before or at the dot: nothing was taken */
	PROBE_LATER,                          /* a 4xx */
	PROBE_ACCEPTED,                       /* 250 to the dot */
	PROBE_UNFIT                           /* the plan does not fit this server: note says why */
};

struct probe_result {
	enum probe_end end;
	uint32_t accepted, refused, later;    /* bits: recipients, by what RCPT was answered */
	struct buf note;                      /* the reply that decided, or what went wrong; printable; the callee's during done */
	uint64_t sent_bytes;                  /* of content */
};

struct probe;
struct probe *probe_new(struct loop *l, const struct probe_plan *plan, void (*done)(void *arg, const struct probe_result *r), void *arg);
void probe_free(struct probe *p); /* no callback after it; NULL is fine; allowed inside done */
#endif
