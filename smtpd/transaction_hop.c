/* The next hop of a transaction (rule.md, "Pass-through"): asked at RCPT while the client waits, handed the content at the dot, and its answers are ours. There is one in a
 * transaction; a recipient that needs another one comes back in the client's next transaction. The process `delivery` does the talking (delivery/hop_proto.h). */
#include <errno.h>
#include <stddef.h>

#include "base/log.h"
#include "base/mem.h"
#include "delivery/hop_proto.h"
#include "queue/queue_proto.h"
#include "smtpd/destination.h"
#include "smtpd/outcome.h"
#include "smtpd/peer.h"
#include "smtpd/smtpd.h"
#include "smtpd/smtpd_settings.h"
#include "smtpd/transaction.h"

enum { MORE_MS = 15000 /* for the process that asks the hop, to say that it had no answer */, PEN_MS = 60000, CONTENT_START = 64, MAX_PLACE = 4096 };

#define GONE MAIL_STATUS(MAIL_LATER, 451, 3, 0, "The next hop can't be asked just now, try again later")
#define SECOND MAIL_STATUS(MAIL_LATER, 452, 5, 3, "Send this recipient in another transaction")
#define DOWN MAIL_STATUS(MAIL_LATER, 451, 4, 1, "The next hop can't be reached, try again later")
#define LOST MAIL_STATUS(MAIL_LATER, 451, 4, 2, "The next hop's answer was not heard, try again later")

struct taken {
	const struct recipient *recipient;
	struct slice address;
	struct mail_status status;      /* of its own, behind the dot; code 0: that of all */
};

struct hop {
	struct destination base;
	struct slice place, route;
	struct taken *taken;            /* recipients that it answered 250, in order */
	size_t count, room;
	struct peer_question *question;
	bool begun, content_sent;
	bool forward;                   /* an alias of ours led here */
	bool broken;                    /* it was promised a recipient that was given up since: it would get the message all the same */
	const struct recipient *candidate;
	const struct leaf *candidate_leaf;
	bool pen;                       /* a file of the queue's is ours */
	struct slice candidate_address;
};

static struct hop *of(struct destination *d)
{
	return (struct hop *)d;
}

static struct peer *peer_of(const struct hop *h)
{
	return transaction_smtpd(h->base.transaction)->delivery;
}

/* -- RCPT -------------------------------------------------------------------------------------------------------------------------------------- */

static void keep(struct hop *h)
{
	if (h->count == h->room) {
		h->room = h->room ? h->room * 2 : 2;
		h->taken = mem_grow(h->taken, h->room, sizeof *h->taken);
	}
	h->taken[h->count++] = (struct taken){ .recipient = h->candidate, .address = h->candidate_address };
}

/* What the hop said of a recipient that only it knows: for the time when it is down (rule.md, "Relayed domains"). */
static void note_word(struct hop *h, const struct hop_rcpt_done *d)
{
	struct ask_note note = { h->candidate_address, h->place, d->status, d->accept_all };
	struct buf b = BUF_INIT(16 << 10);
	if (h->candidate_leaf->ask && d->about_recipient && ask_put_note(&b, &note) == 0)
		peer_tell(transaction_smtpd(h->base.transaction)->queue, ASK_NOTE, 0, buf_slice(&b));
	buf_free(&b);
}

/* Backup MX and forwards: while the hop is down the queue takes what can be reported to a proven sender. */
static bool may_be_queued(const struct hop *h)
{
	const struct transaction_facts *f = transaction_facts(h->base.transaction);
	return h->candidate_leaf->kind == LEAF_HOP && f->sender.n && f->evidence.grade >= EVIDENCE_SPF && !h->count;
}

static void hand_over(struct hop *h)
{
	transaction_facts(h->base.transaction)->hop_down = true;
	log_event(LOG_INFO, "hop-down", LOG_STR("id", transaction_id(h->base.transaction)), LOG_STR("to", h->candidate_address), LOG_STR("place", h->place), LOG_END);
	transaction_hand_over(&h->base, &destination_queue);
}

static int on_word(void *arg, struct ipc_message *m)
{
	struct hop *h = arg;
	struct ask_looked looked;
	h->question = NULL;
	bool good = m && m->type == ASK_LOOKED && ask_get_looked(m->payload, &looked) == 0;
	if (good && looked.answer == FOUND && looked.status.fate == MAIL_OK && !looked.accept_all)
		hand_over(h);
	else
		transaction_asked(&h->base, DOWN);
	return m && !good ? -EPROTO : 0;
}

