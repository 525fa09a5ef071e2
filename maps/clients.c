/* The map `clients`. */
#include "maps/clients.h"

#include "base/buf.h"
#include "base/scan.h"
#include "maps/domains.h"
#include "maps/map_key.h"
#include "maps/value.h"

enum { NARROW_V4 = 24, NARROW_V6 = 64 };

static bool is_wide(struct slice key)
{
	struct net_ip network;
	unsigned prefix;
	const char *why;
	scan_word(&key, SLICE("client:"));
	return net_range_parse(key, &network, &prefix, &why) && prefix < (network.is_v4 ? NARROW_V4 : NARROW_V6);
}

const char *clients_parse(struct slice key, struct slice value, struct arena *mem)
{
	struct slice rest = value, item, domain;
	bool allowed = false, any = false;
	while (map_item(&rest, ',', &item)) {
		if (slice_eq(item, SLICE("wide"))) {
			allowed = true;
			continue;
		}
		any = true;
		if (slice_eq(item, SLICE("*")))
			continue;
		const char *why = map_key_domain(item, mem, &domain);
		if (why)
			return why;
	}
	if (!any)
		return "the reverse-path domains are missing: a domain, .domain, or * for all of ours";
	if (!allowed && is_wide(key))
		return "a range wider than /24 (IPv6 /64) trusts many: narrow it, or say `wide`";
	return NULL;
}

static enum answer find_line(struct map_set *s, const struct net_ip *ip, struct slice cert, struct arena *mem, struct map_entry *e)
{
	enum answer a = ABSENT;
	if (!map_size(s, MAP_CLIENTS))
		return ABSENT;
	if (cert.n) {
		struct buf key = BUF_INIT(200);
		buf_add(&key, SLICE("sha256:"));
		buf_add(&key, cert);
		a = map_find(s, MAP_CLIENTS, buf_slice(&key), mem, e);
		buf_free(&key);
	}
	return a == ABSENT ? map_find_ip(s, MAP_CLIENTS, SLICE("client:"), ip, mem, e) : a;
}

static enum answer speaks_for(struct map_set *s, struct slice item, struct slice domain, struct arena *mem)
{
	struct map_domain facts;
	struct slice name;
	if (slice_eq(item, SLICE("*")))
		return domains_find(s, domain, mem, &facts);
	if (slice_eq(item, SLICE("wide")) || map_key_domain(item, mem, &name))
		return ABSENT;
	return slice_eq(name, domain) || (name.p[0] == '.' && slice_ends(domain, name)) ? FOUND : ABSENT;
}

enum answer clients_may_speak(struct map_set *s, const struct net_ip *ip, struct slice cert_sha256, struct slice domain, struct arena *mem,
                              struct slice *key)
{
	struct map_entry e;
	struct slice item, name;
	enum answer a = find_line(s, ip, cert_sha256, mem, &e);
	if (a != FOUND || !domain.n || domain.p[0] == '.' || map_key_domain(domain, mem, &name))
		return a == UNSURE ? UNSURE : ABSENT;
	a = ABSENT;
	while (a == ABSENT && map_item(&e.value, ',', &item))
		a = speaks_for(s, item, name, mem);
	if (a == FOUND && key)
		*key = e.key;
	return a;
}

enum answer clients_known(struct map_set *s, const struct net_ip *ip, struct slice cert_sha256, struct arena *mem)
{
	struct map_entry e;
	return find_line(s, ip, cert_sha256, mem, &e);
}
