/* The kinds of maps: a row each, with the reader of its keys and the check of its values. */
#include "maps/kinds.h"

#include "base/buf.h"
#include "base/scan.h"
#include "base/text.h"
#include "maps/access.h"
#include "maps/clients.h"
#include "maps/credentials.h"
#include "maps/header_rule.h"
#include "maps/map_key.h"
#include "maps/map_value.h"
#include "maps/saslprep.h"
#include "maps/senders.h"
#include "maps/signers.h"

/* -- keys -------------------------------------------------------------------------------------------------------------------------- */

/* Does the domain, or the parent whose line serves it, keep case? */
static bool is_exact(struct kind_reading *r, struct slice domain)
{
	struct map_entry e;
	struct map_domain d;
	enum answer a = map_find(r->set, MAP_DOMAINS, domain, &r->memo, &e);
	for (struct slice rest = domain; a == ABSENT && slice_find(rest, '.') < rest.n; rest = slice_skip(rest, 1)) {
		rest = slice_skip(rest, slice_find(rest, '.'));
		a = map_find(r->set, MAP_DOMAINS, rest, &r->memo, &e);
	}
	return a == FOUND && !map_domain_parse(e.value, &r->memo, &d) && d.exact_case;
}

static void remember_domain(struct kind_reading *r, struct slice raw)
{
	struct slice canonical = SLICE_NONE;
	r->domain = SLICE_NONE;
	arena_reset(&r->memo);
	if (map_key_domain(raw, &r->memo, &canonical) || canonical.p[0] == '.')
		return;
	r->exact = is_exact(r, canonical);
	r->raw_domain = arena_copy(&r->memo, raw);
	r->domain = canonical;
	r->same = slice_eq(raw, canonical);
}

/* A local-part that is its own canonical form and needs no quotes. */
static bool is_plain(struct slice local)
{
	char before = '.';
	for (size_t i = 0; i < local.n; before = local.p[i++]) {
		unsigned char c = (unsigned char)local.p[i];
		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '+' || c == '=' || (c == '.' && before != '.')))
			return false;
	}
	return local.n && local.n <= 64 && before != '.';
}

static const char *read_address(struct kind_reading *r, struct slice raw, struct arena *mem, struct slice *out)
{
	size_t at = slice_rfind(raw, '@');
	struct slice domain = slice_skip(raw, at + 1);
	if (at == raw.n)
		return "an address with its domain is wanted";
	if (!r->domain.p || !slice_eq(domain, r->raw_domain))
		remember_domain(r, domain);
	if (r->domain.p && r->same && (at == 0 || is_plain(slice_head(raw, at)))) {
		*out = raw;
		return NULL;
	}
	return map_key_address_folded(raw, r->exact && r->domain.p, mem, out);
}

static const char *key_domain(void *arg, struct slice raw, struct arena *mem, struct slice *out)
{
	(void)arg;
	return map_key_domain(raw, mem, out);
}

static const char *key_address(void *arg, struct slice raw, struct arena *mem, struct slice *out)
{
	return read_address(arg, raw, mem, out);
}

static const char *key_alias(void *arg, struct slice raw, struct arena *mem, struct slice *out)
{
	if (slice_find(raw, '@') < raw.n)
		return read_address(arg, raw, mem, out);
	return map_key_address_folded(raw, false, mem, out);
}

static const char *key_route(void *arg, struct slice raw, struct arena *mem, struct slice *out)
{
	*out = raw;
	if (slice_eq(raw, SLICE("*")))
		return NULL;
	return slice_find(raw, '@') < raw.n ? read_address(arg, raw, mem, out) : map_key_domain(raw, mem, out);
}

