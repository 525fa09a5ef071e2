/* check_host() (RFC 7208, 4) without recursion: a stack of frames, one for the question's record and one for each include under way. `spf_run`
 * works through terms until an answer is needed or the last frame has its result. */
#include "base/mail_spf_inside.h"

#include <assert.h>

#include "base/mem.h"
#include "base/text.h"

struct spf_frame *spf_top(struct spf *s)
{
	return &s->frames[s->depth - 1];
}

void spf_tell(struct spf *s, struct slice term, const char *outcome)
{
	if (s->trace && s->depth)
		s->trace(s->trace_arg, s->depth - 1, spf_top(s)->domain, term, outcome);
}

/* Ends the whole check. done comes from the timer, never from inside a caller's spf_start. */
enum spf_step spf_end(struct spf *s, enum spf_result result, const char *why)
{
	s->verdict.result = result;
	s->verdict.why = why;
	if (result != SPF_PASS)
		s->verdict.weak = 0;
	spf_tell(s, SLICE(""), spf_result_name(result));
	s->known = true;
	loop_timer_set(s->timer, 0);
	return STEP_ENDED;
}

static void on_timer(void *arg)
{
	struct spf *s = arg;
	if (!s->known) {
		mail_dns_cancel(s->query);
		s->query = NULL;
		spf_end(s, SPF_TEMPERROR, "time is over");
		loop_timer_stop(s->timer);
	}
	s->done(s->arg, s);
}

void spf_ask(struct spf *s, enum dns_type type, struct slice name, void (*answered)(void *arg, const struct dns_answer *a))
{
	s->query = mail_dns_ask(s->dns, type, name, answered, s);
}

static void add_step(struct spf *s, struct slice name)
{
	struct spf_verdict *v = &s->verdict;
	for (size_t i = 0; i < v->path_count; i++)
		if (slice_eq_nocase(v->path[i], name))
			return;
	if (name.n && v->path_count < SPF_MAX_PATH) /* enough for all look-ups: two for each record, and for the two questions of mx */
		v->path[v->path_count++] = name;
}

void spf_walk_by(struct spf *s, struct slice name, const struct dns_answer *a)
{
	add_step(s, name);
	if (a->answer == FOUND)
		add_step(s, text_lower(&s->mem, a->canonical));
}

static bool is_name(struct slice name, size_t labels)
{
	size_t count = 0;
	struct slice rest = name;
	if (!name.n || name.n > 253 || name.p[0] == '[')
		return false;
	while (rest.p) {
		struct slice label = slice_cut(rest, '.', &rest);
		if (!label.n || label.n > 63)
			return false;
		count++;
	}
	return count >= labels;
}

/* True while the limit of terms that ask DNS is kept (4.6.4). */
static bool count_lookup(struct spf *s)
{
	return ++s->verdict.lookups <= SPF_MAX_LOOKUPS;
}

bool spf_count_void(struct spf *s, const struct dns_answer *a)
{
	if (a->answer == ABSENT)
		s->verdict.voids++;
	return s->verdict.voids <= SPF_MAX_VOIDS;
}

/* -- records -------------------------------------------------------------------------------------------------------------- */

static enum spf_step leave_frame(struct spf *s, enum spf_result result, const char *why);

/* The one SPF record among TXT records. */
static enum spf_result select_record(const struct dns_answer *a, struct slice *out, const char **why)
{
	size_t found = 0;
	if (a->answer == UNSURE) {
		*why = a->why ? a->why : "dns";
		return SPF_TEMPERROR;
	}
	for (size_t i = 0; a->answer == FOUND && i < a->count; i++)
		if (spf_record_is(a->records[i].data)) {
			*out = a->records[i].data;
			found++;
		}
	*why = found ? "more than one record" : "no record";
	return found == 1 ? SPF_PASS : found ? SPF_PERMERROR : SPF_NONE;
}

