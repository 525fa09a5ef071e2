/* The dot: content is complete. Checks have their say, filters their wishes, the ledger is asked where it may know something, files get their rest; then it is delivered. */
#include "base/log.h"
#include "queue/envelope.h"
#include "smtpd/check.h"
#include "smtpd/content.h"
#include "smtpd/smtpd.h"
#include "smtpd/smtpd_settings.h"
#include "smtpd/transaction_inside.h"

enum { MAX_OWN_TRACES = 4 };

#define LOOP MAIL_STATUS(MAIL_NEVER, 554, 4, 6, "This message goes in circles")
#define QUARANTINE MAIL_STATUS(MAIL_LATER, 451, 7, 1, "Held back by a filter; try again later")
#define NOBODY MAIL_STATUS(MAIL_LATER, 451, 7, 1, "Not taken now, try again later")

/* -- the dot ---------------------------------------------------------------------------------------------------------------------------------------------- */

static void add_tags(struct transaction *t)
{
	struct buf b = BUF_INIT(1000);
	for (size_t i = 0; i < t->facts.tag_count; i++) {
		if (i)
			buf_add(&b, SLICE(", "));
		buf_add(&b, t->facts.tags[i]);
	}
	if (b.n)
		message_add_field(&t->message, SLICE("X-Porter-Tags"), buf_slice(&b));
	buf_free(&b);
}

static void write_files(struct transaction *t);

static void files_opened(struct session *s, struct mail_status status)
{
	struct transaction *t = s->transaction;
	if (status.fate != MAIL_OK)
		transaction_reply(t, status);
	else
		write_files(t);
}

/* The files get their rest and their front; or they are made anew where a filter has changed what is in them. */
static void write_files(struct transaction *t)
{
	struct message *m = &t->message;
	t->state = WRITING;
	if (message_is_busy(m))
		return; /* message_written comes */
	if (message_error(m)) {
		transaction_reply(t, DISK_TROUBLE);
	} else if (t->finished) {
		transaction_deliver(t);
	} else if (!message_fits(m) || !transaction_has_files(t)) { /* a filter may have brought somebody who wants another form */
		t->rewriting = t->finished = true;
		transaction_open_files(t, files_opened);
	} else {
		t->finished = true;
		message_finish(m);
	}
}

static bool outgrew_memory(struct transaction *t)
{
	return message_print_size(&t->message, SLICE_NONE) + t->facts.sender.n + 64 > MAILBOX_MAX_INLINE;
}

/* -- a filter's wishes ---------------------------------------------------------------------------------------------------------------------------------- */

void transaction_drop(struct transaction *t, struct slice address)
{
	for (size_t i = 0; i < t->facts.recipient_count; i++) {
		struct recipient *r = t->facts.recipients[i];
		if (!slice_eq_nocase(r->address, address))
			continue;
		for (size_t k = 0; k < t->destination_count; k++)
			t->destinations[k]->kind->give_up(t->destinations[k], r);
		memmove(t->facts.recipients + i, t->facts.recipients + i + 1, (--t->facts.recipient_count - i) * sizeof *t->facts.recipients);
		return;
	}
}

const char *transaction_extend(struct transaction *t, struct slice address)
{
	const char *why = "too many";
	struct recipient *r = ARENA_NEW(&t->mem, struct recipient);
	if (!r || t->extra_count == MAX_EXTRAS || mail_path_parse_address(arena_copy(&t->mem, address), &t->mem, &r->path, &why))
		return why;
	r->address = arena_copy(&t->mem, address);
	r->original = SLICE("");
	r->status = MAIL_STATUS_OK;
	if (!t->session->smtpd->maps)
		return "there are no maps yet";
	resolve_path(t->session->smtpd->maps, &r->path, false, &t->mem, &r->resolved);
	if (r->resolved.status.fate != MAIL_OK)
		return "it isn't taken here";
	if (r->resolved.class == RESOLVE_FOREIGN && t->facts.evidence.grade < EVIDENCE_CLIENT)
		return "a stranger's mail isn't relayed";
	t->extras[t->extra_count++] = r;
	return NULL;
}

static bool hold(const struct recipient *r, struct leaf *out)
{
	struct slice address = r->path.domain.n || !r->resolved.count ? r->address : r->resolved.leaves[0].address;
	*out = (struct leaf){ .kind = LEAF_HOP, .address = address, .domain = slice_skip(address, slice_rfind(address, '@') + 1), .place = ENVELOPE_PLACE_LOCAL, .route = SLICE(""),
		              .owner = SLICE(""), .forward_owner = SLICE(""), .withheld = true };
	return slice_find(address, '@') < address.n;
}