/* A login: an address, or a name, as smtpd/auth takes it; "unix:NAME" is a user of this system and keeps its case. */
static const char *key_login(void *arg, struct slice raw, struct arena *mem, struct slice *out)
{
	struct buf prepared = BUF_INIT(MAP_MAX_KEY);
	(void)arg;
	*out = raw;
	if (slice_starts(raw, SLICE("unix:")))
		return raw.n > 5 ? NULL : "a user's name is missing";
	const char *why = saslprep_add(raw, SASLPREP_STORED, &prepared);
	if (!why)
		why = map_key_address_folded(buf_slice(&prepared), false, mem, out);
	buf_free(&prepared);
	return why;
}

static const char *key_network(struct slice raw, const char *kind, struct arena *mem, struct slice *out)
{
	struct net_ip network;
	unsigned prefix;
	const char *why = NULL;
	if (!net_range_parse(raw, &network, &prefix, &why))
		return why ? why : "this is no network";
	struct buf b = BUF_INIT(100);
	buf_add_cstr(&b, kind);
	net_ip_print(&b, &network);
	buf_addf(&b, "/%u", prefix);
	*out = arena_copy(mem, buf_slice(&b));
	buf_free(&b);
	return out->p ? NULL : "too much at once";
}

static const char *key_client(void *arg, struct slice raw, struct arena *mem, struct slice *out)
{
	(void)arg;
	struct slice hex = raw;
	scan_word(&raw, SLICE("client:"));
	if (!scan_word(&hex, SLICE("sha256:")))
		return key_network(raw, "client:", mem, out);
	struct buf digest = BUF_INIT(64);
	bool good = text_hex_decode(hex, &digest) && digest.n == 32;
	buf_free(&digest);
	*out = text_lower(mem, raw);
	return good ? NULL : "a fingerprint is sha256: and 64 hexadecimal digits";
}

static const char *key_hoster(void *arg, struct slice raw, struct arena *mem, struct slice *out)
{
	(void)arg;
	struct net_ip ip;
	bool network = raw.n && (slice_find(raw, ':') < raw.n || slice_find(raw, '/') < raw.n || net_ip_parse(raw, &ip));
	return network ? key_network(raw, "client:", mem, out) : map_key_domain(raw, mem, out);
}

/* "from:" and "to:": an address, "@domain", "@.domain"; a bare domain is one, too. "<>" the null path. */
static const char *key_access_path(struct slice kind, struct slice raw, struct arena *mem, struct slice *out)
{
	struct slice s = raw, canonical;
	const char *why;
	struct buf b = BUF_INIT(MAP_MAX_KEY);
	if (slice_eq(s, SLICE("<>"))) {
		why = NULL;
		canonical = s;
	} else if (slice_find(s, '@') == s.n && slice_find(s, '.') == s.n) {
		why = map_key_address_folded(s, false, mem, &canonical);
	} else if (slice_find(s, '@') == s.n || s.p[0] == '@') {
		scan_byte(&s, '@');
		why = map_key_domain(s, mem, &canonical);
		buf_add_byte(&b, '@');
	} else {
		why = map_key_address_folded(s, false, mem, &canonical);
	}
	if (!why) {
		struct buf whole = BUF_INIT(MAP_MAX_KEY);
		buf_add(&whole, kind);
		buf_add(&whole, buf_slice(&b));
		buf_add(&whole, canonical);
		*out = arena_copy(mem, buf_slice(&whole));
		buf_free(&whole);
	}
	buf_free(&b);
	return why;
}

static const char *key_access_name(struct slice kind, struct slice raw, struct arena *mem, struct slice *out)
{
	struct slice canonical = raw;
	if (!raw.n)
		return "a name is missing";
	if (map_key_domain(raw, mem, &canonical))
		canonical = raw; /* HELO names need not be names */
	struct buf b = BUF_INIT(MAP_MAX_KEY);
	buf_add(&b, kind);
	buf_add(&b, canonical);
	*out = arena_copy(mem, buf_slice(&b));
	buf_free(&b);
	return NULL;
}