static void on_record(void *arg, const struct dns_answer *a)
{
	struct spf *s = arg;
	struct spf_frame *f = spf_top(s);
	struct slice text = SLICE_NONE, at = SLICE_NONE;
	const char *why = NULL;
	s->query = NULL;
	spf_walk_by(s, f->domain, a);
	enum spf_result found = select_record(a, &text, &why);
	if (found == SPF_PASS) {
		text = arena_copy(&s->mem, text);
		if (!text.p || spf_record_parse(text, &s->mem, &f->record, &why, &at)) {
			spf_tell(s, at, why ? why : "record too long");
			found = SPF_PERMERROR;
		} else {
			spf_tell(s, SLICE(""), "record read");
			f->at = 0;
		}
	} else if (found == SPF_NONE && f->redirected) {
		found = SPF_PERMERROR; /* 6.1 */
	}
	if (found == SPF_PASS || leave_frame(s, found, why ? why : "record too long") != STEP_ENDED)
		spf_run(s);
}

/* Begins at domain's record: a new frame for an include, the same one for a redirect. */
static enum spf_step enter(struct spf *s, struct slice domain, size_t labels)
{
	struct spf_frame *f = spf_top(s);
	struct slice name = text_lower(&s->mem, domain);
	if (!is_name(name, labels))
		return leave_frame(s, f->redirected ? SPF_PERMERROR : SPF_NONE, "no domain name");
	f->domain = name;
	add_step(s, name);
	spf_ask(s, DNS_TXT, name, on_record);
	return STEP_WAIT;
}

static enum spf_step push(struct spf *s, struct slice domain, size_t labels)
{
	assert(s->depth < sizeof s->frames / sizeof *s->frames);
	s->frames[s->depth++] = (struct spf_frame){ .domain = domain, .path_mark = s->verdict.path_count };
	return enter(s, domain, labels);
}

enum spf_step spf_matched(struct spf *s)
{
	struct spf_frame *f = spf_top(s);
	const struct spf_term *t = &f->record.terms[f->at];
	spf_tell(s, t->text, spf_result_name(t->result));
	if (t->result != SPF_PASS)
		s->verdict.weak = 0;
	if (t->kind != SPF_INCLUDE || !s->verdict.term.n)
		s->verdict.term = t->text;
	if (spf_macro_any(t->target))
		s->verdict.weak |= SPF_WEAK_MACRO;
	s->verdict.weak |= f->weak;
	return leave_frame(s, t->result, NULL);
}

/* The top frame has its result: the check's, or what its include term makes of it (5.2). */
static enum spf_step leave_frame(struct spf *s, enum spf_result result, const char *why)
{
	if (s->depth == 1 || result == SPF_TEMPERROR)
		return spf_end(s, result, why);
	if (result == SPF_PERMERROR || result == SPF_NONE)
		return spf_end(s, SPF_PERMERROR, why);
	spf_tell(s, SLICE(""), spf_result_name(result));
	size_t mark = spf_top(s)->path_mark;
	s->depth--;
	if (result == SPF_PASS)
		return spf_matched(s);
	s->verdict.path_count = mark;
	s->verdict.weak = 0;
	s->verdict.term = SLICE("");
	spf_top(s)->at++;
	return STEP_NEXT;
}

/* -- evaluation ----------------------------------------------------------------------------------------------------------- */

static bool asks_dns(enum spf_mechanism kind)
{
	return kind != SPF_ALL && kind != SPF_IP4 && kind != SPF_IP6;
}

static enum spf_step start_mechanism(struct spf *s, const struct spf_term *t)
{
	s->term_mark = s->verdict.path_count;
	switch (t->kind) {
	case SPF_ALL:
		s->verdict.weak |= SPF_WEAK_ALL;
		return STEP_MATCH;
	case SPF_IP4:
	case SPF_IP6:
		if (!net_ip_in(&s->client, &t->network, t->prefix4))
			return STEP_NEXT;
		s->verdict.weak |= spf_is_wide(s, t->prefix4, t->prefix6) ? SPF_WEAK_WIDE : 0;
		return STEP_MATCH;
	case SPF_INCLUDE:
		return push(s, spf_expand(s, t->target), 1);
	case SPF_A:
		spf_ask(s, spf_address_type(s), spf_expand(s, t->target), spf_on_addresses);
		return STEP_WAIT;
	case SPF_MX:
		spf_ask(s, DNS_MX, spf_expand(s, t->target), spf_on_mx);
		return STEP_WAIT;
	case SPF_EXISTS:
		spf_ask(s, DNS_A, spf_expand(s, t->target), spf_on_exists);
		return STEP_WAIT;
	case SPF_PTR:
		return spf_check_ptr(s, t);
	}
	return STEP_NEXT;
}

