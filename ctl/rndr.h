#ifndef CTL_RNDR_H
#define CTL_RNDR_H
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/loop.h"
#include "base/net.h"
#include "base/slice.h"

/* The reverse NDR check: plays the attack of 2003 harmlessly against one server, and tells for each way of rule.md's last table whether the forged
 * sender would have been hit. One probe for each way, marked in header, Message-ID and reverse-path, with a pause between them; whatever comes back to the forged
 * sender is caught (ctl/rndr_catch.h) and counted against its probe by a keyed mark, so that a guessed or old return counts for nothing.
 *
 * Whether a server may be tested at all is ctl/rndr_consent.h's matter, before a check is made. */
enum rndr_way {
	RNDR_UNKNOWN, RNDR_MIXED, RNDR_DEAD_ALIAS, RNDR_FORWARD, RNDR_RELAYED, RNDR_FULL, RNDR_OVERSIZE, RNDR_LOOP, RNDR_SUCCESS, RNDR_INNER, RNDR_DELAY,
	RNDR_REPLY, RNDR_NULL, RNDR_QUOTED, RNDR_SUBADDRESS, RNDR_OUTCOMES
};
enum { RNDR_WAYS = RNDR_OUTCOMES + 1 };

enum rndr_verdict {
	RNDR_PENDING,
	RNDR_REFUSED,      /* refused in session: the client's own server tells its own user */
	RNDR_SILENT,       /* accepted, and nothing came back in time: delivered, dropped, or later; unproved */
	RNDR_BOUNCED,      /* accepted and returned to the forged sender: backscatter */
	RNDR_COULD_NOT     /* the note says why */
};
enum { RNDR_VERDICTS = RNDR_COULD_NOT + 1 };

/* A way's row: its word, one sentence, the option that names what it needs ("" nothing), the row of rule.md's table. */
struct rndr_way_row {
	struct slice word, sentence, needs;
};
extern const struct rndr_way_row rndr_ways[RNDR_WAYS];
struct slice rndr_verdict_name(enum rndr_verdict v); /* "refused in session" ... */

/* Can nobody have this way's mail? Then a message that was accepted and is not heard of again is a suspected drop. */
bool rndr_way_is_lost(enum rndr_way way);

/* What sixteen verdicts come to, as an exit code: 1 it backscatters; 2 could not tell: the plain attack was not tried or not refused, or a message that nobody can have was
 * accepted, or anything was while nothing listened (deaf); 0 none. wanted: bits of enum rndr_way, 0 all. */
int rndr_answer(const enum rndr_verdict verdicts[RNDR_WAYS], uint32_t wanted, bool deaf);

struct rndr_result {
	enum rndr_verdict verdict;
	struct buf note;              /* the reply that decided, or why it could not be tested; printable */
	uint64_t sent_bytes;          /* of the probe's content */
	uint64_t back_bytes, back_ms; /* what came back, all returns together; how long the first took */
	unsigned returns;
	bool body_back;               /* the probe's body, in an attack the spam, was in a return */
	bool deferred;                /* the server asked to come again (greylisting), which was done */
};

/* Addresses of the tested organisation that some ways need; "" leaves the way untested. */
struct rndr_addresses {
	struct slice known;           /* a mailbox that exists */
	struct slice dead_alias, forward, full, vacation, deferred;
	struct slice relayed;         /* a domain */
};

struct rndr_setup {
	struct net_address target;
	struct net_address source;    /* that probes come from; length 0: as the kernel chooses */
	struct slice host;            /* as the caller named it */
	struct slice domain;          /* the organisation's, in A-labels */
	struct rndr_addresses addresses;
	struct slice probe_domain;    /* of the forged senders: "victim.example", or "[127.0.0.1]" */
	struct slice helo;
	uint64_t wait_ms;             /* for returns, after the last probe */
	uint64_t pause_ms;            /* between probes */
	uint64_t again_ms;            /* after a 4xx, once more after this time; 0 never */
	uint64_t fill_max;            /* bytes that a probe past the size limit may send; 0: 40 MiB */
	uint32_t ways;                /* bits of enum rndr_way; 0: all */
	bool deaf;                    /* nothing listens for returns */
};

struct rndr_check;
struct rndr_handler {
	void (*on_progress)(void *arg, const struct rndr_check *c); /* after each probe, each return, once a second while waiting */
	void (*on_done)(void *arg, const struct rndr_check *c);     /* once; the callee may call rndr_check_free */
};

/* Copies what setup points to. Starts in the loop; never calls back from inside. */
struct rndr_check *rndr_check_new(struct loop *l, const struct rndr_setup *setup, const struct rndr_handler *handler, void *arg);
void rndr_check_free(struct rndr_check *c); /* NULL is fine */

/* Stands in a line of every probe's body: a return that holds it gave the spam's body back. */
#define RNDR_CANARY "rndr-check-canary: this line stands for the body of the spam"

/* The local-part of a way's forged sender, in mem: for a catcher elsewhere. */
struct slice rndr_check_mark(const struct rndr_check *c, enum rndr_way way, struct arena *mem);

/* Is this forward-path one of this check's marked senders? For the catcher's RCPT. */
bool rndr_check_knows(const struct rndr_check *c, struct slice recipient);

/* The catcher heard something for a marked sender. False if it is not one of this check's. */
bool rndr_check_return(struct rndr_check *c, struct slice recipient, uint64_t bytes, bool body);

const struct rndr_setup *rndr_check_setup(const struct rndr_check *c);
const struct rndr_result *rndr_check_result(const struct rndr_check *c, enum rndr_way way);
bool rndr_check_wants(const struct rndr_check *c, enum rndr_way way);

struct rndr_sum {
	unsigned total, decided;      /* ways; those with a verdict */
	unsigned count[RNDR_VERDICTS];
	uint64_t wait_left_ms;        /* while nothing but waiting is left */
	unsigned deferred;            /* ways whose server said to come later ... */
	uint64_t again_left_ms;       /* ... while nothing is done but to wait for that time */
	bool done;
	int exit_code;                /* 0 none, 1 backscatters, 2 could not tell */
};
struct rndr_sum rndr_check_sum(const struct rndr_check *c);

/* What may stand behind the words "accepted and silent", in words. */
struct slice rndr_silence(enum rndr_way way);

/* The result for people and for machines. */
void rndr_write_text(const struct rndr_check *c, struct buf *out);
void rndr_write_json(const struct rndr_check *c, struct buf *out);
#endif
