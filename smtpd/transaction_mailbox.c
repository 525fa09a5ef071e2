/* The mailboxes of a transaction: all of them together are one destination, asked with one question and answered with one answer, however many recipients there are. */
#include <errno.h>
#include <stddef.h>

#include "base/mem.h"
#include "smtpd/destination.h"
#include "smtpd/outcome.h"
#include "smtpd/peer.h"
#include "smtpd/received.h"
#include "smtpd/smtpd.h"
#include "smtpd/smtpd_settings.h"
#include "smtpd/transaction_inside.h"

enum { MAX_FORWARDS = 20, ASK_MS = 30000, PEN_MS = 60000, DELIVER_MS = 240000 };

#define GONE MAIL_STATUS(MAIL_LATER, 451, 3, 0, "The mailboxes can't be reached just now, try again later")
#define FULL MAIL_STATUS(MAIL_LATER, 452, 3, 1, "No room for this message just now, try again later")

struct wanted {
	const struct recipient *recipient;
	struct mailbox_leaf leaf;
	struct mail_status status;      /* of its own, where each has one; code 0: that of all */
};

struct mailboxes {
	struct destination base;
	struct wanted *wanted;
	size_t count, room;
	size_t failed;            /* behind the first `count`: each for itself, and out of it */
	struct peer_question *question;
	bool pen, asked;          /* it holds something of ours: to be told when we give up */
	bool held, committed;
	const struct recipient *expanding;
	struct slice expanded[MAX_FORWARDS]; /* system users whose ~/.forward was followed for this recipient: met again they are mailboxes */
	size_t expanded_count;
	const struct recipient *candidate;
	struct mailbox_leaf candidate_leaf;
};

static struct mailboxes *of(struct destination *d)
{
	return (struct mailboxes *)d;
}

static struct peer *peer_of(const struct mailboxes *m)
{
	return transaction_smtpd(m->base.transaction)->mailbox;
}

/* -- RCPT -------------------------------------------------------------------------------------------------------------------------------------- */

/* A place is taken once, by whatever recipients it is reached. */
static void add(struct mailboxes *m, const struct recipient *r, const struct mailbox_leaf *leaf)
{
	for (size_t i = 0; i < m->count; i++)
		if (m->wanted[i].leaf.kind == leaf->kind && slice_eq(m->wanted[i].leaf.place, leaf->place))
			return;
	if (m->count == m->room) {
		m->room = m->room ? m->room * 2 : 2;
		m->wanted = mem_grow(m->wanted, m->room, sizeof *m->wanted);
	}
	m->wanted[m->count++] = (struct wanted){ .recipient = r, .leaf = *leaf };
}

static bool was_expanded(const struct mailboxes *m, const struct recipient *r, const struct leaf *leaf)
{
	for (size_t i = 0; m->expanding == r && i < m->expanded_count; i++)
		if (leaf->kind == LEAF_SYSTEM && slice_eq(m->expanded[i], leaf->place))
			return true;
	return false;
}

static void follow(struct mailboxes *m, const struct mailbox_asked *asked)
{
	if (m->expanding != m->candidate)
		m->expanded_count = 0;
	m->expanding = m->candidate;
	if (m->expanded_count == MAX_FORWARDS) {
		transaction_asked(&m->base, MAIL_STATUS(MAIL_LATER, 451, 4, 6, "This address is forwarded too often"));
		return;
	}
	m->expanded[m->expanded_count++] = m->candidate_leaf.place;
	transaction_forwarded(&m->base, asked->forward, asked->forward_count);
}

static int on_asked(void *arg, struct ipc_message *message)
{
	struct mailboxes *m = arg;
	struct mailbox_asked asked;
	m->question = NULL;
	if (!message) {
		transaction_asked(&m->base, GONE);
		return 0;
	}
	if (message->type != MAILBOX_ASKED || mailbox_get_asked(message->payload, transaction_arena(m->base.transaction), &asked) < 0) {
		transaction_asked(&m->base, GONE);
		return -EPROTO;
	}
	if (asked.status.fate == MAIL_OK && asked.forward_count) {
		follow(m, &asked);
		return 0;
	}
	if (asked.status.fate == MAIL_OK)
		add(m, m->candidate, &m->candidate_leaf);
	transaction_asked(&m->base, asked.status);
	return 0;
}

static bool may_ask_not(const struct mailbox_leaf *l)
{
	return l->kind == LEAF_MAILDIR && !l->quota_bytes && !l->quota_messages;
}

