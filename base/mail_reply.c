/* Replies, written for strangers and read from them. The reader goes by lengths alone and believes no line before all of it is there. */
#include "base/mail_reply.h"

#include <errno.h>

#include "base/text.h"

enum { MAX_TEXT = 480 };

/* -- writing ----------------------------------------------------------------------------------------------------------------------- */

static int add_code(struct buf *out, unsigned code, char separator)
{
	char text[4] = { (char)('0' + code / 100), (char)('0' + code / 10 % 10), (char)('0' + code % 10), separator };
	return buf_add(out, slice(text, sizeof text));
}

/* One line: control bytes become blanks, so that no text of a map or a remote makes a second one. */
static void add_text(struct buf *out, struct slice text)
{
	text = slice_head(text, MAX_TEXT);
	size_t at = out->n;
	if (buf_add(out, text) < 0)
		return;
	for (char *p = out->p + at; p < out->p + out->n; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
}

int mail_reply_add(struct buf *out, const struct mail_status *s)
{
	add_code(out, s->code, ' ');
	if (s->code / 100 != 3) {
		buf_add_byte(out, (char)('0' + s->code / 100));
		buf_add_byte(out, '.');
		buf_add_uint(out, s->enhanced[0]);
		buf_add_byte(out, '.');
		buf_add_uint(out, s->enhanced[1]);
		buf_add_byte(out, ' ');
	}
	add_text(out, s->text);
	return buf_add(out, SLICE("\r\n"));
}

int mail_reply_add_lines(struct buf *out, unsigned code, const struct slice *lines, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		add_code(out, code, i + 1 < count ? '-' : ' ');
		add_text(out, lines[i]);
		buf_add(out, SLICE("\r\n"));
	}
	return buf_full(out) ? -EMSGSIZE : 0;
}

/* -- reading ----------------------------------------------------------------------------------------------------------------------- */

struct line {
	unsigned code;
	bool last;
	struct slice text;
};

static const char *read_line(struct slice s, struct line *out)
{
	if (s.n && s.p[s.n - 1] == '\r')
		s.n--;
	if (s.n < 3)
		return "a reply line is shorter than its code";
	for (int i = 0; i < 3; i++)
		if (!text_is_digit((unsigned char)s.p[i]))
			return "a reply line does not begin with a code";
	unsigned code = (unsigned)(s.p[0] - '0') * 100 + (unsigned)(s.p[1] - '0') * 10 + (unsigned)(s.p[2] - '0');
	if (code < 200 || code > 599)
		return "a reply code out of range";
	if (s.n > 3 && s.p[3] != ' ' && s.p[3] != '-')
		return "a reply code is followed by neither blank nor hyphen";
	*out = (struct line){ code, s.n == 3 || s.p[3] == ' ', slice_skip(s, 4) };
	return NULL;
}

/* How many lines the reply at the front has: 0 not whole yet, -1 *why. */
static int count_lines(struct slice in, const char **why)
{
	struct slice rest = in;
	struct line l;
	unsigned code = 0;
	for (int n = 1;; n++) {
		size_t end = slice_find(rest, '\n');
		if (end > MAIL_REPLY_MAX_LINE) {
			*why = "a reply line is too long";
			return -1;
		}
		if (in.n - rest.n > MAIL_REPLY_MAX_BYTES || n > MAIL_REPLY_MAX_LINES) {
			*why = "a reply has too many lines";
			return -1;
		}
		if (end == rest.n)
			return 0;
		*why = read_line(slice_head(rest, end), &l);
		if (!*why && n > 1 && l.code != code)
			*why = "the lines of a reply have different codes";
		if (*why)
			return -1;
		code = l.code;
		if (l.last)
			return n;
		rest = slice_skip(rest, end + 1);
	}
}

int mail_reply_read(struct slice *in, struct arena *mem, struct mail_reply *out, const char **why)
{
	int count = count_lines(*in, why);
	if (count <= 0)
		return count < 0 ? -EPROTO : 0;
	struct mail_reply r = { 0, ARENA_ARRAY(mem, struct slice, (size_t)count), (size_t)count };
	if (!r.lines) {
		*why = "a reply is too long";
		return -EPROTO;
	}
	struct slice rest = *in;
	for (size_t i = 0; i < r.count; i++) {
		struct line l = { 0 };
		size_t end = slice_find(rest, '\n');
		read_line(slice_head(rest, end), &l);
		r.code = l.code;
		r.lines[i] = l.text;
		rest = slice_skip(rest, end + 1);
	}
	*in = rest;
	*out = r;
	return 1;
}

struct mail_status mail_reply_status(const struct mail_reply *r, struct arena *mem)
{
	struct buf text = BUF_INIT(4096);
	for (size_t i = 0; i < r->count; i++) {
		struct slice line = r->lines[i];
		struct mail_status s = i ? mail_status_from_reply(mem, r->code, line) : (struct mail_status){ .text = line };
		if (i)
			buf_add(&text, SLICE(" / "));
		buf_add(&text, s.text);
	}
	struct mail_status status = mail_status_from_reply(mem, r->code, buf_slice(&text));
	buf_free(&text);
	return status;
}
