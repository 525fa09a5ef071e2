/* Readers of ESMTP parameters. What is decoded is printable ASCII, so that nothing from the wire becomes a line of a file or a reply. */
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
	return decode(address, MAX_ORCPT, mem, slice_head(value, cut + 1), out);
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
	if (!scan_uint_all(value, 9, &n))
		return false;
	*out = negative ? -(int)n : (int)n;
	return true;
}
