/* The two-phase commit and the answer. Those that can be prepared are; then each rank commits in its turn, a next hop first, whose answer decides for all. What has said 250 is
 * noted in the ledger before the next rank is asked, and before the client hears of it: a crash in between leaves something that its retry is decided by. */
#include <assert.h>
#include <stddef.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "smtpd/attack.h"
#include "smtpd/heard.h"
#include "smtpd/outcome_inside.h"
#include "smtpd/policy.h"
#include "smtpd/smtpd.h"
#include "smtpd/told.h"
#include "smtpd/transaction_inside.h"

enum { LOGGED_RECIPIENTS = 5 };

/* -- the answer ---------------------------------------------------------------------------------------------------------------------------------------- */

static void log_end(struct transaction *t, const char *word, const struct mail_status *status)
{
	const struct session_facts *f = &t->session->facts;
	struct buf to = BUF_INIT(1000);
	for (size_t i = 0; i < t->facts.recipient_count && i < LOGGED_RECIPIENTS; i++) {
		if (i)
			buf_add_byte(&to, ',');
		buf_add(&to, t->facts.recipients[i]->address);
	}
	char priority[8] = "";
	if (t->facts.priority)
		snprintf(priority, sizeof priority, "%d", t->facts.priority); /* 6710, 4.1 */
	log_event(LOG_INFO, word, LOG_STR("id", unique_slice(&t->facts.id)), LOG_STR("session", unique_slice(&f->id)), LOG_STR("client", slice_of(f->ip_text)),
	          LOG_STR("helo", f->helo), LOG_CSTR("tls", f->tls_protocol ? f->tls_protocol : ""), LOG_STR("login", f->login), LOG_STR("from", t->facts.sender),
	          LOG_STR("to", buf_slice(&to)), LOG_UINT("recipients", t->facts.recipient_count), LOG_UINT("size", t->message.length), LOG_CSTR("priority", priority),
	          LOG_UINT("ms", clock_mono_ms() - t->began_ms), LOG_STR("places", buf_slice(&t->places)), LOG_UINT("code", status->code),
	          LOG_STR("text", status->fate == MAIL_OK ? SLICE_NONE : status->text), LOG_END);
	buf_free(&to);
}

static size_t count_served(const struct transaction *t)
{
	size_t n = 0;
	for (size_t i = 0; i < t->facts.recipient_count; i++)
		n += t->facts.recipients[i]->status.fate == MAIL_OK;
	return n;
}

static void count_end(struct transaction *t, const struct mail_status *status)
{
	struct smtpd_counts *c = &t->session->smtpd->counts;
	switch (status->fate) {
	case MAIL_OK:
		c->taken++;
		c->recipients += count_served(t);
		c->bytes += t->message.length;
		return;
	case MAIL_LATER:
		c->later++;
		return;
	case MAIL_NEVER:
		c->refused++;
		return;
	}
}

/* The session is told, and the transaction is gone behind it. */
void transaction_reply(struct transaction *t, struct mail_status status)
{
	struct session *s = t->session;
	struct buf text = BUF_INIT(64);
	if (t->each)
		status = transaction_each_reply(t);
	if (status.fate == MAIL_OK) {
		buf_addf(&text, "Ok, taken as %s", t->facts.id.text);
		status = (struct mail_status){ MAIL_OK, 250, { 0, 0 }, buf_slice(&text) };
	}
	log_end(t, status.fate == MAIL_OK ? "taken" : status.fate == MAIL_LATER ? "deferred" : "refused", &status);
	count_end(t, &status);
	if (!t->each)
		attack_note_dot(s, t->message.length, t->refused_by_check, &status);
	if (status.fate == MAIL_OK) {
		policy_delivered(s);
		heard_expect(s, t);
		told_taken(s->smtpd->queue, &s->facts, &t->message, outcome_message_id(&t->outcome));
	}
	status = session_keep(s, status);
	buf_free(&text);
	t->state = OVER;
	session_reset(s);
	session_answer(s, status.code == 421 ? step_close(status) : step_reply(status));
}

