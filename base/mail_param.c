/* Readers of ESMTP parameters. What is decoded has no control characters, so that nothing from the wire becomes a line of a file or a reply. */
#include "base/mail_param.h"

#include <errno.h>

#include "base/buf.h"
#include "base/scan.h"
#include "base/text.h"

enum { MAX_ENVID = 100, MAX_ORCPT = 500 };

static bool is_keyword_byte(unsigned char c)
{
	return text_is_alnum(c) || c == '-';
}

static bool is_value_byte(unsigned char c)
{
	return c > 0x20 && c != 0x7f && c != '=';
}

int mail_param_next(struct slice *in, struct mail_param *out)
{
	struct slice at = *in;
	struct mail_param p = { SLICE_NONE, SLICE(""), false };
	size_t blanks = scan_blanks(&at);
	if (!at.n)
		return 0;
	if (!blanks || !text_is_alnum((unsigned char)at.p[0]) || !scan_while(&at, is_keyword_byte, 64, &p.keyword))
		return -EINVAL;
	if (scan_byte(&at, '=')) {
		p.has_value = true;
		if (!scan_while(&at, is_value_byte, 2000, &p.value))
			return -EINVAL;
	}
	if (at.n && at.p[0] != ' ' && at.p[0] != '\t')
		return -EINVAL;
	*in = at;
	*out = p;
	return 1;
}

bool mail_param_size(struct slice value, uint64_t *out)
{
	uint64_t n = 0;
	if (!value.n || value.n > 20)
		return false;
	for (size_t i = 0; i < value.n; i++)
		if (!text_is_digit((unsigned char)value.p[i]))
			return false;
	*out = scan_uint_all(value, INT64_MAX, &n) ? n : INT64_MAX;
	return true;
}

bool mail_param_notify(struct slice value, unsigned *bits)
{
	static const struct slice words[] = { SLICE_INIT("NEVER"), SLICE_INIT("SUCCESS"), SLICE_INIT("FAILURE"), SLICE_INIT("DELAY") };
	unsigned seen = 0;
	struct slice rest = value;
	while (rest.p) {
		struct slice word = slice_cut(rest, ',', &rest);
		unsigned bit = 0;
		for (unsigned i = 0; i < 4; i++)
			if (slice_eq_nocase(word, words[i]))
				bit = 1u << i;
		if (!bit)
			return false;
		seen |= bit;
	}
	if ((seen & 1) && seen != 1)
		return false;               /* 4.1: NEVER stands alone */
	*bits = seen;
	return seen != 0;
}

static bool decode(struct slice xtext, size_t max, struct arena *mem, struct slice head, struct slice *out)
{
	struct buf b = BUF_INIT(max + head.n);
	buf_add(&b, head);
	bool good = text_xtext_decode(xtext, &b) && !buf_full(&b);
	if (good)
		*out = arena_copy(mem, buf_slice(&b));
	buf_free(&b);
	return good && out->p;
}

/* -- addresses of type utf-8 (RFC 6533, 3) ---------------------------------------------------------------------------------------------- */

static bool is_utf8_type(struct slice type)
{
	return slice_eq_nocase(type, SLICE("utf-8"));
}

/* "\x{F6}": upper case, no digit too many. Of ASCII only what may not stand for itself, and no control characters, which the grammar would let through. */
static bool scan_embedded(struct slice *in, uint64_t *out)
{
	struct slice at = *in;
	if (!scan_word(&at, SLICE("\\x{")))
		return false;
	size_t n = slice_find(at, '}');
	struct slice digits = slice_head(at, n), rest = slice_skip(at, n + 1);
	if (n < 2 || n > 6 || n == at.n || (digits.p[0] == '0'))
		return false;
	for (size_t i = 0; i < n; i++)
		if (digits.p[i] >= 'a' && digits.p[i] <= 'f')
			return false;
	if (!scan_hex(&digits, n, out) || (*out < 0x80 && !(*out == ' ' || *out == '+' || *out == '=' || *out == '\\')))
		return false;
	*in = rest;
	return true;
}

