/* Harvesting, in a session. An address that guesses may be a giant's: so SPF is waited for before anybody is answered blindly, once in a transaction, since the domain that it
 * proves has a budget of its own. That is asked of the sender, before anybody looks at the recipient: its time tells nothing. */
#include "smtpd/policy_harvest.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/unique.h"
#include "smtpd/attack.h"
#include "smtpd/check.h"
#include "smtpd/policy.h"
#include "smtpd/transaction.h"

enum { MAX_GOOD = 32 /* recipients of one message that speak for a network */ };

struct harvest_who policy_who(const struct session *s)
{
	const struct transaction_facts *t = s->facts.transaction;
	bool known = s->facts.login.n || (t && t->evidence.grade >= EVIDENCE_CLIENT);
	return (struct harvest_who){ s->facts.ip, s->proven_domain, s->facts.exempt || known || policy_by_passes(s, SLICE("harvest")) };
}

void policy_log_guesser(const struct session *s, enum harvest_level level)
{
	const struct transaction_facts *t = s->facts.transaction;
	log_event(LOG_INFO, "harvest", LOG_STR("session", unique_slice(&s->facts.id)), LOG_STR("id", t ? unique_slice(&t->id) : SLICE_NONE), LOG_STR("client", slice_of(s->facts.ip_text)),
	          LOG_STR("domain", s->proven_domain), LOG_STR("from", t ? t->sender : SLICE_NONE), LOG_STR("to", t && s->candidate ? s->candidate->address : SLICE_NONE),
	          LOG_STR("level", harvest_level_name(level)), LOG_END);
}

void policy_whose_budget(struct session *s)
{
	struct slice domain = s->facts.transaction->reverse_path.domain, proven = s->proven_domain;
	bool ends = slice_ends(domain, proven) && (domain.n == proven.n || domain.p[domain.n - proven.n - 1] == '.');
	if (!ends)
		s->proven_domain = SLICE("");
}

/* -- unknown recipients ------------------------------------------------------------------------------------------------------------------------- */

static bool leads_inside(const struct recipient *r)
{
	for (size_t i = 0; r && i < r->resolved.count; i++)
		if (r->resolved.leaves[i].kind == LEAF_HOP && r->resolved.leaves[i].relayed)
			return true;
	return false;
}

/* What inner servers say of names that they don't know: Exchange 5.1.10, its cloud 5.4.1, Exim 550 without an enhanced code. 5.1.0, 5.1.7 and 5.1.8 are of senders. */
static bool is_unknown_inside(const struct mail_status *s)
{
	const uint8_t *e = s->enhanced;
	bool bare = !e[0] && (s->code == 550 || s->code == 551 || s->code == 553);
	return bare || (e[0] == 1 && e[1] != 0 && e[1] != 7 && e[1] != 8) || (e[0] == 4 && e[1] == 1);
}

bool policy_is_unknown(const struct recipient *r, const struct mail_status *s)
{
	if (s->fate != MAIL_NEVER)
		return false;
	return (s->enhanced[0] == 1 && s->enhanced[1] == 1) || (leads_inside(r) && is_unknown_inside(s));
}

static void answer_slowly(void *arg)
{
	struct session *s = arg;
	policy_done done = s->policy_done;
	done(s, s->slow_status);
}

/* An unknown recipient draws on a budget; past it the refusal comes slowly, then the client is blind. */
static void count_unknown(struct session *s, const struct mail_status *ignored)
{
	struct harvest_who who = policy_who(s);
	enum harvest_level level = harvest_unknown(s->smtpd->harvest, &who, clock_wall_s());
	(void)ignored;
	if (level == HARVEST_BLIND || level == HARVEST_REFUSE) {
		attack_note(s, ATTACK_HARVEST, &POLICY_TOO_MANY);
		policy_log_guesser(s, level);
	} else {
		attack_note_rcpt(s, s->candidate, false, &s->slow_status);
	}
	switch (level) {
	case HARVEST_OPEN:
		s->policy_done(s, s->slow_status);
		return;
	case HARVEST_SLOW:
		session_after(s, harvest_delay_ms(s->smtpd->harvest, &who, clock_wall_s()), answer_slowly);
		return;
	case HARVEST_BLIND:
		transaction_facts_of(s->transaction)->blind = true;
		s->policy_done(s, MAIL_STATUS_OK);
		return;
	case HARVEST_REFUSE:
		s->policy_done(s, POLICY_TOO_MANY);
		return;
	}
}

