/* FUTURERELEASE (RFC 4865): what is to be released later is the queue's whole, a mailbox's part too, since nothing else waits. Each leaf was asked for as always, so RCPT says what it would say
 * to a message of now; then all but the queue forget it, and the queue is asked for leaves that lead to the same places. */
#include "base/clock.h"
#include "queue/envelope.h"
#include "smtpd/smtpd.h"
#include "smtpd/transaction_inside.h"

enum { MAX_MEMORY = 1 << 20 };
#define NOT_LATER MAIL_STATUS(MAIL_NEVER, 550, 3, 3, "A message to this address can't be kept for its release")

bool transaction_is_put_off(const struct transaction *t)
{
	return t->facts.hold_until_s > clock_wall_s();
}

static bool is_mailbox(const struct leaf *l)
{
	return l->kind != LEAF_HOP && l->kind != LEAF_LMTP;
}

static const struct leaf *find_mailbox(const struct resolved *r, const struct leaf *wanted)
{
	for (size_t i = 0; i < r->count; i++)
		if (r->leaves[i].kind == wanted->kind && slice_eq(r->leaves[i].place, wanted->place) && slice_eq(r->leaves[i].address, wanted->address))
			return &r->leaves[i];
	return NULL;
}

/* The queue looks the mailbox's address up when it is released, and delivers to all mailboxes that it finds: it has to be this one, and none that has an entry of its own. An alias with a
 * program or a file beside other targets isn't like that, nor a ~/.forward that names one. */
static bool is_found_again(struct transaction *t, const struct resolved *r, const struct leaf *wanted)
{
	struct arena mem = ARENA_INIT(MAX_MEMORY);
	struct mail_path path;
	struct resolved again = { .count = 0 };
	const char *why;
	if (t->session->smtpd->maps && mail_path_parse_address(wanted->address, &mem, &path, &why) == 0)
		resolve_path(t->session->smtpd->maps, &path, false, &mem, &again);
	bool good = find_mailbox(&again, wanted);
	for (size_t i = 0; i < again.count && good; i++)
		good = !is_mailbox(&again.leaves[i]) || (slice_eq(again.leaves[i].address, wanted->address) && find_mailbox(r, &again.leaves[i]));
	arena_free(&mem);
	return good;
}

static struct leaf queued(struct transaction *t, const struct leaf *l)
{
	struct leaf q = *l;
	struct buf place = BUF_INIT(40000);
	q.kind = LEAF_HOP;
	q.ask = false;
	if (is_mailbox(l)) {
		q.place = ENVELOPE_PLACE_LOCAL;
	} else if (l->kind == LEAF_LMTP) {
		buf_add_cstr(&place, "lmtp:");
		buf_add(&place, l->place);
		q.place = arena_copy(&t->mem, buf_slice(&place));
	}
	if (l->kind != LEAF_HOP)
		q.route = q.owner = q.forward_owner = SLICE("");
	buf_free(&place);
	return q;
}

struct mail_status transaction_put_off(struct transaction *t, struct recipient *r)
{
	struct leaf *leaves = ARENA_ARRAY(&t->mem, struct leaf, r->resolved.count ? r->resolved.count : 1);
	if (!leaves)
		return TOO_MUCH;
	for (size_t i = 0; i < r->resolved.count; i++) {
		const struct leaf *l = &r->resolved.leaves[i];
		if (is_mailbox(l) && !is_found_again(t, &r->resolved, l))
			return NOT_LATER;
		leaves[i] = queued(t, l);
	}
	for (size_t i = 0; i < t->destination_count; i++)
		t->destinations[i]->kind->give_up(t->destinations[i], r);
	r->resolved.leaves = leaves;
	return MAIL_STATUS_OK;
}