static const char *key_access(void *arg, struct slice raw, struct arena *mem, struct slice *out)
{
	(void)arg;
	static const struct slice names[] = { SLICE_INIT("ptr:"), SLICE_INIT("helo:") }, paths[] = { SLICE_INIT("from:"), SLICE_INIT("to:") };
	struct slice s = raw;
	for (size_t i = 0; i < 2; i++)
		if (scan_word(&s, names[i]))
			return key_access_name(names[i], s, mem, out);
	for (size_t i = 0; i < 2; i++)
		if (scan_word(&s, paths[i]))
			return s.n ? key_access_path(paths[i], s, mem, out) : "a path is missing";
	scan_word(&s, SLICE("client:"));
	const char *why = key_network(s, "client:", mem, out);
	return why && slice_find(s, '.') < s.n && text_is_alpha((unsigned char)s.p[0]) ? "a network, or ptr: helo: from: to: with a name, is wanted" : why;
}

/* -- values ------------------------------------------------------------------------------------------------------------------------ */

static const char *check_domain(const struct map_entry *e, struct arena *mem)
{
	struct map_domain d;
	return map_domain_parse(e->value, mem, &d);
}

static const char *check_recipient(const struct map_entry *e, struct arena *mem)
{
	struct map_mailbox m;
	if (!e->value.n && e->key.p[0] != '@')
		return NULL;
	const char *why = map_mailbox_parse(e->value, mem, &m);
	if (!why && e->key.p[0] == '@' && !m.place.n)
		why = "a line for a whole domain names its mailbox: else a stranger would choose the folder's name";
	return why;
}

static const char *check_alias(const struct map_entry *e, struct arena *mem)
{
	struct map_alias a;
	return map_alias_parse(e->value, mem, &a);
}

static const char *check_route(const struct map_entry *e, struct arena *mem)
{
	struct map_route r;
	return map_route_parse(e->value, mem, &r);
}

static const char *check_access(const struct map_entry *e, struct arena *mem)
{
	struct access a;
	(void)mem;
	return access_parse(e->value, &a);
}

static const char *check_sender(const struct map_entry *e, struct arena *mem)
{
	return senders_parse(e->value, mem);
}

static const char *check_client(const struct map_entry *e, struct arena *mem)
{
	return clients_parse(e->key, e->value, mem);
}

static const char *check_credential(const struct map_entry *e, struct arena *mem)
{
	struct credentials c;
	return credentials_parse(e->value, mem, &c);
}

static const char *check_signer(const struct map_entry *e, struct arena *mem)
{
	struct signers s;
	return signers_parse(e->value, mem, &s);
}

static const char *check_header(const struct map_entry *e, struct arena *mem)
{
	(void)mem;
	return header_rule_check(e->value);
}

static const struct {
	map_key_reader key;
	const char *(*check)(const struct map_entry *e, struct arena *mem); /* NULL: any value */
} rows[MAP_FIXED + 1] = {
	[MAP_DOMAINS] = { key_domain, check_domain },
	[MAP_RECIPIENTS] = { key_address, check_recipient },
	[MAP_ALIASES] = { key_alias, check_alias },
	[MAP_ROUTES] = { key_route, check_route },
	[MAP_ACCESS] = { key_access, check_access },
	[MAP_SENDERS] = { key_login, check_sender },
	[MAP_CLIENTS] = { key_client, check_client },
	[MAP_HEADER] = { NULL, check_header },
	[MAP_HOSTERS] = { key_hoster, NULL },
	[MAP_SIGNERS] = { key_domain, check_signer },
	[MAP_SEALERS] = { key_domain, NULL },
	[MAP_CREDENTIALS] = { key_login, check_credential },
	[MAP_FIXED] = { key_address, NULL },
};

map_key_reader kind_key(unsigned id)
{
	return rows[id < MAP_FIXED ? id : MAP_FIXED].key;
}

const char *kind_check(unsigned id, const struct map_entry *e, struct arena *mem)
{
	const char *(*check)(const struct map_entry *e, struct arena *mem) = rows[id < MAP_FIXED ? id : MAP_FIXED].check;
	return check ? check(e, mem) : NULL;
}
