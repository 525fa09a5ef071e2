/* Paths by the grammar of RFC 5321, 4.1.2, with UTF-8 where RFC 6531 allows it. Parsed whole before anything is filled in or believed. */
#include "base/mail_path.h"

#include <errno.h>

#include "base/buf.h"
#include "base/net.h"
#include "base/scan.h"
#include "base/text.h"

enum { MAX_LOCAL = MAIL_PATH_MAX_LOCAL, MAX_DOMAIN = 255, MAX_LABEL = 63, MAX_ROUTE = 1024 };

static bool is_atext(unsigned char c)
{
	return text_is_alnum(c) || c >= 0x80 || (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

static bool is_dot_string_byte(unsigned char c)
{
	return c == '.' || is_atext(c);
}

/* Dot-string: atoms with single dots between. */
static const char *read_dot_string(struct slice *in, struct slice *out)
{
	struct slice s;
	if (!scan_while(in, is_dot_string_byte, MAX_LOCAL + 1, &s))
		return "a local-part is missing";
	if (s.n > MAX_LOCAL)
		return "the local-part is longer than 255 bytes";
	if (s.p[0] == '.' || s.p[s.n - 1] == '.' || slice_find_slice(s, SLICE("..")) < s.n)
		return "a dot at the edge of the local-part, or two in a row";
	*out = s;
	return NULL;
}

/* Quoted-string: qtextSMTP or "\" and a printable byte. The octets it stands for go to mem. */
static const char *read_quoted(struct slice *in, struct arena *mem, struct slice *out)
{
	char text[MAX_LOCAL];
	size_t n = 0;
	struct slice at = slice_skip(*in, 1);
	for (; at.n && at.p[0] != '"'; at = slice_skip(at, 1)) {
		if (at.p[0] == '\\')
			at = slice_skip(at, 1);
		if (!at.n)
			break;
		unsigned char c = (unsigned char)at.p[0];
		if (c < 0x20 || c == 0x7f)
			return "a control byte in the quoted local-part";
		if (n == sizeof text)
			return "the local-part is longer than 255 bytes";
		text[n++] = (char)c;
	}
	if (!at.n)
		return "the quoted local-part has no end";
	*in = slice_skip(at, 1);
	*out = arena_copy(mem, slice(text, n));
	return out->p ? NULL : "the path is too long";
}

static bool is_domain_byte(unsigned char c)
{
	return text_is_alnum(c) || c == '-' || c == '.' || c == '_' || c >= 0x80;
}

static const char *check_labels(struct slice s)
{
	struct slice rest = s;
	while (rest.p) {
		struct slice label = slice_cut(rest, '.', &rest);
		if (!label.n)
			return "an empty label in the domain";
		if (label.n > MAX_LABEL)
			return "a label of the domain is longer than 63 bytes";
		if (label.p[0] == '-' || label.p[label.n - 1] == '-')
			return "a hyphen at the edge of a label of the domain";
	}
	return NULL;
}

/* "[192.0.2.1]" or "[IPv6:2001:db8::1]" (4.1.3); kept as written, in lower case. General literals stand for nothing that mail could go to. */
static const char *read_literal(struct slice *in, struct arena *mem, struct slice *out)
{
	size_t end = slice_find(*in, ']');
	struct net_ip ip;
	if (end == in->n || end > 64)
		return "the address literal has no end";
	struct slice inner = slice(in->p + 1, end - 1);
	bool v6 = slice_starts_nocase(inner, SLICE("IPv6:"));
	if (!net_ip_parse(v6 ? slice_skip(inner, 5) : inner, &ip) || ip.is_v4 == v6)
		return "this is no address literal";
	*out = text_lower(mem, slice_head(*in, end + 1));
	*in = slice_skip(*in, end + 1);
	return out->p ? NULL : "the path is too long";
}

static const char *read_domain(struct slice *in, struct arena *mem, struct slice *out)
{
	struct slice s;
	if (in->n && in->p[0] == '[')
		return read_literal(in, mem, out);
	if (!scan_while(in, is_domain_byte, MAX_DOMAIN + 1, &s))
		return "a domain is missing";
	if (s.n > MAX_DOMAIN)
		return "the domain is longer than 255 bytes";
	const char *why = check_labels(s);
	if (why)
		return why;
	*out = text_lower(mem, s);
	return out->p ? NULL : "the path is too long";
}

static bool needs_quotes(struct slice local)
{
	if (!local.n || local.p[0] == '.' || local.p[local.n - 1] == '.' || slice_find_slice(local, SLICE("..")) < local.n)
		return true;
	for (size_t i = 0; i < local.n; i++)
		if (!is_dot_string_byte((unsigned char)local.p[i]))
			return true;
	return false;
}

bool mail_path_fits(const struct mail_path *p)
{
	size_t n = p->local_part.n + 1 + p->domain.n;
	bool quoted = needs_quotes(p->local_part);
	for (size_t i = 0; quoted && i < p->local_part.n; i++)
		n += p->local_part.p[i] == '"' || p->local_part.p[i] == '\\';
	return p->local_part.n <= MAX_LOCAL && n + 2 * quoted <= MAIL_PATH_MAX_TEXT;
}

static const char *read_address(struct slice *in, struct arena *mem, struct mail_path *out)
{
	struct slice from = *in;
	const char *why = in->n && in->p[0] == '"' ? read_quoted(in, mem, &out->local_part) : read_dot_string(in, &out->local_part);
	if (why)
		return why;
	if (!scan_byte(in, '@'))
		return "an @ and a domain are missing";
	why = read_domain(in, mem, &out->domain);
	if (why)
		return why;
	if (!mail_path_fits(out))
		return "the path is too long";
	struct slice text = slice(from.p, from.n - in->n);
	out->utf8 = !slice_is_ascii(text);
	if (out->utf8 && !text_is_utf8(text))
		return "the path is not UTF-8";
	return NULL;
}

/* "@one,@two:" in front (RFC 5321, C.): read, checked, dropped. */
static const char *skip_route(struct slice *in, struct arena *mem)
{
	struct slice begin = *in, domain;
	while (scan_byte(in, '@')) {
		const char *why = read_domain(in, mem, &domain);
		if (why)
			return why;
		if (begin.n - in->n > MAX_ROUTE)
			return "the source route is too long";
		if (scan_byte(in, ':'))
			return NULL;
		if (!scan_byte(in, ','))
			break;
	}
	return "the source route has no end";
}

static const char *read_path(struct slice *in, struct arena *mem, struct mail_path *out)
{
	if (!scan_byte(in, '<'))
		return "a path begins with <";
	if (scan_byte(in, '>'))
		return NULL;
	if (slice_starts_nocase(*in, SLICE("postmaster>"))) {
		out->local_part = slice_head(*in, 10);
		*in = slice_skip(*in, 11);
		return NULL;
	}
	const char *why = in->n && in->p[0] == '@' ? skip_route(in, mem) : NULL;
	why = why ? why : read_address(in, mem, out);
	if (why)
		return why;
	return scan_byte(in, '>') ? NULL : "a path ends with >";
}

static int keep(struct arena *mem, struct mail_path *p)
{
	p->local_part = arena_copy(mem, p->local_part);
	p->domain = arena_copy(mem, p->domain);
	return p->local_part.p && p->domain.p ? 0 : -EINVAL;
}

int mail_path_parse(struct slice *in, struct arena *mem, struct mail_path *out, const char **why)
{
	struct slice at = *in;
	struct mail_path p = { SLICE(""), SLICE(""), false };
	const char *wrong = read_path(&at, mem, &p);
	if (!wrong && keep(mem, &p) < 0)
		wrong = "the path is too long";
	if (wrong) {
		*why = wrong;
		return -EINVAL;
	}
	*in = at;
	*out = p;
	return 0;
}

int mail_path_parse_address(struct slice s, struct arena *mem, struct mail_path *out, const char **why)
{
	struct mail_path p = { SLICE(""), SLICE(""), false };
	const char *wrong = read_address(&s, mem, &p);
	if (!wrong && s.n)
		wrong = "something stands behind the address";
	if (!wrong && keep(mem, &p) < 0)
		wrong = "the address is too long";
	if (wrong) {
		*why = wrong;
		return -EINVAL;
	}
	*out = p;
	return 0;
}

int mail_path_print(struct buf *out, const struct mail_path *p)
{
	if (mail_path_is_null(p))
		return 0;
	if (needs_quotes(p->local_part)) {
		buf_add_byte(out, '"');
		for (size_t i = 0; i < p->local_part.n; i++) {
			if (p->local_part.p[i] == '"' || p->local_part.p[i] == '\\')
				buf_add_byte(out, '\\');
			buf_add_byte(out, p->local_part.p[i]);
		}
		buf_add_byte(out, '"');
	} else {
		buf_add(out, p->local_part);
	}
	if (p->domain.n) {
		buf_add_byte(out, '@');
		buf_add(out, p->domain);
	}
	return buf_full(out) ? -EMSGSIZE : 0;
}

bool mail_path_is_null(const struct mail_path *p)
{
	return !p->local_part.n && !p->domain.n;
}
