#ifndef SMTPD_JUDGE_H
#define SMTPD_JUDGE_H
#include <stdbool.h>
#include "base/arena.h"
#include "base/mail_path.h"
#include "base/mail_status.h"
#include "base/net.h"
#include "maps/map.h"
#include "maps/resolve.h"
#include "queue/evidence.h"

/* What the maps alone say to MAIL and RCPT: plain functions of their arguments, so that `porterctl explain` gives the reply that a session would get. Rates,
 * harvesting, checks and destinations have their say in smtpd/policy. */
struct judge_client {
	const struct net_ip *ip;     /* NULL: not looked at (explain without --client) */
	struct slice certificate;    /* SHA-256, lower-case hexadecimal; "" none */
	struct slice login;          /* authenticated; "" */
	bool submission;             /* came to a listener for submission */
	struct slice user;           /* of this system, by the sendmail command; "" */
};

/* Who is this, for this reverse-path (rule.md, "Who counts as authenticated")? MAIL_OK sets *out. */
struct mail_status judge_evidence(struct map_set *maps, const struct judge_client *client, const struct mail_path *reverse_path, struct arena *mem, struct evidence *out);

/* A foreign domain is for authenticated senders; everybody else gets what the resolver said. out is as resolve_path leaves it. */
struct mail_status judge_forward_path(struct map_set *maps, const struct evidence *evidence, const struct mail_path *forward_path, bool want_steps, struct arena *mem,
                                      struct resolved *out);
#endif
