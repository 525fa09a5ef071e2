/* The coordinator. Destinations answer when they like; what happens next depends only on how many answers are outstanding and on the worst of them. */
#include "smtpd/transaction.h"

#include <assert.h>
#include <stddef.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/general_settings.h"
#include "base/log.h"
#include "base/mem.h"
#include "smtpd/attack.h"
#include "smtpd/check.h"
#include "smtpd/content.h"
#include "smtpd/outcome.h"
#include "smtpd/received.h"
#include "smtpd/smtpd_settings.h"

enum { MAX_DESTINATIONS = 3, MEM_MAX = 16 << 20, MAX_OWN_TRACES = 4, LOGGED_RECIPIENTS = 5, MAX_EXTRAS = 20 };

#define DISK_TROUBLE MAIL_STATUS(MAIL_LATER, 452, 3, 1, "No room for this message just now, try again later")
#define TOO_MUCH MAIL_STATUS(MAIL_LATER, 452, 5, 3, "Too much for one transaction, send the rest in another one")
#define LOOP MAIL_STATUS(MAIL_NEVER, 554, 4, 6, "This message goes in circles")
#define QUARANTINE MAIL_STATUS(MAIL_LATER, 451, 7, 1, "Held back by a filter; try again later")
#define BLIND MAIL_STATUS(MAIL_LATER, 451, 7, 1, "Not taken now, try again later")

enum state { COLLECTING, CHECKING, WRITING, PREPARING, COMMITTING_FIRST, COMMITTING, OVER };

struct later_answer;
struct transaction {
	struct session *session;
	struct arena mem;
	struct transaction_facts facts;
	struct message message;
	struct destination *destinations[MAX_DESTINATIONS];
	size_t destination_count, recipient_room;
	enum state state;
	bool refused_by_check;          /* not by a mailbox or a next hop */
	uint64_t began_ms;

	/* RCPT */
	struct recipient *adding;
	size_t leaf_at;
	struct destination *asked;      /* whose answer is awaited */
	bool asking, answered;          /* an ask is on the stack; and was answered inside */
	struct mail_status answer;
	void (*added)(struct session *s, struct mail_status status);

	/* files */
	size_t pens_wanted;
	struct later_answer *later;
	struct mail_status pen_status;
	struct pen_slot {
		struct destination *from;
		int fd;
		bool lf;
		uint64_t start;
	} pens[MAX_DESTINATIONS];
	size_t pen_count;
	bool rewriting, finished;       /* the files are written anew; their front is written or being written */
	void (*files_ready)(struct session *s, struct mail_status status);

	/* a filter's wishes */
	struct recipient *extras[MAX_EXTRAS];
	size_t extra_count, extra_at;

	struct outcome outcome;

	/* delivery */
	size_t awaited;
	bool starting;                  /* questions are just being asked: answers from inside are counted, and looked at when all were asked */
	struct mail_status worst;
	struct buf places;              /* file names, queue id, for the log */
};

/* -- life ---------------------------------------------------------------------------------------------------------------------------------------- */

static void message_written(void *arg);

struct transaction *transaction_new(struct session *s)
{
	struct transaction *t = MEM_NEW(struct transaction);
	t->session = s;
	t->mem.max = MEM_MAX;
	t->began_ms = clock_mono_ms();
	t->facts.id = unique_new();
	t->facts.sender = SLICE("");
	t->facts.envelope_id = SLICE("");
	t->facts.evidence = (struct evidence){ EVIDENCE_NONE, SLICE(""), SLICE("") };
	buf_init(&t->places, 1000);
	outcome_begin(&t->outcome, t);
	message_init(&t->message, s->smtpd->worker, message_written, t);
	s->smtpd->counts.transactions++;
	return t;
}

static void drop_pens(struct transaction *t)
{
	for (size_t i = 0; i < t->pen_count; i++)
		if (t->pens[i].fd >= 0)
			close(t->pens[i].fd);
	t->pen_count = 0;
}

