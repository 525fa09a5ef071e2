/* The queue as a destination of a transaction (rule.md, "No queue for strangers"): what an authenticated sender sends abroad, and the remote copies of lists of ours. It can be
 * prepared, so any number of recipients go with mailboxes and a next hop in one transaction. A PUT carries one envelope for the sender's own recipients and one for each
 * list's owner. */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/mail_header.h"
#include "base/mem.h"
#include "base/unique.h"
#include "queue/queue_proto.h"
#include "queue/spool.h"
#include "smtpd/destination.h"
#include "smtpd/heard.h"
#include "smtpd/outcome.h"
#include "smtpd/peer.h"
#include "smtpd/smtpd.h"
#include "smtpd/transaction.h"

enum { GATE_MS = 30000, PEN_MS = 60000, PUT_MS = 240000 };

#define GONE MAIL_STATUS(MAIL_LATER, 451, 3, 0, "The queue can't be reached just now, try again later")
#define FULL MAIL_STATUS(MAIL_LATER, 452, 3, 1, "No room for this message just now, try again later")
#define LISTS MAIL_STATUS(MAIL_LATER, 452, 5, 3, "Send this recipient in another transaction")

struct wanted {
	const struct recipient *recipient;
	struct slice address, place, route, owner;
	enum envelope_way way;
};

struct queued {
	struct destination base;
	struct wanted *wanted;
	size_t count, room;
	struct wanted candidate;
	struct peer_question *question;
	bool pen, asked, held, committed;
	struct unique ids[QUEUE_MAX_ENVELOPES];
	size_t id_count;
};

static struct queued *of(struct destination *d)
{
	return (struct queued *)d;
}

static struct peer *peer_of(const struct queued *q)
{
	return transaction_smtpd(q->base.transaction)->queue;
}

/* -- RCPT -------------------------------------------------------------------------------------------------------------------------------------- */

static void keep(struct queued *q)
{
	for (size_t i = 0; i < q->count; i++)
		if (slice_eq(q->wanted[i].address, q->candidate.address) && slice_eq(q->wanted[i].owner, q->candidate.owner))
			return;
	if (q->count == q->room) {
		q->room = q->room ? q->room * 2 : 2;
		q->wanted = mem_grow(q->wanted, q->room, sizeof *q->wanted);
	}
	q->wanted[q->count++] = q->candidate;
}

static size_t owners(const struct queued *q, struct slice with)
{
	size_t n = 1;
	bool known = !with.n;
	for (size_t i = 0; i < q->count; i++) {
		bool first = q->wanted[i].owner.n != 0;
		for (size_t k = 0; first && k < i; k++)
			first = !slice_eq(q->wanted[k].owner, q->wanted[i].owner);
		n += first;
		known |= slice_eq(q->wanted[i].owner, with);
	}
	return n + !known;
}

static int on_gated(void *arg, struct ipc_message *m)
{
	struct queued *q = arg;
	struct mail_status status;
	q->question = NULL;
	if (!m || m->type != QUEUE_GATED || queue_get_status(m->payload, &status) < 0) {
		transaction_asked(&q->base, GONE);
		return m ? -EPROTO : 0;
	}
	if (status.fate == MAIL_OK)
		keep(q);
	transaction_asked(&q->base, status);
	return 0;
}

/* An outgoing null reverse-path from inside passes the gate (rule.md, "One gate"). */
static void ask_gate(struct queued *q, const struct recipient *r, const struct leaf *leaf)
{
	struct queue_gate g = { transaction_id(q->base.transaction), leaf->address, r->resolved.class != RESOLVE_FOREIGN };
	struct buf b = BUF_INIT(4096);
	queue_put_gate(&b, &g);
	q->question = buf_full(&b) ? NULL : peer_ask(peer_of(q), QUEUE_GATE, buf_slice(&b), -1, GATE_MS, on_gated, q);
	buf_free(&b);
	if (!q->question)
		transaction_asked(&q->base, GONE);
}

