/* Questions to the ledger, and what is told to it. Most transactions never ask: hints say which pairs may have an entry. */
#include "smtpd/outcome.h"

#include <errno.h>

#include "base/log.h"
#include "base/mem.h"
#include "delivery/hop_proto.h"
#include "smtpd/destination.h"
#include "smtpd/peer.h"
#include "smtpd/smtpd.h"

enum { MAX_RECORD = 1 << 20 };

#define UNREADABLE MAIL_STATUS(MAIL_LATER, 451, 3, 0, "What happened before can't be looked up just now, try again later")
#define ALONE MAIL_STATUS(MAIL_LATER, 452, 5, 3, "Send this recipient in a transaction of its own")
#define AGAIN MAIL_STATUS(MAIL_LATER, 451, 5, 3, "The recipients' outcomes differ: send it again, and each gets its own")

/* A transaction that is over and whose hop may still answer. */
struct late {
	struct late *next;
	struct unique id;
	uint8_t digest[CRYPTO_SHA256];
	struct arena mem;
	struct slice sender;
	struct slice *addresses;
	size_t count;
};

static struct ledger_hints hints;
static struct late *lates;
static size_t late_count;

void outcome_begin(struct outcome *l, struct transaction *t)
{
	*l = (struct outcome){ .transaction = t };
}

void outcome_end(struct outcome *l)
{
	peer_cancel(l->question);
	l->question = NULL;
}

static struct peer *queue_of(const struct outcome *l)
{
	return transaction_smtpd(l->transaction)->queue;
}

/* -- RCPT ------------------------------------------------------------------------------------------------------------------------------------- */

static void look_on(struct outcome *l);

static void finish(struct outcome *l, struct mail_status status)
{
	l->then(l->transaction, status);
}

/* An open entry: alone, or not in this transaction. */
static void found(struct outcome *l)
{
	if (transaction_facts(l->transaction)->recipient_count) {
		finish(l, ALONE);
		return;
	}
	l->alone = l->looked;
	finish(l, MAIL_STATUS_OK);
}

static int on_looked(void *arg, struct ipc_message *m)
{
	struct outcome *l = arg;
	struct ledger_looked looked;
	l->question = NULL;
	if (!m || m->type != LEDGER_LOOKED || ledger_get_looked(m->payload, &looked) < 0) {
		finish(l, UNREADABLE);
		return m ? -EPROTO : 0;
	}
	switch (looked.answer) {
	case FOUND:
		if (looked.found != LEDGER_NOTHING) {
			found(l);
			return 0;
		}
		break;
	case ABSENT:
		break;
	case UNSURE:
		finish(l, UNREADABLE);
		return 0;
	}
	l->leaf_at++;
	look_on(l);
	return 0;
}

static void look_on(struct outcome *l)
{
	const struct transaction_facts *f = transaction_facts(l->transaction);
	const struct resolved *r = &l->looked->resolved;
	while (l->leaf_at < r->count && !ledger_hint_hit(&hints, f->sender, r->leaves[l->leaf_at].address))
		l->leaf_at++;
	if (l->leaf_at == r->count) {
		finish(l, MAIL_STATUS_OK);
		return;
	}
	struct buf b = BUF_INIT(MAX_RECORD);
	ledger_put_look(&b, &(struct ledger_look){ f->sender, r->leaves[l->leaf_at].address });
	l->question = peer_ask(queue_of(l), LEDGER_LOOK, buf_slice(&b), -1, LEDGER_ASK_MS, on_looked, l);
	buf_free(&b);
	if (!l->question)
		finish(l, UNREADABLE);
}

static bool is_accepted(const struct transaction_facts *f, const struct recipient *r)
{
	for (size_t i = 0; i < f->recipient_count; i++)
		if (f->recipients[i] == r)
			return true;
	return false;
}

