/* Which destination takes a leaf (rule.md, "No queue for strangers"): a mailbox, whoever the sender is; the queue, for authenticated senders and for lists of ours; a next
 * hop, asked while the client waits, for everybody else. */
#include "smtpd/destination.h"

#define SECOND MAIL_STATUS(MAIL_LATER, 452, 5, 3, "Send this recipient in another transaction")

static bool goes_to(const struct recipient *r, const struct leaf *leaf)
{
	for (size_t i = 0; i < r->resolved.count; i++)
		if (r->resolved.leaves[i].kind == leaf->kind && slice_eq(r->resolved.leaves[i].place, leaf->place))
			return true;
	return false;
}

/* What the queue takes: remote copies of a list of ours; a report that it keeps as a dead letter; and, for senders whose failure can be reported to them, what goes
 * abroad. A relayed recipient that only the next hop knows is asked there, whoever the sender is. */
static bool is_queued(const struct transaction *t, const struct leaf *leaf)
{
	const struct transaction_facts *f = transaction_session(t)->transaction;
	return resolve_is_queued(leaf, f->evidence.grade >= EVIDENCE_CLIENT);
}

/* What can't be prepared is there once in a transaction: one next hop (its own destination sees to that), or one program. */
static bool has_other_first(const struct transaction *t, const struct leaf *leaf)
{
	const struct transaction_facts *f = transaction_session(t)->transaction;
	for (size_t i = 0; i < f->recipient_count; i++)
		for (size_t k = 0; k < f->recipients[i]->resolved.count; k++) {
			const struct leaf *other = &f->recipients[i]->resolved.leaves[k];
			bool hop = (other->kind == LEAF_HOP || other->kind == LEAF_LMTP) && !is_queued(t, other);
			if (leaf->kind == LEAF_PROGRAM ? hop || (other->kind == LEAF_PROGRAM && !goes_to(f->recipients[i], leaf)) : other->kind == LEAF_PROGRAM)
				return true;
		}
	return false;
}

const struct destination_kind *destination_kind_for(const struct transaction *t, const struct leaf *leaf, struct mail_status *status)
{
	*status = MAIL_STATUS_OK;
	switch (leaf->kind) {
	case LEAF_MAILDIR:
	case LEAF_MBOX:
	case LEAF_SYSTEM:
		return &destination_mailbox;
	case LEAF_PROGRAM:
	case LEAF_LMTP:
	case LEAF_HOP:
		break;
	}
	if (is_queued(t, leaf))
		return &destination_queue;
	if (has_other_first(t, leaf)) {
		*status = SECOND;
		return NULL;
	}
	if (leaf->kind == LEAF_PROGRAM)
		return &destination_mailbox;
	return &destination_hop;
}
