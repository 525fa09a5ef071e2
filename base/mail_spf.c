/* check_host() (RFC 7208, 4) without recursion: a stack of frames, one for the question's record and one for each include under way. `run`
 * works through terms until an answer is needed or the last frame has its result. */
#include "base/mail_spf.h"

#include <assert.h>

#include "base/mail_spf_record.h"
#include "base/mem.h"
#include "base/text.h"

struct frame {
	struct slice domain;
	struct spf_record record;
	size_t at;           /* the term under evaluation */
	size_t path_mark;    /* path_count when it began */
	unsigned weak;       /* of the way into it: macros in redirect= */
	bool redirected;
};

struct spf {
	struct mail_dns *dns;
	struct mail_dns_query *query;
	struct loop_timer *timer;     /* the limit of time; 0 ms for a verdict that is known at once */
	struct arena mem;
	struct net_ip client;
	struct slice helo, local_part, sender_domain;
	struct frame frames[SPF_MAX_LOOKUPS + 2];
	size_t depth;                 /* frames in use */
	struct slice *names;          /* of mx under evaluation, or of the client's PTR while they are validated */
	size_t name_count, name_at;
	struct slice validated[SPF_MAX_NAMES];
	size_t validated_count;
	bool validated_known;
	bool ptr_counted;             /* the ptr term under evaluation has drawn on the limit already */
	struct spf_verdict verdict;
	bool known;                   /* verdict is final */
	spf_trace trace;
	void *trace_arg;
	void (*done)(void *arg, struct spf *s);
	void *arg;
};

enum step { STEP_NEXT /* no match: the next term */, STEP_MATCH, STEP_WAIT, STEP_ENDED };

static void run(struct spf *s);

static struct frame *top(struct spf *s)
{
	return &s->frames[s->depth - 1];
}

static void trace(struct spf *s, struct slice term, const char *outcome)
{
	if (s->trace && s->depth)
		s->trace(s->trace_arg, s->depth - 1, top(s)->domain, term, outcome);
}

/* Ends the whole check. done comes from the timer, never from inside a caller's spf_start. */
static enum step end(struct spf *s, enum spf_result result, const char *why)
{
	s->verdict.result = result;
	s->verdict.why = why;
	if (result != SPF_PASS)
		s->verdict.weak = 0;
	trace(s, SLICE(""), spf_result_name(result));
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
		end(s, SPF_TEMPERROR, "time is over");
		loop_timer_stop(s->timer);
	}
	s->done(s->arg, s);
}

static void ask(struct spf *s, enum dns_type type, struct slice name, void (*answered)(void *arg, const struct dns_answer *a))
{
	s->query = mail_dns_ask(s->dns, type, name, answered, s);
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

static bool count_void(struct spf *s, const struct dns_answer *a)
{
	if (a->answer == ABSENT)
		s->verdict.voids++;
	return s->verdict.voids <= SPF_MAX_VOIDS;
}

/* -- records -------------------------------------------------------------------------------------------------------------- */

static enum step leave_frame(struct spf *s, enum spf_result result, const char *why);

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
	struct frame *f = top(s);
	struct slice text = SLICE_NONE, at = SLICE_NONE;
	const char *why = NULL;
	s->query = NULL;
	enum spf_result found = select_record(a, &text, &why);
	if (found == SPF_PASS) {
		text = arena_copy(&s->mem, text);
		if (!text.p || spf_record_parse(text, &s->mem, &f->record, &why, &at)) {
			trace(s, at, why ? why : "record too long");
			found = SPF_PERMERROR;
		} else {
			trace(s, SLICE(""), "record read");
			f->at = 0;
		}
	} else if (found == SPF_NONE && f->redirected) {
		found = SPF_PERMERROR; /* 6.1 */
	}
	if (found == SPF_PASS || leave_frame(s, found, why ? why : "record too long") != STEP_ENDED)
		run(s);
}

