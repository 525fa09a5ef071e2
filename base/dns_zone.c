/* Answers from one RFC 1035 master file, for tools and tests: nothing else is asked, and a name that isn't in it (nor above one that is) does not
 * exist. SOA and NS may be missing; records of types that mail doesn't ask for are read over. Wildcards and CNAMEs work. */
#include "base/dns_source.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/net.h"
#include "base/scan.h"
#include "base/text.h"

enum { MAX_FILE = 64 << 20, MAX_TOKENS = 4096, MAX_CHAIN = 12 };

struct record {
	struct slice name;
	uint16_t type;               /* 0: the name is there, nothing more */
	uint32_t ttl_s;
	struct dns_record data;
};

struct source {
	struct loop *loop;
	bool secure;
	struct arena mem;
	struct record *records;
	size_t count, room;
};

struct ticket {
	struct source *owner;
	struct dns_query *query;
	struct loop_timer *timer;
	enum dns_type type;
	struct slice name;
};

/* -- the file ------------------------------------------------------------------------------------------------------------- */

struct token {
	struct slice text;           /* escapes and quotes removed */
	bool quoted;
};

struct reader {
	struct source *s;
	struct slice in;
	struct slice origin, owner;
	uint32_t ttl_s;
	struct token tokens[MAX_TOKENS];
	size_t count;
	bool owner_blank;            /* the entry began with a blank */
};

/* One character of a token, "\DDD" and "\X" decoded. */
static char read_char(struct slice *in)
{
	char c = in->p[0];
	*in = slice_skip(*in, 1);
	if (c != '\\' || !in->n)
		return c;
	struct slice digits = slice_head(*in, 3);
	uint64_t v;
	if (digits.n == 3 && scan_uint_all(digits, 255, &v)) {
		*in = slice_skip(*in, 3);
		return (char)v;
	}
	c = in->p[0];
	*in = slice_skip(*in, 1);
	return c;
}

static bool read_token(struct reader *r)
{
	struct slice span = r->in;
	bool quoted = scan_byte(&span, '"');
	size_t n = 0, length = 0;
	while (length < span.n && (quoted ? span.p[length] != '"' : !strchr(" \t\r\n;()\"", span.p[length] ? span.p[length] : 'x')))
		length += span.p[length] == '\\' ? 2 : 1;
	if (length > span.n || (quoted && length >= span.n) || r->count == MAX_TOKENS)
		return false;
	char *to = arena_new(&r->s->mem, length + 1);
	struct slice body = slice_head(span, length);
	while (body.n)
		to[n++] = read_char(&body);
	r->tokens[r->count++] = (struct token){ slice(to, n), quoted };
	r->in = slice_skip(span, length + quoted);
	return true;
}

/* The tokens of one entry: a line, or more where parentheses stand. False at the end of the file; *wrong for bad syntax. */
static bool read_entry(struct reader *r, bool *wrong)
{
	unsigned depth = 0;
	bool begun = false;
	r->count = 0;
	r->owner_blank = r->in.n && (r->in.p[0] == ' ' || r->in.p[0] == '\t');
	while (r->in.n) {
		char c = r->in.p[0];
		begun = true;
		if (c == ';') {
			r->in = slice_skip(r->in, slice_find(r->in, '\n'));
		} else if (c == '\n' || c == ' ' || c == '\t' || c == '\r') {
			r->in = slice_skip(r->in, 1);
			if (c == '\n' && !depth)
				return true;
		} else if (c == '(' || c == ')') {
			if (c == ')' && !depth--)
				return !(*wrong = true);
			depth += c == '(';
			r->in = slice_skip(r->in, 1);
		} else if (!read_token(r)) {
			return !(*wrong = true);
		}
	}
	*wrong = depth > 0;
	return begun && !*wrong;
}