/* Known to be good: by the map that names a relayed domain's recipients, or by what the hop itself said in the last days. */
static void stand_in(struct hop *h)
{
	struct buf b = BUF_INIT(16 << 10);
	if (h->candidate_leaf->relayed && !h->candidate_leaf->ask) {
		hand_over(h);
		return;
	}
	if (ask_put_look(&b, h->candidate_address, h->place) == 0)
		h->question = peer_ask(transaction_smtpd(h->base.transaction)->queue, ASK_LOOK, buf_slice(&b), -1, PEN_MS, on_word, h);
	buf_free(&b);
	if (!h->question)
		transaction_asked(&h->base, DOWN);
}

static int on_rcpt(void *arg, struct ipc_message *m)
{
	struct hop *h = arg;
	struct hop_rcpt_done d;
	h->question = NULL;
	if (!m) {
		h->broken |= h->count > 0;
		transaction_asked(&h->base, GONE);
		return 0;
	}
	if (m->type != HOP_RCPT_DONE || hop_get_rcpt_done(m->payload, &d) < 0) {
		h->broken |= h->count > 0;
		transaction_asked(&h->base, GONE);
		return -EPROTO;
	}
	note_word(h, &d);
	if (d.facts.down && may_be_queued(h) && !d.accept_all) {
		stand_in(h);
		return 0;
	}
	if (d.status.fate == MAIL_OK)
		keep(h);
	else
		transaction_hop_refused(h->base.transaction, h->candidate_address, h->place, d.facts.host);
	transaction_asked(&h->base, d.status);
	return 0;
}

static unsigned flags_of(const struct transaction_facts *f)
{
	return (f->eight_bit ? HOP_8BIT : 0u) | (f->utf8 ? HOP_UTF8 : 0u) | (f->require_tls ? HOP_REQUIRETLS : 0u) | (f->prdr ? HOP_PRDR : 0u) |
	       (f->return_full ? HOP_RETURN_FULL : 0u) | (f->return_headers ? HOP_RETURN_HEADERS : 0u) |
	       (f->deliver_by_return ? HOP_BY_RETURN : 0u) | (f->deliver_by_trace ? HOP_BY_TRACE : 0u);
}

static void begin(struct hop *h)
{
	struct transaction *t = h->base.transaction;
	const struct transaction_facts *f = transaction_facts(t);
	struct hop_envelope e = { .transaction = transaction_id(t), .place = h->place, .route = h->route,
	                          .reverse_path = h->forward && f->forward_sender.n ? f->forward_sender : f->sender, .envelope_id = f->envelope_id,
		                  .size = f->announced, .flags = flags_of(f), .budget_ms = smtpd_settings.hop_patience_s * 1000,
		                  .deliver_by_s = (uint64_t)f->deliver_by_s, .priority = f->priority ? (uint8_t)(f->priority + HOP_PRIORITY_BASE) : 0 };
	struct buf b = BUF_INIT(32 << 10);
	if (hop_put_envelope(&b, &e) == 0)
		peer_tell(peer_of(h), HOP_BEGIN, 0, buf_slice(&b));
	h->begun = true;
	buf_free(&b);
}

static void ask_hop(struct hop *h, const struct recipient *r)
{
	struct hop_rcpt question = { transaction_id(h->base.transaction), { h->candidate_address, r->original, (uint8_t)r->notify }, h->candidate_leaf->ask };
	struct buf b = BUF_INIT(32 << 10);
	hop_put_rcpt(&b, &question);
	h->question = buf_full(&b) ? NULL : peer_ask(peer_of(h), HOP_RCPT, buf_slice(&b), -1, smtpd_settings.hop_patience_s * 1000 + MORE_MS, on_rcpt, h);
	buf_free(&b);
	if (!h->question)
		transaction_asked(&h->base, GONE);
}

static bool is_taken(const struct hop *h, struct slice address)
{
	for (size_t i = 0; i < h->count; i++)
		if (slice_eq(h->taken[i].address, address))
			return true;
	return false;
}

/* LMTP servers are next hops, too: their answers can't be undone either. */
static struct slice place_of(struct transaction *t, const struct leaf *leaf)
{
	struct buf b = BUF_INIT(MAX_PLACE);
	if (leaf->kind == LEAF_HOP)
		return leaf->place;
	buf_add(&b, SLICE("lmtp:"));
	buf_add(&b, leaf->place);
	struct slice place = arena_copy(transaction_arena(t), buf_slice(&b));
	buf_free(&b);
	return place;
}