/* An answer that must not come from inside the asking; the transaction may be gone by then. */
struct later_answer {
	struct transaction *to;
};

static void forget_later(struct transaction *t)
{
	if (t->later)
		t->later->to = NULL;
	t->later = NULL;
}

void transaction_free(struct transaction *t)
{
	t->state = OVER;
	outcome_end(&t->outcome);
	forget_later(t);
	for (size_t i = 0; i < t->destination_count; i++)
		t->destinations[i]->kind->abort(t->destinations[i]);
	for (size_t i = 0; i < t->destination_count; i++)
		mem_free(t->destinations[i]);
	drop_pens(t);
	message_free(&t->message);
	buf_free(&t->places);
	arena_free(&t->mem);
	mem_free(t);
}

struct transaction_facts *transaction_facts_of(struct transaction *t) { return &t->facts; }
struct transaction_facts *transaction_facts(struct transaction *t) { return &t->facts; }
const struct session_facts *transaction_session(const struct transaction *t) { return &t->session->facts; }
struct message *transaction_message(struct transaction *t) { return &t->message; }
struct arena *transaction_arena(struct transaction *t) { return &t->mem; }
struct smtpd *transaction_smtpd(const struct transaction *t) { return t->session->smtpd; }
struct outcome *transaction_outcome(struct transaction *t) { return &t->outcome; }
struct slice transaction_id(const struct transaction *t) { return unique_slice(&t->facts.id); }

bool transaction_is_deciding(const struct transaction *t)
{
	return t->state >= PREPARING && t->state != OVER;
}

/* -- RCPT ------------------------------------------------------------------------------------------------------------------------------------------ */

static struct destination *find_destination(struct transaction *t, const struct destination_kind *kind)
{
	for (size_t i = 0; i < t->destination_count; i++)
		if (t->destinations[i]->kind == kind)
			return t->destinations[i];
	assert(t->destination_count < MAX_DESTINATIONS);
	struct destination *d = mem_new(kind->size);
	d->kind = kind;
	d->transaction = t;
	t->destinations[t->destination_count++] = d;
	return d;
}

/* True: r is listed. */
static bool keep_recipient(struct transaction *t, struct recipient *r)
{
	if (t->facts.recipient_count == t->recipient_room) {
		size_t room = t->recipient_room ? t->recipient_room * 4 : 4;
		struct recipient **list = ARENA_ARRAY(&t->mem, struct recipient *, room);
		if (!list)
			return false;
		if (t->facts.recipient_count)
			memcpy(list, t->facts.recipients, t->facts.recipient_count * sizeof *list);
		t->facts.recipients = list;
		t->recipient_room = room;
	}
	t->facts.recipients[t->facts.recipient_count++] = r;
	return true;
}

static void end_adding(struct transaction *t, struct mail_status status)
{
	struct recipient *r = t->adding;
	t->adding = NULL;
	if (status.fate == MAIL_OK && !keep_recipient(t, r))
		status = TOO_MUCH;
	for (size_t i = 0; status.fate != MAIL_OK && i < t->destination_count; i++)
		t->destinations[i]->kind->give_up(t->destinations[i], r);
	t->added(t->session, status);
}

/* One leaf: true if its answer is here. */
static bool ask_leaf(struct transaction *t, const struct leaf *leaf)
{
	const struct destination_kind *kind = destination_kind_for(t, leaf, &t->answer);
	if (!kind)
		return true;
	t->asked = find_destination(t, kind);
	t->asking = true;
	t->answered = false;
	kind->ask(t->asked, t->adding, leaf);
	t->asking = false;
	return t->answered;
}

static void ask_leaves(struct transaction *t)
{
	while (t->leaf_at < t->adding->resolved.count) {
		if (!ask_leaf(t, &t->adding->resolved.leaves[t->leaf_at]))
			return;
		if (t->answer.fate != MAIL_OK) {
			end_adding(t, t->answer);
			return;
		}
		t->leaf_at++;
	}
	end_adding(t, MAIL_STATUS_OK);
}

