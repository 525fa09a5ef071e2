/* The grammar of SPF records (RFC 7208, 12), term by term. Terms are separated by spaces only. */
#include "base/mail_spf_record.h"

#include <errno.h>

#include "base/scan.h"
#include "base/text.h"

bool spf_record_is(struct slice txt)
{
	static const struct slice mark = SLICE_INIT("v=spf1");
	return slice_starts_nocase(txt, mark) && (txt.n == mark.n || txt.p[mark.n] == ' ');
}

static bool in_name(unsigned char c)
{
	return text_is_alnum(c) || c == '-' || c == '_' || c == '.';
}

static bool is_digit(unsigned char c)
{
	return text_is_digit(c);
}

static bool is_delimiter(unsigned char c)
{
	return c && strchr(".-+,/_=", c) != NULL;
}

/* Behind "%{": letter, digits, r, delimiters, "}". Letters c, r, t are for explanations alone. */
static bool scan_macro(struct slice *in)
{
	struct slice digits;
	uint64_t number;
	if (!in->n || !strchr("slodipvhSLODIPVH", in->p[0]) || !in->p[0])
		return false;
	*in = slice_skip(*in, 1);
	if (scan_while(in, is_digit, 9, &digits) && (!scan_uint_all(digits, 999999999, &number) || number == 0))
		return false;
	if (in->n && (in->p[0] | 0x20) == 'r')
		*in = slice_skip(*in, 1);
	while (in->n && is_delimiter((unsigned char)in->p[0]))
		*in = slice_skip(*in, 1);
	return scan_byte(in, '}');
}

/* A macro-string; *ends_in_macro: its last element is a macro-expand. */
static bool is_macro_string(struct slice s, bool *ends_in_macro)
{
	*ends_in_macro = false;
	while (s.n) {
		unsigned char c = (unsigned char)s.p[0];
		s = slice_skip(s, 1);
		*ends_in_macro = c == '%';
		if (c == '%') {
			char next = s.n ? s.p[0] : 0;
			s = slice_skip(s, 1);
			if (next == '{' ? !scan_macro(&s) : next != '%' && next != '_' && next != '-')
				return false;
		} else if (c < 0x21 || c > 0x7e) {
			return false;
		}
	}
	return true;
}

/* ( *alphanum ALPHA *alphanum ) / ( 1*alphanum "-" *( alphanum / "-" ) alphanum ) */
static bool is_top_label(struct slice s)
{
	bool letter = false;
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (!text_is_alnum(c) && c != '-')
			return false;
		letter |= !text_is_digit(c);
	}
	return letter && s.p[0] != '-' && s.p[s.n - 1] != '-';
}

static bool is_domain_spec(struct slice s)
{
	bool in_macro;
	if (!s.n || !is_macro_string(s, &in_macro))
		return false;
	if (in_macro)
		return true;
	if (s.p[s.n - 1] == '.')
		s.n--;
	size_t dot = slice_rfind(s, '.');
	return dot < s.n && is_top_label(slice_skip(s, dot + 1));
}

/* A "/NUMBER" at the end of *s, cut off; false if none stands there. No leading zeros. */
static bool cut_prefix(struct slice *s, const char *mark, unsigned *out)
{
	size_t slash = slice_rfind(*s, '/'), width = strlen(mark);
	uint64_t v;
	if (slash == s->n || slash + 1 < width || memcmp(s->p + slash + 1 - width, mark, width))
		return false;
	struct slice digits = slice_skip(*s, slash + 1);
	if (!scan_uint_all(digits, 100000, &v) || (digits.n > 1 && digits.p[0] == '0'))
		return false;
	*s = slice(s->p, slash + 1 - width);
	*out = (unsigned)v;
	return true;
}

static const char *read_target(struct slice arg, bool required, bool prefixes, struct spf_term *t)
{
	t->prefix4 = 32;
	t->prefix6 = 128;
	if (prefixes) {
		cut_prefix(&arg, "//", &t->prefix6);
		cut_prefix(&arg, "/", &t->prefix4);
		if (t->prefix4 > 32 || t->prefix6 > 128)
			return "prefix too long";
	}
	if (!arg.n)
		return required ? "domain missing" : NULL;
	if (!scan_byte(&arg, ':'))
		return "wrong argument";
	t->target = arg;
	return is_domain_spec(arg) ? NULL : "wrong domain";
}

