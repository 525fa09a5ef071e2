/* The chain of checks of one session: a list of the interested kinds and a place in it. A kind may answer at once or later; the chain goes on from the same place. */
#include "smtpd/check.h"

#include <assert.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/suffix.h"
#include "smtpd/destination.h"
#include "smtpd/policy.h"
#include "smtpd/session.h"
#include "smtpd/transaction.h"

struct check {
	const struct check_kind *kind;
	void *state;
	struct checks *chain;
};

struct checks {
	struct session *session;
	struct check list[CHECK_MAX_KINDS];
	size_t count, at;
	enum check_stage stage;
	const struct recipient *recipient;
	checks_done done;
	bool waiting, refused, adds_fields;
	struct mail_status refusal;
};

static struct suffix_list *suffixes;   /* for whom harvesting counts; NULL: the library has no list */

void checks_start(struct smtpd *d)
{
	suffixes = suffix_list_new(SLICE(""));
	for (const struct check_kind *const *k = check_kinds; *k; k++)
		if ((*k)->start)
			(*k)->start(d);
}

struct slice checks_organisation(struct slice domain)
{
	struct slice organisation = suffixes ? suffix_organisation(suffixes, domain) : SLICE_NONE;
	return organisation.n ? organisation : domain;
}

struct checks *checks_new(struct session *s)
{
	if (!check_kinds[0])
		return NULL;
	struct checks *c = MEM_NEW(struct checks);
	c->session = s;
	for (const struct check_kind *const *k = check_kinds; *k && c->count < CHECK_MAX_KINDS; k++) {
		struct check *one = &c->list[c->count];
		*one = (struct check){ *k, NULL, c };
		one->state = (*k)->begin(one);
		if (one->state)
			c->count++;
	}
	if (c->count)
		return c;
	mem_free(c);
	return NULL;
}

static void finish(struct checks *c, bool refused)
{
	checks_done done = c->done;
	c->done = NULL;
	done(c->session, refused ? &c->refusal : NULL);
}

static void log_refusal(const struct checks *c, const struct check *one)
{
	const struct session_facts *f = &c->session->facts;
	log_event(LOG_INFO, "check-refused", LOG_STR("session", unique_slice(&f->id)), LOG_STR("id", f->transaction ? unique_slice(&f->transaction->id) : SLICE_NONE),
	          LOG_STR("client", slice_of(f->ip_text)), LOG_CSTR("check", one->kind->name), LOG_UINT("code", c->refusal.code), LOG_STR("text", c->refusal.text), LOG_END);
}

/* True: the chain is over, one way or the other. */
static bool take_step(struct checks *c, enum check_step step)
{
	switch (step) {
	case CHECK_GO_ON:
		c->at++;
		return false;
	case CHECK_REFUSE:
		assert(c->refused);
		log_refusal(c, &c->list[c->at]);
		finish(c, true);
		return true;
	case CHECK_WAIT:
		c->waiting = true;
		return true;
	}
	return true;
}

static void go_on(struct checks *c)
{
	while (c->at < c->count) {
		struct check *one = &c->list[c->at];
		enum check_step step = CHECK_GO_ON;
		if (!policy_by_passes(c->session, slice_of(one->kind->name)))
			step = one->kind->run(one->state, one, c->stage);
		if (take_step(c, step))
			return;
	}
	finish(c, false);
}

void checks_run(struct checks *c, enum check_stage stage, const struct recipient *r, checks_done done, struct session *s)
{
	if (!c) {
		done(s, NULL);
		return;
	}
	assert(!c->done);
	c->stage = stage;
	c->recipient = r;
	c->done = done;
	c->at = 0;
	c->refused = false;
	go_on(c);
}

void check_answer(struct check *c, enum check_step step)
{
	struct checks *chain = c->chain;
	assert(chain->waiting && c == &chain->list[chain->at] && step != CHECK_WAIT);
	chain->waiting = false;
	if (!take_step(chain, step))
		go_on(chain);
}

void *check_state_of(const struct check *c, const struct check_kind *kind)
{
	for (size_t i = 0; i < c->chain->count; i++)
		if (c->chain->list[i].kind == kind)
			return c->chain->list[i].state;
	return NULL;
}

void checks_cancel(struct checks *c)
{
	if (!c || !c->waiting)
		return;
	struct check *one = &c->list[c->at];
	c->waiting = false;
	c->done = NULL;
	one->kind->cancel(one->state, one);
}

void checks_reset(struct checks *c)
{
	checks_cancel(c);
	for (size_t i = 0; c && i < c->count; i++)
		if (c->list[i].kind->reset)
			c->list[i].kind->reset(c->list[i].state, &c->list[i]);
}

void checks_free(struct checks *c)
{
	checks_cancel(c);
	for (size_t i = 0; c && i < c->count; i++)
		c->list[i].kind->end(c->list[i].state);
	mem_free(c);
}

bool checks_want_content(const struct checks *c)
{
	for (size_t i = 0; c && i < c->count; i++)
		if (c->list[i].kind->on_head || c->list[i].kind->on_body)
			return true;
	return false;
}

bool checks_add_fields(const struct checks *c)
{
	return c && c->adds_fields;
}

void checks_head(struct checks *c, struct slice head)
{
	for (size_t i = 0; c && i < c->count; i++)
		if (c->list[i].kind->on_head && !policy_by_passes(c->session, slice_of(c->list[i].kind->name)))
			c->list[i].kind->on_head(c->list[i].state, &c->list[i], head);
}

