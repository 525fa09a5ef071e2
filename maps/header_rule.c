/* Patterns over header fields. */
#include "maps/header_rule.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mail_header.h"
#include "base/mem.h"
#include "base/scan.h"
#include "maps/map.h"

enum { MAX_SUBJECT = (1 << 20) + 2000 /* a whole header section as one field: what is behind a padding is looked at */, MAX_RULES = 10000, PLACES = 256 /* where a match may begin, between two looks at the clock: PCRE2's limits count anew at each */ };

struct header_rule {
	struct slice name;           /* "*": all */
	pcre2_code *code;
	struct access action;
	uint32_t line;
	uint64_t told;               /* message in which it was asked about */
	bool utf;
};

struct header_rules {
	struct header_rule *rules;
	size_t count;
	struct arena mem;
	pcre2_match_context *limits;
	pcre2_match_data *found;
	uint64_t message;            /* how many have begun */
	uint64_t began_us, limit_us, look_us; /* the thread's time; what may be spent of it; when the wall's clock says that it could be */
	bool spent;
};

static bool in_name(unsigned char c)
{
	return c > ' ' && c != ':' && c < 0x7f;
}

static const char *read_flags(struct slice *in, uint32_t *options)
{
	for (; in->n && in->p[0] != ' ' && in->p[0] != '\t'; *in = slice_skip(*in, 1)) {
		if (in->p[0] == 'i')
			*options |= PCRE2_CASELESS;
		else if (in->p[0] == 'u')
			*options |= PCRE2_UTF | PCRE2_MATCH_INVALID_UTF;
		else
			return "a flag that is none of i, u";
	}
	return NULL;
}

/* The pattern between two marks; a mark inside of it is written with a backslash, which the pattern keeps. */
static const char *read_pattern(struct slice *in, struct slice *pattern)
{
	char mark = in->n ? in->p[0] : ' ';
	size_t n = 1;
	if (in_name((unsigned char)mark) && ((mark >= 'a' && mark <= 'z') || (mark >= 'A' && mark <= 'Z') || mark == '\\'))
		return "a pattern stands between two marks, as /text/";
	while (n < in->n && in->p[n] != mark)
		n += in->p[n] == '\\' ? 2 : 1;
	if (n >= in->n)
		return "the pattern's end is missing";
	*pattern = slice(in->p + 1, n - 1);
	*in = slice_skip(*in, n + 1);
	return NULL;
}

static const char *read_rule(struct slice line, struct header_rule *r)
{
	struct slice pattern;
	uint32_t options = PCRE2_NEVER_BACKSLASH_C | PCRE2_DOLLAR_ENDONLY | PCRE2_USE_OFFSET_LIMIT;
	int error;
	PCRE2_SIZE at;
	if (!scan_while(&line, in_name, 100, &r->name))
		return "a field's name, or *, is missing";
	scan_blanks(&line);
	const char *why = read_pattern(&line, &pattern);
	why = why ? why : read_flags(&line, &options);
	if (why)
		return why;
	scan_blanks(&line);
	why = access_parse(line, &r->action);
	if (why)
		return why;
	if (r->action.by_pass_count)
		return "by-pass is too late here";
	r->utf = options & PCRE2_UTF;
	r->code = pcre2_compile((PCRE2_SPTR)pattern.p, pattern.n, options, &error, &at, NULL);
	return r->code ? NULL : "this is no pattern that PCRE2 takes";
}

const char *header_rule_check(struct slice line)
{
	struct header_rule r = { .code = NULL };
	const char *why = read_rule(line, &r);
	pcre2_code_free(r.code);
	return why;
}

static bool add_rule(void *arg, const struct map_entry *e)
{
	struct header_rules *r = arg;
	struct header_rule rule = { .line = e->line };
	struct slice text = arena_copy(&r->mem, e->value);
	if (r->count == MAX_RULES || read_rule(text, &rule))
		return false;
	pcre2_jit_compile(rule.code, PCRE2_JIT_COMPLETE); /* where it can't, the interpreter runs it */
	r->rules = mem_grow(r->rules, r->count + 1, sizeof *r->rules);
	r->rules[r->count++] = rule;
	return true;
}

