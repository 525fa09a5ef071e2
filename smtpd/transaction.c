/* The coordinator: its life, and RCPT. Destinations answer when they like. */
#include <assert.h>

#include "base/clock.h"
#include "base/mem.h"
#include "smtpd/heard.h"
#include "smtpd/smtpd.h"
#include "smtpd/transaction_inside.h"

enum { MEM_MAX = 16 << 20 };

/* -- life ---------------------------------------------------------------------------------------------------------------------------------------- */

struct transaction *transaction_new(struct session *s)
{
	struct transaction *t = MEM_NEW(struct transaction);
	t->session = s;
	t->mem.max = MEM_MAX;
	t->began_ms = clock_mono_ms();
	t->facts.id = unique_new();
	t->facts.sender = SLICE("");
	t->facts.envelope_id = SLICE("");
	t->facts.evidence = (struct evidence){ EVIDENCE_NONE, SLICE(""), SLICE("") };
	buf_init(&t->places, 1000);
	outcome_begin(&t->outcome, t);
	message_init(&t->message, s->smtpd->worker, transaction_written, t);
	s->smtpd->counts.transactions++;
	return t;
}

void transaction_free(struct transaction *t)
{
	t->state = OVER;
	outcome_end(&t->outcome);
	transaction_forget_later(t);
	for (size_t i = 0; i < t->destination_count; i++)
		t->destinations[i]->kind->abort(t->destinations[i]);
	heard_end(t);
	for (size_t i = 0; i < t->destination_count; i++)
		mem_free(t->destinations[i]);
	transaction_drop_pens(t);
	message_free(&t->message);
	buf_free(&t->places);
	arena_free(&t->mem);
	mem_free(t);
}

struct transaction_facts *transaction_facts_of(struct transaction *t) { return &t->facts; }
struct transaction_facts *transaction_facts(struct transaction *t) { return &t->facts; }
const struct session_facts *transaction_session(const struct transaction *t) { return &t->session->facts; }
struct message *transaction_message(struct transaction *t) { return &t->message; }
struct arena *transaction_arena(struct transaction *t) { return &t->mem; }
struct smtpd *transaction_smtpd(const struct transaction *t) { return t->session->smtpd; }
struct outcome *transaction_outcome(struct transaction *t) { return &t->outcome; }
bool transaction_is_each(const struct transaction *t) { return t->each; }
struct slice transaction_id(const struct transaction *t) { return unique_slice(&t->facts.id); }

bool transaction_is_deciding(const struct transaction *t)
{
	return t->state == DECIDING;
}

/* -- RCPT ------------------------------------------------------------------------------------------------------------------------------------------ */

static struct destination *find_destination(struct transaction *t, const struct destination_kind *kind)
{
	for (size_t i = 0; i < t->destination_count; i++)
		if (t->destinations[i]->kind == kind)
			return t->destinations[i];
	assert(t->destination_count < MAX_DESTINATIONS);
	struct destination *d = mem_new(kind->size);
	d->kind = kind;
	d->transaction = t;
	t->destinations[t->destination_count++] = d;
	return d;
}

/* True: r is listed. */
static bool keep_recipient(struct transaction *t, struct recipient *r)
{
	if (t->facts.recipient_count == t->recipient_room) {
		size_t room = t->recipient_room ? t->recipient_room * 4 : 4;
		struct recipient **list = ARENA_ARRAY(&t->mem, struct recipient *, room);
		if (!list)
			return false;
		if (t->facts.recipient_count)
			memcpy(list, t->facts.recipients, t->facts.recipient_count * sizeof *list);
		t->facts.recipients = list;
		t->recipient_room = room;
	}
	t->facts.recipients[t->facts.recipient_count++] = r;
	return true;
}

static void end_adding(struct transaction *t, struct mail_status status)
{
	struct recipient *r = t->adding;
	t->adding = NULL;
	if (status.fate == MAIL_OK && !keep_recipient(t, r))
		status = TOO_MUCH;
	for (size_t i = 0; status.fate != MAIL_OK && i < t->destination_count; i++)
		t->destinations[i]->kind->give_up(t->destinations[i], r);
	t->added(t->session, status);
}

