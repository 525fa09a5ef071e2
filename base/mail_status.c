/* The fate of mail as a value: copied, and read from a remote's reply. */
#include "base/mail_status.h"

#include "base/scan.h"
#include "base/text.h"

enum { TEXT_MAX = 400 };

struct mail_status mail_status_copy(struct arena *mem, struct mail_status s)
{
	s.text = arena_copy(mem, s.text);
	return s;
}

/* "5.7.1 text": true and *in behind it, if its class agrees with the code's. */
static bool scan_enhanced(struct slice *in, unsigned class, uint8_t out[2])
{
	struct slice s = *in;
	uint64_t first, subject, detail;
	if (!scan_uint(&s, 9, &first) || first != class || !scan_byte(&s, '.') || !scan_uint(&s, 255, &subject) || !scan_byte(&s, '.') ||
	    !scan_uint(&s, 255, &detail) || (s.n && s.p[0] != ' '))
		return false;
	scan_blanks(&s);
	out[0] = (uint8_t)subject;
	out[1] = (uint8_t)detail;
	*in = s;
	return true;
}

/* Control bytes become blanks, and text that is not UTF-8 loses its 8-bit bytes: it goes into our own reply and log. */
static struct slice sanitised(struct arena *mem, struct slice text)
{
	char *p = arena_cstr(mem, slice_head(text, TEXT_MAX));
	if (!p)
		return SLICE_NONE;
	struct slice s = slice(p, text.n < TEXT_MAX ? text.n : TEXT_MAX);
	while (s.n > TEXT_MAX - 4 && s.n < text.n && ((unsigned char)s.p[s.n - 1] & 0x80))
		s.n--; /* the cut may have split a character */
	bool utf8 = text_is_utf8(s);
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)p[i];
		if (c < 0x20 || c == 0x7f || (c >= 0x80 && !utf8))
			p[i] = c >= 0x80 ? '?' : ' ';
		for (size_t n = utf8 ? text_acting_length(slice_skip(s, i)) : 0; n; n--)
			p[i + n - 1] = '?';
	}
	return slice_trim(s);
}

struct mail_status mail_status_from_reply(struct arena *mem, unsigned code, struct slice text)
{
	struct mail_status s = { MAIL_LATER, 451, { 0, 0 }, SLICE_NONE };
	unsigned class = code / 100;
	if (class == 2 || class == 4 || class == 5) {
		s.fate = class == 2 ? MAIL_OK : class == 4 ? MAIL_LATER : MAIL_NEVER;
		s.code = (uint16_t)code;
	}
	scan_enhanced(&text, class, s.enhanced);
	s.text = sanitised(mem, text);
	return s;
}
