/* What is told to the ledger: outcomes that can't be one answer, promises that must outlive our own end, late replies. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "delivery/hop_proto.h"
#include "smtpd/destination.h"
#include "smtpd/heard.h"
#include "smtpd/outcome_inside.h"
#include "smtpd/peer.h"
#include "smtpd/smtpd.h"

enum { LATE_MS = 660000 /* delivery gives its connection up before */ };

/* A transaction that is over and whose hop may still answer. */
struct late {
	struct late *next;
	struct unique id;
	uint64_t since_ms;
	struct arena mem;
	struct ledger_source source;
	struct slice *addresses;
	size_t count;
	struct smtpd *smtpd;
	struct slice note;                 /* what the ledger is to be told; "" not known yet */
	struct peer_question *question;    /* it is being told */
};

static struct late *lates;
static size_t late_count;

/* -- entries ---------------------------------------------------------------------------------------------------------------------------------- */

/* One more of a list that lives in the transaction's arena. NULL: no room. */
static struct ledger_entry *add_to(struct arena *mem, struct ledger_entry **list, size_t *count, size_t *room)
{
	if (*count == QUEUE_MAX_ENTRIES)
		return NULL;
	if (*count == *room) {
		size_t more = *room ? *room * 4 : 4;
		struct ledger_entry *longer = ARENA_ARRAY(mem, struct ledger_entry, more);
		if (!longer)
			return NULL;
		if (*count)
			memcpy(longer, *list, *count * sizeof *longer);
		*list = longer;
		*room = more;
	}
	return &(*list)[(*count)++];
}

void outcome_add(struct outcome *l, struct slice address, const struct mail_status *s)
{
	struct arena *mem = transaction_arena(l->transaction);
	if (s->fate == MAIL_LATER)
		return;
	struct ledger_entry *e = add_to(mem, &l->entries, &l->count, &l->room);
	if (e)
		*e = (struct ledger_entry){ arena_copy(mem, address), s->fate == MAIL_OK ? LEDGER_DONE : LEDGER_REFUSED, s->fate == MAIL_OK ? MAIL_STATUS_OK : mail_status_copy(mem, *s), SLICE("") };
}

void outcome_add_held_up(struct outcome *l, struct slice address)
{
	struct arena *mem = transaction_arena(l->transaction);
	struct ledger_entry *e = add_to(mem, &l->entries, &l->count, &l->room);
	if (e)
		*e = (struct ledger_entry){ arena_copy(mem, address), LEDGER_HELD_UP, MAIL_STATUS_OK, SLICE("") };
	l->held_up |= e != NULL;
}

void outcome_add_intent(struct outcome *l, struct slice address, struct slice name)
{
	struct arena *mem = transaction_arena(l->transaction);
	struct ledger_entry *e = add_to(mem, &l->intents, &l->intent_count, &l->intent_room);
	if (e)
		*e = (struct ledger_entry){ arena_copy(mem, address), LEDGER_INTENT, MAIL_STATUS_OK, arena_copy(mem, name) };
}

/* -- notes ------------------------------------------------------------------------------------------------------------------------------------ */

static bool is_good(const struct ipc_message *m)
{
	struct mail_status s;
	return m && m->type == LEDGER_NOTED && queue_get_status(m->payload, &s) == 0 && s.fate == MAIL_OK;
}

static void warn(const struct outcome *l)
{
	log_event(LOG_WARN, "ledger-not-noted", LOG_STR("id", transaction_id(l->transaction)), LOG_END); /* at worst a second copy */
}

/* True: the question is on its way. */
static bool send_note(struct outcome *l, enum ledger_note_kind kind, bool with_intents, int (*on_noted)(void *arg, struct ipc_message *m))
{
	size_t count = l->count + (with_intents ? l->intent_count : 0);
	if (!count || count > QUEUE_MAX_ENTRIES)
		return false;
	struct ledger_entry *all = mem_new_array(count, sizeof *all);
	struct ledger_note note = { .source = *outcome_source(l), .kind = kind, .entries = all, .count = count };
	struct buf b = BUF_INIT(LEDGER_MAX_RECORD);
	if (l->count)
		memcpy(all, l->entries, l->count * sizeof *all);
	if (with_intents && l->intent_count)
		memcpy(all + l->count, l->intents, l->intent_count * sizeof *all);
	if (ledger_put_note(&b, &note) == 0)
		l->question = peer_ask(outcome_queue(l), LEDGER_NOTE, buf_slice(&b), -1, LEDGER_ASK_MS, on_noted, l);
	buf_free(&b);
	mem_free(all);
	return l->question != NULL;
}

/* What mailboxes alone were asked for lies in queue/flight, too: the next process of the queue takes it from there. */
static void not_noted(struct outcome *l)
{
	warn(l);
	if (l->uncertain)
		heard_leave_behind(l->transaction);
}

static int on_noted(void *arg, struct ipc_message *m)
{
	struct outcome *l = arg;
	l->question = NULL;
	if (!is_good(m))
		not_noted(l);
	outcome_finish(l, l->reply);
	return 0;
}

