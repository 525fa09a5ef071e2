/* Addresses of the network. Parsing refuses everything that inet_pton does not take whole. */
#include "base/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <unistd.h>

#include "base/scan.h"

enum { ADDRESS_TEXT_MAX = INET6_ADDRSTRLEN };

static const uint8_t v4_mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

bool net_ip_parse(struct slice s, struct net_ip *out)
{
	char text[ADDRESS_TEXT_MAX];
	struct net_ip ip = { { 0 }, false };
	if (s.n == 0 || s.n >= sizeof text || memchr(s.p, 0, s.n))
		return false;
	memcpy(text, s.p, s.n);
	text[s.n] = 0;
	if (inet_pton(AF_INET, text, ip.bytes + 12) == 1) {
		memcpy(ip.bytes, v4_mapped, sizeof v4_mapped);
		ip.is_v4 = true;
	} else if (inet_pton(AF_INET6, text, ip.bytes) == 1) {
		ip.is_v4 = memcmp(ip.bytes, v4_mapped, sizeof v4_mapped) == 0;
	} else {
		return false;
	}
	*out = ip;
	return true;
}

int net_ip_print(struct buf *out, const struct net_ip *ip)
{
	char text[ADDRESS_TEXT_MAX];
	const char *p = ip->is_v4 ? inet_ntop(AF_INET, ip->bytes + 12, text, sizeof text) : inet_ntop(AF_INET6, ip->bytes, text, sizeof text);
	return p ? buf_add_cstr(out, p) : -EINVAL;
}

static struct net_ip ip_of_v4(const struct in_addr *a)
{
	struct net_ip ip = { { 0 }, true };
	memcpy(ip.bytes, v4_mapped, sizeof v4_mapped);
	memcpy(ip.bytes + 12, a, 4);
	return ip;
}

struct net_ip net_ip_of(const struct net_address *a)
{
	struct net_ip ip = { { 0 }, false };
	if (a->sa.any.sa_family == AF_INET)
		return ip_of_v4(&a->sa.v4.sin_addr);
	if (a->sa.any.sa_family == AF_INET6) {
		memcpy(ip.bytes, &a->sa.v6.sin6_addr, 16);
		ip.is_v4 = memcmp(ip.bytes, v4_mapped, sizeof v4_mapped) == 0;
	}
	return ip;
}

bool net_ip_in(const struct net_ip *ip, const struct net_ip *network, unsigned prefix)
{
	if (ip->is_v4 != network->is_v4 || prefix > (ip->is_v4 ? 32u : 128u))
		return false;
	unsigned bits = prefix + (ip->is_v4 ? 96 : 0), whole = bits / 8, rest = bits % 8;
	if (memcmp(ip->bytes, network->bytes, whole))
		return false;
	return rest == 0 || ((ip->bytes[whole] ^ network->bytes[whole]) >> (8 - rest)) == 0;
}

bool net_ip_is_loopback(const struct net_ip *ip)
{
	static const struct net_ip six = { { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 }, false };
	return ip->is_v4 ? ip->bytes[12] == 127 : memcmp(ip->bytes, six.bytes, 16) == 0;
}

void net_ip_add_reversed(struct buf *out, const struct net_ip *ip)
{
	for (int i = 15; ip->is_v4 && i > 11; i--)
		buf_addf(out, "%u.", ip->bytes[i]);
	for (int i = 15; !ip->is_v4 && i >= 0; i--)
		buf_addf(out, "%x.%x.", ip->bytes[i] & 15u, ip->bytes[i] >> 4u);
}

void net_ip_add_reverse_name(struct buf *out, const struct net_ip *ip)
{
	net_ip_add_reversed(out, ip);
	buf_add_cstr(out, ip->is_v4 ? "in-addr.arpa" : "ip6.arpa");
}

static bool host_bits_are_zero(const struct net_ip *ip, unsigned prefix)
{
	unsigned bits = prefix + (ip->is_v4 ? 96 : 0);
	for (unsigned i = bits; i < 128; i++)
		if (ip->bytes[i / 8] & (0x80 >> i % 8))
			return false;
	return true;
}

bool net_range_parse(struct slice s, struct net_ip *network, unsigned *prefix, const char **why)
{
	struct slice length, address = slice_cut(s, '/', &length);
	struct net_ip ip;
	uint64_t bits;
	if (!net_ip_parse(address, &ip)) {
		*why = "not an IP address";
		return false;
	}
	bits = ip.is_v4 ? 32 : 128;
	if (length.p && !scan_uint_all(length, bits, &bits)) {
		*why = "the prefix length is not a number in range";
		return false;
	}
	if (!host_bits_are_zero(&ip, (unsigned)bits)) {
		*why = "bits behind the prefix length are not zero";
		return false;
	}
	*network = ip;
	*prefix = (unsigned)bits;
	return true;
}