static void looked_up(struct transaction *t, struct mail_status status)
{
	if (status.fate == MAIL_OK)
		ask_leaves(t);
	else
		end_adding(t, status);
}

void transaction_add(struct transaction *t, struct recipient *r, void (*done)(struct session *s, struct mail_status status))
{
	t->adding = r;
	t->added = done;
	t->leaf_at = 0;
	outcome_ask(&t->outcome, r, looked_up);
}

void transaction_asked(struct destination *d, struct mail_status status)
{
	struct transaction *t = d->transaction;
	assert(t->adding && t->asked == d && !t->answered);
	t->answer = mail_status_copy(&t->mem, status);
	t->answered = true;
	if (t->asking)
		return;
	if (t->answer.fate != MAIL_OK) {
		end_adding(t, t->answer);
		return;
	}
	t->leaf_at++;
	ask_leaves(t);
}

void transaction_hand_over(struct destination *d, const struct destination_kind *kind)
{
	struct transaction *t = d->transaction;
	assert(t->adding && t->asked == d && !t->answered && !t->asking);
	t->asked = find_destination(t, kind);
	kind->ask(t->asked, t->adding, &t->adding->resolved.leaves[t->leaf_at]);
}

/* The targets' leaves stand where the user's leaf stood; what is there already is asked once. */
void transaction_forwarded(struct destination *d, const struct slice *targets, size_t count)
{
	struct transaction *t = d->transaction;
	struct resolved *old = &t->adding->resolved, fresh;
	struct leaf *leaf = &old->leaves[t->leaf_at];
	struct slice *copies = ARENA_ARRAY(&t->mem, struct slice, count);
	for (size_t i = 0; copies && i < count; i++)
		copies[i] = arena_copy(&t->mem, targets[i]);
	if (!copies) {
		transaction_asked(d, TOO_MUCH);
		return;
	}
	resolve_targets(t->session->smtpd->maps, leaf, copies, count, false, &t->mem, &fresh);
	size_t others = old->count - t->leaf_at - 1;
	struct leaf *list = fresh.status.fate == MAIL_OK ? ARENA_ARRAY(&t->mem, struct leaf, t->leaf_at + fresh.count + others) : NULL;
	if (!list) {
		transaction_asked(d, fresh.status.fate == MAIL_OK ? TOO_MUCH : fresh.status);
		return;
	}
	memcpy(list, old->leaves, t->leaf_at * sizeof *list);
	memcpy(list + t->leaf_at, fresh.leaves, fresh.count * sizeof *list);
	memcpy(list + t->leaf_at + fresh.count, leaf + 1, others * sizeof *list);
	old->leaves = list;
	old->count = t->leaf_at + fresh.count + others;
	ask_leaves(t);
}

/* -- files ------------------------------------------------------------------------------------------------------------------------------------------- */

/* Room for what checks may still add; none where nobody looks. */
static size_t room_for_fields(const struct transaction *t)
{
	return checks_add_fields(t->session->checks) || t->facts.tag_count ? MESSAGE_ROOM : 0;
}

static void use_pens(struct transaction *t)
{
	struct buf path = BUF_INIT(2048);
	return_path_print(&path, &t->facts);
	if (t->rewriting) {
		int fds[MAX_DESTINATIONS];
		uint64_t starts[MAX_DESTINATIONS];
		for (size_t i = 0; i < t->pen_count; i++)
			fds[i] = t->pens[i].fd, starts[i] = t->pens[i].start;
		message_rewrite(&t->message, fds, starts);
	} else {
		for (size_t i = 0; i < t->pen_count; i++)
			message_spill(&t->message, t->pens[i].fd, t->pens[i].lf, t->pens[i].start, t->pens[i].lf ? buf_slice(&path) : SLICE_NONE, room_for_fields(t));
		message_spilled(&t->message);
	}
	t->pen_count = 0;
	buf_free(&path);
}