static void ask(struct destination *d, struct recipient *r, const struct leaf *leaf)
{
	struct queued *q = of(d);
	const struct transaction_facts *f = transaction_facts(d->transaction);
	q->candidate = (struct wanted){ r, leaf->address, leaf->place, leaf->route, leaf->owner,
		                        leaf->owner.n ? WAY_LIST : leaf->withheld ? (f->quarantine.n ? WAY_HELD : WAY_WITHHELD) : leaf->relayed ? WAY_RELAYED : r->resolved.class == RESOLVE_FOREIGN ? WAY_FOREIGN : WAY_FORWARD };
	if (!peer_is_up(peer_of(q))) {
		transaction_asked(d, GONE);
	} else if (!outcome_queue_has_room(f->announced)) {
		transaction_asked(d, FULL);
	} else if (leaf->owner.n && owners(q, leaf->owner) > QUEUE_MAX_ENVELOPES) {
		transaction_asked(d, LISTS);
	} else if (!f->sender.n && !leaf->owner.n && !leaf->withheld) {
		ask_gate(q, r, leaf);
	} else {
		keep(q);
		transaction_asked(d, MAIL_STATUS_OK);
	}
}

static bool is_for(const struct wanted *w, const struct leaf *leaf)
{
	return slice_eq(w->address, leaf->address) && slice_eq(w->owner, leaf->owner);
}

/* Another recipient that leads to the same address. */
static const struct recipient *heir_of(const struct queued *q, const struct wanted *w)
{
	const struct transaction_facts *f = transaction_facts(q->base.transaction);
	for (size_t i = 0; i < f->recipient_count; i++)
		for (size_t k = 0; f->recipients[i] != w->recipient && k < f->recipients[i]->resolved.count; k++)
			if (is_for(w, &f->recipients[i]->resolved.leaves[k]))
				return f->recipients[i];
	return NULL;
}

static void give_up(struct destination *d, const struct recipient *r)
{
	struct queued *q = of(d);
	size_t kept = 0;
	for (size_t i = 0; i < q->count; i++) {
		if (q->wanted[i].recipient == r)
			q->wanted[i].recipient = heir_of(q, &q->wanted[i]);
		if (q->wanted[i].recipient)
			q->wanted[kept++] = q->wanted[i];
	}
	q->count = kept;
}

/* -- a file for a large body -------------------------------------------------------------------------------------------------------------------- */

static int on_pen(void *arg, struct ipc_message *m)
{
	struct queued *q = arg;
	struct mail_status status;
	q->question = NULL;
	if (!m || m->type != QUEUE_PEN_READY || queue_get_status(m->payload, &status) < 0 || (status.fate == MAIL_OK) != (m->fd >= 0)) {
		transaction_pen(&q->base, GONE, -1, 0);
		return m ? -EPROTO : 0;
	}
	int fd = m->fd;
	m->fd = -1;
	transaction_pen(&q->base, status, fd, SPOOL_HEAD);
	return 0;
}

static bool has_any(const struct destination *d)
{
	return ((const struct queued *)d)->count > 0;
}

static void open_pen(struct destination *d, uint64_t size)
{
	struct queued *q = of(d);
	struct buf b = BUF_INIT(64);
	(void)size;
	queue_put_transaction(&b, transaction_id(d->transaction));
	q->pen = true;
	q->question = peer_ask(peer_of(q), QUEUE_PEN, buf_slice(&b), -1, PEN_MS, on_pen, q);
	buf_free(&b);
	if (!q->question)
		transaction_pen(d, GONE, -1, 0);
}

/* -- the dot ------------------------------------------------------------------------------------------------------------------------------------- */

