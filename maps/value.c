/* Pieces of values: items, statuses, sizes. */
#include "maps/value.h"

#include "base/scan.h"
#include "base/text.h"
#include "maps/map.h"

enum { MAX_TEXT = 400 };

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

bool map_item(struct slice *value, char separator, struct slice *item)
{
	struct slice s = *value;
	size_t i = 0;
	bool quoted = false;
	while (s.n && (is_blank(s.p[0]) || s.p[0] == separator))
		s = slice_skip(s, 1);
	if (!s.n)
		return false;
	for (; i < s.n; i++) {
		char c = s.p[i];
		if (c == '\\' && quoted && i + 1 < s.n)
			i++;
		else if (c == '"')
			quoted = !quoted;
		else if (!quoted && (c == separator || (separator == ' ' && c == '\t')))
			break;
	}
	*item = slice_trim(slice_head(s, i));
	*value = slice_skip(s, i);
	return true;
}

struct slice value_name(struct slice item, struct slice *value)
{
	return slice_cut(item, '=', value);
}

struct slice value_unquote(struct slice s, struct arena *mem)
{
	if (s.n < 2 || s.p[0] != '"' || s.p[s.n - 1] != '"')
		return s;
	char *p = arena_new(mem, s.n);
	size_t n = 0;
	for (size_t i = 1; p && i + 1 < s.n; i++) {
		if (s.p[i] == '\\' && i + 2 < s.n)
			i++;
		p[n++] = s.p[i];
	}
	return p ? slice(p, n) : SLICE_NONE;
}

/* "5.7.1"; *class is its first digit. */
static bool scan_enhanced(struct slice *in, uint64_t *class, uint8_t out[2])
{
	struct slice s = *in;
	uint64_t subject, detail;
	if (!scan_uint(&s, 9, class) || !scan_byte(&s, '.') || !scan_uint(&s, 99, &subject) || !scan_byte(&s, '.') || !scan_uint(&s, 99, &detail))
		return false;
	if (s.n && !is_blank(s.p[0]))
		return false;
	out[0] = (uint8_t)subject;
	out[1] = (uint8_t)detail;
	*in = slice_trim(s);
	return true;
}

const char *value_status(struct slice text, const struct mail_status *usual, struct mail_status *out)
{
	struct mail_status s = *usual;
	struct slice rest = slice_trim(text);
	uint64_t code, enhanced_class;
	unsigned class = usual->fate == MAIL_LATER ? 4 : 5;
	if (rest.n >= 3 && scan_uint(&rest, 999, &code) && rest.p - text.p >= 3 && (!rest.n || is_blank(rest.p[0]))) {
		if (code / 100 != class)
			return class == 4 ? "defer wants a code 4xx" : "refuse wants a code 5xx";
		s.code = (uint16_t)code;
		rest = slice_trim(rest);
	} else {
		rest = slice_trim(text);
	}
	if (scan_enhanced(&rest, &enhanced_class, s.enhanced) && enhanced_class != class)
		return class == 4 ? "defer wants an enhanced code 4.x.x" : "refuse wants an enhanced code 5.x.x";
	if (rest.n > MAX_TEXT)
		return "the text is longer than 400 bytes";
	if (!text_is_utf8(rest))
		return "the text is no UTF-8";
	if (rest.n)
		s.text = rest;
	*out = s;
	return NULL;
}