/* A name, made absolute, in lower case, without the last dot. */
static struct slice make_name(struct reader *r, struct slice text)
{
	struct buf b = BUF_INIT(2048);
	if (slice_eq(text, SLICE("@"))) {
		buf_add(&b, r->origin);
	} else if (text.n && text.p[text.n - 1] == '.') {
		buf_add(&b, slice_head(text, text.n - 1));
	} else {
		buf_add(&b, text);
		if (r->origin.n)
			buf_addf(&b, ".%.*s", SLICE_FMT(r->origin));
	}
	struct slice name = text_lower(&r->s->mem, buf_slice(&b));
	buf_free(&b);
	return name;
}

static void add(struct source *s, const struct record *r)
{
	if (s->count == s->room) {
		s->room = s->room ? s->room * 2 : 256;
		s->records = mem_grow(s->records, s->room, sizeof *s->records);
	}
	s->records[s->count++] = *r;
}

/* The name and all above it are there. */
static void add_ancestors(struct source *s, struct slice name)
{
	while (name.n) {
		add(s, &(struct record){ .name = name });
		struct slice rest;
		slice_cut(name, '.', &rest);
		name = rest.p ? rest : SLICE("");
	}
}

static bool read_address(struct slice text, bool v4, struct arena *mem, struct slice *out)
{
	struct net_ip ip;
	if (!net_ip_parse(text, &ip) || (slice_find(text, ':') == text.n) != v4)
		return false;
	*out = arena_copy(mem, slice((const char *)ip.bytes + (v4 ? 12 : 0), v4 ? 4 : 16));
	return true;
}

static struct slice join(struct arena *mem, const struct token *t, size_t count)
{
	size_t n = 0;
	for (size_t i = 0; i < count; i++)
		n += t[i].text.n;
	char *to = arena_new(mem, n + 1);
	n = 0;
	for (size_t i = 0; i < count; i++) {
		memcpy(to + n, t[i].text.p, t[i].text.n);
		n += t[i].text.n;
	}
	return slice(to, n);
}

static bool read_tlsa(struct reader *r, const struct token *t, size_t count, struct slice *out)
{
	uint64_t usage, selector, matching;
	if (count < 4 || !scan_uint_all(t[0].text, 255, &usage) || !scan_uint_all(t[1].text, 255, &selector) || !scan_uint_all(t[2].text, 255, &matching))
		return false;
	struct buf b = BUF_INIT(65536);
	buf_add_byte(&b, (char)usage);
	buf_add_byte(&b, (char)selector);
	buf_add_byte(&b, (char)matching);
	bool good = text_hex_decode(join(&r->s->mem, t + 3, count - 3), &b);
	*out = arena_copy(&r->s->mem, buf_slice(&b));
	buf_free(&b);
	return good;
}

/* The data of a record; types that nobody asks for are 0. */
static bool read_data(struct reader *r, struct slice type, const struct token *t, size_t count, struct record *out)
{
	uint64_t preference;
	struct arena *mem = &r->s->mem;
	if (slice_eq_nocase(type, SLICE("A")))
		return out->type = DNS_A, count == 1 && read_address(t[0].text, true, mem, &out->data.data);
	if (slice_eq_nocase(type, SLICE("AAAA")))
		return out->type = DNS_AAAA, count == 1 && read_address(t[0].text, false, mem, &out->data.data);
	if (slice_eq_nocase(type, SLICE("TXT"))) {
		out->type = DNS_TXT;
		out->data.data = join(mem, t, count); /* none is illegal, but seen */
		return true;
	}
	if (slice_eq_nocase(type, SLICE("CNAME")) || slice_eq_nocase(type, SLICE("PTR"))) {
		out->type = slice_eq_nocase(type, SLICE("PTR")) ? DNS_PTR : DNS_CNAME;
		out->data.data = count == 1 ? make_name(r, t[0].text) : SLICE_NONE;
		return count == 1;
	}
	if (slice_eq_nocase(type, SLICE("MX"))) {
		if (count != 2 || !scan_uint_all(t[0].text, 65535, &preference))
			return false;
		out->type = DNS_MX;
		out->data.preference = (uint16_t)preference;
		out->data.data = make_name(r, t[1].text);
		return true;
	}
	if (slice_eq_nocase(type, SLICE("TLSA")))
		return out->type = DNS_TLSA, read_tlsa(r, t, count, &out->data.data);
	return count > 0;
}

