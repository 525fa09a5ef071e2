#ifndef MAPS_RESOLVE_INSIDE_H
#define MAPS_RESOLVE_INSIDE_H
#include "maps/map.h"
#include "maps/map_value.h"
#include "maps/resolve.h"

/* Inside the resolver: resolve.c walks, resolve_leaf.c looks up and makes leaves. Nobody else includes this. */
struct pending {
	struct slice key;                    /* local@domain, canonical */
	const struct resolve_step *cause;
	struct pending *parent;
	unsigned depth;
	struct slice owner;                  /* named on the way */
	struct slice only;                   /* the mailbox that it leads to, where locals is 1 */
	unsigned locals;                     /* how many mailboxes it leads to; 2 is several */
	bool plain;                          /* an alias led back to it: its mailbox is meant, not its alias again */
	struct pending *below;               /* on the stack */
};

struct resolver {
	struct map_set *maps;
	struct arena *mem;
	struct resolved *out;
	bool want_steps;
	struct resolve_step **steps;
	size_t step_count, step_room;
	const struct pending *at;            /* what is looked up now */
	struct pending *stack;               /* popped ones stay alive as parents */
	size_t pending_all;
	size_t leaf_room;
	struct slice user;                   /* whose ~/.forward is resolved: his address; else "" */
	const struct pending **nodes;        /* beside out->leaves: whence each came first */
};

#define RESOLVE_TOO_LARGE MAIL_STATUS_UNSURE("This address leads to more places than can be looked at, try again later")
#define RESOLVE_DOUBT MAIL_STATUS_UNSURE("The recipient can't be looked up just now, try again later")
#define RESOLVE_LOOPS MAIL_STATUS(MAIL_LATER, 451, 4, 6, "This address leads back to itself, its postmaster has to mend that")

/* A look-up, noted where steps are wanted: FOUND moves *cause on to it. A key without memory is UNSURE. */
enum answer resolve_look(struct resolver *r, unsigned map, struct slice key, struct map_entry *e, const struct resolve_step **cause);
/* The domain's entry: exact, then ".parent" ("*.parent" in the text) from the longest. */
enum answer resolve_look_domain(struct resolver *r, struct slice domain, struct map_entry *e, const struct resolve_step **cause);

/* The reply; of several the first counts, but "never" is stronger than "later". */
void resolve_fail(struct resolver *r, struct mail_status status);

/* A leaf, kept once. p is the address that it stands at. */
void resolve_add_leaf(struct resolver *r, struct pending *p, const struct leaf *leaf);
void resolve_add_mailbox(struct resolver *r, struct pending *p, struct slice address, const struct map_domain *d, struct slice value, const struct resolve_step *cause);
/* relay NULL: the domain is foreign. */
void resolve_add_hop(struct resolver *r, struct pending *p, struct slice address, struct slice domain, const struct map_domain *relay, const struct resolve_step *cause);
#endif
