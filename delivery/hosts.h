#ifndef DELIVERY_HOSTS_H
#define DELIVERY_HOSTS_H
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/dns.h"
#include "base/loop.h"
#include "base/mail_status.h"
#include "base/net.h"
#include "base/slice.h"

/* From a place (maps/resolve.h, LEAF_HOP and LEAF_LMTP) to addresses in the order in which they are to be tried: MX by preference, equal ones shuffled,
 * both families in turn, implicit MX (RFC 5321, 5.1), null MX (RFC 7505). Ourselves, that is one of our addresses and a port that we listen on, is
 * dropped with all that is not preferred to it. */
enum { HOSTS_MAX_NAMES = 12, HOSTS_MAX_TARGETS = 32 };

struct hosts_target {
	struct net_address address;
	struct slice host;         /* the name that led to it; for SNI, certificates, logs */
	struct slice canonical;    /* the name behind its CNAMEs; "" where it is none */
	uint16_t preference;
	bool secure;               /* its addresses were validated by DNSSEC */
};

/* status MAIL_OK: at least one target. MAIL_NEVER: there is none and never will be as things stand; MAIL_LATER: could not tell. */
struct hosts_answer {
	struct mail_status status;
	struct hosts_target *targets;
	size_t count;
	bool lmtp;
	bool by_mx;                /* host names came from MX records, */
	bool secure;               /* which were validated by DNSSEC */
	bool unsure;               /* there may be more of them: an address could not be looked up */
	struct slice domain;       /* what was asked for: the domain, or the host of the place */
};

struct hosts_setup {
	struct dns *dns;
	uint16_t mx_port;              /* 25 */
	const struct net_ip *own;      /* addresses of this host, and loopback: ours where a listener takes any of them */
	size_t own_count;
	const struct net_address *listeners;
	size_t listener_count;
};

/* done is called once, from the loop, never from inside hosts_find, unless it is cancelled; the answer is valid during the call. s is lent until the end. */
struct hosts_query;
struct hosts_query *hosts_find(struct loop *l, const struct hosts_setup *s, struct slice place,
                               void (*done)(void *arg, const struct hosts_answer *a), void *arg);
void hosts_cancel(struct hosts_query *q); /* NULL is fine */

/* Parts of a place. */
struct hosts_place {
	bool lmtp;
	enum { PLACE_MX, PLACE_HOST, PLACE_UNIX } kind;
	struct slice name;         /* domain, host (name or literal without brackets), path */
	uint16_t port;             /* of PLACE_HOST */
};
bool hosts_parse(struct slice place, struct hosts_place *out);

/* Is it one of ours? */
bool hosts_is_ourselves(const struct hosts_setup *s, const struct net_address *a);
#endif