static bool is_class(struct slice s)
{
	return slice_eq_nocase(s, SLICE("IN")) || slice_eq_nocase(s, SLICE("CH")) || slice_eq_nocase(s, SLICE("HS"));
}

static const char *take_directive(struct reader *r)
{
	struct slice word = r->tokens[0].text;
	uint64_t ttl;
	if (slice_eq_nocase(word, SLICE("$ORIGIN")) && r->count == 2) {
		r->origin = make_name(r, r->tokens[1].text);
		return NULL;
	}
	if (slice_eq_nocase(word, SLICE("$TTL")) && r->count == 2 && scan_span_all(r->tokens[1].text, INT32_MAX, &ttl)) {
		r->ttl_s = (uint32_t)ttl;
		return NULL;
	}
	return "unknown directive";
}

/* [owner] [ttl] [class] type data, ttl and class in either order. */
static const char *take_entry(struct reader *r)
{
	size_t at = 0;
	uint64_t ttl = r->ttl_s, v;
	if (!r->count)
		return NULL;
	if (!r->owner_blank && r->tokens[0].text.n && r->tokens[0].text.p[0] == '$' && !r->tokens[0].quoted)
		return take_directive(r);
	if (!r->owner_blank)
		r->owner = make_name(r, r->tokens[at++].text);
	for (int i = 0; i < 2 && at < r->count; i++) {
		struct slice word = r->tokens[at].text;
		if (is_class(word))
			at++;
		else if (word.n && text_is_digit((unsigned char)word.p[0]) && scan_span_all(word, INT32_MAX, &v))
			ttl = v, at++;
	}
	if (at >= r->count || !r->owner.p)
		return "no type";
	struct record record = { .name = r->owner, .ttl_s = (uint32_t)ttl };
	if (!read_data(r, r->tokens[at].text, r->tokens + at + 1, r->count - at - 1, &record))
		return "wrong data";
	add_ancestors(r->s, r->owner);
	if (record.type)
		add(r->s, &record);
	return NULL;
}

static int order(const void *a, const void *b)
{
	const struct record *x = a, *y = b;
	int c = slice_cmp(x->name, y->name);
	return c ? c : (int)x->type - (int)y->type;
}

static const char *load(struct source *s, struct slice text)
{
	struct reader *r = MEM_NEW(struct reader);
	*r = (struct reader){ .s = s, .in = text, .origin = SLICE(""), .ttl_s = 3600 };
	bool wrong = false;
	const char *why = NULL;
	while (!why && read_entry(r, &wrong))
		why = take_entry(r);
	mem_free(r);
	if (s->count)
		qsort(s->records, s->count, sizeof *s->records, order);
	return wrong ? "wrong quotes or parentheses in the zone file" : why ? "a wrong record in the zone file" : NULL;
}

/* -- answers -------------------------------------------------------------------------------------------------------------- */