static void add_character(struct buf *out, uint64_t c)
{
	if (c < 0x80)
		buf_add_byte(out, (char)c);
	else if (c < 0x800)
		buf_addf(out, "%c%c", (char)(0xc0 | c >> 6), (char)(0x80 | (c & 0x3f)));
	else if (c < 0x10000)
		buf_addf(out, "%c%c%c", (char)(0xe0 | c >> 12), (char)(0x80 | (c >> 6 & 0x3f)), (char)(0x80 | (c & 0x3f)));
	else
		buf_addf(out, "%c%c%c%c", (char)(0xf0 | (c >> 18 & 0x0f)), (char)(0x80 | (c >> 12 & 0x3f)), (char)(0x80 | (c >> 6 & 0x3f)), (char)(0x80 | (c & 0x3f)));
}

/* A "+" stands for itself here. What has become no UTF-8 (surrogates, past U+10FFFF) is seen at the end. */
static bool decode_utf8(struct slice value, struct arena *mem, struct slice head, struct slice *out)
{
	struct buf b = BUF_INIT(MAX_ORCPT + head.n);
	uint64_t c;
	buf_add(&b, head);
	while (value.n) {
		if (scan_embedded(&value, &c)) {
			add_character(&b, c);
			continue;
		}
		if (value.p[0] == '\\' || !is_value_byte((unsigned char)value.p[0]))
			break;
		buf_add_byte(&b, value.p[0]);
		value = slice_skip(value, 1);
	}
	bool good = !value.n && !buf_full(&b) && text_is_utf8(buf_slice(&b));
	if (good)
		*out = arena_copy(mem, buf_slice(&b));
	buf_free(&b);
	return good && out->p;
}

static bool stands_for_itself(struct slice s, size_t length, bool utf8)
{
	return length > 1 ? utf8 : is_value_byte((unsigned char)s.p[0]) && s.p[0] != '+' && s.p[0] != '\\';
}

void mail_param_add_utf8_address(struct buf *out, struct slice address, bool utf8)
{
	static const unsigned char lead[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
	if (!text_is_utf8(address))
		return;
	while (address.n) {
		unsigned char first = (unsigned char)address.p[0];
		size_t length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
		uint32_t c = first & lead[length];
		for (size_t i = 1; i < length; i++)
			c = c << 6 | ((unsigned char)address.p[i] & 0x3f);
		if (stands_for_itself(address, length, utf8))
			buf_add(out, slice_head(address, length));
		else
			buf_addf(out, "\\x{%02X}", c);
		address = slice_skip(address, length);
	}
}

void mail_param_add_orcpt(struct buf *out, struct slice original, bool utf8)
{
	struct slice value, type = slice_cut(original, ';', &value);
	buf_addf(out, "%.*s;", SLICE_FMT(type));
	if (is_utf8_type(type))
		mail_param_add_utf8_address(out, value, utf8);
	else
		text_add_xtext(out, value);
}

bool mail_param_orcpt(struct slice value, struct arena *mem, struct slice *out)
{
	size_t cut = slice_find(value, ';');
	struct slice type = slice_head(value, cut);
	if (cut == value.n || !type.n || type.n > 32)
		return false;
	for (size_t i = 0; i < type.n; i++)
		if (!is_keyword_byte((unsigned char)type.p[i]))
			return false;
	struct slice address = slice_skip(value, cut + 1);
	if (!address.n)
		return false;
	return (is_utf8_type(type) ? decode_utf8(address, mem, slice_head(value, cut + 1), out)
	                           : decode(address, MAX_ORCPT, mem, slice_head(value, cut + 1), out));
}

bool mail_param_envid(struct slice value, struct arena *mem, struct slice *out)
{
	return value.n && value.n <= MAX_ENVID && decode(value, MAX_ENVID, mem, SLICE(""), out);
}

bool mail_param_by(struct slice value, struct mail_by *out)
{
	bool negative = scan_byte(&value, '-') || (scan_byte(&value, '+'), false);
	uint64_t n;
	if (!scan_uint(&value, 999999999, &n) || !scan_byte(&value, ';'))
		return false;
	bool back = scan_word(&value, SLICE("R"));
	if (!back && !scan_word(&value, SLICE("N")))
		return false;
	bool trace = scan_word(&value, SLICE("T"));
	if (value.n || (back && (negative || !n)))
		return false;
	*out = (struct mail_by){ negative ? -(int64_t)n : (int64_t)n, back, trace };
	return true;
}

bool mail_param_priority(struct slice value, int *out)
{
	bool negative = scan_byte(&value, '-');
	uint64_t n;
	if (value.n != 1 || !scan_uint_all(value, 9, &n) || (negative && !n))
		return false;
	*out = negative ? -(int)n : (int)n;
	return true;
}
