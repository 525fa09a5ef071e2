/* Words of DNS lists. */
#include "smtpd/dnsbl.h"

#include "base/scan.h"

enum { MAX_WEIGHT = 1000 };

static bool read_weight(struct slice s, int *out)
{
	bool negative = scan_byte(&s, '-');
	uint64_t n;
	if (!scan_uint_all(s, MAX_WEIGHT, &n))
		return false;
	*out = negative ? -(int)n : (int)n;
	return true;
}

static bool is_zone(struct slice s)
{
	bool dot = false;
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c != '.' && c != '-' && c != '_' && !(c >= '0' && c <= '9') && !((c | 0x20) >= 'a' && (c | 0x20) <= 'z'))
			return false;
		dot |= c == '.' && i;
	}
	return dot && s.n <= 180;
}

bool dnsbl_zone_parse(struct slice item, struct dnsbl_zone *out)
{
	struct slice weight, answer, head = slice_cut(item, '*', &weight);
	struct dnsbl_zone z = { .weight = 1 };
	const char *why;
	z.zone = slice_cut(head, '=', &answer);
	if (!is_zone(z.zone) || (weight.p && !read_weight(weight, &z.weight)))
		return false;
	if (!net_range_parse(answer.p ? answer : SLICE("127.0.0.0/8"), &z.network, &z.prefix, &why) || !z.network.is_v4)
		return false;
	*out = z;
	return true;
}

bool dnsbl_name(const struct net_ip *ip, struct slice zone, struct buf *out)
{
	net_ip_add_reversed(out, ip);
	buf_add(out, zone);
	return !buf_full(out) && out->n <= 253;
}

bool dnsbl_lists(const struct dnsbl_zone *z, const struct dns_answer *a)
{
	if (a->answer != FOUND)
		return false;
	bool listed = false;
	for (size_t i = 0; i < a->count; i++) {
		const unsigned char *b = (const unsigned char *)a->records[i].data.p;
		if (a->records[i].data.n != 4 || b[0] != 127 || (b[1] == 255 && b[2] == 255))
			return false; /* a wildcard of somebody else, or a refusal to answer */
		struct net_ip ip = { .is_v4 = true };
		ip.bytes[10] = ip.bytes[11] = 0xff;
		memcpy(ip.bytes + 12, b, 4);
		listed |= net_ip_in(&ip, &z->network, z->prefix);
	}
	return listed;
}

/* "[192.0.2.1]", "[IPv6:2001:db8::1]" (RFC 5321, 4.1.3); an IPv4 address inside of an IPv6 one is one of those. */
static bool is_literal(struct slice s)
{
	struct net_ip ip;
	if (s.n < 2 || s.p[0] != '[' || s.p[s.n - 1] != ']')
		return false;
	s = slice(s.p + 1, s.n - 2);
	bool v6 = slice_starts_nocase(s, SLICE("IPv6:"));
	s = slice_skip(s, v6 ? 5 : 0);
	return net_ip_parse(s, &ip) && v6 == (slice_find(s, ':') < s.n);
}

bool dnsbl_helo_is_bad(struct slice helo, struct slice hostname)
{
	if (slice_starts(helo, SLICE("[")))
		return !is_literal(helo);
	size_t dot = slice_rfind(helo, '.');
	return dot == helo.n || dot == 0 || dot + 1 == helo.n || slice_eq_nocase(helo, hostname) || (helo.p[dot + 1] >= '0' && helo.p[dot + 1] <= '9');
}