/* The place of the first record of name, or where it would stand. */
static size_t find(const struct source *s, struct slice name)
{
	size_t low = 0, high = s->count;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (slice_cmp(s->records[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool exists(const struct source *s, struct slice name)
{
	size_t at = find(s, name);
	return at < s->count && slice_eq(s->records[at].name, name);
}

/* name itself, or the wildcard below its closest ancestor that is there (RFC 4592); "" for neither. */
static struct slice owner_of(const struct source *s, struct slice name, struct arena *mem)
{
	if (exists(s, name))
		return name;
	struct slice rest = name;
	do
		slice_cut(rest, '.', &rest);
	while (rest.p && !exists(s, rest));
	char *wild = arena_new(mem, rest.n + 3);
	memcpy(wild, "*.", 2);
	memcpy(wild + 2, rest.p ? rest.p : "", rest.n);
	struct slice star = slice(wild, rest.n ? rest.n + 2 : 1);
	return exists(s, star) ? star : SLICE("");
}

static size_t collect(const struct source *s, struct slice owner, enum dns_type type, struct arena *mem, struct dns_answer *a)
{
	size_t at = find(s, owner), first = at;
	while (at < s->count && slice_eq(s->records[at].name, owner))
		at++;
	a->records = ARENA_ARRAY(mem, struct dns_record, at - first + 1);
	a->count = 0;
	for (size_t i = first; i < at; i++)
		if (s->records[i].type == (uint16_t)type && a->count < DNS_MAX_RECORDS) {
			a->records[a->count++] = s->records[i].data;
			a->ttl_s = s->records[i].ttl_s;
		}
	return a->count;
}

static void answer(const struct source *s, enum dns_type type, struct slice name, struct arena *mem, struct dns_answer *a)
{
	*a = (struct dns_answer){ .answer = UNSURE, .why = "servfail", .canonical = name };
	for (int hops = 0; hops < MAX_CHAIN; hops++) {
		struct slice owner = owner_of(s, a->canonical, mem);
		if (!owner.n || collect(s, owner, type, mem, a)) {
			a->answer = owner.n ? FOUND : ABSENT;
			a->nxdomain = !owner.n;
			a->why = NULL;
			return;
		}
		if (type == DNS_CNAME || !collect(s, owner, DNS_CNAME, mem, a)) {
			a->answer = ABSENT;
			a->why = NULL;
			return;
		}
		a->canonical = a->records[0].data;
		a->count = 0;
	}
}

static void ticket_free(struct ticket *t)
{
	loop_timer_free(t->timer);
	mem_free((char *)t->name.p);
	mem_free(t);
}

static void on_timer(void *arg)
{
	struct ticket *t = arg;
	struct arena mem = ARENA_INIT(0);
	struct dns_answer a;
	struct dns_query *q = t->query;
	answer(t->owner, t->type, t->name, &mem, &a);
	a.secure = t->owner->secure && a.answer != UNSURE;
	a.canonical = arena_copy(&mem, a.canonical);
	ticket_free(t);
	dns_source_answer(q, &a);
	arena_free(&mem);
}

static int ask(void *self, struct dns_query *q, enum dns_type type, const char *name, void **ticket)
{
	struct source *s = self;
	struct ticket *t = MEM_NEW(struct ticket);
	*t = (struct ticket){ .owner = s, .query = q, .type = type, .name = slice(mem_copy(name, strlen(name)), strlen(name)) };
	t->timer = loop_timer_new(s->loop, on_timer, t);
	loop_timer_set(t->timer, 0);
	*ticket = t;
	return 0;
}

static void drop(void *self, void *ticket)
{
	(void)self;
	ticket_free(ticket);
}

static void source_free(void *self)
{
	struct source *s = self;
	arena_free(&s->mem);
	mem_free(s->records);
	mem_free(s);
}

/* All of a file; NULL with *why. */
static char *read_file(struct slice name, size_t *size, const char **why)
{
	char *path = mem_copy(name.p, name.n);
	struct buf b = BUF_INIT(MAX_FILE);
	int fd = -1;
	ssize_t n = -1;
	if (file_open(AT_FDCWD, path, O_RDONLY, 0, &fd) == 0)
		for (char *to; (to = buf_room(&b, 65536)) && (n = read(fd, to, 65536)) > 0;)
			buf_used(&b, (size_t)n);
	file_close(&fd);
	mem_free(path);
	if (n) {
		*why = "the zone file can't be read";
		buf_free(&b);
		return NULL;
	}
	*size = b.n;
	return b.p;
}

void *dns_zone_new(struct loop *l, const struct dns_settings *settings, const struct dns_source **out, const char **why)
{
	static const struct dns_source source = { source_free, ask, drop };
	size_t size = 0;
	char *text = read_file(settings->zone_file, &size, why);
	if (!text)
		return NULL;
	struct source *s = MEM_NEW(struct source);
	s->loop = l;
	s->secure = settings->zone_secure;
	const char *wrong = load(s, slice(text, size));
	mem_free(text);
	if (wrong) {
		*why = wrong;
		source_free(s);
		return NULL;
	}
	*out = &source;
	return s;
}
