/* RCPT: may this recipient come beside the others? Most transactions never ask: hints say which pairs may have an entry. */
#include "smtpd/outcome.h"

#include <errno.h>

#include "base/clock.h"
#include "smtpd/destination.h"
#include "smtpd/outcome_inside.h"
#include "smtpd/peer.h"
#include "smtpd/smtpd.h"
#include "smtpd/told.h"

#define ALONE MAIL_STATUS(MAIL_LATER, 452, 5, 3, "Send this recipient in a transaction of its own")

#define LEFT_OUT MAIL_STATUS(MAIL_LATER, 451, 5, 3, "The other recipients come first, since this one held them up; try it again later")

static struct ledger_hints hints;
static uint8_t content_key[CRYPTO_MAC_KEY];
static struct queue_state spool = { .free_bytes = UINT64_MAX, .clock_doubt = true }; /* until it is told */

void outcome_begin(struct outcome *l, struct transaction *t)
{
	*l = (struct outcome){ .transaction = t };
}

void outcome_end(struct outcome *l)
{
	peer_cancel(l->question);
	l->question = NULL;
}

struct peer *outcome_queue(const struct outcome *l)
{
	return transaction_smtpd(l->transaction)->queue;
}

void outcome_finish(struct outcome *l, struct mail_status status)
{
	l->then(l->transaction, status);
}

static void look_on(struct outcome *l);
static void await_queue(struct outcome *l);

/* An open entry: alone, or not in this transaction. */
static void found(struct outcome *l)
{
	if (transaction_facts(l->transaction)->recipient_count) {
		outcome_finish(l, ALONE);
		return;
	}
	l->alone = l->looked;
	outcome_finish(l, MAIL_STATUS_OK);
}

/* Closed entries and lost 250s say nothing here: they are asked for at the dot. */
static void take_found(struct outcome *l, enum ledger_found what)
{
	if (what == LEDGER_OPEN) {
		found(l);
		return;
	}
	if (what == LEDGER_LEFT_OUT) {
		outcome_finish(l, LEFT_OUT);
		return;
	}
	l->looked->maybe |= what == LEDGER_MAYBE;
	l->leaf_at++;
	look_on(l);
}

static int on_looked(void *arg, struct ipc_message *m)
{
	struct outcome *l = arg;
	struct ledger_looked looked;
	l->question = NULL;
	if (!m && !peer_is_up(outcome_queue(l))) {
		await_queue(l); /* a reload: another process takes the queue over */
		return 0;
	}
	if (!m || m->type != LEDGER_LOOKED || ledger_get_looked(m->payload, &looked) < 0) {
		outcome_finish(l, OUTCOME_UNREADABLE);
		return m ? -EPROTO : 0;
	}
	switch (looked.answer) {
	case FOUND:
		take_found(l, looked.found);
		return 0;
	case ABSENT:
		take_found(l, LEDGER_NOTHING);
		return 0;
	case UNSURE:
		outcome_finish(l, OUTCOME_UNREADABLE);
		return 0;
	}
	return -EPROTO;
}

static void look_on(struct outcome *l)
{
	const struct transaction_facts *f = transaction_facts(l->transaction);
	const struct resolved *r = &l->looked->resolved;
	while (l->leaf_at < r->count && !ledger_hint_hit(&hints, f->sender, r->leaves[l->leaf_at].address))
		l->leaf_at++;
	if (l->leaf_at == r->count) {
		outcome_finish(l, l->beside ? ALONE : MAIL_STATUS_OK);
		return;
	}
	struct buf b = BUF_INIT(LEDGER_MAX_RECORD);
	ledger_put_look(&b, &(struct ledger_look){ f->sender, r->leaves[l->leaf_at].address });
	l->question = peer_ask(outcome_queue(l), LEDGER_LOOK, buf_slice(&b), -1, LEDGER_ASK_MS, on_looked, l);
	buf_free(&b);
	if (l->question)
		return;
	if (peer_is_up(outcome_queue(l)))
		outcome_finish(l, OUTCOME_UNREADABLE);
	else
		await_queue(l);
}

static bool is_accepted(const struct transaction_facts *f, const struct recipient *r)
{
	for (size_t i = 0; i < f->recipient_count; i++)
		if (f->recipients[i] == r)
			return true;
	return false;
}

static int on_queue_up(void *arg, struct ipc_message *m)
{
	struct outcome *l = arg;
	l->question = NULL;
	if (m)
		look_on(l);
	else
		outcome_finish(l, OUTCOME_UNREADABLE);
	return 0;
}

/* What was noted before is not known to be absent, and a queue of a million takes seconds to hand over at a reload. However often its process goes meanwhile, the client waits once. */
static void await_queue(struct outcome *l)
{
	uint64_t now = clock_mono_ms();
	l->wait_until_ms = l->wait_until_ms ? l->wait_until_ms : now + LEDGER_START_MS;
	l->question = now < l->wait_until_ms ? peer_await(outcome_queue(l), l->wait_until_ms - now, on_queue_up, l) : NULL;
	if (!l->question)
		outcome_finish(l, OUTCOME_UNREADABLE);
}

void outcome_ask(struct outcome *l, struct recipient *r, void (*then)(struct transaction *t, struct mail_status status))
{
	l->then = then;
	l->beside = l->alone && is_accepted(transaction_facts(l->transaction), l->alone);
	if (!l->beside)
		l->alone = NULL;
	l->looked = r;
	l->leaf_at = 0;
	l->wait_until_ms = 0;
	look_on(l); /* before the first hints everything is a hit */
}

const uint8_t *outcome_content_key(void)
{
	return content_key;
}

bool outcome_queue_has_room(uint64_t size)
{
	return !spool.read_only && !spool.full && spool.free_bytes > size;
}

bool outcome_believes_clock(struct smtpd *d)
{
	clock_watch_leap(&d->clock);
	return clock_watch_believes(&d->clock) && !spool.clock_doubt;
}

int outcome_from_queue(void *arg, struct ipc_message *m)
{
	(void)arg;
	if (m->type == LEDGER_KEY)
		return ledger_get_key(m->payload, content_key);
	if (m->type == QUEUE_HINTS)
		return queue_get_hints(m->payload, &hints);
	if (m->type == QUEUE_VACATIONS)
		return told_vacations(m);
	if (m->type == QUEUE_STATE)
		return queue_get_state(m->payload, &spool);
	if (m->type == QUEUE_HINT)
		return queue_get_hint(m->payload, &hints);
	return 0;
}
