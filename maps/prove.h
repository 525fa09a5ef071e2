#ifndef MAPS_PROVE_H
#define MAPS_PROVE_H
#include <stdbool.h>
#include <stdint.h>
#include "base/slice.h"
#include "maps/map.h"

/* The static proof that no accepted address can end in a report to a stranger (rule.md): every domain, recipient and alias is resolved by the resolver that
 * RCPT uses, and every leaf is looked at. What it finds is graded: REFUTED breaks the rule or can't be delivered at all; UNSURE could not be looked at;
 * a NOTE is allowed, but the postmaster should know. */
enum prove_grade { PROVE_NOTE, PROVE_UNSURE, PROVE_REFUTED };

struct prove_finding {
	enum prove_grade grade;
	struct slice map;         /* its name */
	uint32_t line;            /* 0: none */
	struct slice key;         /* about whom */
	struct slice text;        /* what is wrong, and what to do */
	struct slice path;        /* the look-ups that led there: "aliases:3 team@x > aliases:9 bob@x"; "" none */
};

struct prove_plan {
	struct map_set *set;
	uint64_t size_limit;      /* of messages; quotas below it are noted; 0 unknown */
	struct slice mail_root;   /* files: is it there and writable; "" not looked at */
	struct slice mail_user;   /* by whom it has to be; "" whoever asks */
	struct slice hop_user;    /* by whom sockets are connected to; "" likewise */
	bool files;               /* look at mail root, sockets, programs, system users and the default gateway */
	bool (*is_ourselves)(void *arg, struct slice place); /* a next hop's place; NULL: not looked at */
	bool (*skip)(void *arg, struct slice map, struct slice key); /* entries proved before; NULL: none */
	void (*found)(void *arg, const struct prove_finding *f);     /* views are valid during the call */
	void (*progress)(void *arg, const char *what, uint64_t done, uint64_t total);
	void *arg;
};

struct prove_summary {
	uint64_t domains, relay_domains, ask_domains;
	uint64_t addresses;       /* recipients, aliases (a bare one counts once for each domain), relayed recipients */
	uint64_t mailbox;         /* way 1: all leaves are mailboxes */
	uint64_t pass_through;    /* way 2: one next hop */
	uint64_t lists;           /* local copies, and copies queued under the owner (way 3) */
	uint64_t refused;         /* on purpose: :refuse:, :defer:, refused domains */
	uint64_t catch_alls;
	uint64_t notes, unsure, refuted;
};

/* The worst grade found; PROVE_NOTE: proved. */
enum prove_grade prove_run(const struct prove_plan *plan, struct prove_summary *out);

/* The host and port of a next hop's place "HOST:PORT", "[ADDRESS]:PORT", "lmtp:..."; false for "mx:" and sockets. */
bool prove_place_host(struct slice place, struct slice *host, uint16_t *port);
#endif