struct net_address net_address_of_ip(const struct net_ip *ip, uint16_t port)
{
	struct net_address a;
	memset(&a, 0, sizeof a);
	if (ip->is_v4) {
		a.sa.v4.sin_family = AF_INET;
		a.sa.v4.sin_port = htons(port);
		memcpy(&a.sa.v4.sin_addr, ip->bytes + 12, 4);
		a.length = sizeof a.sa.v4;
	} else {
		a.sa.v6.sin6_family = AF_INET6;
		a.sa.v6.sin6_port = htons(port);
		memcpy(&a.sa.v6.sin6_addr, ip->bytes, 16);
		a.length = sizeof a.sa.v6;
	}
	return a;
}

static bool parse_unix(struct slice path, struct net_address *out, const char **why)
{
	struct net_address a;
	memset(&a, 0, sizeof a);
	if (path.n == 0 || path.n >= sizeof a.sa.un.sun_path || path.p[0] != '/' || memchr(path.p, 0, path.n)) {
		*why = "a Unix socket is unix:/absolute/path, at most 107 bytes";
		return false;
	}
	a.sa.un.sun_family = AF_UNIX;
	memcpy(a.sa.un.sun_path, path.p, path.n);
	a.length = sizeof a.sa.un;
	*out = a;
	return true;
}

/* "[v6]" or a bare address in front of ":port"; a bare v6 address has no port. */
static void split_port(struct slice s, struct slice *host, struct slice *port)
{
	size_t colon = slice_rfind(s, ':');
	*host = s;
	*port = SLICE_NONE;
	if (s.n && s.p[0] == '[') {
		size_t end = slice_find(s, ']');
		*host = slice(s.p + 1, end > 0 ? end - 1 : 0);
		struct slice rest = slice_skip(s, end + 1);
		if (rest.n && rest.p[0] == ':')
			*port = slice_skip(rest, 1);
		else if (rest.n || end == s.n)
			*host = SLICE_NONE; /* text behind the bracket, or no bracket */
	} else if (colon < s.n && slice_find(s, ':') == colon) {
		*host = slice_head(s, colon);
		*port = slice_skip(s, colon + 1);
	}
}

bool net_address_parse(struct slice s, uint16_t port, struct net_address *out, const char **why)
{
	struct slice host, port_text;
	struct net_ip ip = { { 0 }, false };
	uint64_t number = port;
	if (slice_starts(s, SLICE("unix:")))
		return parse_unix(slice_skip(s, 5), out, why);
	split_port(s, &host, &port_text);
	if (!slice_eq(host, SLICE("*")) && !net_ip_parse(host, &ip)) {
		*why = "not an IP address ([v6]:port, v4:port, *:port or unix:/path)";
		return false;
	}
	if ((port_text.p && !scan_uint_all(port_text, 65535, &number)) || number == 0) {
		*why = "a port from 1 to 65535 is missing";
		return false;
	}
	*out = net_address_of_ip(&ip, (uint16_t)number);
	return true;
}

int net_address_print(struct buf *out, const struct net_address *a)
{
	if (a->sa.any.sa_family == AF_UNIX)
		return buf_addf(out, "unix:%s", a->sa.un.sun_path);
	struct net_ip ip = net_ip_of(a);
	int failed = ip.is_v4 ? 0 : buf_add_byte(out, '[');
	failed = failed ? failed : net_ip_print(out, &ip);
	return failed ? failed : buf_addf(out, ip.is_v4 ? ":%u" : "]:%u", net_address_port(a));
}

uint16_t net_address_port(const struct net_address *a)
{
	if (a->sa.any.sa_family == AF_INET)
		return ntohs(a->sa.v4.sin_port);
	return a->sa.any.sa_family == AF_INET6 ? ntohs(a->sa.v6.sin6_port) : 0;
}

int net_local(int fd, struct net_address *out)
{
	struct net_address a = { .length = sizeof a.sa };
	if (getsockname(fd, &a.sa.any, &a.length) < 0)
		return -errno;
	*out = a;
	return 0;
}

static bool set_option(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof value) == 0;
}

int net_listen(const struct net_address *a, bool reuse_port, int backlog)
{
	int family = a->sa.any.sa_family;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	bool good = family == AF_UNIX || set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (family == AF_INET6) /* only the any-address takes v4, too */
		good = good && set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, !IN6_IS_ADDR_UNSPECIFIED(&a->sa.v6.sin6_addr));
	if (reuse_port)
		good = good && set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (good && bind(fd, &a->sa.any, a->length) == 0 && listen(fd, backlog) == 0)
		return fd;
	int error = errno;
	close(fd);
	return -error;
}