struct header_rules *header_rules_new(struct map_set *s, uint32_t match_limit, enum answer *answer)
{
	*answer = FOUND;
	if (!map_size(s, MAP_HEADER))
		return NULL;
	struct header_rules *r = MEM_NEW(struct header_rules);
	r->limits = pcre2_match_context_create(NULL);
	r->found = pcre2_match_data_create(1, NULL);
	r->look_us = UINT64_MAX;
	pcre2_set_match_limit(r->limits, match_limit);
	pcre2_set_depth_limit(r->limits, match_limit);
	pcre2_set_heap_limit(r->limits, 1024);
	*answer = map_each(s, MAP_HEADER, add_rule, r);
	if (*answer == FOUND && r->count == map_size(s, MAP_HEADER))
		return r;
	header_rules_free(r);
	*answer = UNSURE;
	return NULL;
}

void header_rules_free(struct header_rules *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->count; i++)
		pcre2_code_free(r->rules[i].code);
	pcre2_match_context_free(r->limits);
	pcre2_match_data_free(r->found);
	arena_free(&r->mem);
	mem_free(r->rules);
	mem_free(r);
}

void header_rules_begin(struct header_rules *r, uint64_t limit_ms)
{
	r->message++;
	r->spent = false;
	r->limit_us = limit_ms * 1000;
	r->began_us = clock_thread_us();
	r->look_us = clock_mono_us() + r->limit_us;
}

bool header_rules_are_spent(const struct header_rules *r)
{
	return r->spent;
}

/* The thread's time is dear to ask for, and no more than what has passed on the wall. */
static bool is_spent(struct header_rules *r)
{
	uint64_t now = clock_mono_us();
	if (now < r->look_us)
		return false;
	uint64_t used = clock_thread_us() - r->began_us;
	r->spent = used >= r->limit_us;
	r->look_us = now + (r->spent ? 0 : r->limit_us - used);
	return r->spent;
}

static enum answer match(struct header_rules *r, const struct header_rule *rule, struct slice subject)
{
	int got = PCRE2_ERROR_NOMATCH;
	subject = slice_head(subject, MAX_SUBJECT);
	for (size_t at = 0; got == PCRE2_ERROR_NOMATCH && at <= subject.n; at += PLACES) {
		size_t first = at;
		while (rule->utf && at && first < subject.n && ((unsigned char)subject.p[first] & 0xc0) == 0x80)
			first++; /* PCRE2 may not begin within a letter */
		if (is_spent(r))
			return UNSURE;
		pcre2_set_offset_limit(r->limits, at + PLACES - 1);
		if (first < at + PLACES)
			got = pcre2_match(rule->code, (PCRE2_SPTR)(subject.n ? subject.p : ""), subject.n, first, 0, r->found, r->limits);
	}
	return got >= 0 ? FOUND : got == PCRE2_ERROR_NOMATCH ? ABSENT : UNSURE;
}

/* Each rule behind *from that is for this field; `whole` is "Name: value", for those that are for all. */
static enum answer look(struct header_rules *r, struct slice name, struct slice value, struct slice whole, size_t *from)
{
	enum answer a = ABSENT;
	while (a == ABSENT && *from < r->count) {
		const struct header_rule *rule = &r->rules[(*from)++];
		if (slice_eq(rule->name, SLICE("*")))
			a = match(r, rule, whole);
		else if (slice_eq_nocase(rule->name, name))
			a = match(r, rule, value);
	}
	return a;
}

enum answer header_rules_look(struct header_rules *r, struct slice name, struct slice value, size_t *from, const struct access **out)
{
	struct buf whole = BUF_INIT(MAX_SUBJECT);
	buf_add(&whole, slice_head(name, 1000));
	buf_add(&whole, SLICE(": "));
	buf_add(&whole, slice_head(value, MAX_SUBJECT - 2000));
	enum answer a = look(r, name, value, buf_slice(&whole), from);
	buf_free(&whole);
	if (a != ABSENT)
		*out = &r->rules[*from - 1].action;
	return a;
}

bool header_rules_is_news(struct header_rules *r, size_t from)
{
	struct header_rule *rule = &r->rules[from - 1];
	bool news = rule->told != r->message;
	rule->told = r->message;
	return news;
}

uint32_t header_rules_line(const struct header_rules *r, size_t from)
{
	return from && from <= r->count ? r->rules[from - 1].line : 0;
}
