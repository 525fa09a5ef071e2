/* A reply for each recipient (PRDR, draft-hall-prdr): the client asked for them at MAIL, so outcomes that differ need no second try. 353, one reply for each RCPT
 * that was answered 250, in order, and one for the message: 250 if anybody has it. Where nothing differs by recipient (a check refuses, a filter has added or
 * diverted somebody), one reply is said, as without. */
#include "base/log.h"
#include "base/mail_reply.h"
#include "smtpd/attack.h"
#include "smtpd/dialog.h"
#include "smtpd/smtpd.h"
#include "smtpd/transaction_inside.h"

enum { MAX_EACH = 100, MAX_TEXT = 400, MAX_REPLIES = 60 << 10 };

#define EACH_FOLLOWS SLICE_INIT("A reply for each recipient follows, then one for the message")

/* Before filters drop anybody: whom the client waits to hear about. */
void transaction_each_list(struct transaction *t)
{
	if (!t->facts.prdr || t->facts.recipient_count < 2 || t->facts.recipient_count > MAX_EACH)
		return;
	t->listed = ARENA_ARRAY(&t->mem, struct recipient *, t->facts.recipient_count);
	for (size_t i = 0; t->listed && i < t->facts.recipient_count; i++)
		t->listed[t->listed_count++] = t->facts.recipients[i];
}

/* Of a recipient in two places the one would have it, and the other's refusal be its reply: such a transaction has one answer. */
static bool is_in_one_place(const struct transaction *t, const struct recipient *r)
{
	size_t places = 0;
	for (size_t i = 0; i < t->destination_count; i++) {
		bool here = false;
		for (size_t k = 0; k < r->resolved.count; k++)
			here |= t->destinations[i]->kind->said(t->destinations[i], &r->resolved.leaves[k]) != NULL;
		places += here;
	}
	return places <= 1;
}

void transaction_each_begin(struct transaction *t)
{
	t->each = t->listed_count && !t->extra_count;
	for (size_t i = 0; t->each && i < t->facts.recipient_count; i++)
		t->each = is_in_one_place(t, t->facts.recipients[i]);
}

/* A recipient is served when all of its leaves are. */
void transaction_each_take(struct destination *d)
{
	struct transaction *t = d->transaction;
	for (size_t i = 0; i < t->facts.recipient_count; i++) {
		struct recipient *r = t->facts.recipients[i];
		for (size_t k = 0; k < r->resolved.count; k++) {
			const struct mail_status *s = d->kind->said(d, &r->resolved.leaves[k]);
			if (s && s->fate != MAIL_OK && (r->status.fate == MAIL_OK || (r->status.fate == MAIL_NEVER && s->fate == MAIL_LATER)))
				r->status = mail_status_copy(&t->mem, *s);
		}
	}
}

static void log_refusal(const struct transaction *t, const struct recipient *r)
{
	log_event(LOG_INFO, r->status.fate == MAIL_LATER ? "recipient-deferred" : "recipient-refused", LOG_STR("id", unique_slice(&t->facts.id)), LOG_STR("to", r->address),
	          LOG_UINT("code", r->status.code), LOG_STR("text", r->status.text), LOG_END);
}

/* Of all: 250 if anybody has it; else what they have in common, a 4xx where they differ. */
static struct mail_status of_all(const struct transaction *t)
{
	struct mail_status all = t->listed[0]->status;
	for (size_t i = 0; i < t->listed_count; i++) {
		const struct mail_status *s = &t->listed[i]->status;
		if (s->fate == MAIL_OK)
			return MAIL_STATUS_OK;
		if (s->fate != all.fate)
			all = MAIL_STATUS(MAIL_LATER, 451, 5, 3, "Nobody has it; the recipients' replies differ");
	}
	return all;
}

struct mail_status transaction_each_reply(struct transaction *t)
{
	static const struct slice follows[] = { EACH_FOLLOWS };
	struct session *s = t->session;
	buf_init(&s->before, MAX_REPLIES);
	mail_reply_add_lines(&s->before, 353, follows, 1);
	for (size_t i = 0; i < t->listed_count; i++) {
		const struct recipient *r = t->listed[i];
		struct mail_status status = r->status.fate == MAIL_OK ? MAIL_STATUS(MAIL_OK, 250, 1, 5, "Ok") : r->status;
		status.text = slice_head(status.text, MAX_TEXT);
		dialog_add_reply(s, &status, &s->before);
		if (r->status.fate == MAIL_OK)
			continue;
		log_refusal(t, r);
		attack_note_each(s, r, t->message.length);
	}
	return of_all(t);
}