/* Whose budget it is has to be known first: a domain's, where SPF proves one. */
void policy_refuse_unknown(struct session *s, struct mail_status status)
{
	s->unknown++;
	s->smtpd->counts.unknown_recipients++;
	s->slow_status = status;
	if (policy_who(s).exempt)
		count_unknown(s, NULL);
	else
		checks_run(s->checks, CHECK_ASKER, NULL, count_unknown, s);
}

/* -- who is blind --------------------------------------------------------------------------------------------------------------------------------- */

/* Every recipient is answered 250, and the dot 451; past the last limit every one is answered 421. In constant time, whoever it is: nothing is looked up.
 * True: it was answered. */
static bool answer_blindly(struct session *s, const struct harvest_who *who, enum harvest_level level)
{
	struct transaction_facts *t = transaction_facts_of(s->transaction);
	if (level == HARVEST_BLIND)
		level = harvest_blind(s->smtpd->harvest, who, clock_wall_s());
	if (level == HARVEST_REFUSE || (level == HARVEST_BLIND && !t->blind))
		policy_log_guesser(s, level);
	bool blind = t->blind |= level == HARVEST_BLIND;
	if (level == HARVEST_REFUSE)
		attack_note(s, ATTACK_HARVEST, &POLICY_TOO_MANY);
	/* behind the answer there may be another transaction, or no session */
	if (level == HARVEST_REFUSE || blind)
		s->policy_done(s, level == HARVEST_REFUSE ? POLICY_TOO_MANY : MAIL_STATUS_OK);
	return level == HARVEST_REFUSE || blind;
}

static enum harvest_level level_of(const struct session *s, const struct harvest_who *who)
{
	return who->exempt ? HARVEST_OPEN : harvest_level(s->smtpd->harvest, who, clock_wall_s());
}

static void asker_known(struct session *s, const struct mail_status *ignored)
{
	struct harvest_who who = policy_who(s);
	(void)ignored;
	s->before_candidate = arena_mark(transaction_arena(s->transaction)); /* what was proven meanwhile is the transaction's, whatever becomes of this recipient */
	if (!answer_blindly(s, &who, level_of(s, &who)))
		s->sees(s);
}

void policy_unless_blind(struct session *s, void (*sees)(struct session *s))
{
	struct harvest_who who = policy_who(s);
	enum harvest_level level = level_of(s, &who);
	bool blind = s->facts.transaction->blind;
	if (!blind && level >= HARVEST_BLIND) {
		s->sees = sees;
		checks_run(s->checks, CHECK_ASKER, NULL, asker_known, s);
		return;
	}
	if (blind)
		s->judged_at = transaction_arena(s->transaction)->used; /* it leaves nothing behind */
	if (!answer_blindly(s, &who, level))
		sees(s);
}

/* -- what speaks for a network -------------------------------------------------------------------------------------------------------------------- */

/* A name that everybody knows, or one named before in this message, is no sign of somebody whose users write to ours. */
static bool speaks_for_it(const struct transaction_facts *t, size_t at)
{
	const struct recipient *r = t->recipients[at];
	bool known = slice_eq_nocase(r->path.local_part, SLICE("postmaster")) || slice_eq_nocase(r->path.local_part, SLICE("abuse"));
	for (size_t i = 0; i < at && !known; i++)
		known = slice_eq_nocase(t->recipients[i]->address, r->address);
	return !known && r->status.fate == MAIL_OK;
}

void policy_delivered(struct session *s)
{
	const struct transaction_facts *t = s->facts.transaction;
	struct harvest_who who = policy_who(s);
	for (size_t i = 0; !who.exempt && !t->quarantine.n && i < t->recipient_count && i < MAX_GOOD; i++)
		if (speaks_for_it(t, i))
			harvest_good(s->smtpd->harvest, &who, clock_wall_s());
}