static void fill_recipients(const struct queued *q, struct slice owner, struct envelope *e)
{
	for (size_t i = 0; i < q->count; i++) {
		const struct wanted *w = &q->wanted[i];
		if (!slice_eq(w->owner, owner))
			continue;
		e->recipients[e->recipient_count++] = (struct envelope_recipient){ .address = w->address, .place = w->place, .route = w->route, .original = w->recipient->original,
			                                                           .way = w->way, .notify = owner.n ? 0 : (uint8_t)w->recipient->notify };
	}
}

/* What the postmaster reads of a message that nobody gets. */
static struct slice held_why(const struct queued *q)
{
	struct buf b = BUF_INIT(600);
	buf_addf(&b, "held back by a filter: %.*s", SLICE_FMT(slice_head(transaction_facts(q->base.transaction)->quarantine, 500)));
	for (char *c = b.p; c < b.p + b.n; c++)
		*c = (unsigned char)*c < ' ' || *c == 0x7f ? ' ' : *c;
	struct slice text = arena_copy(transaction_arena(q->base.transaction), buf_slice(&b));
	buf_free(&b);
	return text;
}

static bool make_envelope(struct queued *q, struct slice owner, struct slice message_id, struct queue_put *put)
{
	struct transaction *t = q->base.transaction;
	const struct transaction_facts *f = transaction_facts(t);
	struct envelope *e = &put->envelopes[put->envelope_count];
	q->ids[put->envelope_count] = unique_new();
	*e = (struct envelope){ .id = unique_slice(&q->ids[put->envelope_count]), .hold_until_s = f->hold_until_s, .hold_for_s = f->hold_for_s, .evidence = f->evidence, .reverse_path = owner.n ? owner : f->sender,
		                .envelope_id = owner.n ? SLICE("") : f->envelope_id, .return_full = f->return_full, .return_headers = f->return_headers, .utf8 = f->utf8,
		                .eight_bit = f->eight_bit || !slice_is_ascii(put->content), .require_tls = f->require_tls,
		                .waive_tls = !owner.n && mail_header_waives_tls(buf_slice(&transaction_message(t)->head)), .priority = (int8_t)f->priority, .deliver_by_s = f->deliver_by_s,
		                .deliver_by_return = f->deliver_by_return, .deliver_by_trace = f->deliver_by_trace, .client = slice_of(transaction_session(t)->ip_text),
		                .transaction = transaction_id(t),
		                .message_id = message_id };
	e->recipients = ARENA_ARRAY(transaction_arena(t), struct envelope_recipient, q->count);
	if (!e->recipients)
		return false;
	fill_recipients(q, owner, e);
	if (e->recipient_count && e->recipients[0].way == WAY_WITHHELD)
		e->evidence = (struct evidence){ EVIDENCE_NONE, SLICE(""), SLICE("a report on a forward whose sender was not proven") };
	if (e->recipient_count && e->recipients[0].way == WAY_HELD)
		e->evidence.reason = held_why(q);
	if (e->recipient_count)
		put->envelope_count++;
	return true;
}

static bool make_envelopes(struct queued *q, struct queue_put *put)
{
	struct transaction *t = q->base.transaction;
	struct slice message_id = outcome_message_id(transaction_outcome(t));
	put->envelopes = ARENA_ARRAY(transaction_arena(t), struct envelope, owners(q, SLICE("")) + 1);
	bool good = put->envelopes && make_envelope(q, SLICE(""), message_id, put);
	for (size_t i = 0; good && i < q->count; i++) {
		bool first = q->wanted[i].owner.n != 0;
		for (size_t k = 0; first && k < i; k++)
			first = !slice_eq(q->wanted[k].owner, q->wanted[i].owner);
		if (first)
			good = put->envelope_count < QUEUE_MAX_ENVELOPES && make_envelope(q, q->wanted[i].owner, message_id, put);
	}
	q->id_count = put->envelope_count;
	return good && put->envelope_count;
}

/* It may have it by now. */
static bool is_committing(const struct queued *q)
{
	return q->committed || (q->asked && !q->held);
}

