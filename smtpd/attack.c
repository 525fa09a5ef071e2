/* Which attack was a refusal? Read from the enhanced status code (RFC 3463), which says what failed, and from where the recipient leads. */
#include "smtpd/attack.h"

#include "base/clock.h"

static bool is_enhanced(const struct mail_status *s, unsigned subject, unsigned detail)
{
	return s->enhanced[0] == subject && s->enhanced[1] == detail;
}

/* free: what Postfix, as shipped, would have answered by a report is not this. */
static void note_free(struct session *s, enum attack_kind kind, enum attack_answer answer, uint64_t size, bool free)
{
	const struct transaction_facts *t = s->facts.transaction;
	struct attack what = { .kind = kind, .answer = answer, .ip = s->facts.ip, .domain = SLICE(""), .size = size, .now_s = clock_wall_s(), .no_report = free };
	if (s->facts.listener != LISTENER_MX || (t && t->evidence.grade >= EVIDENCE_OWNER))
		return;
	if (t)
		what.domain = t->reverse_path.domain;
	if (t && !size)
		what.size = t->announced;
	attacks_note(s->smtpd->attacks, &what);
}

static void note(struct session *s, enum attack_kind kind, enum attack_answer answer, uint64_t size)
{
	note_free(s, kind, answer, size, false);
}

void attack_note_free(struct session *s, enum attack_kind kind, const struct mail_status *status)
{
	note_free(s, kind, status->fate == MAIL_NEVER ? ATTACK_REFUSED : ATTACK_DEFERRED, 0, true);
}

void attack_note(struct session *s, enum attack_kind kind, const struct mail_status *status)
{
	note(s, kind, status->fate == MAIL_NEVER ? ATTACK_REFUSED : ATTACK_DEFERRED, 0);
}

/* Does r leave this host, and how? */
static bool leads_to_hop(const struct recipient *r, enum attack_kind *kind)
{
	for (size_t i = 0; i < r->resolved.count; i++)
		if (r->resolved.leaves[i].kind == LEAF_HOP) {
			*kind = r->resolved.leaves[i].relayed ? ATTACK_RELAYED : ATTACK_FORWARD;
			return true;
		}
	return false;
}

/* A mailbox or a disk that is full: x.2.2, x.2.3, x.3.1. */
static bool is_full(const struct mail_status *s)
{
	return is_enhanced(s, 2, 2) || is_enhanced(s, 2, 3) || is_enhanced(s, 3, 1);
}

/* False: a plain refusal, of policy or for a while. */
static bool kind_of_rcpt(const struct session *s, const struct recipient *r, bool by_check, const struct mail_status *status, enum attack_kind *kind)
{
	*kind = ATTACK_UNKNOWN;
	if (is_full(status))
		*kind = ATTACK_FULL;
	else if (status->fate == MAIL_NEVER && is_enhanced(status, 7, 1) && r->resolved.class == RESOLVE_FOREIGN && r->resolved.count)
		*kind = ATTACK_RELAYING;
	else if (status->fate == MAIL_NEVER && is_enhanced(status, 7, 1) && mail_path_is_null(&s->facts.transaction->reverse_path))
		*kind = ATTACK_JOE_JOB;
	else if (!by_check && status->fate == MAIL_NEVER && leads_to_hop(r, kind))
		;
	else if (is_enhanced(status, 4, 6))
		*kind = ATTACK_LOOP;
	else if (status->fate == MAIL_LATER && r->resolved.status.fate == MAIL_LATER && !is_enhanced(status, 3, 0))
		*kind = ATTACK_ALIAS;
	else if (!is_enhanced(status, 1, 1))
		return false;
	return true;
}

void attack_note_rcpt(struct session *s, const struct recipient *r, bool by_check, const struct mail_status *status)
{
	enum attack_kind kind;
	if (kind_of_rcpt(s, r, by_check, status, &kind))
		attack_note(s, kind, status);
}

static bool all_lead_to_hops(const struct transaction_facts *t)
{
	enum attack_kind ignored;
	for (size_t i = 0; i < t->recipient_count; i++)
		if (!leads_to_hop(t->recipients[i], &ignored))
			return false;
	return t->recipient_count > 0;
}

static bool kind_of_dot(const struct transaction_facts *t, bool by_check, const struct mail_status *status, enum attack_kind *kind)
{
	if (t->blind)
		*kind = ATTACK_HARVEST;
	else if (is_full(status))
		*kind = ATTACK_FULL;
	else if (is_enhanced(status, 4, 6))
		*kind = ATTACK_LOOP;
	else if (status->fate == MAIL_LATER && is_enhanced(status, 5, 3))
		*kind = ATTACK_OUTCOMES;
	else if (status->fate == MAIL_LATER)
		return false;
	else if (is_enhanced(status, 3, 4))
		*kind = ATTACK_TOO_LARGE;
	else if (by_check && mail_path_is_null(&t->reverse_path))
		*kind = ATTACK_JOE_JOB;
	else
		*kind = !by_check && all_lead_to_hops(t) ? ATTACK_LATE : ATTACK_VERDICT;
	return true;
}

void attack_note_dot(struct session *s, uint64_t size, bool by_check, const struct mail_status *status)
{
	enum attack_kind kind;
	if (status->fate != MAIL_OK && kind_of_dot(s->facts.transaction, by_check, status, &kind))
		note_free(s, kind, status->fate == MAIL_NEVER ? ATTACK_REFUSED_DOT : ATTACK_DEFERRED, size, by_check);
}

void attack_note_each(struct session *s, const struct recipient *r, uint64_t size)
{
	enum attack_kind ignored;
	if (is_full(&r->status))
		note(s, ATTACK_FULL, r->status.fate == MAIL_NEVER ? ATTACK_REFUSED_DOT : ATTACK_DEFERRED, size);
	else if (r->status.fate == MAIL_NEVER)
		note(s, leads_to_hop(r, &ignored) ? ATTACK_LATE : ATTACK_VERDICT, ATTACK_REFUSED_DOT, size);
}