void checks_body(struct checks *c, struct slice bytes)
{
	for (size_t i = 0; c && i < c->count; i++)
		if (c->list[i].kind->on_body && !policy_by_passes(c->session, slice_of(c->list[i].kind->name)))
			c->list[i].kind->on_body(c->list[i].state, &c->list[i], bytes);
}

/* -- for kinds ------------------------------------------------------------------------------------------------------------------------------ */

static struct transaction *transaction_of(const struct check *c)
{
	return c->chain->session->transaction;
}

void check_refuse(struct check *c, struct mail_status status)
{
	c->chain->refused = true;
	c->chain->refusal = transaction_of(c) ? mail_status_copy(check_arena(c), status) : session_keep(c->chain->session, status);
}

const struct session_facts *check_facts(const struct check *c)
{
	return &c->chain->session->facts;
}

const struct recipient *check_recipient(const struct check *c)
{
	return c->chain->recipient;
}

struct recipient *check_candidate(struct check *c)
{
	return c->chain->session->candidate;
}

struct message *check_message(struct check *c)
{
	return transaction_of(c) ? transaction_message(transaction_of(c)) : NULL;
}

struct arena *check_arena(struct check *c)
{
	return transaction_of(c) ? transaction_arena(transaction_of(c)) : &c->chain->session->mem;
}

struct smtpd *check_smtpd(struct check *c)
{
	return c->chain->session->smtpd;
}

bool check_is_passed_by(const struct check *c, struct slice name)
{
	return policy_by_passes(c->chain->session, name);
}

void check_adds_fields(struct check *c)
{
	c->chain->adds_fields = true;
}

void check_add_field(struct check *c, struct slice name, struct slice value)
{
	if (transaction_of(c))
		message_add_field(transaction_message(transaction_of(c)), name, value);
}

void check_tag(struct check *c, struct slice word)
{
	struct transaction_facts *t = transaction_of(c) ? transaction_facts(transaction_of(c)) : NULL;
	if (!t)
		words_add(&c->chain->session->tags, &c->chain->session->mem, word);
	for (size_t i = 0; t && i < t->tag_count; i++)
		if (slice_eq(t->tags[i], word))
			return;
	struct slice copy = t && t->tag_count < sizeof t->tags / sizeof t->tags[0] ? arena_copy(transaction_arena(transaction_of(c)), word) : SLICE_NONE;
	if (copy.p)
		t->tags[t->tag_count++] = copy;
}

void check_evidence(struct check *c, const struct evidence *e)
{
	struct transaction_facts *t = transaction_of(c) ? transaction_facts(transaction_of(c)) : NULL;
	if (!t || e->grade <= t->evidence.grade)
		return;
	struct arena *mem = transaction_arena(transaction_of(c));
	t->evidence = (struct evidence){ e->grade, arena_copy(mem, e->who), arena_copy(mem, e->reason) };
}

void check_proven_domain(struct check *c, struct slice domain)
{
	struct session *s = c->chain->session;
	domain = checks_organisation(domain);
	if (slice_eq(s->proven_domain, domain))
		return;
	struct slice copy = arena_copy(&s->mem, domain);
	if (copy.p)
		s->proven_domain = copy;
}

void check_set_forward_sender(struct check *c, struct slice path)
{
	struct slice copy = arena_copy(check_arena(c), path);
	if (copy.p)
		transaction_facts_of(transaction_of(c))->forward_sender = copy;
}

void check_made_message_id(struct check *c, struct slice id)
{
	struct slice copy = arena_copy(check_arena(c), id);
	if (copy.p)
		transaction_facts_of(transaction_of(c))->made_message_id = copy;
}

static bool hop_has_heard(const struct transaction *t, const struct transaction_facts *f)
{
	struct mail_status ignored;
	for (size_t i = 0; i < f->recipient_count; i++)
		for (size_t k = 0; k < f->recipients[i]->resolved.count; k++)
			if (destination_kind_for(t, &f->recipients[i]->resolved.leaves[k], &ignored) == &destination_hop)
				return true;
	return false;
}

bool check_change_sender(struct check *c, const struct mail_path *path)
{
	struct transaction_facts *t = transaction_of(c) ? transaction_facts(transaction_of(c)) : NULL;
	struct buf b = BUF_INIT(1024);
	if (t && mail_path_print(&b, path) == 0) {
		transaction_message(transaction_of(c))->changed = true; /* its Return-Path, where it lies in a file */
		struct arena *mem = transaction_arena(transaction_of(c));
		t->reverse_path = (struct mail_path){ arena_copy(mem, path->local_part), arena_copy(mem, path->domain), path->utf8 };
		t->sender = arena_copy(mem, buf_slice(&b));
	}
	buf_free(&b);
	return !t || !hop_has_heard(transaction_of(c), t);
}

void check_quarantine(struct check *c, struct slice reason)
{
	struct transaction *t = transaction_of(c);
	if (t && !transaction_facts(t)->quarantine.n)
		transaction_facts(t)->quarantine = arena_copy(transaction_arena(t), reason.n ? reason : SLICE("a filter says so"));
}

const char *check_add_recipient(struct check *c, struct slice address)
{
	return transaction_of(c) ? transaction_extend(transaction_of(c), address) : "there is no transaction";
}

void check_delete_recipient(struct check *c, struct slice address)
{
	if (transaction_of(c))
		transaction_drop(transaction_of(c), address);
}

struct mail_status check_client_name(struct check *c, struct slice name)
{
	struct session *s = c->chain->session;
	s->facts.nameless = name.n == 0;
	s->facts.reverse_name = arena_copy(&s->mem, name);
	return policy_client_name(s);
}