static int on_taken(void *arg, struct ipc_message *m)
{
	struct queued *q = arg;
	struct mail_status status;
	struct buf ids = BUF_INIT(200);
	q->question = NULL;
	if (!m || m->type != QUEUE_TAKEN || queue_get_status(m->payload, &status) < 0) {
		if (is_committing(q))
			heard_leave_behind(q->base.transaction);
		transaction_delivered(&q->base, GONE, SLICE_NONE);
		return m ? -EPROTO : 0;
	}
	if (status.fate != MAIL_OK || !q->held)
		q->asked = q->pen = false;
	for (size_t i = 0; status.fate == MAIL_OK && i < q->id_count && i < 4; i++)
		buf_addf(&ids, "%squeue=%s", i ? " " : "", q->ids[i].text);
	for (size_t i = 0; status.fate == MAIL_OK && q->committed && i < q->count; i++)
		outcome_add(transaction_outcome(q->base.transaction), q->wanted[i].address, &status);
	transaction_delivered(&q->base, status, buf_slice(&ids));
	buf_free(&ids);
	return 0;
}

static void send_put(struct queued *q, bool hold)
{
	struct transaction *t = q->base.transaction;
	struct message *message = transaction_message(t);
	struct queue_put put = { .transaction = transaction_id(t), .hold = hold, .hop_down = transaction_facts(t)->hop_down };
	struct buf content = BUF_INIT(QUEUE_MAX_INLINE);
	int fd;
	put.from_pen = message_spill_file(message, false, &fd, &put.content_offset, &put.content_length);
	if (!put.from_pen)
		message_print(message, false, SLICE_NONE, &content);
	put.content = buf_slice(&content);
	q->held = hold;
	bool good = !buf_full(&content) && make_envelopes(q, &put);
	if (good)
		heard_begin_put(t, &put);
	q->question = good ? peer_question_new(peer_of(q), PUT_MS, on_taken, q) : NULL;
	if (q->question) {
		q->asked = true;
		queue_send_put(peer_channel(peer_of(q)), peer_question_id(q->question), &put);
	}
	buf_free(&content);
	if (!q->question)
		transaction_delivered(&q->base, GONE, SLICE_NONE);
}

static void deliver(struct destination *d)
{
	send_put(of(d), false);
}

static void prepare(struct destination *d)
{
	send_put(of(d), true);
}

static void tell(struct queued *q, enum queue_message what, uint64_t id)
{
	struct buf b = BUF_INIT(64);
	queue_put_transaction(&b, transaction_id(q->base.transaction));
	peer_tell(peer_of(q), (uint16_t)what, id, buf_slice(&b));
	buf_free(&b);
}

static void commit(struct destination *d)
{
	struct queued *q = of(d);
	q->held = false;
	q->committed = true;
	q->question = peer_question_new(peer_of(q), PUT_MS, on_taken, q);
	if (q->question)
		tell(q, QUEUE_COMMIT, peer_question_id(q->question));
	else
		transaction_delivered(d, GONE, SLICE_NONE);
}

static const struct mail_status *said(const struct destination *d, const struct leaf *leaf)
{
	const struct queued *q = (const struct queued *)d;
	for (size_t i = 0; i < q->count; i++)
		if (is_for(&q->wanted[i], leaf))
			return &d->status;
	return NULL;
}

static void abort_all(struct destination *d)
{
	struct queued *q = of(d);
	if (q->question && is_committing(q))
		heard_leave_behind(d->transaction);
	peer_cancel(q->question);
	if (q->pen || (q->asked && q->held))
		tell(q, QUEUE_ABORT, 0);
	mem_free(q->wanted);
}

const struct destination_kind destination_queue = {
	.name = "queue", .rank = RANK_QUEUE, .size = sizeof(struct queued), .ask = ask, .give_up = give_up, .has_any = has_any, .open_pen = open_pen, .deliver = deliver,
	.prepare = prepare, .commit = commit, .said = said, .abort = abort_all
};