static void pens_answered(struct transaction *t)
{
	if (t->pen_status.fate == MAIL_OK)
		use_pens(t);
	else
		drop_pens(t);
	t->files_ready(t->session, t->pen_status);
}

void transaction_pen(struct destination *d, struct mail_status status, int fd, uint64_t start)
{
	struct transaction *t = d->transaction;
	for (size_t i = 0; i < t->pen_count; i++)
		if (t->pens[i].from == d)
			t->pens[i].fd = fd, t->pens[i].start = start;
	if (status.fate != MAIL_OK)
		t->pen_status = mail_status_copy(&t->mem, status);
	if (--t->pens_wanted == 0)
		pens_answered(t);
}

static void answer_pens_now(void *arg)
{
	struct later_answer *l = arg;
	struct transaction *t = l->to;
	mem_free(l);
	if (!t)
		return;
	t->later = NULL;
	pens_answered(t);
}

static void answer_pens_later(struct transaction *t)
{
	t->later = MEM_NEW(struct later_answer);
	t->later->to = t;
	loop_later(t->session->smtpd->loop, answer_pens_now, t->later);
}

/* One file in each form that is wanted. */
static void want_pen(struct transaction *t, struct destination *d)
{
	for (size_t i = 0; i < t->pen_count; i++)
		if (t->pens[i].lf == d->kind->lf)
			return;
	t->pens[t->pen_count++] = (struct pen_slot){ d, -1, d->kind->lf, 0 };
}

void transaction_open_files(struct transaction *t, void (*ready)(struct session *s, struct mail_status status))
{
	t->files_ready = ready;
	t->pen_status = MAIL_STATUS_OK;
	t->pen_count = 0;
	for (size_t i = 0; i < t->destination_count; i++)
		if (t->destinations[i]->kind->open_pen)
			want_pen(t, t->destinations[i]);
	t->pens_wanted = t->pen_count + 1; /* our own word keeps answers from inside until all were asked */
	if (!t->pen_count)
		t->pen_status = DISK_TROUBLE;
	for (size_t i = 0, n = t->pen_count; i < n; i++)
		t->pens[i].from->kind->open_pen(t->pens[i].from, t->facts.announced);
	if (--t->pens_wanted == 0)
		answer_pens_later(t);
}

/* -- the answer ---------------------------------------------------------------------------------------------------------------------------------------- */

static void log_end(struct transaction *t, const char *word, const struct mail_status *status)
{
	const struct session_facts *f = &t->session->facts;
	struct buf to = BUF_INIT(1000);
	for (size_t i = 0; i < t->facts.recipient_count && i < LOGGED_RECIPIENTS; i++) {
		if (i)
			buf_add_byte(&to, ',');
		buf_add(&to, t->facts.recipients[i]->address);
	}
	log_event(LOG_INFO, word, LOG_STR("id", unique_slice(&t->facts.id)), LOG_STR("session", unique_slice(&f->id)), LOG_STR("client", slice_of(f->ip_text)),
	          LOG_STR("helo", f->helo), LOG_CSTR("tls", f->tls_protocol ? f->tls_protocol : ""), LOG_STR("login", f->login), LOG_STR("from", t->facts.sender),
	          LOG_STR("to", buf_slice(&to)), LOG_UINT("recipients", t->facts.recipient_count), LOG_UINT("size", t->message.length),
	          LOG_UINT("ms", clock_mono_ms() - t->began_ms), LOG_STR("places", buf_slice(&t->places)), LOG_UINT("code", status->code),
	          LOG_STR("text", status->fate == MAIL_OK ? SLICE_NONE : status->text), LOG_END);
	buf_free(&to);
}

static void count_end(struct transaction *t, const struct mail_status *status)
{
	struct smtpd_counts *c = &t->session->smtpd->counts;
	switch (status->fate) {
	case MAIL_OK:
		c->taken++;
		c->recipients += t->facts.recipient_count;
		c->bytes += t->message.length;
		return;
	case MAIL_LATER:
		c->later++;
		return;
	case MAIL_NEVER:
		c->refused++;
		return;
	}
}

