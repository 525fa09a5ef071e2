/* Authentication-Results: a writer that can't be talked into a second result, and a reader that knows comments and quotes. */
#include "base/mail_authres.h"

#include "base/arena.h"
#include "base/idn.h"
#include "base/text.h"

/* token of RFC 2045; '@' and '/' are let through for values (8601, 2.2: pvalue may be an address). */
static bool is_token(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c <= ' ' || c >= 0x7f || strchr("()<>,;:\\\"[]?=", c))
			return false;
	}
	return s.n > 0;
}

static bool is_field_byte(unsigned char c)
{
	return c >= ' ' && c != 0x7f;
}

static void add_value(struct buf *out, struct slice v)
{
	if (is_token(v)) {
		buf_add(out, v);
		return;
	}
	buf_add_byte(out, '"');
	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] == '"' || v.p[i] == '\\')
			buf_add_byte(out, '\\');
		if (is_field_byte((unsigned char)v.p[i]))
			buf_add_byte(out, v.p[i]);
	}
	buf_add_byte(out, '"');
}

void authres_begin(struct buf *out, struct slice id)
{
	add_value(out, id);
	buf_add_byte(out, ';');
}

void authres_method(struct buf *out, const char *method, const char *result, struct slice reason, struct slice comment)
{
	if (out->n && out->p[out->n - 1] != ';')
		buf_add_byte(out, ';');
	buf_addf(out, "\r\n\t%s=%s", method, result);
	if (comment.n) {
		buf_add_cstr(out, " (");
		for (size_t i = 0; i < comment.n; i++)
			if (is_field_byte((unsigned char)comment.p[i]) && !strchr("()\\", comment.p[i]))
				buf_add_byte(out, comment.p[i]);
		buf_add_byte(out, ')');
	}
	if (reason.n) {
		buf_add_cstr(out, " reason=");
		add_value(out, reason);
	}
}

void authres_property(struct buf *out, const char *property, struct slice value)
{
	if (!value.n)
		return;
	buf_addf(out, " %s=", property);
	add_value(out, value);
}

void authres_end(struct buf *out)
{
	if (out->n && out->p[out->n - 1] == ';')
		buf_add_cstr(out, " none");
}

/* -- reading -------------------------------------------------------------------------------------------------------------- */

static bool skip_cfws(struct slice *in)
{
	unsigned depth = 0;
	while (in->n) {
		char c = in->p[0];
		if (c == '(' && ++depth > 16)
			return false;
		if (c == ')' && depth)
			depth--;
		else if (c == '\\' && depth)
			*in = slice_skip(*in, 1);
		else if (!depth && !strchr(" \t\r\n", c ? c : 'x'))
			return true;
		*in = slice_skip(*in, 1);
	}
	return depth == 0;
}

/* A word up to a blank, ';', '=' or '(', or a quoted string without its quotes. */
static bool read_word(struct slice *in, const char *stop, struct slice *out)
{
	size_t n = 0;
	if (in->n && in->p[0] == '"') {
		for (n = 1; n < in->n && in->p[n] != '"'; n++)
			n += in->p[n] == '\\';
		if (n >= in->n)
			return false;
		*out = slice(in->p + 1, n - 1);
		*in = slice_skip(*in, n + 1);
		return true;
	}
	while (n < in->n && in->p[n] && !strchr(stop, in->p[n]))
		n++;
	*out = slice_head(*in, n);
	*in = slice_skip(*in, n);
	return n > 0;
}

bool authres_id(struct slice value, struct slice *id)
{
	return skip_cfws(&value) && read_word(&value, " \t\r\n;(", id);
}

/* One name in two spellings: with the dot of the root, as U-labels, as A-labels. */
static bool is_one_name(struct slice a, struct slice b)
{
	if (a.n && a.p[a.n - 1] == '.')
		a.n--;
	if (slice_is_ascii(a) && slice_is_ascii(b))
		return slice_eq_nocase(a, b);
	struct arena mem = ARENA_INIT(64 << 10);
	struct slice x, y;
	bool same = idn_to_ascii(a, &mem, &x) == 0 && idn_to_ascii(b, &mem, &y) == 0 && slice_eq(x, y);
	arena_free(&mem);
	return same;
}

