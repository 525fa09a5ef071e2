/* MIME, as far as reports need it. A stack of open multiparts instead of recursion. */
#include "base/mail_mime.h"

#include <errno.h>

#include "base/mail_header.h"
#include "base/scan.h"
#include "base/text.h"

struct slice mail_mime_parameter(struct slice value, struct slice name, struct arena *mem)
{
	struct slice rest = value;
	slice_cut(rest, ';', &rest);
	while (rest.p) {
		struct slice v, key;
		rest = slice_trim(rest);
		key = slice_trim(slice_cut(rest, '=', &v));
		if (!v.p)
			break;
		v = slice_trim(v);
		char *to = arena_new(mem, v.n + 1);
		size_t n = 0, i = 0;
		if (!to)
			break;
		if (v.n && v.p[0] == '"')
			for (i = 1; i < v.n && v.p[i] != '"'; i++)
				to[n++] = v.p[i] == '\\' && i + 1 < v.n ? v.p[++i] : v.p[i];
		else
			for (; i < v.n && !memchr(" \t\r\n;", v.p[i], 5); i++)
				to[n++] = v.p[i];
		if (slice_eq_nocase(key, name))
			return slice(to, n);
		rest = slice_skip(v, i);
		slice_cut(rest, ';', &rest);
	}
	return SLICE("");
}

static struct slice value_of(const struct mail_header *h, struct slice name)
{
	const struct mail_field *f = mail_header_find(h, name, 0);
	return f ? f->value : SLICE("");
}

static struct slice first_word(struct slice value, struct slice preset, struct arena *mem)
{
	struct slice rest, word = text_lower(mem, slice_trim(slice_cut(value, ';', &rest)));
	return word.n ? word : preset;
}

static int read_part(struct slice text, unsigned depth, struct arena *mem, struct mail_part *p, struct slice *boundary)
{
	struct mail_header h;
	if (mail_header_parse(text, 1000, mem, &h))
		return -E2BIG;
	struct slice type = value_of(&h, SLICE("Content-Type"));
	*p = (struct mail_part){ .header = h.section, .content = h.body.p ? h.body : SLICE(""), .depth = depth };
	p->type = first_word(type, SLICE("text/plain"), mem);
	p->encoding = first_word(value_of(&h, SLICE("Content-Transfer-Encoding")), SLICE("7bit"), mem);
	p->filename = mail_mime_parameter(value_of(&h, SLICE("Content-Disposition")), SLICE("filename"), mem);
	if (!p->filename.n)
		p->filename = mail_mime_parameter(type, SLICE("name"), mem);
	*boundary = slice_starts(p->type, SLICE("multipart/")) ? mail_mime_parameter(type, SLICE("boundary"), mem) : SLICE("");
	return 0;
}

/* The next "--boundary" at the start of a line in *in: what stands before it, and *in behind its line. False: there is none. */
static bool next_delimiter(struct slice *in, struct slice boundary, struct slice *before, bool *last)
{
	struct slice rest = *in;
	for (size_t at = 0; at < rest.n;) {
		struct slice line = slice_skip(rest, at);
		size_t end = slice_find(line, '\n');
		line = slice_head(line, end);
		if (slice_starts(line, SLICE("--")) && slice_starts(slice_skip(line, 2), boundary)) {
			*last = slice_starts(slice_skip(line, 2 + boundary.n), SLICE("--"));
			*before = slice_head(rest, at);
			*in = slice_skip(rest, at + end + 1);
			return true;
		}
		at += end + 1;
	}
	return false;
}

struct open_part {
	struct slice rest, boundary;
};

int mail_mime_each(struct slice message, struct arena *mem, bool (*each)(void *arg, const struct mail_part *p), void *arg)
{
	struct open_part stack[MAIL_MIME_MAX_DEPTH];
	struct mail_part p;
	struct slice boundary, before;
	size_t depth = 0, count = 0;
	bool last;
	if (read_part(message, 0, mem, &p, &boundary))
		return -E2BIG;
	if (!boundary.n)
		return each(arg, &p), 0;
	stack[depth++] = (struct open_part){ p.content, boundary };
	if (!next_delimiter(&stack[0].rest, boundary, &before, &last) || last)
		return 0;
	while (depth) {
		struct open_part *o = &stack[depth - 1];
		unsigned level = (unsigned)depth;
		if (!next_delimiter(&o->rest, o->boundary, &before, &last)) {
			before = o->rest; /* the last delimiter is missing */
			last = true;
		}
		if (last)
			depth--;
		if (++count > MAIL_MIME_MAX_PARTS || read_part(before, level, mem, &p, &boundary))
			return -E2BIG;
		if (!boundary.n) {
			if (!each(arg, &p))
				return 0;
			continue;
		}
		if (depth == MAIL_MIME_MAX_DEPTH)
			return -E2BIG;
		struct slice inner = p.content;
		if (next_delimiter(&inner, boundary, &before, &last) && !last)
			stack[depth++] = (struct open_part){ inner, boundary };
	}
	return 0;
}

static int base64_digit(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (text_is_digit(c))
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static void decode_base64(struct slice in, struct buf *out)
{
	uint32_t bits = 0;
	unsigned have = 0;
	for (size_t i = 0; i < in.n && in.p[i] != '=' && !buf_full(out); i++) {
		int digit = base64_digit((unsigned char)in.p[i]);
		if (digit < 0)
			continue;
		bits = bits << 6 | (uint32_t)digit;
		have += 6;
		if (have >= 8) {
			have -= 8;
			buf_add_byte(out, (char)(bits >> have & 255));
		}
	}
}

static void decode_quoted(struct slice in, struct buf *out)
{
	while (in.n && !buf_full(out)) {
		uint64_t byte = (unsigned char)in.p[0];
		bool escaped = in.p[0] == '=';
		in = slice_skip(in, 1);
		if (escaped && (scan_word(&in, SLICE("\r\n")) || scan_byte(&in, '\n')))
			continue; /* a soft line end */
		if (escaped && !scan_hex(&in, 2, &byte))
			byte = '=';
		buf_add_byte(out, (char)byte);
	}
}

int mail_mime_decode(const struct mail_part *p, struct buf *out)
{
	if (slice_eq(p->encoding, SLICE("base64")))
		decode_base64(p->content, out);
	else if (slice_eq(p->encoding, SLICE("quoted-printable")))
		decode_quoted(p->content, out);
	else
		buf_add(out, p->content);
	return buf_full(out) ? -E2BIG : 0;
}
