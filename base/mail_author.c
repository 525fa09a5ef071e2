/* From: where the grammar gives each author a domain, that's it. Else the field is read as mail programs show it, encoded words decoded, and what stands behind
 * each "@" has to be one domain. */
#include "base/mail_author.h"

#include <errno.h>

#include "base/idn.h"
#include "base/mail_address.h"
#include "base/mail_mime.h"
#include "base/net.h"
#include "base/text.h"

enum { MAX_AUTHORS = 100, MAX_SPELLINGS = 100 /* of one domain */, MAX_AHEAD = 64 /* blanks and comments behind a domain */ };

static const char several[] = "more than one domain in From", unclear[] = "the domain in From is unclear", none[] = "From has no domain";

/* -- encoded words (RFC 2047), as leniently as they are shown --------------------------------------------------------------------------------------- */

static size_t find(struct slice s, struct slice what)
{
	for (size_t i = 0; i + what.n <= s.n; i++)
		if (slice_starts(slice_skip(s, i), what))
			return i;
	return s.n;
}

/* One in which an "@" is the byte "@". */
static bool is_plain_charset(struct slice name)
{
	static const struct slice heads[] = {
		SLICE_INIT("utf-8"), SLICE_INIT("utf8"), SLICE_INIT("us-ascii"), SLICE_INIT("ascii"), SLICE_INIT("ansi"), SLICE_INIT("iso-8859"), SLICE_INIT("iso8859"),
		SLICE_INIT("latin"), SLICE_INIT("windows-"),
		SLICE_INIT("cp125"), SLICE_INIT("cp8"), SLICE_INIT("koi8"), SLICE_INIT("gb"), SLICE_INIT("big5"), SLICE_INIT("shift"), SLICE_INIT("sjis"), SLICE_INIT("euc-"),
		SLICE_INIT("iso-2022-"),
		SLICE_INIT("ks_c"), SLICE_INIT("ksc"), SLICE_INIT("tis"), SLICE_INIT("mac"), SLICE_INIT("viscii"), SLICE_INIT("unknown"), SLICE_INIT("x-unknown"), SLICE_INIT("default"),
	};
	for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
		if (slice_starts_nocase(name, heads[i]))
			return true;
	return false;
}

/* "=?charset?Q?text?=" at the front of *in, the last "?=" may be missing. False: it is no encoded word. */
static bool read_word(struct slice *in, struct buf *out, bool *plain)
{
	struct slice rest, charset = slice_cut(slice_skip(*in, 2), '?', &rest), text, way = slice_cut(rest, '?', &text);
	if (!text.p || way.n != 1 || !memchr("bBqQ", way.p[0], 4) || !charset.n)
		return false;
	size_t end = find(text, SLICE("?="));
	struct mail_part part = { .content = slice_head(text, end), .encoding = (way.p[0] | 0x20) == 'b' ? SLICE("base64") : SLICE("quoted-printable") };
	mail_mime_decode(&part, out);
	*plain = *plain && is_plain_charset(charset);
	*in = slice_skip(text, end + 2);
	return true;
}

