/* Readers with maxima; see the header for the one contract they share. */
#include "base/scan.h"

bool scan_byte(struct slice *in, char c)
{
	if (in->n == 0 || in->p[0] != c)
		return false;
	*in = slice_skip(*in, 1);
	return true;
}

bool scan_word(struct slice *in, struct slice word)
{
	if (!slice_starts_nocase(*in, word))
		return false;
	*in = slice_skip(*in, word.n);
	return true;
}

bool scan_uint(struct slice *in, uint64_t max, uint64_t *out)
{
	uint64_t value = 0;
	size_t i = 0;
	for (; i < in->n && in->p[i] >= '0' && in->p[i] <= '9'; i++) {
		uint64_t digit = (uint64_t)(in->p[i] - '0');
		if (value > (max - (digit > max ? max : digit)) / 10 || digit > max)
			return false;
		value = value * 10 + digit;
	}
	if (i == 0)
		return false;
	*in = slice_skip(*in, i);
	*out = value;
	return true;
}

static int hex_value(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool scan_hex(struct slice *in, size_t n, uint64_t *out)
{
	if (in->n < n || n > 16)
		return false;
	uint64_t value = 0;
	for (size_t i = 0; i < n; i++) {
		int digit = hex_value((unsigned char)in->p[i]);
		if (digit < 0)
			return false;
		value = value << 4 | (uint64_t)digit;
	}
	*in = slice_skip(*in, n);
	*out = value;
	return true;
}

bool scan_while(struct slice *in, bool (*in_class)(unsigned char), size_t max, struct slice *out)
{
	size_t i = 0;
	while (i < in->n && i < max && in_class((unsigned char)in->p[i]))
		i++;
	if (i == 0)
		return false;
	*out = slice(in->p, i);
	*in = slice_skip(*in, i);
	return true;
}

size_t scan_blanks(struct slice *in)
{
	size_t i = 0;
	while (i < in->n && (in->p[i] == ' ' || in->p[i] == '\t'))
		i++;
	*in = slice_skip(*in, i);
	return i;
}

bool scan_line(struct slice *in, struct slice *out)
{
	if (in->n == 0)
		return false;
	size_t at = slice_find(*in, '\n');
	struct slice line = slice(in->p, at);
	*in = slice_skip(*in, at + 1);
	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	*out = line;
	return true;
}

bool scan_uint_all(struct slice s, uint64_t max, uint64_t *out)
{
	uint64_t value;
	if (!scan_uint(&s, max, &value) || s.n)
		return false;
	*out = value;
	return true;
}

struct unit {
	char letter;
	uint64_t factor;
};

/* A number and at most one unit letter of the table (case folded). */
static bool with_unit(struct slice s, const struct unit *units, uint64_t max, uint64_t *out)
{
	uint64_t value;
	if (!scan_uint(&s, max, &value) || s.n > 1)
		return false;
	if (s.n == 0) {
		*out = value;
		return true;
	}
	for (; units->letter; units++)
		if ((s.p[0] | 0x20) == units->letter) {
			if (value > max / units->factor)
				return false;
			*out = value * units->factor;
			return true;
		}
	return false;
}

bool scan_size_all(struct slice s, uint64_t max, uint64_t *out)
{
	static const struct unit units[] = { { 'k', 1 << 10 }, { 'm', 1 << 20 }, { 'g', 1 << 30 }, { 't', 1ULL << 40 }, { 0, 0 } };
	return with_unit(s, units, max, out);
}

bool scan_span_all(struct slice s, uint64_t max, uint64_t *out)
{
	static const struct unit units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 }, { 'w', 604800 }, { 0, 0 } };
	return with_unit(s, units, max, out);
}
