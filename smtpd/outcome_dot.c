/* The dot: what the ledger knows of this content for these leaves. Who has it gets no second copy, who was refused gets the refusal once more when he comes alone, and where a
 * mailbox was about to take it before our end, the mailbox is looked at. */
#include <errno.h>

#include "base/log.h"
#include "base/mem.h"
#include "delivery/mailbox_proto.h"
#include "smtpd/destination.h"
#include "smtpd/outcome_inside.h"
#include "smtpd/peer.h"
#include "smtpd/transaction.h"

enum { FIND_MS = 30000 };

static bool is_in_doubt(const struct outcome *l, const struct recipient *r)
{
	return r == l->alone || r->maybe;
}

bool outcome_knows_nothing(const struct outcome *l)
{
	const struct transaction_facts *f = transaction_facts(l->transaction);
	for (size_t i = 0; i < f->recipient_count; i++)
		if (is_in_doubt(l, f->recipients[i]))
			return false;
	return true;
}

/* -- what comes of it ---------------------------------------------------------------------------------------------------------------------------- */

/* A recipient's entries stand together, in the order of its leaves. All done is done; else it is delivered (again, at worst, to those of an alias that have it). */
static bool is_done(const struct recipient *r, const struct ledger_entry *entries)
{
	for (size_t i = 0; i < r->resolved.count; i++)
		if (entries[i].fate != LEDGER_DONE)
			return false;
	return true;
}

/* What was refused is told to who comes alone; beside others the hop is asked again. */
static const struct mail_status *refusal_of(const struct recipient *r, const struct ledger_entry *entries)
{
	for (size_t i = 0; i < r->resolved.count; i++)
		if (entries[i].fate == LEDGER_REFUSED)
			return &entries[i].status;
	return NULL;
}

static bool is_at_hop(struct transaction *t, const struct recipient *r)
{
	struct mail_status status;
	for (size_t i = 0; i < r->resolved.count; i++)
		if (destination_kind_for(t, &r->resolved.leaves[i], &status) == &destination_hop)
			return true;
	return false;
}

/* A hop that was asked for a recipient gives it the message, too: where another one of its recipients is to get it, the one who has it has to travel alone. */
static bool parts_a_hop(struct outcome *l)
{
	const struct transaction_facts *f = transaction_facts(l->transaction);
	bool done = false, due = false;
	for (size_t i = 0; i < f->recipient_count; i++) {
		bool at_hop = is_at_hop(l->transaction, f->recipients[i]);
		done |= at_hop && f->recipients[i]->done;
		due |= at_hop && !f->recipients[i]->done;
	}
	return done && due;
}

static void open_again(struct outcome *l)
{
	const struct transaction_facts *f = transaction_facts(l->transaction);
	for (size_t i = 0; i < f->recipient_count; i++)
		for (size_t k = 0; f->recipients[i]->done && k < f->recipients[i]->resolved.count; k++)
			outcome_add(l, f->recipients[i]->resolved.leaves[k].address, &MAIL_STATUS_OK);
	outcome_note(l, OUTCOME_AGAIN, l->then);
}

/* Who has it is served, the others get it. */
static void leave_out_done(struct outcome *l)
{
	const struct transaction_facts *f = transaction_facts(l->transaction);
	for (size_t i = f->recipient_count; i-- > 0;)
		if (f->recipients[i]->done) {
			log_event(LOG_INFO, "delivered-before", LOG_STR("id", transaction_id(l->transaction)), LOG_STR("to", f->recipients[i]->address), LOG_END);
			transaction_drop(l->transaction, f->recipients[i]->address);
		}
	outcome_finish(l, MAIL_STATUS_OK);
}

static void judge(struct outcome *l)
{
	const struct transaction_facts *f = transaction_facts(l->transaction);
	size_t at = 0, done = 0;
	for (size_t i = 0; i < f->recipient_count; i++) {
		struct recipient *r = f->recipients[i];
		if (!is_in_doubt(l, r))
			continue;
		const struct mail_status *refusal = f->recipient_count == 1 ? refusal_of(r, l->known.entries + at) : NULL;
		if (refusal) {
			outcome_finish(l, *refusal);
			return;
		}
		r->done = is_done(r, l->known.entries + at);
		done += r->done;
		at += r->resolved.count;
	}
	if (done == f->recipient_count)
		outcome_finish(l, LEDGER_HAS_IT);
	else if (done && parts_a_hop(l))
		open_again(l);
	else if (done)
		leave_out_done(l);
	else
		outcome_finish(l, MAIL_STATUS_OK);
}

/* -- intents: what a mailbox was about to take ----------------------------------------------------------------------------------------------------- */

static void look_at_intents(struct outcome *l);

