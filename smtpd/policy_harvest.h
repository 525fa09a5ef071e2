#ifndef SMTPD_POLICY_HARVEST_H
#define SMTPD_POLICY_HARVEST_H
#include "smtpd/harvest.h"
#include "smtpd/session.h"

/* Both horns (rule.md, "harvesting") in a session: whose budget it is, what an unknown recipient costs, and what a guesser hears. */
#define POLICY_TOO_MANY MAIL_STATUS(MAIL_LATER, 421, 7, 1, "Too many unknown recipients, try again later")

struct harvest_who policy_who(const struct session *s);

/* One line for whoever is blinded in a transaction, or refused: the client hears no reason that a postmaster could look for. */
void policy_log_guesser(const struct session *s, enum harvest_level level);

/* A transaction begins: a domain that was proven for another reverse-path has no say in it. */
void policy_whose_budget(struct session *s);

/* Blind or refused clients have their answer, by s->policy_done; for all others `sees` goes on. */
void policy_unless_blind(struct session *s, void (*sees)(struct session *s));

/* Does this refusal of a recipient mean that there is none of this name? r: whom a next hop refused perhaps, in its own words; NULL: a filter did, which has 5.1.1 alone. */
bool policy_is_unknown(const struct recipient *r, const struct mail_status *status);

/* Counts it, and answers as the budget says. */
void policy_refuse_unknown(struct session *s, struct mail_status status);
#endif
