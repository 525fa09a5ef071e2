#ifndef MAPS_RESOLVE_H
#define MAPS_RESOLVE_H
#include <stdbool.h>
#include <stdint.h>
#include "base/answer.h"
#include "base/arena.h"
#include "base/mail_path.h"
#include "base/mail_status.h"
#include "base/slice.h"

/* The one expander: a forward-path to its leaves, the whole tree, before RCPT is answered. RCPT, `porterctl explain` and
 * `porterctl prove` call it; there is no second one. It only looks things up (maps/map.h), it never waits. */

enum leaf_kind {
	LEAF_MAILDIR,   /* place: a path below the mail root, or absolute */
	LEAF_MBOX,      /* place: a file */
	LEAF_SYSTEM,    /* place: a system user's name; Maildir in the home, ~/.forward counts as an alias */
	LEAF_LMTP,      /* place: "host:port" or "unix:/path" */
	LEAF_PROGRAM,   /* place: the argv, elements with NUL between */
	LEAF_HOP        /* place: the next hop: "mx:DOMAIN", "host:port", "[host]:port", "lmtp:..."; address goes there */
};

enum { RESOLVE_MAX_LEAVES = 1000, RESOLVE_MAX_DEPTH = 20 };

/* One look-up on the way, for explain and for prove's paths. */
struct resolve_step {
	const char *map;         /* "domains", "aliases", ... */
	struct slice key;        /* what was asked, or in words what the map was asked for */
	enum answer answer;
	struct slice value;      /* what was found, as written */
	uint32_t line;           /* where in the text map; 0 unknown */
	const struct resolve_step *cause; /* the step that led here; NULL for the first */
};

struct leaf {
	enum leaf_kind kind;
	struct slice address;    /* the recipient at this leaf, local@domain (canonical form) */
	struct slice domain;     /* its domain */
	struct slice place;      /* see leaf_kind */
	struct slice route;      /* LEAF_HOP: the line of routes that decided, "" none */
	uint64_t quota_bytes, quota_messages; /* 0: none */
	uint64_t size_limit;     /* 0: none of its own */
	struct slice owner;      /* LEAF_HOP as part of a list: the owner's address; then it is queued under the owner. Else "" */
	struct slice forward_owner; /* LEAF_HOP alone, whose alias names an owner: who hears of reports on mail of unproven senders. LEAF_SYSTEM: the alias's owner. Else "" */
	bool withheld;           /* LEAF_HOP: never from a map. A report that may go to nobody (smtpd/returns): the queue keeps it as a dead letter */
	bool relayed;            /* LEAF_HOP: the domain is one that `domains` relays (else an alias led outside) */
	bool ask;                /* LEAF_HOP: relayed with recipients=ask */
	const struct resolve_step *cause;
};

enum resolve_class {
	RESOLVE_OURS,      /* the domain is ours (mailbox, relay, alias-of) */
	RESOLVE_FOREIGN    /* a domain that `domains` does not know: relaying, for authenticated senders only */
};

struct resolved {
	enum resolve_class class;
	struct mail_status status;   /* fate MAIL_OK: leaves are set. Else the reply for RCPT, and leaves is empty */
	struct leaf *leaves;
	size_t count;
	struct slice failed;         /* the address on the way that the reply is about; "" where it is about them all */
	const struct resolve_step *failed_cause; /* the way there, with want_steps */
	struct resolve_step *const *steps; /* every look-up in order */
	size_t step_count;
};

struct map_set;   /* maps/map.h: one open generation, or the text as it stands */

/* Resolves. Everything in *out lives in mem. Always ends and always sets *out; internal doubt is status 451 4.3.0. For a foreign domain the
 * one leaf is a LEAF_HOP by routes (or "mx:DOMAIN"), and the caller decides who may relay. steps are only kept if want_steps. */
void resolve_path(struct map_set *maps, const struct mail_path *forward_path, bool want_steps, struct arena *mem, struct resolved *out);

/* A remote leaf that the queue takes: of a list, or from a sender who is authenticated, so that a failure can be reported to him. */
bool resolve_is_queued(const struct leaf *l, bool authenticated);

/* What can't be prepared (a next hop that is not queued, an LMTP server, a program) commits first, so a message has one such place at most; a recipient that wants two could never be
 * served. MAIL_OK, or the reply for RCPT. */
struct mail_status resolve_one_first(const struct leaf *leaves, size_t count, bool authenticated);

/* What a system user's ~/.forward names (delivery/mailbox_proto.h) stands in place of that user's leaf, r->leaves[at]: targets as in a line of aliases whose key is the leaf's
 * address; a target that is the user's own name, or resolves to the same LEAF_SYSTEM, is that leaf itself. MAIL_OK, or the reply for RCPT: then r is as before. The whole may be a
 * list now: of the owner that the alias names, else of the user. resolve_one_first says whether LMTP servers and programs among it can be served. */
struct mail_status resolve_forward(struct map_set *maps, struct resolved *r, size_t at, const struct slice *targets, size_t count, struct arena *mem);
#endif