static enum spf_step start_term(struct spf *s, const struct spf_term *t)
{
	if (asks_dns(t->kind) && !s->ptr_counted && !count_lookup(s))
		return spf_end(s, SPF_PERMERROR, "too many look-ups");
	s->ptr_counted = false;
	if (!s->validated_known && (t->kind == SPF_PTR || spf_macro_uses(t->target, 'p'))) {
		s->ptr_counted = true; /* evaluated again when the names are known */
		return spf_validate_client(s);
	}
	return start_mechanism(s, t);
}

/* No term matched: redirect= or the default (4.7, 6.1). */
static enum spf_step after_terms(struct spf *s)
{
	struct spf_frame *f = spf_top(s);
	struct slice spec = f->record.redirect;
	if (!spec.p)
		return leave_frame(s, SPF_NEUTRAL, "no term matched");
	if (!s->ptr_counted && !count_lookup(s))
		return spf_end(s, SPF_PERMERROR, "too many look-ups");
	s->ptr_counted = false;
	if (!s->validated_known && spf_macro_uses(spec, 'p')) {
		s->ptr_counted = true;
		return spf_validate_client(s);
	}
	if (spf_macro_any(spec))
		f->weak |= SPF_WEAK_MACRO;
	f->redirected = true;
	struct slice domain = spf_expand(s, spec);
	spf_tell(s, spec, "redirect");
	return enter(s, domain, 1);
}

void spf_run(struct spf *s)
{
	for (;;) {
		struct spf_frame *f = spf_top(s);
		enum spf_step step = f->at < f->record.count ? start_term(s, &f->record.terms[f->at]) : after_terms(s);
		if (step == STEP_MATCH)
			step = spf_matched(s);
		else if (step == STEP_NEXT && f == spf_top(s) && f->at < f->record.count) {
			spf_tell(s, f->record.terms[f->at].text, "no match");
			f->at++;
		}
		if (step == STEP_WAIT || step == STEP_ENDED)
			return;
	}
}

struct spf *spf_start(struct mail_dns *dns, const struct spf_question *q, void (*done)(void *arg, struct spf *s), void *arg)
{
	struct spf *s = MEM_NEW(struct spf);
	*s = (struct spf){ .dns = dns, .client = q->client, .mem = ARENA_INIT(8 << 20), .done = done, .arg = arg };
	s->timer = loop_timer_new(mail_dns_loop(dns), on_timer, s);
	loop_timer_set(s->timer, SPF_TIME_MS);
	s->helo = arena_copy(&s->mem, slice_head(q->helo, 255));
	s->local_part = arena_copy(&s->mem, q->local_part.n ? slice_head(q->local_part, 320) : SLICE("postmaster"));
	struct slice domain = arena_copy(&s->mem, slice_head(q->domain, 1000));
	s->sender_domain = q->sender.n ? arena_copy(&s->mem, slice_head(q->sender, 255)) : domain;
	push(s, domain, 2);
	return s;
}

const struct spf_verdict *spf_verdict(const struct spf *s)
{
	return s->known ? &s->verdict : NULL;
}

void spf_watch(struct spf *s, spf_trace watch, void *arg)
{
	s->trace = watch;
	s->trace_arg = arg;
}

void spf_free(struct spf *s)
{
	if (!s)
		return;
	mail_dns_cancel(s->query);
	loop_timer_free(s->timer);
	arena_free(&s->mem);
	mem_free(s);
}

const char *spf_result_name(enum spf_result r)
{
	switch (r) {
	case SPF_NONE: return "none";
	case SPF_NEUTRAL: return "neutral";
	case SPF_PASS: return "pass";
	case SPF_FAIL: return "fail";
	case SPF_SOFTFAIL: return "softfail";
	case SPF_TEMPERROR: return "temperror";
	case SPF_PERMERROR: return "permerror";
	}
	return "none";
}