/* -- delivery ------------------------------------------------------------------------------------------------------------------------------------------- */

static void worsen(struct transaction *t, struct mail_status status)
{
	if (status.fate != MAIL_OK && (t->worst.fate == MAIL_OK || (t->worst.fate == MAIL_NEVER && status.fate == MAIL_LATER)))
		t->worst = mail_status_copy(&t->mem, status);
}

static void ask_one(struct transaction *t, struct destination *d, void (*verb)(struct destination *d))
{
	d->answered = false;
	t->awaited++;
	verb(d);
}

/* One whose recipients were all refused, or left out since, is asked for nothing. */
static bool takes_part(const struct destination *d)
{
	return d->kind->has_any(d);
}

static void prepare_all(struct transaction *t)
{
	t->rank = -1;
	for (size_t i = 0; i < t->destination_count; i++)
		if (t->destinations[i]->kind->prepare && takes_part(t->destinations[i]))
			ask_one(t, t->destinations[i], t->destinations[i]->kind->prepare);
}

static int rank_of(const struct destination *d)
{
	return d->kind->goes_first && d->kind->goes_first(d) ? RANK_HOP : (int)d->kind->rank;
}

/* The next rank that somebody is of. False: that was the last. */
static bool ask_next_rank(struct transaction *t)
{
	while (++t->rank < DESTINATION_RANKS)
		for (size_t i = 0; i < t->destination_count; i++) {
			struct destination *d = t->destinations[i];
			if (rank_of(d) == t->rank && takes_part(d) && d->status.fate == MAIL_OK) {
				ask_one(t, d, d->kind->commit ? d->kind->commit : d->kind->deliver);
				return true;
			}
		}
	return false;
}

static bool is_mailbox(const struct leaf *leaf)
{
	return leaf->kind == LEAF_MAILDIR || leaf->kind == LEAF_MBOX || leaf->kind == LEAF_SYSTEM;
}

/* Does somebody beside the next hop, or the program, take part? Then its refusal is not theirs, and its 250 may have to be remembered. */
static bool others_take_part(const struct transaction *t)
{
	for (size_t i = 0; i < t->destination_count; i++)
		if (takes_part(t->destinations[i]) && rank_of(t->destinations[i]) != RANK_HOP)
			return true;
	for (size_t i = 0; i < t->facts.recipient_count; i++)
		for (size_t k = 0; k < t->facts.recipients[i]->resolved.count; k++)
			if (is_mailbox(&t->facts.recipients[i]->resolved.leaves[k]))
				return true;
	return false;
}

/* -- who holds others up ---------------------------------------------------------------------------------------------------------------------------- */

static bool cannot_now(const struct transaction *t, const struct leaf *leaf)
{
	for (size_t i = 0; i < t->destination_count; i++) {
		const struct mail_status *s = t->destinations[i]->kind->said(t->destinations[i], leaf);
		if (s)
			return s->fate == MAIL_LATER;
	}
	return false;
}

/* The first of r's leaves that can't take it just now; NULL: all could. */
static const struct leaf *hold_up_of(const struct transaction *t, const struct recipient *r)
{
	for (size_t k = 0; k < r->resolved.count; k++)
		if (cannot_now(t, &r->resolved.leaves[k]))
			return &r->resolved.leaves[k];
	return NULL;
}

/* A full mailbox, or a hop that defers, is no reason why the others should wait for as long as it is one: the client's next transaction is theirs. */
static void note_hold_ups(struct transaction *t)
{
	size_t able = 0;
	if (t->worst.fate != MAIL_LATER || t->outcome.uncertain)
		return;
	for (size_t i = 0; i < t->facts.recipient_count; i++)
		able += !hold_up_of(t, t->facts.recipients[i]);
	for (size_t i = 0; able && i < t->facts.recipient_count; i++) {
		const struct leaf *leaf = hold_up_of(t, t->facts.recipients[i]);
		if (leaf)
			outcome_add_held_up(&t->outcome, leaf->address);
	}
}

