/* Master files (RFC 1035, 5): entries, names, data. */
#include "base/dns_zone.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/net.h"
#include "base/scan.h"
#include "base/text.h"

enum { MAX_FILE = 64 << 20, MAX_TOKENS = 4096, MAX_INCLUDES = 8, MAX_WHY = 300 };

struct token {
	struct slice text;           /* escapes and quotes removed */
	bool quoted;
};

struct reader {
	struct zone *s;
	struct slice file;           /* its name, for complaints and what it includes */
	unsigned depth;              /* of $INCLUDE */
	struct slice all, in;
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

/* All of a file, or NULL. */
static char *read_file(struct slice name, size_t *size)
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
		buf_free(&b);
		return NULL;
	}
	*size = b.n;
	return b.p;
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

static void add(struct zone *s, const struct zone_record *r)
{
	if (s->count == s->room) {
		s->room = s->room ? s->room * 2 : 256;
		s->records = mem_grow(s->records, s->room, sizeof *s->records);
	}
	s->records[s->count] = *r;
	s->records[s->count].at = (uint32_t)s->count;
	s->count++;
}

/* The name and all above it are there. */
static void add_ancestors(struct zone *s, struct slice name)
{
	while (name.n) {
		add(s, &(struct zone_record){ .name = name });
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
static bool read_data(struct reader *r, struct slice type, const struct token *t, size_t count, struct zone_record *out)
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

/* "300", "5m", and BIND's "1h30m". */
static bool read_ttl(struct slice in, uint32_t *out)
{
	uint64_t sum = 0, v;
	do {
		size_t n = 0;
		while (n < in.n && text_is_digit((unsigned char)in.p[n]))
			n++;
		n += n < in.n;
		struct buf part = BUF_INIT(64);
		for (size_t i = 0; i < n; i++)
			buf_add_byte(&part, text_lower_byte(in.p[i]));
		bool good = scan_span_all(buf_slice(&part), INT32_MAX, &v);
		buf_free(&part);
		if (!good || (sum += v) > INT32_MAX)
			return false;
		in = slice_skip(in, n);
	} while (in.n);
	*out = (uint32_t)sum;
	return true;
}

static bool load(struct zone *s, struct slice file, struct slice text, struct slice origin, unsigned depth);

/* $INCLUDE FILE [ORIGIN]: a relative name is beside the file that names it; our own origin and owner stay as they are (5.1). */
static const char *take_include(struct reader *r)
{
	struct buf path = BUF_INIT(4096);
	struct slice name = r->tokens[1].text;
	if (name.n && name.p[0] != '/')
		buf_add(&path, slice_head(r->file, slice_rfind(r->file, '/') < r->file.n ? slice_rfind(r->file, '/') + 1 : 0));
	buf_add(&path, name);
	size_t size = 0;
	char *text = r->depth < MAX_INCLUDES && !buf_full(&path) ? read_file(buf_slice(&path), &size) : NULL;
	struct slice origin = r->count == 3 ? make_name(r, r->tokens[2].text) : r->origin;
	bool good = text && load(r->s, buf_slice(&path), slice(text, size), origin, r->depth + 1);
	mem_free(text);
	buf_free(&path);
	return good ? NULL : "a file that can't be included";
}

static const char *take_directive(struct reader *r)
{
	struct slice word = r->tokens[0].text;
	if (slice_eq_nocase(word, SLICE("$ORIGIN")) && r->count == 2) {
		r->origin = make_name(r, r->tokens[1].text);
		return NULL;
	}
	if (slice_eq_nocase(word, SLICE("$TTL")) && r->count == 2 && read_ttl(r->tokens[1].text, &r->ttl_s))
		return NULL;
	if (slice_eq_nocase(word, SLICE("$INCLUDE")) && (r->count == 2 || r->count == 3))
		return take_include(r);
	return "an unknown directive, or a wrong one";
}

/* [owner] [ttl] [class] type data, ttl and class in either order. */
static const char *take_entry(struct reader *r)
{
	size_t at = 0;
	uint32_t ttl = r->ttl_s;
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
		else if (word.n && text_is_digit((unsigned char)word.p[0]) && read_ttl(word, &ttl))
			at++;
	}
	if (at >= r->count || !r->owner.p)
		return r->owner.p ? "no type" : "no name";
	if (!text_is_alpha((unsigned char)*(r->tokens[at].text.n ? r->tokens[at].text.p : "")))
		return "no type";
	struct zone_record record = { .name = r->owner, .ttl_s = ttl };
	if (!read_data(r, r->tokens[at].text, r->tokens + at + 1, r->count - at - 1, &record))
		return "no record: NAME [TTL] [IN] TYPE and what that type has";
	add_ancestors(r->s, r->owner);
	if (record.type)
		add(r->s, &record);
	return NULL;
}

static int order(const void *a, const void *b)
{
	const struct zone_record *x = a, *y = b;
	int c = slice_cmp(x->name, y->name);
	if (!c)
		c = (int)x->type - (int)y->type;
	return c ? c : x->at < y->at ? -1 : 1;
}

/* "FILE, line 12: what is wrong"; one complaint is kept, for whoever asked. */
static const char *complain(const struct reader *r, const char *entry, const char *what)
{
	static char text[MAX_WHY];
	unsigned line = 1;
	for (const char *p = r->all.p; p < entry; p++)
		line += *p == '\n';
	snprintf(text, sizeof text, "%.*s, line %u: %s", SLICE_FMT(slice_head(r->file, 200)), line, what);
	return text;
}

/* False: s->why says what is wrong, in the innermost file. */
static bool load(struct zone *s, struct slice file, struct slice text, struct slice origin, unsigned depth)
{
	struct reader *r = MEM_NEW(struct reader);
	*r = (struct reader){ .s = s, .file = file, .depth = depth, .all = text, .in = text, .origin = origin, .ttl_s = 3600 };
	bool wrong = false;
	const char *what = NULL, *entry = text.p;
	while (!what && read_entry(r, &wrong)) {
		what = take_entry(r);
		entry = what ? entry : r->in.p;
	}
	if (wrong)
		what = "quotes or parentheses that don't end";
	if (what && !s->why)
		s->why = complain(r, entry, what);
	mem_free(r);
	return !what;
}

bool zone_load(struct zone *z, struct slice file)
{
	size_t size = 0;
	char *text = read_file(file, &size);
	bool good = text && load(z, file, slice(text, size), SLICE(""), 0);
	mem_free(text);
	if (!text)
		z->why = "the zone file can't be read";
	if (z->count)
		qsort(z->records, z->count, sizeof *z->records, order);
	return good;
}

void zone_drop(struct zone *z)
{
	arena_free(&z->mem);
	mem_free(z->records);
}
