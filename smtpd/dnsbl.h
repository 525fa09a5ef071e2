#ifndef SMTPD_DNSBL_H
#define SMTPD_DNSBL_H
#include <stdbool.h>
#include "base/buf.h"
#include "base/dns.h"
#include "base/net.h"
#include "base/slice.h"
#include "smtpd/check.h"

/* A client's score: DNS lists of addresses (RFC 5782) with weights, positive ones against it and negative ones for it, its missing name, its EHLO name. A list that doesn't
 * answer, answers outside of 127.0.0.0/8, or with 127.255.255.0/24 ("you may not ask"), has no say: a dead list blocks nobody. */
enum { DNSBL_MAX_ZONES = 16 };

struct dnsbl_zone {
	struct slice zone;
	struct net_ip network;   /* answers that count */
	unsigned prefix;
	int weight;
};

/* "ZONE", "ZONE=127.0.0.2", "ZONE=127.0.0.0/30*3", "ZONE*-5". Views into item. */
bool dnsbl_zone_parse(struct slice item, struct dnsbl_zone *out);

/* The name to ask for: "1.2.0.192.zone". False: too long. */
bool dnsbl_name(const struct net_ip *ip, struct slice zone, struct buf *out);

/* Whether an answer is a listing. */
bool dnsbl_lists(const struct dnsbl_zone *z, const struct dns_answer *a);

/* An EHLO name that no honest server of another site says. */
bool dnsbl_helo_is_bad(struct slice helo, struct slice hostname);

extern const struct check_kind dnsbl_check;
#endif