/* Begins at domain's record: a new frame for an include, the same one for a redirect. */
static enum step enter(struct spf *s, struct slice domain, size_t labels)
{
	struct frame *f = top(s);
	struct slice name = text_lower(&s->mem, domain);
	if (!is_name(name, labels))
		return leave_frame(s, f->redirected ? SPF_PERMERROR : SPF_NONE, "no domain name");
	f->domain = name;
	if (s->verdict.path_count < SPF_MAX_PATH)
		s->verdict.path[s->verdict.path_count++] = name;
	ask(s, DNS_TXT, name, on_record);
	return STEP_WAIT;
}

static enum step push(struct spf *s, struct slice domain, size_t labels)
{
	assert(s->depth < sizeof s->frames / sizeof *s->frames);
	s->frames[s->depth++] = (struct frame){ .domain = domain, .path_mark = s->verdict.path_count };
	return enter(s, domain, labels);
}

static enum step matched(struct spf *s)
{
	struct frame *f = top(s);
	const struct spf_term *t = &f->record.terms[f->at];
	trace(s, t->text, spf_result_name(t->result));
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
static enum step leave_frame(struct spf *s, enum spf_result result, const char *why)
{
	if (s->depth == 1 || result == SPF_TEMPERROR)
		return end(s, result, why);
	if (result == SPF_PERMERROR || result == SPF_NONE)
		return end(s, SPF_PERMERROR, why);
	trace(s, SLICE(""), spf_result_name(result));
	size_t mark = top(s)->path_mark;
	s->depth--;
	if (result == SPF_PASS)
		return matched(s);
	s->verdict.path_count = mark;
	s->verdict.weak = 0;
	s->verdict.term = SLICE("");
	top(s)->at++;
	return STEP_NEXT;
}

/* -- targets -------------------------------------------------------------------------------------------------------------- */

static bool is_below(struct slice name, struct slice domain)
{
	return slice_ends_nocase(name, domain) && (name.n == domain.n || name.p[name.n - domain.n - 1] == '.');
}

/* %{p}: the domain itself, else a name below it, else any (7.3). */
static struct slice best_validated(const struct spf *s, struct slice domain)
{
	for (size_t i = 0; i < s->validated_count; i++)
		if (slice_eq_nocase(s->validated[i], domain))
			return s->validated[i];
	for (size_t i = 0; i < s->validated_count; i++)
		if (is_below(s->validated[i], domain))
			return s->validated[i];
	return s->validated_count ? s->validated[0] : SLICE("");
}

/* The name that a term or modifier is about. */
static struct slice expand(struct spf *s, struct slice spec)
{
	struct frame *f = top(s);
	if (!spec.n)
		return f->domain;
	struct spf_names names = { s->client, s->local_part, s->sender_domain, s->helo, f->domain, best_validated(s, f->domain) };
	struct buf out = BUF_INIT(8192);
	spf_macro_expand(spec, &names, &out);
	struct slice name = text_lower(&s->mem, buf_slice(&out));
	buf_free(&out);
	return name.p ? name : SLICE("");
}

/* -- a, mx, exists -------------------------------------------------------------------------------------------------------- */

static enum dns_type address_type(const struct spf *s)
{
	return s->client.is_v4 ? DNS_A : DNS_AAAA;
}

static bool holds_client(const struct spf *s, const struct dns_answer *a, unsigned prefix4, unsigned prefix6)
{
	for (size_t i = 0; a->answer == FOUND && i < a->count; i++) {
		struct net_ip ip = { .is_v4 = s->client.is_v4, .bytes = { [10] = 0xff, [11] = 0xff } };
		size_t width = ip.is_v4 ? 4 : 16;
		if (a->records[i].data.n != width)
			continue;
		memcpy(ip.bytes + 16 - width, a->records[i].data.p, width);
		if (net_ip_in(&s->client, &ip, ip.is_v4 ? prefix4 : prefix6))
			return true;
	}
	return false;
}

static bool is_wide(const struct spf *s, unsigned prefix4, unsigned prefix6)
{
	return s->client.is_v4 ? prefix4 < 8 : prefix6 < 16;
}

/* Goes on after an answer: matched, or the next term. */
static void resume(struct spf *s, bool match, unsigned weak)
{
	if (match) {
		s->verdict.weak |= weak;
		if (matched(s) == STEP_ENDED)
			return;
	} else {
		trace(s, top(s)->record.terms[top(s)->at].text, "no match");
		top(s)->at++;
	}
	run(s);
}

/* An answer that ends the check; true if it did. */
static bool ends(struct spf *s, const struct dns_answer *a)
{
	s->query = NULL;
	if (a->answer == UNSURE)
		end(s, SPF_TEMPERROR, a->why ? a->why : "dns");
	else if (!count_void(s, a))
		end(s, SPF_PERMERROR, "too many void look-ups");
	return s->known;
}

static void on_addresses(void *arg, const struct dns_answer *a)
{
	struct spf *s = arg;
	const struct spf_term *t = &top(s)->record.terms[top(s)->at];
	if (ends(s, a))
		return;
	resume(s, holds_client(s, a, t->prefix4, t->prefix6), is_wide(s, t->prefix4, t->prefix6) ? SPF_WEAK_WIDE : 0);
}

static void on_exists(void *arg, const struct dns_answer *a)
{
	struct spf *s = arg;
	if (!ends(s, a))
		resume(s, a->answer == FOUND, SPF_WEAK_EXISTS);
}

static void ask_next_host(struct spf *s);

static void on_host(void *arg, const struct dns_answer *a)
{
	struct spf *s = arg;
	const struct spf_term *t = &top(s)->record.terms[top(s)->at];
	s->query = NULL;
	if (a->answer == UNSURE)
		end(s, SPF_TEMPERROR, a->why ? a->why : "dns");
	else if (holds_client(s, a, t->prefix4, t->prefix6))
		resume(s, true, is_wide(s, t->prefix4, t->prefix6) ? SPF_WEAK_WIDE : 0);
	else
		ask_next_host(s);
}

static void ask_next_host(struct spf *s)
{
	if (s->name_at < s->name_count)
		ask(s, address_type(s), s->names[s->name_at++], on_host);
	else
		resume(s, false, 0);
}

/* Copies the answer's names, at most `max`; the root (null MX) is none. */
static void keep_names(struct spf *s, const struct dns_answer *a, size_t max)
{
	s->name_count = s->name_at = 0;
	s->names = ARENA_ARRAY(&s->mem, struct slice, max);
	for (size_t i = 0; s->names && a->answer == FOUND && i < a->count && s->name_count < max; i++) {
		struct slice name = arena_copy(&s->mem, a->records[i].data);
		if (name.n)
			s->names[s->name_count++] = name;
	}
}

static void on_mx(void *arg, const struct dns_answer *a)
{
	struct spf *s = arg;
	if (ends(s, a))
		return;
	if (a->answer == FOUND && a->count > SPF_MAX_NAMES) {
		end(s, SPF_PERMERROR, "too many MX"); /* 4.6.4 */
		return;
	}
	keep_names(s, a, SPF_MAX_NAMES);
	ask_next_host(s);
}

/* -- ptr and %{p} --------------------------------------------------------------------------------------------------------- */

static void validate_next(struct spf *s);

static void on_validated(void *arg, const struct dns_answer *a)
{
	struct spf *s = arg;
	s->query = NULL;
	if (holds_client(s, a, 32, 128)) /* an error skips the name (5.5) */
		s->validated[s->validated_count++] = s->names[s->name_at - 1];
	validate_next(s);
}

static void validate_next(struct spf *s)
{
	if (s->name_at < s->name_count) {
		ask(s, address_type(s), s->names[s->name_at++], on_validated);
		return;
	}
	s->validated_known = true;
	run(s);
}

static void on_ptr(void *arg, const struct dns_answer *a)
{
	struct spf *s = arg;
	s->query = NULL;
	if (!count_void(s, a)) {
		end(s, SPF_PERMERROR, "too many void look-ups");
		return;
	}
	keep_names(s, a, SPF_MAX_NAMES); /* none after an error: no match (5.5) */
	validate_next(s);
}

/* Finds the client's validated names, once a check; the term that wants them is evaluated again then. */
static enum step validate_client(struct spf *s)
{
	struct buf name = BUF_INIT(128);
	for (size_t i = 0; s->client.is_v4 && i < 4; i++)
		buf_addf(&name, "%u.", s->client.bytes[15 - i]);
	for (size_t i = 0; !s->client.is_v4 && i < 32; i++)
		buf_addf(&name, "%x.", s->client.bytes[15 - i / 2] >> (i % 2 ? 4 : 0) & 15);
	buf_add_cstr(&name, s->client.is_v4 ? "in-addr.arpa" : "ip6.arpa");
	ask(s, DNS_PTR, buf_slice(&name), on_ptr);
	buf_free(&name);
	return STEP_WAIT;
}

static enum step check_ptr(struct spf *s, const struct spf_term *t)
{
	if (!s->validated_known)
		return validate_client(s);
	struct slice target = expand(s, t->target);
	for (size_t i = 0; i < s->validated_count; i++)
		if (is_below(s->validated[i], target)) {
			s->verdict.weak |= SPF_WEAK_PTR;
			return STEP_MATCH;
		}
	return STEP_NEXT;
}

/* -- evaluation ----------------------------------------------------------------------------------------------------------- */

static bool asks_dns(enum spf_mechanism kind)
{
	return kind != SPF_ALL && kind != SPF_IP4 && kind != SPF_IP6;
}

static enum step start_mechanism(struct spf *s, const struct spf_term *t)
{
	switch (t->kind) {
	case SPF_ALL:
		s->verdict.weak |= SPF_WEAK_ALL;
		return STEP_MATCH;
	case SPF_IP4:
	case SPF_IP6:
		if (!net_ip_in(&s->client, &t->network, t->prefix4))
			return STEP_NEXT;
		s->verdict.weak |= is_wide(s, t->prefix4, t->prefix6) ? SPF_WEAK_WIDE : 0;
		return STEP_MATCH;
	case SPF_INCLUDE:
		return push(s, expand(s, t->target), 1);
	case SPF_A:
		ask(s, address_type(s), expand(s, t->target), on_addresses);
		return STEP_WAIT;
	case SPF_MX:
		ask(s, DNS_MX, expand(s, t->target), on_mx);
		return STEP_WAIT;
	case SPF_EXISTS:
		ask(s, DNS_A, expand(s, t->target), on_exists);
		return STEP_WAIT;
	case SPF_PTR:
		return check_ptr(s, t);
	}
	return STEP_NEXT;
}

static enum step start_term(struct spf *s, const struct spf_term *t)
{
	if (asks_dns(t->kind) && !s->ptr_counted && !count_lookup(s))
		return end(s, SPF_PERMERROR, "too many look-ups");
	s->ptr_counted = false;
	if (!s->validated_known && (t->kind == SPF_PTR || spf_macro_uses(t->target, 'p'))) {
		s->ptr_counted = true; /* evaluated again when the names are known */
		return validate_client(s);
	}
	return start_mechanism(s, t);
}

/* No term matched: redirect= or the default (4.7, 6.1). */
static enum step after_terms(struct spf *s)
{
	struct frame *f = top(s);
	struct slice spec = f->record.redirect;
	if (!spec.p)
		return leave_frame(s, SPF_NEUTRAL, "no term matched");
	if (!s->ptr_counted && !count_lookup(s))
		return end(s, SPF_PERMERROR, "too many look-ups");
	s->ptr_counted = false;
	if (!s->validated_known && spf_macro_uses(spec, 'p')) {
		s->ptr_counted = true;
		return validate_client(s);
	}
	if (spf_macro_any(spec))
		f->weak |= SPF_WEAK_MACRO;
	f->redirected = true;
	struct slice domain = expand(s, spec);
	trace(s, spec, "redirect");
	return enter(s, domain, 1);
}

static void run(struct spf *s)
{
	for (;;) {
		struct frame *f = top(s);
		enum step step = f->at < f->record.count ? start_term(s, &f->record.terms[f->at]) : after_terms(s);
		if (step == STEP_MATCH)
			step = matched(s);
		else if (step == STEP_NEXT && f == top(s) && f->at < f->record.count) {
			trace(s, f->record.terms[f->at].text, "no match");
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