static bool is_blank(unsigned char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct slice skip_blanks(struct slice in)
{
	while (in.n && is_blank((unsigned char)in.p[0]))
		in = slice_skip(in, 1);
	return in;
}

/* The text as it is shown; a wide "@" becomes one. out's ceiling is in.n at least. False: words of a charset in which an "@" can't be seen. */
static bool decode(struct slice in, struct buf *out)
{
	static const struct slice start = SLICE_INIT("=?"), wide = SLICE_INIT("\xef\xbc\xa0"), small = SLICE_INIT("\xef\xb9\xab");
	struct buf raw = BUF_INIT(in.n + 1);
	bool plain = true;
	while (in.n) {
		if (slice_starts(in, start) && read_word(&in, &raw, &plain)) {
			struct slice next = skip_blanks(in); /* between two words they are not shown (6.2) */
			in = slice_starts(next, start) ? next : in;
			continue;
		}
		size_t n = 1 + slice_find(slice_skip(in, 1), '=');
		buf_add(&raw, slice_head(in, n));
		in = slice_skip(in, n);
	}
	for (struct slice s = buf_slice(&raw); s.n; ) {
		bool at = slice_starts(s, wide) || slice_starts(s, small);
		size_t n = at ? wide.n : 1 + slice_find(slice_skip(s, 1), wide.p[0]);
		buf_add(out, at ? SLICE("@") : slice_head(s, n));
		s = slice_skip(s, n);
	}
	buf_free(&raw);
	return plain;
}

bool mail_author_shows_at(struct slice text)
{
	struct buf shown = BUF_INIT(text.n + 1);
	bool plain = decode(text, &shown), at = slice_find(buf_slice(&shown), '@') < shown.n;
	buf_free(&shown);
	return at || !plain;
}

/* -- what no grammar takes, or gives no domain ------------------------------------------------------------------------------------------------------ */

static bool is_domain_byte(unsigned char c)
{
	return text_is_alnum(c) || c == '-' || c == '.' || c == '_' || c >= 0x80;
}

/* Behind blanks and comments. It stops within a comment that holds a backslash: readers differ on where that one ends. */
static struct slice skip_comments(struct slice in)
{
	size_t depth = 0;
	for (; in.n && in.p[0] != '\\' && (depth || in.p[0] == '(' || is_blank((unsigned char)in.p[0])); in = slice_skip(in, 1))
		depth = in.p[0] == '(' ? depth + 1 : in.p[0] == ')' && depth ? depth - 1 : depth;
	return in;
}

/* "bank .test", "bank. test", "bank(x).test", "ba\0nk.test", "ba"nk.test": some programs read on there, others don't, so nobody knows whose domain it is. */
static bool may_go_on(struct slice domain, struct slice behind)
{
	bool dot = domain.n && domain.p[domain.n - 1] == '.';
	struct slice next = skip_comments(slice_head(behind, MAX_AHEAD));
	if (!domain.n || !behind.n)
		return false;
	if (!next.n && behind.n > MAX_AHEAD)
		return true;
	unsigned char c = (unsigned char)behind.p[0];
	if (c == '"' || c == '\'')
		return behind.n > 1 && is_domain_byte((unsigned char)behind.p[1]);
	return c == '(' || c == '\\' || c == 0x7f || (c < ' ' && !is_blank(c)) ||
	       (next.n && (next.p[0] == '.' || next.p[0] == '\\' || (dot && is_domain_byte((unsigned char)next.p[0]))));
}

/* A name as DNS has it, in A-labels; "[192.0.2.1]" is one, too. */
static int read_domain(struct slice in, struct arena *mem, struct slice *out)
{
	struct slice name, rest;
	struct net_ip ip;
	if (in.n > 2 && in.p[0] == '[') {
		struct slice literal = slice(in.p + 1, in.n - 2);
		literal = slice_starts_nocase(literal, SLICE("IPv6:")) ? slice_skip(literal, 5) : literal;
		*out = in;
		return net_ip_parse(literal, &ip) ? 0 : -EINVAL;
	}
	if (idn_to_ascii(in, mem, &name) || name.n > 253)
		return -EINVAL;
	for (rest = name; rest.p; ) {
		struct slice label = slice_cut(rest, '.', &rest);
		if (!label.n || label.n > 63)
			return -EINVAL;
		for (size_t i = 0; i < label.n; i++)
			if (!is_domain_byte((unsigned char)label.p[i]) || (unsigned char)label.p[i] >= 0x80)
				return -EINVAL;
	}
	*out = name;
	return 0;
}

/* One more author's domain: NULL, or what is wrong with it. */
static const char *add_domain(struct slice in, struct arena *mem, struct slice *domain)
{
	struct slice one;
	if (read_domain(in, mem, &one))
		return unclear;
	if (domain->n && !slice_eq(one, *domain))
		return several;
	*domain = one;
	return NULL;
}

/* If one domain alone stands behind each "@" of it, that one is the author's. What is a comment to one reader is a part of a string to another, so the "@" within one
 * counts, too, and none is left open. */
static const char *scan(struct slice value, struct arena *mem, struct slice *domain)
{
	const char *why = NULL;
	struct slice last = SLICE("");
	size_t spellings = 0;
	for (size_t at; !why && (at = slice_find(value, '@')) < value.n; ) {
		size_t n = 0;
		while (at + 1 < value.n && value.p[at + 1] == '@')
			at++;
		value = slice_skip(value, at + 1);
		struct slice behind = skip_comments(value);
		while (n < behind.n && is_domain_byte((unsigned char)behind.p[n]))
			n++;
		struct slice one = slice_head(behind, n);
		if (!n && (behind.n ? !memchr("@>,;", behind.p[0], 4) : slice_find(value, '(') < value.n))
			return unclear;
		if (may_go_on(one, slice_skip(behind, n)))
			return unclear;
		if (!n || slice_eq_nocase(one, last))
			continue;
		last = one;
		while (one.n && one.p[one.n - 1] == '.')
			one.n--;
		why = ++spellings > MAX_SPELLINGS ? unclear : add_domain(one, mem, domain);
	}
	return why;
}

/* -- the field -------------------------------------------------------------------------------------------------------------------------------------- */

/* "ann@example.org <ann@example.org>" is no address list, and common: what stands in the one pair of angle brackets at the end is the address. */
static struct slice last_angle(struct slice value)
{
	size_t open = slice_rfind(value, '<');
	struct slice angle = slice_skip(value, open), before = slice_head(value, open);
	bool one = slice_find(before, '<') == before.n && slice_find(before, ',') == before.n && slice_find(before, '"') == before.n &&
	           slice_find(before, '(') == before.n && slice_find(before, ':') == before.n;
	return open < value.n && one ? angle : SLICE("");
}

static bool parse(struct slice value, struct arena *mem, struct mail_address **list, size_t *count)
{
	return (mail_address_parse(value, MAX_AUTHORS, mem, list, count) == 0 && *count) ||
	       (mail_address_parse(last_angle(value), 1, mem, list, count) == 0 && *count);
}

/* Does each author have a domain that is one, and nothing in front of its "@" that could be shown as one? */
static bool is_complete(const struct mail_address *list, size_t count, struct arena *mem)
{
	struct slice domain;
	for (size_t i = 0; i < count; i++)
		if (!list[i].domain.n || read_domain(list[i].domain, mem, &domain) || mail_author_shows_at(list[i].local_part))
			return false;
	return true;
}

int mail_author_shown(const struct mail_header *h, struct arena *mem, struct slice *domain, const char **why)
{
	static const struct slice name = SLICE_INIT("From");
	struct mail_address *list = NULL;
	size_t count = 0;
	struct slice found = SLICE(""), one;
	const struct mail_field *f = mail_header_find(h, name, 0);
	*why = !f ? "no From" : mail_header_count(h, name) > 1 ? "more than one From" : NULL;
	if (*why)
		return f ? -EINVAL : -ENOENT;
	bool complete = parse(f->value, mem, &list, &count) && is_complete(list, count, mem);
	for (size_t i = 0; i < count && !*why; i++)
		if (read_domain(list[i].domain, mem, &one) == 0)
			*why = add_domain(one, mem, &found);
	if (!complete && !*why) {
		struct buf shown = BUF_INIT(f->value.n + 1);
		*why = decode(f->value, &shown) ? scan(buf_slice(&shown), mem, &found) : unclear;
		buf_free(&shown);
	}
	if (*why)
		return -EINVAL;
	if (!found.n)
		*why = none;
	else
		*domain = found;
	return found.n ? 0 : -ENOENT;
}

int mail_author_written(const struct mail_header *h, struct arena *mem, struct slice *domain)
{
	static const struct slice name = SLICE_INIT("From");
	struct mail_address *list = NULL;
	size_t count = 0;
	struct slice found = SLICE("");
	const struct mail_field *f = mail_header_find(h, name, 0);
	if (!f || mail_header_count(h, name) > 1 || !parse(f->value, mem, &list, &count))
		return -EINVAL;
	for (size_t i = 0; i < count; i++)
		if (list[i].domain.n && add_domain(list[i].domain, mem, &found))
			return -EINVAL;
	if (!found.n)
		return -EINVAL;
	*domain = found;
	return 0;
}