/* The session is told, and the transaction is gone behind it. */
static void reply(struct transaction *t, struct mail_status status)
{
	struct session *s = t->session;
	struct buf text = BUF_INIT(64);
	if (status.fate == MAIL_OK) {
		buf_addf(&text, "Ok, taken as %s", t->facts.id.text);
		status = (struct mail_status){ MAIL_OK, 250, { 0, 0 }, buf_slice(&text) };
	}
	log_end(t, status.fate == MAIL_OK ? "taken" : status.fate == MAIL_LATER ? "deferred" : "refused", &status);
	count_end(t, &status);
	attack_note_dot(s, t->message.length, t->refused_by_check, &status);
	s->reply.n = 0;
	buf_add(&s->reply, status.text);
	status.text = buf_slice(&s->reply);
	buf_free(&text);
	t->state = OVER;
	session_reset(s);
	session_answer(s, status.code == 421 ? step_close(status) : step_reply(status));
}

/* -- delivery ------------------------------------------------------------------------------------------------------------------------------------------- */

static void worsen(struct transaction *t, struct mail_status status)
{
	if (status.fate != MAIL_OK && (t->worst.fate == MAIL_OK || (t->worst.fate == MAIL_NEVER && status.fate == MAIL_LATER)))
		t->worst = mail_status_copy(&t->mem, status);
}

typedef void (*destination_verb)(struct destination *d);

/* Asks those with this verb's turn, all at once. */
static void ask_all(struct transaction *t, enum state state, size_t offset, int first)
{
	t->state = state;
	t->awaited = 1;
	for (size_t i = 0; i < t->destination_count; i++) {
		struct destination *d = t->destinations[i];
		if (first >= 0 && d->kind->commits_first != (first == 1))
			continue;
		destination_verb verb;
		memcpy(&verb, (const char *)d->kind + offset, sizeof verb);
		d->answered = false;
		t->awaited++;
		verb(d);
	}
	t->awaited--;
}

static bool has_first(const struct transaction *t)
{
	for (size_t i = 0; i < t->destination_count; i++)
		if (t->destinations[i]->kind->commits_first)
			return true;
	return false;
}

/* Does somebody beside the next hop take part? Then its refusal is not theirs, and its 250 may have to be remembered. */
static bool others_take_part(const struct transaction *t)
{
	for (size_t i = 0; i < t->facts.recipient_count; i++)
		for (size_t k = 0; k < t->facts.recipients[i]->resolved.count; k++) {
			enum leaf_kind kind = t->facts.recipients[i]->resolved.leaves[k].kind;
			if (kind != LEAF_HOP && kind != LEAF_LMTP)
				return true;
		}
	return false;
}

static bool has_hop_outcome(const struct transaction *t)
{
	return t->outcome.count && (t->outcome.mixed || others_take_part(t));
}

static void conclude(struct transaction *t)
{
	if (t->worst.fate != MAIL_OK && has_hop_outcome(t))
		outcome_note(&t->outcome, reply);
	else
		reply(t, t->worst);
}

/* What follows when everybody has answered. */
static void go_on(struct transaction *t)
{
	while (t->awaited == 0) {
		if (t->worst.fate != MAIL_OK || t->state == COMMITTING) {
			conclude(t);
			return;
		}
		if (t->state == PREPARING && has_first(t))
			ask_all(t, COMMITTING_FIRST, offsetof(struct destination_kind, deliver), 1);
		else
			ask_all(t, COMMITTING, offsetof(struct destination_kind, commit), 0);
	}
}