/* Our name, and then something that goes on with no name ("mx.example.org/1"): some reader will take it for ours. */
static bool begins_with(struct slice name, struct slice id)
{
	unsigned char next = name.n > id.n ? (unsigned char)name.p[id.n] : 0;
	return slice_eq_nocase(slice_head(name, id.n), id) && !text_is_alnum(next) && next != '.' && next != '-' && next != '_';
}

/* `word` as it came, or out of its quotes, where a backslash stands before what it means. */
static bool means(struct slice word, struct slice id)
{
	struct buf plain = BUF_INIT(2048);
	for (size_t i = 0; i < word.n; i++) {
		i += word.p[i] == '\\' && i + 1 < word.n;
		buf_add_byte(&plain, word.p[i]);
	}
	struct slice name = slice_trim(buf_slice(&plain));
	bool ours = !buf_full(&plain) && (begins_with(name, id) || is_one_name(name, id));
	buf_free(&plain);
	return ours;
}

bool authres_is_ours(struct slice value, struct slice id)
{
	struct slice found;
	if (authres_id(value, &found))
		return means(found, id);
	for (size_t i = 0; i + id.n <= value.n; i++)
		if (slice_eq_nocase(slice(value.p + i, id.n), id))
			return true;
	return false;
}

bool authres_skip_id(struct slice *in)
{
	struct slice word;
	if (!skip_cfws(in) || !read_word(in, " \t\r\n;(", &word) || !skip_cfws(in))
		return false;
	if (in->n && text_is_digit((unsigned char)in->p[0]) && (!read_word(in, " \t\r\n;(", &word) || !skip_cfws(in)))
		return false; /* its version */
	if (in->n && in->p[0] != ';')
		return false;
	*in = slice_skip(*in, 1);
	return true;
}

/* The end of this result: the next ';' outside of quotes and comments. */
static size_t item_end(struct slice in)
{
	unsigned depth = 0;
	bool quoted = false;
	for (size_t i = 0; i < in.n; i++) {
		char c = in.p[i];
		if (c == '\\')
			i++;
		else if (c == '"' && !depth)
			quoted = !quoted;
		else if (c == '(' && !quoted)
			depth++;
		else if (c == ')' && depth)
			depth--;
		else if (c == ';' && !quoted && !depth)
			return i;
	}
	return in.n;
}

bool authres_next(struct slice *in, struct authres_item *item)
{
	if (!in->n)
		return false;
	size_t end = item_end(*in);
	struct slice part = slice_head(*in, end), version;
	*in = slice_skip(*in, end + 1);
	if (!skip_cfws(&part) || !read_word(&part, " \t\r\n;(=/", &item->method) || !skip_cfws(&part))
		return false;
	if (part.n && part.p[0] == '/') {
		part = slice_skip(part, 1);
		if (!skip_cfws(&part) || !read_word(&part, " \t\r\n;(=", &version) || !skip_cfws(&part))
			return false;
	}
	if (!part.n || part.p[0] != '=')
		return false;
	part = slice_skip(part, 1);
	if (!skip_cfws(&part) || !read_word(&part, " \t\r\n;(", &item->result))
		return false;
	item->rest = part;
	return true;
}

struct slice authres_find(const struct authres_item *item, struct slice property)
{
	struct slice in = item->rest, name, value;
	while (skip_cfws(&in) && in.n) {
		if (!read_word(&in, " \t\r\n;(=", &name) || !skip_cfws(&in) || !in.n || in.p[0] != '=')
			return SLICE("");
		in = slice_skip(in, 1);
		if (!skip_cfws(&in) || !read_word(&in, " \t\r\n;(", &value))
			return SLICE("");
		if (slice_eq_nocase(name, property))
			return value;
	}
	return SLICE("");
}
