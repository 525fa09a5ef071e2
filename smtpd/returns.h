#ifndef SMTPD_RETURNS_H
#define SMTPD_RETURNS_H
#include <stdbool.h>
#include "base/mail_path.h"
#include "smtpd/check.h"

/* Reports that come to us (rule.md), and what makes them come back the right way:
 *   - a forward of a domain with `srs` bears a reverse-path of ours, dated and keyed, which remembers whether its sender was proven;
 *   - a report to such an address goes on to that sender, if it was proven, else to the forward's owner, where the alias names one, else into the dead letters;
 *   - a domain that is `sole-sender` takes a null reverse-path only for something that we sent: one of its Message-IDs must be in the queue's ledger of
 *     sent mail. Where the ledger can't tell, the report is taken and tagged. postmaster and abuse are exempt.
 *     With sole-sender-replies automatic replies and disposition notifications are asked the same, whatever their reverse-path. */
extern const struct check_kind returns_check;

/* Is this an SRS address of a domain of ours that has them? Then the resolver isn't asked: returns_check resolves it, at CHECK_RCPT. */
struct map_set;
bool returns_is_srs(struct map_set *maps, const struct mail_path *p);

/* Message-IDs that a report may be about: of its returned part, or of In-Reply-To and References; <ID@HOST> for each trace field of ours there. At most max, in mem. */
size_t returns_message_ids(struct slice message, struct arena *mem, struct slice *ids, size_t max);
#endif
