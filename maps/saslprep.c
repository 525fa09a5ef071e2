/* SASLprep (RFC 4013): map, normalise, refuse, look at the direction, in this order. ASCII is its own prepared form, if it is printable. */
#include "maps/saslprep.h"

#include <stdlib.h>
#include <unictype.h>
#include <uninorm.h>
#include <unistr.h>

#include "base/mem.h"
#include "base/text.h"

static const char no_text[] = "this is no UTF-8 text";

struct range {
	ucs4_t first, last;
};

/* RFC 3454, C.1.2. U+200B stands in B.1, too; those who did this before us (libidn, PostgreSQL) take it for a space, so we do. */
static const struct range spaces[] = { { 0xa0, 0xa0 }, { 0x1680, 0x1680 }, { 0x2000, 0x200b }, { 0x202f, 0x202f }, { 0x205f, 0x205f }, { 0x3000, 0x3000 } };

/* B.1: commonly mapped to nothing. */
static const struct range nothing[] = { { 0xad, 0xad }, { 0x34f, 0x34f }, { 0x1806, 0x1806 }, { 0x180b, 0x180d }, { 0x200c, 0x200d }, { 0x2060, 0x2060 },
	                                    { 0xfe00, 0xfe0f }, { 0xfeff, 0xfeff } };

/* C.1.2, C.2.1, C.2.2, C.3, C.4, C.6, C.7, C.8, C.9, together; UTF-8 has no surrogates (C.5). */
static const struct range refused[] = {
	{ 0x0, 0x1f }, { 0x7f, 0x9f }, { 0xa0, 0xa0 }, { 0x340, 0x341 }, { 0x6dd, 0x6dd }, { 0x70f, 0x70f }, { 0x1680, 0x1680 }, { 0x180e, 0x180e }, { 0x2000, 0x200f },
	{ 0x2028, 0x202f }, { 0x205f, 0x2063 }, { 0x206a, 0x206f }, { 0x2ff0, 0x2ffb }, { 0x3000, 0x3000 }, { 0xe000, 0xf8ff }, { 0xfdd0, 0xfdef }, { 0xfeff, 0xfeff },
	{ 0xfff9, 0xfffd }, { 0x1d173, 0x1d17a }, { 0xe0001, 0xe0001 }, { 0xe0020, 0xe007f }, { 0xf0000, 0xffffd }, { 0x100000, 0x10fffd },
};

static bool is_in(ucs4_t c, const struct range *table, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (c >= table[i].first && c <= table[i].last)
			return true;
	return false;
}
#define IS_IN(c, table) is_in(c, table, sizeof table / sizeof table[0])

static ucs4_t next(struct slice *s)
{
	ucs4_t c;
	int n = u8_mbtouc(&c, (const uint8_t *)s->p, s->n);
	*s = slice_skip(*s, (size_t)n);
	return c;
}

/* RFC 4013, 2.1. */
static void map(struct slice text, struct buf *out)
{
	while (text.n) {
		struct slice before = text;
		ucs4_t c = next(&text);
		if (IS_IN(c, spaces))
			buf_add_byte(out, ' ');
		else if (!IS_IN(c, nothing))
			buf_add(out, slice_head(before, before.n - text.n));
	}
}

/* C.4's noncharacters at the end of each plane, and what the table holds. */
static bool is_refused(ucs4_t c, enum saslprep_use use)
{
	return (c & 0xfffe) == 0xfffe || IS_IN(c, refused) || (use == SASLPREP_STORED && uc_is_general_category(c, UC_CATEGORY_Cn));
}

/* RFC 3454, 6: with one character from right to left, none from left to right, and the first and the last are of the former. */
static bool is_one_direction(struct slice text)
{
	bool left = false, right = false, first_right = false, last_right = false;
	for (bool first = true; text.n; first = false) {
		int class = uc_bidi_class(next(&text));
		last_right = class == UC_BIDI_R || class == UC_BIDI_AL;
		first_right = first ? last_right : first_right;
		right |= last_right;
		left |= class == UC_BIDI_L;
	}
	return !right || (!left && first_right && last_right);
}

static const char *judge(struct slice text, enum saslprep_use use)
{
	if (!text.n)
		return "nothing is left of it";
	for (struct slice rest = text; rest.n;)
		if (is_refused(next(&rest), use))
			return "it has a character that is not for names and passwords (RFC 4013)";
	return slice_is_ascii(text) || is_one_direction(text) ? NULL : "it is written in both directions (RFC 4013)";
}

static const char *add(struct slice text, enum saslprep_use use, struct buf *out)
{
	const char *why = judge(text, use);
	if (why)
		return why;
	return buf_add(out, text) ? "it is too long" : NULL;
}

const char *saslprep_add(struct slice text, enum saslprep_use use, struct buf *out)
{
	if (slice_is_ascii(text))
		return add(text, use, out);
	if (!text_is_utf8(text))
		return no_text;
	struct buf mapped = BUF_INIT(text.n + 1); /* nothing grows here */
	size_t n = 0;
	buf_room(&mapped, text.n + 1);            /* once: a secret is not left behind by a larger allocation */
	map(text, &mapped);
	uint8_t *normal = u8_normalize(UNINORM_NFKC, (const uint8_t *)mapped.p, mapped.n, NULL, &n);
	const char *why = normal ? add(slice((const char *)normal, n), use, out) : no_text;
	if (normal)
		mem_wipe(normal, n);
	free(normal);
	mem_wipe(mapped.p, mapped.cap);
	buf_free(&mapped);
	return why;
}
