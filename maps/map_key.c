/* Canonical keys. libidn2 is called here and nowhere else; libunistring here and in saslprep. */
#include "maps/map_key.h"

#include <idn2.h>
#include <stdlib.h>
#include <uninorm.h>

#include "base/buf.h"
#include "base/net.h"
#include "base/text.h"

enum { MAX_DOMAIN = 255, MAX_LABEL = 63, MAX_LOCAL = 64 };

static const char *ascii_domain(struct slice s, struct arena *mem, struct slice *out)
{
	if (s.n > MAX_DOMAIN)
		return "a domain has at most 255 bytes";
	struct slice rest = s;
	while (rest.p && rest.n) {
		struct slice label = slice_cut(rest, '.', &rest);
		if (!label.n || label.n > MAX_LABEL)
			return "a label of a domain has 1 to 63 bytes";
		for (size_t i = 0; i < label.n; i++)
			if (!text_is_alnum((unsigned char)label.p[i]) && label.p[i] != '-' && label.p[i] != '_')
				return "a domain is made of letters, digits, hyphens and dots";
	}
	*out = text_lower(mem, s);
	return out->p ? NULL : "too much at once";
}

static const char *unicode_domain(struct slice s, struct arena *mem, struct slice *out)
{
	char *ascii = NULL, *text = arena_cstr(mem, s);
	if (!text || !text_is_utf8(s) || slice_find(s, '\0') < s.n)
		return "a domain is UTF-8 text";
	if (idn2_to_ascii_8z(text, &ascii, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT) != IDN2_OK)
		return "this is no internationalised domain name";
	const char *why = ascii_domain(slice_of(ascii), mem, out);
	idn2_free(ascii);
	return why;
}

static const char *literal(struct slice s, struct arena *mem, struct slice *out)
{
	struct net_ip ip;
	struct slice inner = slice_head(slice_skip(s, 1), s.n > 2 ? s.n - 2 : 0);
	if (slice_starts_nocase(inner, SLICE("IPv6:")))
		inner = slice_skip(inner, 5);
	if (s.n < 3 || s.p[s.n - 1] != ']' || !net_ip_parse(inner, &ip))
		return "this is no address literal";
	*out = text_lower(mem, s);
	return out->p ? NULL : "too much at once";
}

const char *map_key_domain(struct slice s, struct arena *mem, struct slice *out)
{
	struct slice head = SLICE_NONE, name = s;
	if (slice_starts(s, SLICE("*.")))
		head = slice_head(s, 2);
	else if (slice_starts(s, SLICE(".")))
		head = slice_head(s, 1);
	name = slice_skip(s, head.n);
	if (name.n > 1 && name.p[name.n - 1] == '.')
		name.n--;
	if (!name.n)
		return "a domain is missing";
	if (name.p[0] == '[')
		return head.n ? "an address literal has no sub-domains" : literal(name, mem, out);
	struct slice canonical;
	const char *why = slice_is_ascii(name) ? ascii_domain(name, mem, &canonical) : unicode_domain(name, mem, &canonical);
	if (why)
		return why;
	if (!head.n) {
		*out = canonical;
		return NULL;
	}
	struct buf b = BUF_INIT(MAX_DOMAIN + 4);
	buf_add_byte(&b, '.');
	buf_add(&b, canonical);
	*out = arena_copy(mem, buf_slice(&b));
	buf_free(&b);
	return out->p ? NULL : "too much at once";
}

struct slice map_key_join(struct slice local, struct slice domain, struct arena *mem)
{
	char *p = arena_new(mem, local.n + domain.n + 2);
	if (!p)
		return SLICE_NONE;
	if (local.n)
		memcpy(p, local.p, local.n);
	p[local.n] = '@';
	if (domain.n)
		memcpy(p + local.n + 1, domain.p, domain.n);
	return slice(p, local.n + 1 + domain.n);
}

bool map_key_split(struct slice key, struct slice *local, struct slice *domain)
{
	size_t at = slice_rfind(key, '@');
	if (at == key.n)
		return false;
	*local = slice_head(key, at);
	*domain = slice_skip(key, at + 1);
	return true;
}

struct slice map_key_local(struct slice local, bool exact, struct arena *mem)
{
	if (slice_is_ascii(local))
		return exact ? arena_copy(mem, local) : text_lower(mem, local);
	if (!text_is_utf8(local))
		return SLICE_NONE;
	size_t n = 0;
	uint8_t *composed = u8_normalize(UNINORM_NFC, (const uint8_t *)local.p, local.n, NULL, &n);
	if (!composed)
		return SLICE_NONE;
	struct slice s = slice((char *)composed, n), out = exact ? arena_copy(mem, s) : text_lower(mem, s);
	free(composed);
	return out;
}

const char *map_key_address_folded(struct slice s, bool exact, struct arena *mem, struct slice *out)
{
	struct slice key, local, domain;
	const char *why = map_key_address(s, mem, &key);
	if (why)
		return why;
	bool whole = map_key_split(key, &local, &domain);
	local = map_key_local(whole ? local : key, exact, mem);
	if (!local.p)
		return "the local-part is no UTF-8 text";
	*out = whole ? map_key_join(local, domain, mem) : local;
	return out->p ? NULL : "too much at once";
}

const char *map_key_address(struct slice s, struct arena *mem, struct slice *out)
{
	struct slice local, domain;
	if (!map_key_split(s, &local, &domain)) {
		if (!s.n || s.n > MAX_LOCAL)
			return "a local-part has 1 to 64 bytes";
		*out = arena_copy(mem, s);
		return out->p ? NULL : "too much at once";
	}
	struct slice canonical;
	const char *why = map_key_domain(domain, mem, &canonical);
	if (why)
		return why;
	if (!local.n) {
		*out = map_key_join(local, canonical, mem);
		return out->p ? NULL : "too much at once";
	}
	struct mail_path path;
	if (mail_path_parse_address(s, mem, &path, &why) < 0)
		return why;
	*out = map_key_join(path.local_part, canonical, mem);
	return out->p ? NULL : "too much at once";
}
