/* Tag lists: one pass, no copies. */
#include "base/mail_tags.h"

#include <errno.h>

#include "base/text.h"

static bool is_name(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!text_is_alnum((unsigned char)s.p[i]) && s.p[i] != '_')
			return false;
	return s.n && text_is_alpha((unsigned char)s.p[0]);
}

/* Printable, blanks, and line ends that are folds. */
static bool is_value(struct slice s)
{
	unsigned char all = 0;
	for (size_t i = 0; i < s.n; i++) {
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
		if (slice_eq(t->tags[i].name, name))
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

/* The value of a base64 digit; 64 for what is skipped, 65 for '=', 66 for anything else. */
static unsigned char digit_of(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return (unsigned char)(c - 'A');
	if (c >= 'a' && c <= 'z')
		return (unsigned char)(c - 'a' + 26);
	if (c >= '0' && c <= '9')
		return (unsigned char)(c - '0' + 52);
	if (c == '+' || c == '/')
		return c == '+' ? 62 : 63;
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' ? 64 : c == '=' ? 65 : 66;
}

bool mail_tags_base64(struct slice value, struct buf *out)
{
	size_t start = out->n, digits = 0, padding = 0;
	char *to = buf_room(out, value.n / 4 * 3 + 3), *from = to;
	uint32_t bits = 0;
	bool good = to != NULL;
	for (size_t i = 0; good && i < value.n; i++) {
		unsigned char d = digit_of((unsigned char)value.p[i]);
		if (d == 64)
			continue;
		padding += d == 65;
		good = d == 65 ? padding <= 2 : d < 64 && !padding;
		if (d >= 64)
			continue;
		bits = bits << 6 | d;
		if (++digits % 4 == 0) {
			*to++ = (char)(bits >> 16);
			*to++ = (char)(bits >> 8);
			*to++ = (char)bits;
		}
	}
	size_t left = digits % 4;
	good = good && left != 1 && (!padding || left + padding == 4);
	if (good && left) {
		unsigned spare = left == 2 ? 4 : 2; /* bits behind the last octet: they are zero */
		good = !(bits & ((1u << spare) - 1));
		bits >>= spare;
		if (left == 3)
			*to++ = (char)(bits >> 8);
		*to++ = (char)bits;
	}
	if (good)
		buf_used(out, (size_t)(to - from));
	else
		buf_truncate(out, start);
	return good;
}