void outcome_ask(struct outcome *l, const struct recipient *r, void (*then)(struct transaction *t, struct mail_status status))
{
	l->then = then;
	if (l->alone && is_accepted(transaction_facts(l->transaction), l->alone)) {
		finish(l, ALONE);
		return;
	}
	l->alone = NULL;
	l->looked = r;
	l->leaf_at = 0;
	if (hints.known || peer_is_up(queue_of(l)))
		look_on(l); /* before the first hints everything is a hit */
	else
		finish(l, MAIL_STATUS_OK); /* no ledger was there yet: at worst a second copy, and mail need not wait for the queue */
}

/* -- the dot ----------------------------------------------------------------------------------------------------------------------------------- */

bool outcome_knows_nothing(const struct outcome *l)
{
	return !l->alone;
}

static struct ledger_source source_of(const struct outcome *l, uint8_t digest[CRYPTO_SHA256])
{
	message_digest(transaction_message(l->transaction), digest);
	return (struct ledger_source){ .reverse_path = transaction_facts(l->transaction)->sender, .digest = slice((const char *)digest, CRYPTO_SHA256),
		                       .message_id = SLICE(""), .network = SLICE(""), .domain = SLICE("") };
}

/* Refused leaves decide; all done is done; else it is delivered (again, at worst, to those of an alias that have it). */
static struct mail_status verdict(const struct ledger_decided *d)
{
	size_t done = 0;
	for (size_t i = 0; i < d->count; i++) {
		if (d->entries[i].fate == LEDGER_REFUSED)
			return d->entries[i].status;
		done += d->entries[i].fate == LEDGER_DONE;
	}
	return done == d->count ? LEDGER_HAS_IT : MAIL_STATUS_OK;
}

static int on_decided(void *arg, struct ipc_message *m)
{
	struct outcome *l = arg;
	struct ledger_decided d;
	l->question = NULL;
	if (!m || m->type != LEDGER_DECIDED || ledger_get_decided(m->payload, transaction_arena(l->transaction), &d) < 0) {
		finish(l, UNREADABLE);
		return m ? -EPROTO : 0;
	}
	finish(l, d.answer == UNSURE ? UNREADABLE : verdict(&d));
	return 0;
}

void outcome_decide_at_dot(struct outcome *l, void (*then)(struct transaction *t, struct mail_status status))
{
	const struct resolved *r = &l->alone->resolved;
	uint8_t digest[CRYPTO_SHA256];
	struct ledger_decide q = { .source = source_of(l, digest), .leaves = mem_new_array(r->count, sizeof *q.leaves), .leaf_count = r->count };
	struct buf b = BUF_INIT(MAX_RECORD);
	l->then = then;
	for (size_t i = 0; i < r->count; i++)
		q.leaves[i] = r->leaves[i].address;
	ledger_put_decide(&b, &q);
	l->question = peer_ask(queue_of(l), LEDGER_DECIDE, buf_slice(&b), -1, LEDGER_ASK_MS, on_decided, l);
	buf_free(&b);
	mem_free(q.leaves);
	if (!l->question)
		finish(l, UNREADABLE);
}

/* -- outcomes ---------------------------------------------------------------------------------------------------------------------------------- */

void outcome_add(struct outcome *l, struct slice address, const struct mail_status *s)
{
	struct arena *mem = transaction_arena(l->transaction);
	if (s->fate == MAIL_LATER)
		return;
	if (!l->entries)
		l->entries = ARENA_ARRAY(mem, struct ledger_entry, HOP_MAX_RECIPIENTS);
	if (!l->entries || l->count == HOP_MAX_RECIPIENTS)
		return;
	l->entries[l->count++] = (struct ledger_entry){ .leaf = arena_copy(mem, address), .fate = s->fate == MAIL_OK ? LEDGER_DONE : LEDGER_REFUSED,
		.status = s->fate == MAIL_OK ? MAIL_STATUS_OK : mail_status_copy(mem, *s), .name = SLICE("") };
}

