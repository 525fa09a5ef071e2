/* Macro strings of SPF (RFC 7208, 7). They were checked by spf_record_parse; what is expanded is the sender's to choose, so every step is
 * bounded: only the last 253 octets of a name count, and what stands far before them is dropped on the way. */
#include "base/mail_spf_record.h"

#include <assert.h>

#include "base/scan.h"
#include "base/text.h"

enum { NAME_MAX_OCTETS = 253, KEEP = 1024, VALUE_MAX = 1024 };

bool spf_macro_uses(struct slice spec, char letter)
{
	for (size_t i = 0; i + 2 < spec.n; i++)
		if (spec.p[i] == '%') {
			if (spec.p[i + 1] == '{' && text_lower_byte(spec.p[i + 2]) == letter)
				return true;
			i++;
		}
	return false;
}

bool spf_macro_any(struct slice spec)
{
	for (size_t i = 0; i + 1 < spec.n; i++)
		if (spec.p[i] == '%') {
			if (spec.p[i + 1] == '{')
				return true;
			i++;
		}
	return false;
}

static void add_ip(struct buf *out, const struct net_ip *ip)
{
	if (ip->is_v4) {
		net_ip_print(out, ip);
		return;
	}
	for (size_t i = 0; i < 32; i++)
		buf_addf(out, i ? ".%x" : "%x", ip->bytes[i / 2] >> (i % 2 ? 0 : 4) & 15);
}

/* The value of a letter, in lower case. */
static void add_value(struct buf *out, char letter, const struct spf_names *n)
{
	switch (letter) {
	case 's':
		buf_add(out, n->local_part);
		buf_add_byte(out, '@');
		buf_add(out, n->sender_domain);
		break;
	case 'l':
		buf_add(out, n->local_part);
		break;
	case 'o':
		buf_add(out, n->sender_domain);
		break;
	case 'd':
		buf_add(out, n->domain);
		break;
	case 'i':
		add_ip(out, &n->client);
		break;
	case 'p':
		buf_add(out, n->validated.n ? n->validated : SLICE("unknown"));
		break;
	case 'v':
		buf_add_cstr(out, n->client.is_v4 ? "in-addr" : "ip6");
		break;
	case 'h':
		buf_add(out, n->helo);
		break;
	}
}

static void add_escaped(struct buf *out, struct slice s, bool url)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (url && !text_is_alnum(c) && !strchr("-._~", c ? c : '%'))
			buf_addf(out, "%%%02X", c);
		else
			buf_add_byte(out, (char)c);
	}
}

/* Splits at any of the delimiters, keeps the `keep` right-hand parts (0: all), in reverse order if asked, joins by dots. */
static void add_parts(struct buf *out, struct slice value, struct slice delimiters, size_t keep, bool reverse, bool url)
{
	struct slice parts[VALUE_MAX + 1];
	size_t count = 0, start = 0;
	for (size_t i = 0; i <= value.n; i++)
		if (i == value.n || memchr(delimiters.p, value.p[i], delimiters.n)) {
			parts[count++] = slice(value.p + start, i - start);
			start = i + 1;
		}
	size_t used = keep && keep < count ? keep : count;
	for (size_t i = 0; i < used; i++) {
		/* reversing comes first: the right-hand parts of what was reversed are the first ones of the value */
		size_t at = reverse ? used - 1 - i : count - used + i;
		if (i)
			buf_add_byte(out, '.');
		add_escaped(out, parts[at], url);
	}
}

/* Behind "%{". */
static void expand_one(struct slice *in, const struct spf_names *n, struct buf *out)
{
	char bytes[8];
	size_t width = 0;
	uint64_t keep = 0;
	char letter = in->p[0];
	*in = slice_skip(*in, 1);
	scan_uint(in, 999999999, &keep);
	bool reverse = in->n && (in->p[0] | 0x20) == 'r';
	if (reverse)
		*in = slice_skip(*in, 1);
	while (in->n && in->p[0] != '}') {
		if (width < sizeof bytes && !memchr(bytes, in->p[0], width))
			bytes[width++] = in->p[0];
		*in = slice_skip(*in, 1);
	}
	*in = slice_skip(*in, 1);
	struct buf value = BUF_INIT(VALUE_MAX);
	add_value(&value, text_lower_byte(letter), n);
	add_parts(out, buf_slice(&value), width ? slice(bytes, width) : SLICE("."), keep, reverse, letter != text_lower_byte(letter));
	buf_free(&value);
}

/* Removes labels from the left until the name fits. */
static void cut_name(struct buf *out)
{
	if (out->n && out->p[out->n - 1] == '.')
		out->n--;
	while (out->n > NAME_MAX_OCTETS) {
		size_t dot = slice_find(buf_slice(out), '.');
		buf_drop(out, dot < out->n ? dot + 1 : out->n - NAME_MAX_OCTETS);
	}
}

void spf_macro_expand(struct slice spec, const struct spf_names *n, struct buf *out)
{
	while (spec.n) {
		char c = spec.p[0];
		if (out->n > KEEP * 2)
			buf_drop(out, out->n - KEEP);
		spec = slice_skip(spec, 1);
		if (c != '%') {
			buf_add_byte(out, c);
			continue;
		}
		char next = spec.n ? spec.p[0] : '%';
		spec = slice_skip(spec, 1);
		if (next == '{')
			expand_one(&spec, n, out);
		else
			buf_add_cstr(out, next == '_' ? " " : next == '-' ? "%20" : "%");
	}
	cut_name(out);
	assert(!buf_full(out));
}
