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
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if ((c < 0x20 && c != '\t' && c != '\r' && c != '\n') || c == 0x7f)
			return false;
	}
	return text_is_utf8(s);
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

bool mail_tags_base64(struct slice value, struct buf *out)
{
	struct buf digits = BUF_INIT(value.n + 4);
	for (size_t i = 0; i < value.n; i++)
		if (!memchr(" \t\r\n", value.p[i], 4))
			buf_add_byte(&digits, value.p[i]);
	bool padded = digits.n && digits.p[digits.n - 1] == '=';
	while (!padded && digits.n % 4 > 1)
		buf_add_byte(&digits, '=');
	bool good = text_base64_decode(buf_slice(&digits), out);
	buf_free(&digits);
	return good;
}
