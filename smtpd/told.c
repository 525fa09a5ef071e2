/* Success and vacation, told to the queue behind the commit. */
#include "smtpd/told.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/general_settings.h"
#include "base/mem.h"
#include "queue/envelope.h"
#include "queue/queue_proto.h"
#include "queue/sent.h"
#include "smtpd/peer.h"

enum { MAX_MEMORY = 8 << 20, MAX_TOLD = 2 << 20, MAX_TOLD_RECIPIENTS = 1000 };

/* -- who is away ----------------------------------------------------------------------------------------------------------------------------- */

/* In order of the addresses; views of `copy`. */
static struct {
	char *copy;
	struct arena mem;
	struct slice *addresses;
	size_t count;
} away;

static int compare(const void *a, const void *b)
{
	return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

int told_vacations(const struct ipc_message *m)
{
	char *copy = mem_copy(m->payload.n ? m->payload.p : "", m->payload.n);
	struct arena mem = ARENA_INIT(MAX_MEMORY);
	struct slice *list;
	size_t count;
	int error = queue_get_texts(slice(copy, m->payload.n), QUEUE_MAX_VACATIONS, &mem, &list, &count);
	if (error) {
		arena_free(&mem);
		mem_free(copy);
		return error;
	}
	arena_free(&away.mem);
	mem_free(away.copy);
	away.copy = copy, away.mem = mem, away.addresses = list, away.count = count;
	if (count)
		qsort(list, count, sizeof *list, compare);
	return 0;
}

static bool is_away(struct slice address)
{
	return away.count && bsearch(&address, away.addresses, away.count, sizeof address, compare);
}

/* -- the transaction ---------------------------------------------------------------------------------------------------------------------------- */

/* What the queue has taken, it tells itself once it is there; copies of a list of ours are the list's affair (RFC 3461, 5.2.7.3). */
static bool was_delivered(const struct recipient *r)
{
	if (r->status.fate != MAIL_OK || r->done)
		return false;
	for (size_t i = 0; i < r->resolved.count; i++)
		if (r->resolved.leaves[i].kind == LEAF_HOP && !r->resolved.leaves[i].owner.n)
			return false;
	return true;
}

static void tell(struct peer *queue, enum queue_message what, struct slice header, struct envelope *e)
{
	struct queue_told told = { header, *e };
	struct buf b = BUF_INIT(MAX_TOLD);
	if (e->recipient_count && queue_put_told(&b, &told) == 0)
		peer_tell(queue, (uint16_t)what, 0, buf_slice(&b));
	buf_free(&b);
}

static void add_recipient(struct envelope *e, const struct recipient *r, struct slice address)
{
	for (size_t i = 0; i < e->recipient_count; i++)
		if (slice_eq(e->recipients[i].address, address))
			return;
	if (e->recipient_count < MAX_TOLD_RECIPIENTS)
		e->recipients[e->recipient_count++] = (struct envelope_recipient){ .address = address, .place = ENVELOPE_PLACE_LOCAL, .original = r->original, .notify = (uint8_t)r->notify };
}

static void tell_success(struct peer *queue, const struct transaction_facts *t, struct slice header, struct envelope *e)
{
	e->recipient_count = 0;
	for (size_t i = 0; i < t->recipient_count; i++)
		if ((t->recipients[i]->notify & NOTIFY_SUCCESS) && was_delivered(t->recipients[i]))
			add_recipient(e, t->recipients[i], t->recipients[i]->address);
	tell(queue, QUEUE_SUCCESS, header, e);
}

/* A text is named by the mailbox, not by the alias that leads there. */
static void tell_away(struct peer *queue, const struct transaction_facts *t, struct slice header, struct envelope *e)
{
	e->recipient_count = 0;
	for (size_t i = 0; i < t->recipient_count; i++)
		for (size_t k = 0; t->recipients[i]->status.fate == MAIL_OK && !t->recipients[i]->done && k < t->recipients[i]->resolved.count; k++) {
			const struct leaf *leaf = &t->recipients[i]->resolved.leaves[k];
			if (leaf->kind != LEAF_HOP && is_away(leaf->address))
				add_recipient(e, t->recipients[i], leaf->address);
		}
	tell(queue, QUEUE_REPLY, header, e);
}

/* Nearly always nobody: then nothing is built. */
static size_t count_interested(const struct transaction_facts *t)
{
	size_t n = 0;
	for (size_t i = 0; i < t->recipient_count; i++)
		n += (t->recipients[i]->notify & NOTIFY_SUCCESS ? 1 : 0) + (away.count ? t->recipients[i]->resolved.count : 0);
	return n < MAX_TOLD_RECIPIENTS ? n : MAX_TOLD_RECIPIENTS;
}

/* Who has it may refuse it later: to another server inside, by LMTP, or in a program. What goes abroad the queue has. */
static bool may_come_back(const struct recipient *r)
{
	for (size_t k = 0; k < r->resolved.count; k++) {
		enum leaf_kind kind = r->resolved.leaves[k].kind;
		if (kind == LEAF_LMTP || kind == LEAF_PROGRAM || (kind == LEAF_HOP && r->resolved.class != RESOLVE_FOREIGN))
			return true;
	}
	return false;
}

static void tell_sent(struct peer *queue, const struct transaction_facts *t, struct slice message_id)
{
	struct buf name = BUF_INIT(2048), payload = BUF_INIT(4096);
	bool any = false;
	for (size_t i = 0; i < t->recipient_count && !any; i++)
		any = may_come_back(t->recipients[i]);
	if (any)
		sent_name(&name, message_id, unique_slice(&t->id), general_settings.hostname);
	struct slice id = buf_slice(&name);
	if (id.n && !buf_full(&name) && queue_put_texts(&payload, &id, 1) == 0)
		peer_tell(queue, QUEUE_SENT, 0, buf_slice(&payload));
	buf_free(&payload);
	buf_free(&name);
}

void told_taken(struct peer *queue, const struct session_facts *f, const struct message *m, struct slice message_id)
{
	const struct transaction_facts *t = f->transaction;
	struct envelope e = { .id = unique_slice(&t->id), .evidence = t->evidence, .reverse_path = t->sender, .envelope_id = t->envelope_id, .return_full = t->return_full, .utf8 = t->utf8,
		              .eight_bit = t->eight_bit, .require_tls = t->require_tls, .client = slice_of(f->ip_text), .transaction = unique_slice(&t->id), .message_id = message_id, .arrived_s = clock_wall_s(),
		              .hold_until_s = t->hold_until_s, .hold_for_s = t->hold_for_s, .deliver_by_s = t->deliver_by_s, .deliver_by_return = t->deliver_by_return, .priority = (int8_t)t->priority };
	size_t interested = t->sender.n && !t->quarantine.n ? count_interested(t) : 0;
	if (t->evidence.grade >= EVIDENCE_CLIENT && t->sender.n)
		tell_sent(queue, t, message_id);
	if (!interested)
		return;
	e.recipients = mem_new_array(interested, sizeof *e.recipients);
	tell_success(queue, t, buf_slice(&m->head), &e);
	tell_away(queue, t, buf_slice(&m->head), &e);
	mem_free(e.recipients);
}