static void ask(struct destination *d, struct recipient *r, const struct leaf *leaf)
{
	struct mailboxes *m = of(d);
	const struct smtpd *smtpd = transaction_smtpd(d->transaction);
	struct mailbox_ask question = { { leaf->kind, leaf->place, leaf->address, leaf->quota_bytes, leaf->quota_messages },
		                        transaction_facts(d->transaction)->announced, SLICE_NONE };
	if (!peer_is_up(smtpd->mailbox)) {
		transaction_asked(d, GONE);
		return;
	}
	if (smtpd->store_known && (smtpd->store.read_only || !smtpd->store.free_inodes || smtpd->store.free_bytes <= question.size)) {
		transaction_asked(d, FULL);
		return;
	}
	if (leaf->size_limit && question.size > leaf->size_limit) {
		transaction_asked(d, MAIL_STATUS(MAIL_NEVER, 552, 2, 3, "The message is larger than this recipient takes"));
		return;
	}
	if (may_ask_not(&question.leaf) || was_expanded(m, r, leaf)) {
		add(m, r, &question.leaf);
		transaction_asked(d, MAIL_STATUS_OK);
		return;
	}
	struct buf payload = BUF_INIT(16 << 10);
	mailbox_put_ask(&payload, &question);
	m->candidate = r;
	m->candidate_leaf = question.leaf;
	m->question = buf_full(&payload) ? NULL : peer_ask(smtpd->mailbox, MAILBOX_ASK, buf_slice(&payload), -1, ASK_MS, on_asked, m);
	buf_free(&payload);
	if (!m->question)
		transaction_asked(d, GONE);
}

static bool is_for(const struct wanted *w, const struct leaf *leaf)
{
	return w->leaf.kind == leaf->kind && slice_eq(w->leaf.place, leaf->place);
}

/* Another recipient that leads to the same mailbox; only_served: and that nobody has refused. */
static const struct recipient *heir_of(const struct mailboxes *m, const struct wanted *w, const struct recipient *but, bool only_served)
{
	const struct transaction_facts *f = transaction_facts(m->base.transaction);
	for (size_t i = 0; i < f->recipient_count; i++)
		for (size_t k = 0; f->recipients[i] != but && k < f->recipients[i]->resolved.count; k++)
			if (is_for(w, &f->recipients[i]->resolved.leaves[k]) && (!only_served || f->recipients[i]->status.fate == MAIL_OK))
				return f->recipients[i];
	return NULL;
}

static void give_up(struct destination *d, const struct recipient *r)
{
	struct mailboxes *m = of(d);
	size_t kept = 0;
	for (size_t i = 0; i < m->count; i++) {
		if (m->wanted[i].recipient == r)
			m->wanted[i].recipient = heir_of(m, &m->wanted[i], r, false);
		if (m->wanted[i].recipient)
			m->wanted[kept++] = m->wanted[i];
	}
	m->count = kept;
}

/* -- the pen ------------------------------------------------------------------------------------------------------------------------------------ */

static int on_pen(void *arg, struct ipc_message *message)
{
	struct mailboxes *m = arg;
	struct mail_status status;
	m->question = NULL;
	if (!message) {
		transaction_pen(&m->base, GONE, -1, 0);
		return 0;
	}
	if (message->type != MAILBOX_PEN_READY || mailbox_get_status(message->payload, &status) < 0 || (status.fate == MAIL_OK) != (message->fd >= 0)) {
		transaction_pen(&m->base, GONE, -1, 0);
		return -EPROTO;
	}
	int fd = message->fd;
	message->fd = -1;
	transaction_pen(&m->base, status, fd, 0);
	return 0;
}

static bool has_any(const struct destination *d)
{
	return ((const struct mailboxes *)d)->count > 0;
}

static void open_pen(struct destination *d, uint64_t size)
{
	struct mailboxes *m = of(d);
	struct mailbox_pen question = { transaction_id(d->transaction), m->wanted[0].leaf, size };
	struct buf payload = BUF_INIT(16 << 10);
	mailbox_put_pen(&payload, &question);
	m->pen = true;
	m->question = buf_full(&payload) ? NULL : peer_ask(peer_of(m), MAILBOX_PEN, buf_slice(&payload), -1, PEN_MS, on_pen, m);
	buf_free(&payload);
	if (!m->question)
		transaction_pen(d, GONE, -1, 0);
}

/* -- the dot ------------------------------------------------------------------------------------------------------------------------------------- */