/* One leaf: true if its answer is here. */
static bool ask_leaf(struct transaction *t, const struct leaf *leaf)
{
	const struct destination_kind *kind = destination_kind_for(t, leaf, &t->answer);
	if (!kind)
		return true;
	t->asked = find_destination(t, kind);
	t->asking = true;
	t->answered = false;
	kind->ask(t->asked, t->adding, leaf);
	t->asking = false;
	return t->answered;
}

/* All leaves of one kind go in one record to those who take them, so there is an end of them. Filters may add beyond what a client may name. */
static bool has_room(const struct transaction *t)
{
	size_t leaves = t->adding->resolved.count;
	for (size_t i = 0; i < t->facts.recipient_count; i++)
		leaves += t->facts.recipients[i]->resolved.count;
	return leaves <= (t->state == COLLECTING ? RESOLVE_MAX_LEAVES : MAILBOX_MAX_LEAVES);
}

static void ask_leaves(struct transaction *t)
{
	if (!has_room(t)) {
		end_adding(t, TOO_MUCH);
		return;
	}
	while (t->leaf_at < t->adding->resolved.count) {
		if (!ask_leaf(t, &t->adding->resolved.leaves[t->leaf_at]))
			return;
		if (t->answer.fate != MAIL_OK) {
			end_adding(t, t->answer);
			return;
		}
		t->leaf_at++;
	}
	if (t->put_off || !transaction_is_put_off(t)) {
		end_adding(t, MAIL_STATUS_OK);
		return;
	}
	t->put_off = true;
	t->leaf_at = 0;
	struct mail_status status = transaction_put_off(t, t->adding);
	if (status.fate == MAIL_OK)
		ask_leaves(t); /* once more, of the queue */
	else
		end_adding(t, status);
}

static void looked_up(struct transaction *t, struct mail_status status)
{
	if (status.fate == MAIL_OK)
		ask_leaves(t);
	else
		end_adding(t, status);
}

void transaction_add(struct transaction *t, struct recipient *r, void (*done)(struct session *s, struct mail_status status))
{
	t->adding = r;
	t->added = done;
	t->leaf_at = 0;
	t->put_off = false;
	outcome_ask(&t->outcome, r, looked_up);
}

void transaction_hop_refused(struct transaction *t, struct slice leaf, struct slice place, struct slice host)
{
	t->adding->hop_leaf = slice_eq(leaf, t->adding->address) ? SLICE("") : leaf;
	t->adding->hop_place = place;
	t->adding->hop_host = arena_copy(&t->mem, host);
}

void transaction_asked(struct destination *d, struct mail_status status)
{
	struct transaction *t = d->transaction;
	assert(t->adding && t->asked == d && !t->answered);
	t->answer = mail_status_copy(&t->mem, status);
	t->answered = true;
	if (t->asking)
		return;
	if (t->answer.fate != MAIL_OK) {
		end_adding(t, t->answer);
		return;
	}
	t->leaf_at++;
	ask_leaves(t);
}

void transaction_hand_over(struct destination *d, const struct destination_kind *kind)
{
	struct transaction *t = d->transaction;
	assert(t->adding && t->asked == d && !t->answered && !t->asking);
	t->asked = find_destination(t, kind);
	kind->ask(t->asked, t->adding, &t->adding->resolved.leaves[t->leaf_at]);
}

/* The targets' leaves stand where the user's leaf stood; what is there already is asked once. */
void transaction_forwarded(struct destination *d, const struct slice *targets, size_t count)
{
	struct transaction *t = d->transaction;
	struct slice *copies = ARENA_ARRAY(&t->mem, struct slice, count);
	for (size_t i = 0; copies && i < count; i++)
		copies[i] = arena_copy(&t->mem, targets[i]);
	struct mail_status status = copies ? resolve_forward(t->session->smtpd->maps, &t->adding->resolved, t->leaf_at, copies, count, &t->mem) : TOO_MUCH;
	if (status.fate == MAIL_OK)
		status = resolve_one_first(t->adding->resolved.leaves, t->adding->resolved.count, t->facts.evidence.grade >= EVIDENCE_CLIENT);
	if (status.fate != MAIL_OK) {
		transaction_asked(d, status);
		return;
	}
	ask_leaves(t);
}