static int on_found(void *arg, struct ipc_message *m)
{
	struct outcome *l = arg;
	struct mailbox_asked asked;
	l->question = NULL;
	if (!m || m->type != MAILBOX_ASKED || mailbox_get_asked(m->payload, transaction_arena(l->transaction), &asked) < 0) {
		outcome_finish(l, OUTCOME_UNREADABLE);
		return m ? -EPROTO : 0;
	}
	if (asked.status.fate != MAIL_OK) {
		outcome_finish(l, OUTCOME_UNREADABLE);
		return 0;
	}
	l->known.entries[l->intent_at++].fate = asked.found ? LEDGER_DONE : LEDGER_UNKNOWN;
	look_at_intents(l);
	return 0;
}

/* The leaf that the n-th of the entries is about. */
static const struct leaf *leaf_of(const struct outcome *l, size_t n)
{
	const struct transaction_facts *f = transaction_facts(l->transaction);
	for (size_t i = 0; i < f->recipient_count; i++) {
		const struct resolved *r = &f->recipients[i]->resolved;
		if (!is_in_doubt(l, f->recipients[i]))
			continue;
		if (n < r->count)
			return &r->leaves[n];
		n -= r->count;
	}
	return NULL;
}

static bool is_mailbox(const struct leaf *leaf)
{
	return leaf->kind != LEAF_HOP && leaf->kind != LEAF_LMTP;
}

static bool ask_mailbox(struct outcome *l, const struct leaf *leaf, struct slice name)
{
	struct mailbox_ask question = { .leaf = { .kind = leaf->kind, .place = leaf->place, .address = leaf->address }, .find = name };
	struct buf b = BUF_INIT(16 << 10);
	mailbox_put_ask(&b, &question);
	l->question = buf_full(&b) ? NULL : peer_ask(transaction_smtpd(l->transaction)->mailbox, MAILBOX_ASK, buf_slice(&b), -1, FIND_MS, on_found, l);
	buf_free(&b);
	return l->question != NULL;
}

static void look_at_intents(struct outcome *l)
{
	for (; l->intent_at < l->known.count; l->intent_at++) {
		struct ledger_entry *e = &l->known.entries[l->intent_at];
		const struct leaf *leaf = leaf_of(l, l->intent_at);
		if (e->fate != LEDGER_INTENT)
			continue;
		if (leaf && is_mailbox(leaf) && e->name.n) {
			if (!ask_mailbox(l, leaf, e->name))
				outcome_finish(l, OUTCOME_UNREADABLE);
			return;
		}
		e->fate = LEDGER_UNKNOWN;
	}
	judge(l);
}

/* -- the question -------------------------------------------------------------------------------------------------------------------------------- */

/* The leaves of all that the ledger may know of. out NULL: their number. */
static size_t leaves_in_doubt(const struct outcome *l, struct slice *out)
{
	const struct transaction_facts *f = transaction_facts(l->transaction);
	size_t n = 0;
	for (size_t i = 0; i < f->recipient_count; i++)
		for (size_t k = 0; is_in_doubt(l, f->recipients[i]) && k < f->recipients[i]->resolved.count; k++, n++)
			if (out)
				out[n] = f->recipients[i]->resolved.leaves[k].address;
	return n;
}

static int on_decided(void *arg, struct ipc_message *m)
{
	struct outcome *l = arg;
	l->question = NULL;
	if (!m || m->type != LEDGER_DECIDED || ledger_get_decided(m->payload, transaction_arena(l->transaction), &l->known) < 0) {
		outcome_finish(l, OUTCOME_UNREADABLE);
		return m ? -EPROTO : 0;
	}
	bool unsure = l->known.answer == UNSURE;
	if (unsure || l->known.count != leaves_in_doubt(l, NULL)) {
		outcome_finish(l, OUTCOME_UNREADABLE); /* and l is gone */
		return unsure ? 0 : -EPROTO;
	}
	for (size_t i = 0; i < l->known.count; i++) /* they outlive the message */
		l->known.entries[i].name = arena_copy(transaction_arena(l->transaction), l->known.entries[i].name);
	for (size_t i = 0; i < l->known.count; i++)
		l->known.entries[i].status = mail_status_copy(transaction_arena(l->transaction), l->known.entries[i].status);
	l->intent_at = 0;
	look_at_intents(l);
	return 0;
}

void outcome_decide_at_dot(struct outcome *l, void (*then)(struct transaction *t, struct mail_status status))
{
	size_t count = leaves_in_doubt(l, NULL);
	struct ledger_decide q = { .source = *outcome_source(l), .leaves = mem_new_array(count, sizeof *q.leaves), .leaf_count = count };
	struct buf b = BUF_INIT(LEDGER_MAX_RECORD);
	l->then = then;
	leaves_in_doubt(l, q.leaves);
	if (count <= QUEUE_MAX_ENTRIES && ledger_put_decide(&b, &q) == 0)
		l->question = peer_ask(outcome_queue(l), LEDGER_DECIDE, buf_slice(&b), -1, LEDGER_ASK_MS, on_decided, l);
	buf_free(&b);
	mem_free(q.leaves);
	if (!l->question)
		outcome_finish(l, OUTCOME_UNREADABLE);
}
