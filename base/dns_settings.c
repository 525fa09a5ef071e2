/* The settings of DNS. */
#include "base/dns_settings.h"

#include <stddef.h>

#include "base/net.h"
#include "base/scan.h"

struct dns_rows dns_rows;

/* Else the processes that ask DNS would end as soon as they start, again and again. */
static const char *check_resolvers(struct slice value)
{
	if (slice_eq(value, SLICE("root")))
		return NULL;
	while (value.n) {
		struct slice port, one = slice_cut(value, ' ', &value), address = slice_cut(one, '@', &port);
		struct net_ip ip;
		uint64_t n;
		if (one.n && (!net_ip_parse(address, &ip) || (port.p && (!scan_uint_all(port, 65535, &n) || !n))))
			return "a resolver is ADDRESS[@PORT], an IP address: 192.0.2.1, 192.0.2.1@5353, 2001:db8::1";
	}
	return NULL;
}

#define AT(member) offsetof(struct dns_rows, member)
static const struct setting rows[] = {
	{ "dns-resolvers", SETTING_TEXT, AT(resolvers), "", 0, 0, NULL, check_resolvers,
	  "Resolvers to ask, ADDRESS[@PORT] with blanks between; root: ask the name servers ourselves; empty: what /etc/resolv.conf says." },
	{ "dns-trust-anchor", SETTING_PATH, AT(trust_anchor), "", 0, 0, NULL, NULL,
	  "A file with the root's key (Debian: /usr/share/dns/root.key): answers are validated by DNSSEC, which DANE needs. The resolvers must pass DNSSEC on. Empty: no validation." },
	{ "dns-local-zones", SETTING_BOOL, AT(local_zones), "no", 0, 0, NULL, NULL,
	  "Answer names like localhost and the reverse of private networks ourselves (RFC 6303), not by the resolvers." },
	{ "dns-timeout", SETTING_SPAN, AT(timeout_s), "20", 1, 300, NULL, NULL, "How long one question may take, all retries together; then mail is answered 4xx." },
};

struct setting_table dns_setting_table = { "dns", rows, sizeof rows / sizeof rows[0], &dns_rows };

struct dns_settings dns_settings_made(void)
{
	return (struct dns_settings){ .resolvers = dns_rows.resolvers, .trust_anchor = dns_rows.trust_anchor, .local_zones = dns_rows.local_zones,
		.timeout_ms = dns_rows.timeout_s * 1000 };
}