static int on_noted(void *arg, struct ipc_message *m)
{
	struct outcome *l = arg;
	struct mail_status s;
	l->question = NULL;
	if (!m || m->type != LEDGER_NOTED || queue_get_status(m->payload, &s) < 0 || s.fate != MAIL_OK)
		log_event(LOG_WARN, "ledger-not-noted", LOG_STR("id", transaction_id(l->transaction)), LOG_END); /* at worst a second copy */
	finish(l, AGAIN);
	return 0;
}

void outcome_note(struct outcome *l, void (*then)(struct transaction *t, struct mail_status status))
{
	uint8_t digest[CRYPTO_SHA256];
	struct ledger_note note = { source_of(l, digest), l->entries, l->count };
	struct buf b = BUF_INIT(MAX_RECORD);
	l->then = then;
	if (l->count && ledger_put_note(&b, &note) == 0)
		l->question = peer_ask(queue_of(l), LEDGER_NOTE, buf_slice(&b), -1, LEDGER_ASK_MS, on_noted, l);
	buf_free(&b);
	if (!l->question)
		finish(l, AGAIN);
}

/* -- late replies -------------------------------------------------------------------------------------------------------------------------------- */

static void late_free(struct late **at)
{
	struct late *x = *at;
	*at = x->next;
	late_count--;
	arena_free(&x->mem);
	mem_free(x);
}

void outcome_expect_late(struct outcome *l, const struct slice *addresses, size_t count)
{
	struct late *x = MEM_NEW(struct late), **last = &lates;
	x->next = lates;
	x->id = transaction_facts(l->transaction)->id;
	source_of(l, x->digest);
	x->sender = arena_copy(&x->mem, transaction_facts(l->transaction)->sender);
	x->addresses = ARENA_ARRAY(&x->mem, struct slice, count);
	for (x->count = 0; x->count < count; x->count++)
		x->addresses[x->count] = arena_copy(&x->mem, addresses[x->count]);
	lates = x;
	if (++late_count <= LEDGER_MAX_LATE)
		return;
	while ((*last)->next)
		last = &(*last)->next;
	late_free(last);
}

static void note_late(struct smtpd *d, const struct late *x, const struct hop_content_done *done)
{
	struct arena mem = ARENA_INIT(0);
	struct ledger_entry *entries = ARENA_ARRAY(&mem, struct ledger_entry, x->count + 1);
	struct ledger_note note = { { .reverse_path = x->sender, .digest = slice((const char *)x->digest, CRYPTO_SHA256), .message_id = SLICE(""),
		.network = SLICE(""), .domain = SLICE("") }, entries, 0 };
	struct buf b = BUF_INIT(MAX_RECORD);
	for (size_t i = 0; i < x->count && i < done->count; i++) {
		const struct mail_status *s = &done->each[i];
		if (s->fate != MAIL_LATER)
			entries[note.count++] = (struct ledger_entry){ x->addresses[i], s->fate == MAIL_OK ? LEDGER_DONE : LEDGER_REFUSED,
				s->fate == MAIL_OK ? MAIL_STATUS_OK : *s, SLICE("") };
	}
	if (note.count && ledger_put_note(&b, &note) == 0)
		peer_tell(d->queue, LEDGER_NOTE, 0, buf_slice(&b));
	buf_free(&b);
	arena_free(&mem);
}

int outcome_from_delivery(void *arg, struct ipc_message *m)
{
	struct arena mem = ARENA_INIT(0);
	struct hop_late late;
	int error = m->type != HOP_LATE ? 0 : hop_get_late(m->payload, &mem, &late);
	for (struct late **at = &lates; m->type == HOP_LATE && !error && *at; at = &(*at)->next)
		if (slice_eq(unique_slice(&(*at)->id), late.transaction)) {
			note_late(arg, *at, &late.done);
			late_free(at);
			break;
		}
	arena_free(&mem);
	return error;
}

int outcome_from_queue(void *arg, struct ipc_message *m)
{
	(void)arg;
	if (m->type == QUEUE_HINTS)
		return queue_get_hints(m->payload, &hints);
	if (m->type == QUEUE_HINT)
		return queue_get_hint(m->payload, &hints);
	return 0;
}