static const char *read_network(struct slice arg, bool v4, struct spf_term *t)
{
	unsigned prefix = v4 ? 32 : 128;
	if (!scan_byte(&arg, ':'))
		return "address missing";
	if (slice_find(arg, '/') < arg.n && !cut_prefix(&arg, "/", &prefix))
		return "wrong prefix";
	if (prefix > (v4 ? 32u : 128u))
		return "prefix too long";
	bool dotted_only = slice_find(arg, ':') == arg.n;
	if (!net_ip_parse(arg, &t->network) || dotted_only != v4)
		return "wrong address";
	t->network.is_v4 = v4; /* ip6:::ffff:1.2.3.4 never matches a v4 client */
	t->prefix4 = t->prefix6 = prefix;
	return NULL;
}

static const char *read_mechanism(struct slice name, struct slice arg, struct spf_term *t)
{
	static const struct { struct slice name; enum spf_mechanism kind; } known[] = {
		{ SLICE_INIT("all"), SPF_ALL }, { SLICE_INIT("include"), SPF_INCLUDE }, { SLICE_INIT("a"), SPF_A }, { SLICE_INIT("mx"), SPF_MX },
		{ SLICE_INIT("ptr"), SPF_PTR }, { SLICE_INIT("ip4"), SPF_IP4 }, { SLICE_INIT("ip6"), SPF_IP6 }, { SLICE_INIT("exists"), SPF_EXISTS },
	};
	size_t i = 0;
	while (i < sizeof known / sizeof *known && !slice_eq_nocase(known[i].name, name))
		i++;
	if (i == sizeof known / sizeof *known)
		return "unknown mechanism";
	t->kind = known[i].kind;
	switch (t->kind) {
	case SPF_ALL:
		return arg.n ? "all takes no argument" : NULL;
	case SPF_INCLUDE:
	case SPF_EXISTS:
		return read_target(arg, true, false, t);
	case SPF_PTR:
		return read_target(arg, false, false, t);
	case SPF_A:
	case SPF_MX:
		return read_target(arg, false, true, t);
	case SPF_IP4:
		return read_network(arg, true, t);
	case SPF_IP6:
		return read_network(arg, false, t);
	}
	return "unknown mechanism";
}

static const char *read_modifier(struct slice name, struct slice value, struct spf_record *r)
{
	bool in_macro;
	struct slice *place = slice_eq_nocase(name, SLICE("redirect")) ? &r->redirect
	                      : slice_eq_nocase(name, SLICE("exp"))    ? &r->explanation
	                                                               : NULL;
	if (!place)
		return is_macro_string(value, &in_macro) ? NULL : "wrong modifier";
	if (place->p)
		return "modifier twice"; /* 6/2 */
	*place = value;
	return is_domain_spec(value) ? NULL : "wrong domain";
}

static const char *read_term(struct slice text, struct spf_record *r)
{
	struct slice in = text, name;
	enum spf_result result = SPF_PASS;
	bool qualified = true;
	if (scan_byte(&in, '-'))
		result = SPF_FAIL;
	else if (scan_byte(&in, '~'))
		result = SPF_SOFTFAIL;
	else if (scan_byte(&in, '?'))
		result = SPF_NEUTRAL;
	else
		qualified = scan_byte(&in, '+');
	if (!in.n || !text_is_alpha((unsigned char)in.p[0]) || !scan_while(&in, in_name, in.n, &name))
		return "wrong term";
	if (!qualified && in.n && in.p[0] == '=')
		return read_modifier(name, slice(in.p + 1, in.n - 1), r);
	struct spf_term *t = &r->terms[r->count];
	*t = (struct spf_term){ .result = result, .text = text };
	const char *wrong = read_mechanism(name, in, t);
	if (!wrong)
		r->count++;
	return wrong;
}

int spf_record_parse(struct slice text, struct arena *mem, struct spf_record *out, const char **why, struct slice *at)
{
	struct spf_record r = { 0 };
	struct slice in = slice_skip(text, 6), word;
	size_t words = 0;
	for (size_t i = 0; i < in.n; i++)
		words += in.p[i] == ' ';
	r.terms = words <= SPF_MAX_TERMS ? ARENA_ARRAY(mem, struct spf_term, words) : NULL;
	if (!r.terms) {
		*why = "record too long";
		*at = SLICE("");
		return -EINVAL;
	}
	while (in.n) {
		word = slice_cut(in, ' ', &in);
		*at = word;
		if (word.n && (*why = read_term(word, &r)))
			return -EINVAL;
	}
	*out = r;
	return 0;
}
