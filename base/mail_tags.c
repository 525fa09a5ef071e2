/* Tag lists: one pass, no copies. */
#include "base/mail_tags.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"

static bool is_name(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!text_is_alnum((unsigned char)s.p[i]) && s.p[i] != '_')
			return false;
	return s.n && text_is_alpha((unsigned char)s.p[0]);
}

/* Eight bytes of which none is a control, DEL or 8-bit. */
static bool is_plain_block(const char *p)
{
	uint64_t w, ones = 0x0101010101010101u, tops = ones << 7;
	memcpy(&w, p, sizeof w);
	uint64_t controls = (w | tops) - ones * 0x20, del = ((w ^ ones * 0x7f) | tops) - ones; /* a byte's top bit falls where it is below 0x20, or 0x7f */
	return (~w & controls & del & tops) == tops;
}

/* Printable, blanks, and line ends that are folds. */
static bool is_value(struct slice s)
{
	unsigned char all = 0;
	for (size_t i = 0; i < s.n; i++) {
		while (i + 8 < s.n && is_plain_block(s.p + i))
			i += 8;
		unsigned char c = (unsigned char)s.p[i];
		if ((c < 0x20 && c != '\t' && c != '\r' && c != '\n') || c == 0x7f)
			return false;
		all |= c;
	}
	return all < 0x80 || text_is_utf8(s);
}

int mail_tags_parse(struct slice text, struct mail_tags *out)
{
	out->count = 0;
	text = slice_trim(text);
	while (text.n) {
		struct slice part = slice_cut(text, ';', &text), whole;
		struct slice name = slice_trim(slice_cut(part, '=', &whole));
		if (!whole.p || !is_name(name) || !is_value(whole))
			return -EINVAL;
		if (mail_tags_get(out, name).p)
			return -EINVAL;
		if (out->count == MAIL_TAGS_MAX)
			return -E2BIG;
		struct slice value = slice_trim(whole);
		out->tags[out->count++] = (struct mail_tag){ name, value.n ? value : SLICE(""), whole };
		text = slice_trim(text);
	}
	return 0;
}

struct slice mail_tags_get(const struct mail_tags *t, struct slice name)
{
	for (size_t i = 0; i < t->count; i++)
		if (t->tags[i].name.n == name.n && t->tags[i].name.p[0] == name.p[0] && slice_eq(t->tags[i].name, name)) /* most names are one letter: no call for them */
			return t->tags[i].value;
	return SLICE_NONE;
}

bool mail_tags_item(struct slice *list, char separator, struct slice *item)
{
	if (!list->p)
		return false;
	*item = slice_trim(slice_cut(*list, separator, list));
	return true;
}

/* The value of a base64 digit; BASE64_BLANK for what is skipped, BASE64_PAD for '=', BASE64_WRONG for anything else. */
enum { BASE64_BLANK = 64, BASE64_PAD = 65, BASE64_WRONG = 66 };
static const unsigned char digits64[256] = {
	66, 66, 66, 66, 66, 66, 66, 66, 66, 64, 64, 66, 66, 64, 66, 66,
	66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66,
	64, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 62, 66, 66, 66, 63,
	52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 66, 66, 66, 65, 66, 66,
	66,  0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14,
	15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 66, 66, 66, 66, 66,
	66, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
	41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 66, 66, 66, 66, 66,
	66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66,
	66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66,
	66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66,
	66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66,
	66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66,
	66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66,
	66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66,
	66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66,
};

/* Four digits at p that stand together: three octets. False: something else is among them. */
static bool decode_four(const char *p, char *to)
{
	const unsigned char *at = (const unsigned char *)p;
	unsigned a = digits64[at[0]], b = digits64[at[1]], c = digits64[at[2]], d = digits64[at[3]];
	if ((a | b | c | d) > 63)
		return false;
	to[0] = (char)(a << 2 | b >> 4);
	to[1] = (char)(b << 4 | c >> 2);
	to[2] = (char)(c << 6 | d);
	return true;
}

/* The last digits, fewer than four: one or two octets. The bits behind the last octet are zero. */
static bool end_base64(uint32_t bits, size_t left, char **to)
{
	unsigned spare = left == 2 ? 4 : 2;
	if (left == 0)
		return true;
	if (left == 1 || (bits & ((1u << spare) - 1)))
		return false;
	bits >>= spare;
	if (left == 3)
		*(*to)++ = (char)(bits >> 8);
	*(*to)++ = (char)bits;
	return true;
}

bool mail_tags_base64_into(struct slice value, char **at)
{
	size_t digits = 0, padding = 0;
	char *to = *at;
	uint32_t bits = 0;
	for (size_t i = 0; i < value.n; i++) {
		for (; digits % 4 == 0 && !padding && i + 4 < value.n && decode_four(value.p + i, to); i += 4)
			to += 3;
		unsigned char d = digits64[(unsigned char)value.p[i]];
		if (d == BASE64_BLANK)
			continue;
		if (d == BASE64_PAD ? ++padding > 2 : d == BASE64_WRONG || padding)
			return false;
		if (d == BASE64_PAD)
			continue;
		bits = bits << 6 | d;
		if (++digits % 4 == 0) {
			*to++ = (char)(bits >> 16);
			*to++ = (char)(bits >> 8);
			*to++ = (char)bits;
		}
	}
	if ((padding && digits % 4 + padding != 4) || !end_base64(bits, digits % 4, &to))
		return false;
	*at = to;
	return true;
}

bool mail_tags_base64(struct slice value, struct buf *out)
{
	char *from = buf_room(out, MAIL_TAGS_BASE64_ROOM(value.n)), *to = from;
	if (!from || !mail_tags_base64_into(value, &to))
		return false;
	buf_used(out, (size_t)(to - from));
	return true;
}
