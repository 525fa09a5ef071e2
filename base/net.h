#ifndef BASE_NET_H
#define BASE_NET_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <sys/un.h>
#include "base/buf.h"
#include "base/slice.h"

/* Addresses of the network: parse, print, compare, listen. */
struct net_address {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_un un;
	} sa;
	socklen_t length;
};

/* The bare bytes of an address, v4 mapped into v6 form (::ffff:a.b.c.d), as maps, limits and SPF use it. */
struct net_ip {
	uint8_t bytes[16];
	bool is_v4;
};

/* "192.0.2.1", "2001:db8::1"; no scope, no leading zeros, no surrounding text. */
bool net_ip_parse(struct slice s, struct net_ip *out);
int net_ip_print(struct buf *out, const struct net_ip *ip);
struct net_ip net_ip_of(const struct net_address *a); /* v4-mapped v6 becomes v4; a Unix socket gives :: */
bool net_ip_in(const struct net_ip *ip, const struct net_ip *network, unsigned prefix); /* prefix in the family's own bits */
bool net_ip_is_loopback(const struct net_ip *ip);
void net_ip_add_reversed(struct buf *out, const struct net_ip *ip); /* "1.2.0.192.", or its 32 nibbles, for a name of DNS below any zone */
void net_ip_add_reverse_name(struct buf *out, const struct net_ip *ip); /* the same in in-addr.arpa or ip6.arpa (RFC 1035, 3.5; RFC 3596, 2.5) */

/* "ADDR", "ADDR/PREFIX": host bits behind the prefix must be zero, else why says so. */
bool net_range_parse(struct slice s, struct net_ip *network, unsigned *prefix, const char **why);

/* "192.0.2.1:25", "[2001:db8::1]:25", "*:25" (v6 any with v4), "unix:/path"; port is taken when s has none (0: required). */
bool net_address_parse(struct slice s, uint16_t port, struct net_address *out, const char **why);
int net_address_print(struct buf *out, const struct net_address *a);
struct net_address net_address_of_ip(const struct net_ip *ip, uint16_t port);
uint16_t net_address_port(const struct net_address *a);
int net_local(int fd, struct net_address *out); /* of a connected socket: our side. 0 or -errno */

/* A listening, non-blocking, close-on-exec socket (SO_REUSEADDR; SO_REUSEPORT if asked). fd or -errno. */
int net_listen(const struct net_address *a, bool reuse_port, int backlog);
#endif