/* Mailboxes that were not asked to commit have nothing to be looked for. */
void outcome_note(struct outcome *l, struct mail_status status, void (*then)(struct transaction *t, struct mail_status status))
{
	l->then = then;
	l->reply = status;
	if (send_note(l, LEDGER_NOTE_FIRM, l->uncertain, on_noted))
		return;
	not_noted(l);
	outcome_finish(l, status);
}

static int on_promised(void *arg, struct ipc_message *m)
{
	struct outcome *l = arg;
	l->question = NULL;
	if (!is_good(m))
		warn(l);
	outcome_finish(l, MAIL_STATUS_OK);
	return 0;
}

bool outcome_owes_promise(const struct outcome *l)
{
	return l->count > l->promised;
}

void outcome_promise(struct outcome *l, void (*then)(struct transaction *t, struct mail_status status))
{
	l->then = then;
	l->promised = l->count;
	if (!send_note(l, LEDGER_NOTE_PENDING, true, on_promised)) {
		warn(l);
		outcome_finish(l, MAIL_STATUS_OK);
	}
}

/* -- late replies -------------------------------------------------------------------------------------------------------------------------------- */

static void late_free(struct late **at)
{
	struct late *x = *at;
	*at = x->next;
	late_count--;
	peer_cancel(x->question);
	arena_free(&x->mem);
	mem_free(x);
}

void outcome_expect_late(struct outcome *l, const struct slice *addresses, size_t count)
{
	struct late *x = MEM_NEW(struct late), **last = &lates;
	x->next = lates;
	x->id = transaction_facts(l->transaction)->id;
	x->since_ms = clock_mono_ms();
	x->smtpd = transaction_smtpd(l->transaction);
	x->source = outcome_copy_source(&x->mem, outcome_source(l));
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

/* What would have come goes with the process that asked. */
static bool is_awaited(const struct smtpd *d, const struct late *x)
{
	return clock_mono_ms() - x->since_ms < LATE_MS && (x->note.n || peer_is_up(d->delivery));
}

bool outcome_awaits_late(const struct smtpd *d)
{
	for (struct late **at = &lates; *at;) {
		if (is_awaited(d, *at))
			at = &(*at)->next;
		else
			late_free(at);
	}
	return lates != NULL;
}

static void forget_late(struct late *x)
{
	struct smtpd *d = x->smtpd;
	struct late **at = &lates;
	while (*at != x)
		at = &(*at)->next;
	late_free(at);
	smtpd_session_ended(d); /* it may be what the end of this process waits for */
}

static int on_late_noted(void *arg, struct ipc_message *m);

/* A queue process that is not there, or goes before it has answered, as one does at a reload, is followed by another one. */
static void tell_late(struct late *x)
{
	if (!x->question)
		x->question = peer_ask(x->smtpd->queue, LEDGER_NOTE, x->note, -1, LEDGER_ASK_MS, on_late_noted, x);
}

static int on_late_noted(void *arg, struct ipc_message *m)
{
	struct late *x = arg;
	x->question = NULL;
	if (m)
		forget_late(x);
	else
		tell_late(x);
	return 0;
}

void outcome_queue_is_up(void)
{
	for (struct late *x = lates; x; x = x->next)
		if (x->note.n)
			tell_late(x);
}

static void note_late(struct late *x, const struct hop_content_done *done)
{
	struct arena mem = ARENA_INIT(0);
	struct ledger_entry *entries = ARENA_ARRAY(&mem, struct ledger_entry, x->count + 1);
	struct ledger_note note = { .source = x->source, .kind = LEDGER_NOTE_FIRM, .entries = entries };
	struct buf b = BUF_INIT(LEDGER_MAX_RECORD);
	for (size_t i = 0; i < x->count && i < done->count; i++) {
		const struct mail_status *s = &done->each[i];
		if (s->fate != MAIL_LATER)
			entries[note.count++] = (struct ledger_entry){ x->addresses[i], s->fate == MAIL_OK ? LEDGER_DONE : LEDGER_REFUSED,
				s->fate == MAIL_OK ? MAIL_STATUS_OK : *s, SLICE("") };
	}
	if (note.count && ledger_put_note(&b, &note) == 0)
		x->note = arena_copy(&x->mem, buf_slice(&b));
	buf_free(&b);
	arena_free(&mem);
	if (x->note.n)
		tell_late(x);
	else
		forget_late(x);
}

int outcome_from_delivery(void *arg, struct ipc_message *m)
{
	(void)arg;
	struct arena mem = ARENA_INIT(0);
	struct hop_late late;
	int error = m->type != HOP_LATE ? 0 : hop_get_late(m->payload, &mem, &late);
	for (struct late *x = lates; m->type == HOP_LATE && !error && x; x = x->next)
		if (!x->note.n && slice_eq(unique_slice(&x->id), late.transaction)) {
			note_late(x, &late.done);
			break;
		}
	arena_free(&mem);
	return error;
}
