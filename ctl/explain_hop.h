#ifndef CTL_EXPLAIN_HOP_H
#define CTL_EXPLAIN_HOP_H
#include "base/mail_path.h"
#include "base/mail_status.h"
#include "ctl/ctl.h"
#include "maps/resolve.h"
#include "queue/evidence.h"

/* What a next hop or an LMTP server answers to RCPT now, for porterctl explain and prove --probe: asked by the code that the process `delivery` runs, in a loop of this command's own.
 * No content follows. A route's login is the login process's matter and is not used here. */
struct explain_hop_question {
	const struct leaf *leaf;             /* LEAF_HOP or LEAF_LMTP */
	const struct mail_path *from;        /* null: "<>" */
	uint64_t size;
	enum evidence_grade grade;           /* of the sender: while the hop is down some may be queued (rule.md, "Relayed domains") */
};

/* The status as smtpd would give it; text lives in c->mem. *down (if not NULL): no host could be asked. Blocks, as long as a client would wait. */
struct mail_status explain_hop(struct ctl *c, const struct explain_hop_question *q, bool *down);

/* Whether such a question can be asked at all: not for a route that names credentials. */
bool explain_hop_can(struct ctl *c, const struct leaf *leaf);
#endif