/* -- the end of it ----------------------------------------------------------------------------------------------------------------------------------- */

static bool has_open_outcome(const struct transaction *t)
{
	return t->outcome.uncertain || t->outcome.held_up || (t->outcome.count && (t->outcome.mixed || t->outcome.promised || others_take_part(t)));
}

/* Each hears what it got: open is only what nobody knows. */
static void conclude_each(struct transaction *t)
{
	t->outcome.count = 0;
	if (t->outcome.uncertain)
		outcome_note(&t->outcome, MAIL_STATUS_OK, transaction_reply);
	else
		transaction_reply(t, MAIL_STATUS_OK);
}

static void conclude(struct transaction *t)
{
	if (t->each) {
		conclude_each(t);
		return;
	}
	note_hold_ups(t);
	if (t->worst.fate != MAIL_OK && has_open_outcome(t))
		outcome_note(&t->outcome, t->outcome.mixed || t->worst.fate == MAIL_NEVER ? OUTCOME_AGAIN : t->worst, transaction_reply);
	else
		transaction_reply(t, t->worst);
}

static void go_on(struct transaction *t);

static void promised(struct transaction *t, struct mail_status status)
{
	(void)status;
	t->noting = false;
	if (!t->starting)
		go_on(t);
}

/* What follows when everybody has answered. */
static void go_on(struct transaction *t)
{
	t->starting = true;
	while (t->awaited == 0 && !t->noting) {
		if (t->worst.fate == MAIL_OK && outcome_owes_promise(&t->outcome)) {
			t->noting = true;
			outcome_promise(&t->outcome, promised);
			continue;
		}
		if (t->worst.fate != MAIL_OK || !ask_next_rank(t)) {
			t->starting = false;
			conclude(t);
			return;
		}
	}
	t->starting = false;
}

void transaction_delivered(struct destination *d, struct mail_status status, struct slice log_place)
{
	struct transaction *t = d->transaction;
	assert(transaction_is_deciding(t) && !d->answered);
	d->answered = true;
	d->status = mail_status_copy(&t->mem, status);
	if (t->each)
		transaction_each_take(d);
	else
		worsen(t, status);
	if (log_place.n) {
		if (t->places.n)
			buf_add_byte(&t->places, ' ');
		buf_add(&t->places, log_place);
	}
	t->awaited--;
	if (!t->starting)
		go_on(t);
}

/* NULL: there are more. */
static struct destination *alone_of(const struct transaction *t)
{
	struct destination *one = NULL;
	size_t n = 0;
	for (size_t i = 0; i < t->destination_count; i++)
		if (takes_part(t->destinations[i])) {
			one = t->destinations[i];
			n++;
		}
	assert(n);
	return n == 1 ? one : NULL;
}

/* Of each rank one is asked: a second one would be passed over, and 250 said for what it never got. */
static bool ranks_are_single(const struct transaction *t)
{
	unsigned of[DESTINATION_RANKS] = { 0 };
	for (size_t i = 0; i < t->destination_count; i++)
		if (takes_part(t->destinations[i]) && ++of[rank_of(t->destinations[i])] > 1)
			return false;
	return true;
}

/* Who is alone is asked to prepare and commit with one question. */
void transaction_deliver(struct transaction *t)
{
	assert(ranks_are_single(t));
	t->worst = MAIL_STATUS_OK;
	t->state = DECIDING;
	transaction_each_begin(t);
	t->starting = true;
	struct destination *alone = alone_of(t);
	if (alone) {
		t->rank = DESTINATION_RANKS;
		if (alone->kind == &destination_mailbox)
			heard_begin(t);
		ask_one(t, alone, alone->kind->deliver);
	} else {
		prepare_all(t);
	}
	t->starting = false;
	go_on(t);
}