static void ask(struct destination *d, struct recipient *r, const struct leaf *leaf)
{
	struct hop *h = of(d);
	struct slice place = place_of(d->transaction, leaf);
	if (!peer_is_up(peer_of(h))) {
		transaction_asked(d, GONE);
	} else if (h->count && !(slice_eq(place, h->place) && slice_eq(leaf->route, h->route))) {
		transaction_asked(d, SECOND);
	} else if (is_taken(h, leaf->address)) {
		transaction_asked(d, MAIL_STATUS_OK);
	} else {
		if (h->begun && !h->count) { /* the one before took nobody: another one may take its place */
			struct buf b = BUF_INIT(64);
			hop_put_transaction(&b, transaction_id(d->transaction));
			if (!(slice_eq(place, h->place) && slice_eq(leaf->route, h->route))) {
				peer_tell(peer_of(h), HOP_ABORT, 0, buf_slice(&b));
				h->begun = false;
			}
			buf_free(&b);
		}
		h->place = place;
		h->route = leaf->route;
		h->forward = leaf->kind == LEAF_HOP && !leaf->relayed;
		h->candidate = r;
		h->candidate_leaf = leaf;
		h->candidate_address = leaf->address;
		if (!h->begun)
			begin(h);
		ask_hop(h, r);
	}
}

/* Another recipient that leads to the same address. */
static const struct recipient *heir_of(const struct hop *h, const struct taken *taken)
{
	const struct transaction_facts *f = transaction_facts(h->base.transaction);
	for (size_t i = 0; i < f->recipient_count; i++)
		for (size_t k = 0; f->recipients[i] != taken->recipient && k < f->recipients[i]->resolved.count; k++)
			if (slice_eq(f->recipients[i]->resolved.leaves[k].address, taken->address))
				return f->recipients[i];
	return NULL;
}

static void give_up(struct destination *d, const struct recipient *r)
{
	struct hop *h = of(d);
	size_t kept = 0;
	for (size_t i = 0; i < h->count; i++) {
		if (h->taken[i].recipient == r)
			h->taken[i].recipient = heir_of(h, &h->taken[i]);
		if (h->taken[i].recipient)
			h->taken[kept++] = h->taken[i];
	}
	h->broken |= kept != h->count;
	h->count = kept;
	if (h->begun && h->broken && !h->count) { /* nobody is left: it hears nothing of this message */
		struct buf b = BUF_INIT(64);
		hop_put_transaction(&b, transaction_id(d->transaction));
		peer_tell(peer_of(h), HOP_ABORT, 0, buf_slice(&b));
		buf_free(&b);
		h->begun = h->broken = false;
	}
}

/* -- a file for a large body: the queue's, content behind the room that its envelope would need ------------------------------------------------------- */

static int on_pen(void *arg, struct ipc_message *m)
{
	struct hop *h = arg;
	struct mail_status status;
	h->question = NULL;
	if (!m || m->type != QUEUE_PEN_READY || queue_get_status(m->payload, &status) < 0 || (status.fate == MAIL_OK) != (m->fd >= 0)) {
		transaction_pen(&h->base, GONE, -1, 0);
		return m ? -EPROTO : 0;
	}
	int fd = m->fd;
	m->fd = -1;
	transaction_pen(&h->base, status, fd, CONTENT_START);
	return 0;
}

static bool has_any(const struct destination *d)
{
	return ((const struct hop *)d)->count > 0;
}

static void open_pen(struct destination *d, uint64_t size)
{
	struct hop *h = of(d);
	struct buf b = BUF_INIT(64);
	(void)size;
	queue_put_transaction(&b, transaction_id(d->transaction));
	h->pen = true;
	h->question = peer_ask(transaction_smtpd(d->transaction)->queue, QUEUE_PEN, buf_slice(&b), -1, PEN_MS, on_pen, h);
	buf_free(&b);
	if (!h->question)
		transaction_pen(d, GONE, -1, 0);
}

/* -- the dot ------------------------------------------------------------------------------------------------------------------------------------- */

static void print_place(const struct hop *h, const struct hop_content_done *d, struct buf *out)
{
	buf_addf(out, "hop=%.*s", SLICE_FMT(d->facts.host.n ? d->facts.host : h->place));
	if (d->facts.address.n && !slice_eq(d->facts.address, d->facts.host))
		buf_addf(out, "[%.*s]", SLICE_FMT(d->facts.address));
}