/* Where each of them lies, as far as a log line goes. */
static void print_places(const struct mailboxes *m, const struct mailbox_delivered *d, struct buf *out)
{
	for (size_t i = 0; i < d->leaf_count && i < 3; i++) {
		if (i)
			buf_add_byte(out, ' ');
		buf_add(out, m->wanted[i].leaf.kind == LEAF_PROGRAM ? SLICE("program") : m->wanted[i].leaf.place);
		if (d->leaves[i].name.n) {
			buf_add(out, SLICE("/new/"));
			buf_add(out, d->leaves[i].name);
		}
	}
}

/* Its transaction's id is part of every name that the commit will give. */
static void note_intents(struct mailboxes *m)
{
	struct transaction *t = m->base.transaction;
	for (size_t i = 0; i < m->count; i++)
		outcome_add_intent(transaction_outcome(t), m->wanted[i].leaf.address, transaction_id(t));
}

/* It was asked to commit, and its answer won't come. */
static void be_uncertain(struct mailboxes *m)
{
	if (!m->held)
		note_intents(m);
	transaction_outcome(m->base.transaction)->uncertain |= m->committed || !m->held;
}

static void ask_delivery(struct mailboxes *m, bool hold);

static bool goes_first(const struct destination *d)
{
	const struct mailboxes *m = (const struct mailboxes *)d;
	for (size_t i = 0; i < m->count; i++)
		if (m->wanted[i].leaf.kind == LEAF_PROGRAM)
			return true;
	return false;
}

/* A program's answer counts as a next hop's does: what it took or refused may have to be remembered. Where all of it went first, that the mailboxes have it, too. */
static void remember(struct mailboxes *m, const struct mailbox_delivered *d)
{
	struct outcome *l = transaction_outcome(m->base.transaction);
	bool all = d->status.fate == MAIL_OK;
	if ((all && !m->committed) || d->leaf_count != m->count || !goes_first(&m->base))
		return;
	for (size_t i = 0; i < m->count; i++)
		if (all || m->wanted[i].leaf.kind == LEAF_PROGRAM)
			outcome_add(l, m->wanted[i].leaf.address, &d->leaves[i].status);
}

/* Each hears its own: what one mailbox refuses is not the others', where a leaf of no recipient that is still served is left out, too. */
static void part(struct mailboxes *m, const struct mailbox_delivered *d)
{
	size_t kept = 0, total = m->count + m->failed;
	struct wanted *parted = mem_new_array(total, sizeof *parted);
	for (size_t i = 0; i < m->count; i++)
		if (d->leaves[i].status.fate != MAIL_OK)
			m->wanted[i].status = mail_status_copy(transaction_arena(m->base.transaction), d->leaves[i].status);
	m->base.status = MAIL_STATUS_OK;
	transaction_each_take(&m->base);
	for (size_t i = 0; i < m->count; i++)
		if (heir_of(m, &m->wanted[i], NULL, true))
			parted[kept++] = m->wanted[i];
	for (size_t i = 0, at = kept; i < total; i++)
		if (i >= m->count || !heir_of(m, &m->wanted[i], NULL, true))
			parted[at++] = m->wanted[i];
	mem_free(m->wanted);
	m->wanted = parted;
	m->room = total;
	m->failed = total - kept;
	m->count = kept;
}

/* A mailbox that can't take it makes the whole fail, and nothing is left behind: the others are asked anew. A file is gone by then: its message fails for all of them. */
static bool go_on_without(struct mailboxes *m, const struct mailbox_delivered *d)
{
	bool hold = m->held;
	size_t before = m->count;
	if (m->committed || d->leaf_count != m->count || message_is_spilled(transaction_message(m->base.transaction)))
		return false;
	part(m, d);
	if (m->count == before)
		return false;
	m->asked = m->pen = false;
	if (m->count)
		ask_delivery(m, hold);
	else
		transaction_delivered(&m->base, MAIL_STATUS_OK, SLICE_NONE);
	return true;
}

