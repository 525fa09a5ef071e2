/* A reader by descent, as deep as JSON_MAX_DEPTH. */
#include "base/json.h"

#include <errno.h>

#include "base/buf.h"
#include "base/text.h"

struct reader {
	struct slice in;
	struct arena *mem;
	struct buf path, text;
	bool (*each)(void *arg, struct slice path, enum json_kind kind, struct slice value);
	void *arg;
	bool enough;
	unsigned depth;
};

static bool read_value(struct reader *r);

static char peek(struct reader *r)
{
	while (r->in.n && (r->in.p[0] == ' ' || r->in.p[0] == '\t' || r->in.p[0] == '\r' || r->in.p[0] == '\n'))
		r->in = slice_skip(r->in, 1);
	return r->in.n ? r->in.p[0] : '\0';
}

static bool take(struct reader *r, char c)
{
	if (peek(r) != c || r->in.n == 0)
		return false;
	r->in = slice_skip(r->in, 1);
	return true;
}

/* -- strings ------------------------------------------------------------------------------------------------------------------------------- */

static bool read_hex4(struct reader *r, unsigned *out)
{
	*out = 0;
	for (int i = 0; i < 4; i++) {
		unsigned char c = r->in.n > (size_t)i ? (unsigned char)r->in.p[i] : 0;
		if (!text_is_digit(c) && !((c | 0x20) >= 'a' && (c | 0x20) <= 'f'))
			return false;
		*out = *out * 16 + (text_is_digit(c) ? c - 48u : (c | 0x20u) - 'a' + 10u);
	}
	r->in = slice_skip(r->in, 4);
	return true;
}

static void add_utf8(struct buf *out, unsigned c)
{
	if (c < 0x80) {
		buf_add_byte(out, (char)c);
	} else if (c < 0x800) {
		buf_add_byte(out, (char)(0xc0 | c >> 6));
		buf_add_byte(out, (char)(0x80 | (c & 0x3f)));
	} else {
		if (c >= 0x10000)
			buf_add_byte(out, (char)(0xf0 | c >> 18));
		buf_add_byte(out, (char)((c >= 0x10000 ? 0x80 | (c >> 12 & 0x3f) : 0xe0 | c >> 12)));
		buf_add_byte(out, (char)(0x80 | (c >> 6 & 0x3f)));
		buf_add_byte(out, (char)(0x80 | (c & 0x3f)));
	}
}

/* "\uD83D\uDE00" is one character; a half of a pair alone becomes U+FFFD. */
static bool read_unicode(struct reader *r, struct buf *out)
{
	unsigned c, low;
	if (!read_hex4(r, &c))
		return false;
	if (c >= 0xd800 && c < 0xdc00 && slice_starts(r->in, SLICE("\\u"))) {
		struct slice before = r->in;
		r->in = slice_skip(r->in, 2);
		if (!read_hex4(r, &low))
			return false;
		if (low >= 0xdc00 && low < 0xe000)
			c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
		else
			r->in = before;
	}
	add_utf8(out, c >= 0xd800 && c < 0xe000 ? 0xfffd : c);
	return true;
}

static bool read_escape(struct reader *r, struct buf *out)
{
	static const char names[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
	char c = r->in.n ? r->in.p[0] : '\0';
	const char *at = c ? strchr(names, c) : NULL;
	r->in = slice_skip(r->in, 1);
	if (c == 'u')
		return read_unicode(r, out);
	return at && buf_add_byte(out, means[at - names]) == 0;
}

static bool read_string(struct reader *r, struct buf *out)
{
	if (!take(r, '"'))
		return false;
	while (r->in.n && r->in.p[0] != '"') {
		char c = r->in.p[0];
		r->in = slice_skip(r->in, 1);
		if ((unsigned char)c < 0x20 || (c == '\\' ? !read_escape(r, out) : buf_add_byte(out, c) != 0))
			return false;
	}
	return take(r, '"');
}

/* -- values ---------------------------------------------------------------------------------------------------------------------------------- */

static bool tell(struct reader *r, enum json_kind kind, struct slice value)
{
	if (!r->each(r->arg, buf_slice(&r->path), kind, value))
		r->enough = true;
	return true;
}

static bool read_word(struct reader *r)
{
	static const struct {
		struct slice word;
		enum json_kind kind;
	} words[] = { { SLICE_INIT("true"), JSON_TRUE }, { SLICE_INIT("false"), JSON_FALSE }, { SLICE_INIT("null"), JSON_NULL } };
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (slice_starts(r->in, words[i].word)) {
			r->in = slice_skip(r->in, words[i].word.n);
			return tell(r, words[i].kind, words[i].word);
		}
	size_t n = 0;
	while (n < r->in.n && (text_is_digit((unsigned char)r->in.p[n]) || (r->in.p[n] && strchr("+-.eE", r->in.p[n]))))
		n++;
	struct slice number = slice_head(r->in, n);
	r->in = slice_skip(r->in, n);
	return n > 0 && n < 64 && tell(r, JSON_NUMBER, number);
}

static bool enter(struct reader *r, struct slice name, size_t *length)
{
	*length = r->path.n;
	if (r->path.n)
		buf_add_byte(&r->path, '.');
	buf_add(&r->path, name);
	return !buf_full(&r->path);
}

static bool read_array(struct reader *r)
{
	char number[24];
	size_t length;
	if (peek(r) == ']')
		return take(r, ']');
	for (unsigned i = 0; !r->enough; i++) {
		struct buf b = BUF_INIT(sizeof number);
		buf_add_uint(&b, i);
		bool good = enter(r, buf_slice(&b), &length) && read_value(r);
		buf_free(&b);
		buf_truncate(&r->path, length);
		if (!good || (peek(r) != ',' && peek(r) != ']'))
			return r->enough && good;
		if (take(r, ']'))
			return true;
		take(r, ',');
	}
	return true;
}

static bool read_object(struct reader *r)
{
	size_t length;
	if (peek(r) == '}')
		return take(r, '}');
	while (!r->enough) {
		struct buf name = BUF_INIT(JSON_MAX_PATH);
		peek(r);
		bool good = read_string(r, &name) && take(r, ':') && enter(r, buf_slice(&name), &length);
		buf_free(&name);
		good = good && read_value(r);
		if (!good)
			return false;
		buf_truncate(&r->path, length);
		if (r->enough || take(r, '}'))
			return true;
		if (!take(r, ','))
			return false;
	}
	return true;
}

static bool read_value(struct reader *r)
{
	bool good;
	char c = peek(r);
	if (c == '"') {
		buf_clear(&r->text);
		good = read_string(r, &r->text);
		struct slice kept = good ? arena_copy(r->mem, buf_slice(&r->text)) : SLICE_NONE;
		return kept.p && tell(r, JSON_STRING, kept);
	}
	if (c != '{' && c != '[')
		return read_word(r);
	if (r->depth == JSON_MAX_DEPTH)
		return false;
	r->depth++;
	take(r, c);
	good = c == '{' ? read_object(r) : read_array(r);
	r->depth--;
	return good;
}

int json_each(struct slice text, struct arena *mem, bool (*each)(void *arg, struct slice path, enum json_kind kind, struct slice value), void *arg)
{
	struct reader r = { .in = text, .mem = mem, .path = BUF_INIT(JSON_MAX_PATH), .text = BUF_INIT(1 << 20), .each = each, .arg = arg };
	bool good = read_value(&r) && (r.enough || (peek(&r) == '\0' && r.in.n == 0));
	buf_free(&r.path);
	buf_free(&r.text);
	return good ? 0 : -EPROTO;
}