/* What a filter wants kept is a dead letter instead: one recipient stands for all, those that filters added too, and leads to what each of them resolves to once the
 * postmaster lets it go on. False: it can't be done. */
static bool divert(struct transaction *t)
{
	size_t count = t->facts.recipient_count + t->extra_count;
	struct recipient *all = ARENA_NEW(&t->mem, struct recipient);
	struct leaf *leaves = ARENA_ARRAY(&t->mem, struct leaf, count);
	struct buf text = BUF_INIT(4096);
	bool good = all && leaves;
	buf_add(&text, slice_head(t->facts.quarantine, 300));
	buf_add_cstr(&text, "; for");
	for (size_t i = 0; i < count && good; i++) {
		const struct recipient *r = i < t->facts.recipient_count ? t->facts.recipients[i] : t->extras[i - t->facts.recipient_count];
		good = hold(r, &leaves[i]);
		buf_addf(&text, " %.*s", SLICE_FMT(r->address));
		if (i == 0)
			*all = (struct recipient){ .path = r->path, .address = r->address, .original = SLICE(""), .status = MAIL_STATUS_OK };
	}
	if (good) {
		all->resolved = (struct resolved){ .class = RESOLVE_OURS, .status = MAIL_STATUS_OK, .leaves = leaves, .count = count };
		while (t->facts.recipient_count)
			transaction_drop(t, t->facts.recipients[0]->address);
		t->extras[0] = all;
		t->extra_count = 1;
		message_add_field(&t->message, SLICE("X-Porter-Quarantine"), buf_slice(&text));
		log_event(LOG_WARN, "quarantine", LOG_STR("id", unique_slice(&t->facts.id)), LOG_STR("text", buf_slice(&text)), LOG_END);
	}
	buf_free(&text);
	return good;
}

static void decided(struct transaction *t);
static void begin_delivery(struct transaction *t);

/* The recipients that filters added, one after the other. */
static void added_extra(struct session *s, struct mail_status status)
{
	struct transaction *t = s->transaction;
	if (status.fate != MAIL_OK)
		transaction_reply(t, status);
	else if (t->extra_at < t->extra_count)
		transaction_add(t, t->extras[t->extra_at++], added_extra);
	else
		decided(t);
}

static void checked(struct session *s, const struct mail_status *refusal)
{
	struct transaction *t = s->transaction;
	if (refusal) {
		t->refused_by_check = true;
		transaction_reply(t, *refusal);
		return;
	}
	if (!t->facts.recipient_count && !t->extra_count) { /* a filter took them all away */
		transaction_reply(t, NOBODY);
		return;
	}
	if (t->facts.quarantine.n && !divert(t)) {
		transaction_reply(t, QUARANTINE);
		return;
	}
	add_tags(t);
	added_extra(s, MAIL_STATUS_OK);
}

static void told_by_ledger(struct transaction *t, struct mail_status status)
{
	if (status.fate == MAIL_OK && status.code == 250)
		begin_delivery(t);
	else
		transaction_reply(t, status.fate == MAIL_OK ? MAIL_STATUS_OK : status);
}

static void decided(struct transaction *t)
{
	if (outcome_knows_nothing(&t->outcome))
		begin_delivery(t);
	else
		outcome_decide_at_dot(&t->outcome, told_by_ledger);
}

static void begin_delivery(struct transaction *t)
{
	if (message_is_spilled(&t->message))
		write_files(t);
	else if (outgrew_memory(t))
		transaction_open_files(t, files_opened);
	else
		transaction_deliver(t);
}

static void run_checks(struct transaction *t)
{
	t->state = CHECKING;
	if (t->session->checks)
		message_flush(&t->message); /* what the worker was too busy to take before */
	if (!message_is_busy(&t->message))
		checks_run(t->session->checks, CHECK_DOT, NULL, checked, t->session);
}

void transaction_written(void *arg)
{
	struct transaction *t = arg;
	switch (t->state) {
	case COLLECTING:
		if (t->session->content)
			content_written(t->session->content);
		return;
	case CHECKING:
		run_checks(t);
		return;
	case WRITING:
		write_files(t);
		return;
	case DECIDING:
	case OVER:
		return;
	}
}

void transaction_decide(struct transaction *t)
{
	struct message *m = &t->message;
	outcome_source(&t->outcome); /* before filters change it */
	transaction_each_list(t);
	if (m->received_count > smtpd_settings.max_received || m->own_count >= MAX_OWN_TRACES) {
		transaction_reply(t, LOOP);
		return;
	}
	run_checks(t);
}