static int on_delivered(void *arg, struct ipc_message *message)
{
	struct mailboxes *m = arg;
	struct mailbox_delivered d;
	m->question = NULL;
	if (!message) {
		m->asked = false;
		be_uncertain(m);
		transaction_delivered(&m->base, GONE, SLICE_NONE);
		return 0;
	}
	if (message->type != MAILBOX_DELIVERED || mailbox_get_delivered(message->payload, transaction_arena(m->base.transaction), &d) < 0 ||
	    (d.status.fate == MAIL_OK && d.leaf_count != m->count)) {
		transaction_delivered(&m->base, GONE, SLICE_NONE);
		return -EPROTO;
	}
	if (d.status.fate != MAIL_OK && transaction_is_each(m->base.transaction) && go_on_without(m, &d))
		return 0;
	if (d.status.fate == MAIL_OK && m->held && !m->committed)
		note_intents(m);
	if (d.status.fate == MAIL_LATER && d.leaf_count == m->count && !transaction_is_each(m->base.transaction))
		for (size_t i = 0; i < m->count; i++) /* who could take it, and who holds the others up */
			m->wanted[i].status = mail_status_copy(transaction_arena(m->base.transaction), d.leaves[i].status);
	remember(m, &d);
	struct buf places = BUF_INIT(600);
	if (d.status.fate == MAIL_OK && (m->committed || !m->held))
		print_places(m, &d, &places);
	if (d.status.fate != MAIL_OK || m->committed || !m->held)
		m->asked = m->pen = false; /* it is over there */
	transaction_delivered(&m->base, d.status, buf_slice(&places));
	buf_free(&places);
	return 0;
}

static void ask_delivery(struct mailboxes *m, bool hold)
{
	struct transaction *t = m->base.transaction;
	struct message *message = transaction_message(t);
	const struct transaction_facts *facts = transaction_facts(t);
	struct mailbox_deliver question = { .transaction = transaction_id(t), .reverse_path = facts->sender, .hold = hold, .leaf_count = m->count };
	struct buf path = BUF_INIT(2048), content = BUF_INIT(MAILBOX_MAX_INLINE);
	int fd;
	uint64_t start;
	question.from_pen = message_spill_file(message, true, &fd, &start, &question.pen_length);
	question.leaves = ARENA_ARRAY(transaction_arena(t), struct mailbox_leaf, m->count);
	if (!question.from_pen) {
		return_path_print(&path, facts);
		message_print(message, true, buf_slice(&path), &content);
		question.content = buf_slice(&content);
	}
	for (size_t i = 0; question.leaves && i < m->count; i++)
		question.leaves[i] = m->wanted[i].leaf;
	bool good = question.leaves && !buf_full(&path) && !buf_full(&content);
	m->held = hold;
	m->question = good ? peer_question_new(peer_of(m), DELIVER_MS, on_delivered, m) : NULL;
	if (m->question) {
		m->asked = true;
		mailbox_send_deliver(peer_channel(peer_of(m)), peer_question_id(m->question), &question);
	}
	buf_free(&path);
	buf_free(&content);
	if (!m->question)
		transaction_delivered(&m->base, GONE, SLICE_NONE);
}

static void deliver(struct destination *d)
{
	ask_delivery(of(d), false);
}

static void prepare(struct destination *d)
{
	ask_delivery(of(d), true);
}

static void tell(struct mailboxes *m, enum mailbox_message what, uint64_t id)
{
	struct buf payload = BUF_INIT(64);
	mailbox_put_transaction(&payload, transaction_id(m->base.transaction));
	peer_tell(peer_of(m), (uint16_t)what, id, buf_slice(&payload));
	buf_free(&payload);
}

static void commit(struct destination *d)
{
	struct mailboxes *m = of(d);
	m->committed = true;
	m->question = peer_question_new(peer_of(m), DELIVER_MS, on_delivered, m);
	if (m->question)
		tell(m, MAILBOX_COMMIT, peer_question_id(m->question));
	else
		transaction_delivered(d, GONE, SLICE_NONE);
}

/* What another mailbox refused for good is no refusal by this one. */
static const struct mail_status *said(const struct destination *d, const struct leaf *leaf)
{
	static const struct mail_status later = { MAIL_LATER, 451, { 3, 0 }, SLICE_INIT("Another mailbox of this message can't take it, try again later") };
	const struct mailboxes *m = (const struct mailboxes *)d;
	for (size_t i = 0; i < m->count + m->failed; i++)
		if (is_for(&m->wanted[i], leaf))
			return m->wanted[i].status.code ? &m->wanted[i].status : d->status.fate == MAIL_NEVER ? &later : &d->status;
	return NULL;
}

/* What was asked to commit ends by itself; a pen and what is held are given back. */
static void abort_all(struct destination *d)
{
	struct mailboxes *m = of(d);
	peer_cancel(m->question);
	if (m->pen || m->asked)
		tell(m, MAILBOX_ABORT, 0);
	mem_free(m->wanted);
}

const struct destination_kind destination_mailbox = {
	.name = "mailbox", .rank = RANK_MAILBOX, .lf = true, .size = sizeof(struct mailboxes), .ask = ask, .give_up = give_up, .has_any = has_any, .open_pen = open_pen,
	.deliver = deliver, .prepare = prepare,
	.goes_first = goes_first, .commit = commit, .said = said, .abort = abort_all
};