void transaction_delivered(struct destination *d, struct mail_status status, struct slice log_place)
{
	struct transaction *t = d->transaction;
	assert(transaction_is_deciding(t) && !d->answered);
	d->answered = true;
	d->status = mail_status_copy(&t->mem, status);
	worsen(t, status);
	if (log_place.n) {
		if (t->places.n)
			buf_add_byte(&t->places, ' ');
		buf_add(&t->places, log_place);
	}
	t->awaited--;
	if (!t->starting)
		go_on(t);
}

static void deliver(struct transaction *t)
{
	t->worst = MAIL_STATUS_OK;
	t->starting = true;
	if (t->destination_count == 1)
		ask_all(t, COMMITTING, offsetof(struct destination_kind, deliver), -1);
	else
		ask_all(t, PREPARING, offsetof(struct destination_kind, prepare), 0);
	t->starting = false;
	go_on(t);
}

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
		reply(t, status);
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
		reply(t, DISK_TROUBLE);
	} else if (t->finished) {
		deliver(t);
	} else if (!message_fits(m)) {
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

/* What a filter wants kept goes to the postmaster alone, with the reason and those whom it was for. True: he takes it. */
static bool divert(struct transaction *t)
{
	static const struct mail_path postmaster = { SLICE_INIT("postmaster"), SLICE_INIT(""), false };
	struct recipient *r = ARENA_NEW(&t->mem, struct recipient);
	struct slice name = general_settings.postmaster;
	const char *why;
	if (!r || !t->session->smtpd->maps || t->extra_count == MAX_EXTRAS)
		return false;
	r->path = postmaster;
	if (slice_find(name, '@') < name.n && mail_path_parse_address(name, &t->mem, &r->path, &why))
		return false;
	r->address = name;
	r->original = SLICE("");
	r->status = MAIL_STATUS_OK;
	resolve_path(t->session->smtpd->maps, &r->path, false, &t->mem, &r->resolved);
	if (r->resolved.status.fate != MAIL_OK)
		return false;
	struct buf text = BUF_INIT(4096);
	buf_add(&text, slice_head(t->facts.quarantine, 300));
	buf_add_cstr(&text, "; for");
	while (t->facts.recipient_count) {
		buf_addf(&text, " %.*s", SLICE_FMT(t->facts.recipients[0]->address));
		transaction_drop(t, t->facts.recipients[0]->address);
	}
	message_add_field(&t->message, SLICE("X-Porter-Quarantine"), buf_slice(&text));
	log_event(LOG_WARN, "quarantine", LOG_STR("id", unique_slice(&t->facts.id)), LOG_STR("text", buf_slice(&text)), LOG_END);
	buf_free(&text);
	t->extras[t->extra_count++] = r;
	return true;
}

static void decided(struct transaction *t);
static void begin_delivery(struct transaction *t);

/* The recipients that filters added, one after the other. */
static void added_extra(struct session *s, struct mail_status status)
{
	struct transaction *t = s->transaction;
	if (status.fate != MAIL_OK)
		reply(t, status);
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
		reply(t, *refusal);
		return;
	}
	if (t->facts.blind || (!t->facts.recipient_count && !t->extra_count)) {
		reply(t, BLIND);
		return;
	}
	if (t->facts.quarantine.n && !divert(t)) {
		reply(t, QUARANTINE);
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
		reply(t, status.fate == MAIL_OK ? MAIL_STATUS_OK : status);
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
		deliver(t);
}

static void run_checks(struct transaction *t)
{
	t->state = CHECKING;
	if (t->session->checks)
		message_flush(&t->message); /* what the worker was too busy to take before */
	if (!message_is_busy(&t->message))
		checks_run(t->session->checks, CHECK_DOT, NULL, checked, t->session);
}

static void message_written(void *arg)
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
	case PREPARING:
	case COMMITTING_FIRST:
	case COMMITTING:
	case OVER:
		return;
	}
}

void transaction_decide(struct transaction *t)
{
	struct message *m = &t->message;
	if (m->received_count > smtpd_settings.max_received || m->own_count >= MAX_OWN_TRACES) {
		reply(t, LOOP);
		return;
	}
	run_checks(t);
}