/* What each got, for the case that it can't be the one answer of all: also of a hop that answered for some, and then was not heard any more. */
static void remember(struct hop *h, const struct hop_content_done *d)
{
	struct outcome *l = transaction_outcome(h->base.transaction);
	if (d->facts.unknown) {
		struct slice *addresses = mem_new_array(h->count, sizeof *addresses);
		for (size_t i = 0; i < h->count; i++)
			addresses[i] = h->taken[i].address;
		outcome_expect_late(l, addresses, h->count);
		mem_free(addresses);
	}
	bool each = transaction_is_each(h->base.transaction);
	l->mixed |= d->mixed;
	for (size_t i = 0; i < h->count && i < d->count; i++) {
		h->taken[i].status = d->each[i];
		if (!each || d->each[i].fate == MAIL_OK)
			outcome_add(l, h->taken[i].address, &d->each[i]);
	}
}

static int on_content(void *arg, struct ipc_message *m)
{
	struct hop *h = arg;
	struct hop_content_done d;
	h->question = NULL;
	if (!m || m->type != HOP_CONTENT_DONE || hop_get_content_done(m->payload, transaction_arena(h->base.transaction), &d) < 0) {
		transaction_delivered(&h->base, LOST, SLICE_NONE);
		return m ? -EPROTO : 0;
	}
	struct buf place = BUF_INIT(600);
	remember(h, &d);
	print_place(h, &d, &place);
	transaction_delivered(&h->base, d.status, buf_slice(&place));
	buf_free(&place);
	return 0;
}

static bool holds_eight_bit(struct transaction *t, struct slice content)
{
	return transaction_facts(t)->eight_bit || !slice_is_ascii(content);
}

static void send_content(struct hop *h)
{
	struct transaction *t = h->base.transaction;
	struct message *message = transaction_message(t);
	const struct ledger_source *source = outcome_source(transaction_outcome(t));
	struct hop_content question = { .transaction = transaction_id(t), .budget_ms = smtpd_settings.hop_dot_patience_s * 1000, .digest = source->digest,
		                        .named = source->message_id.n > 0 };
	struct buf content = BUF_INIT(HOP_MAX_INLINE);
	int fd = -1;
	question.from_file = message_spill_file(message, false, &fd, &question.offset, &question.length);
	if (!question.from_file)
		message_print(message, false, SLICE_NONE, &content);
	question.content = buf_slice(&content);
	question.eight_bit = holds_eight_bit(t, question.content);
	h->question = buf_full(&content) ? NULL : peer_question_new(peer_of(h), smtpd_settings.hop_dot_patience_s * 1000 + MORE_MS, on_content, h);
	if (h->question) {
		h->content_sent = true;
		hop_send_content(peer_channel(peer_of(h)), peer_question_id(h->question), &question, question.from_file ? fd : -1);
	}
	buf_free(&content);
	if (!h->question)
		transaction_delivered(&h->base, GONE, SLICE_NONE);
}

static void deliver(struct destination *d)
{
	struct hop *h = of(d);
	if (h->broken)
		transaction_delivered(d, GONE, SLICE_NONE);
	else
		send_content(h);
}

static const struct mail_status *said(const struct destination *d, const struct leaf *leaf)
{
	const struct hop *h = (const struct hop *)d;
	for (size_t i = 0; i < h->count; i++)
		if (slice_eq(h->taken[i].address, leaf->address))
			return h->taken[i].status.code ? &h->taken[i].status : &d->status;
	return NULL;
}

static void abort_all(struct destination *d)
{
	struct hop *h = of(d);
	struct buf b = BUF_INIT(64);
	peer_cancel(h->question);
	hop_put_transaction(&b, transaction_id(d->transaction));
	if (h->begun && !h->content_sent)
		peer_tell(peer_of(h), HOP_ABORT, 0, buf_slice(&b));
	buf_clear(&b);
	queue_put_transaction(&b, transaction_id(d->transaction));
	if (h->pen)
		peer_tell(transaction_smtpd(d->transaction)->queue, QUEUE_ABORT, 0, buf_slice(&b));
	buf_free(&b);
	mem_free(h->taken);
}

const struct destination_kind destination_hop = {
	.name = "hop", .rank = RANK_HOP, .lf = false, .size = sizeof(struct hop), .ask = ask, .give_up = give_up, .has_any = has_any, .open_pen = open_pen,
	.deliver = deliver, .said = said, .abort = abort_all
};
