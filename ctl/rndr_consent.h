#ifndef CTL_RNDR_CONSENT_H
#define CTL_RNDR_CONSENT_H
#include <stdbool.h>
#include "base/buf.h"
#include "base/dns.h"
#include "base/loop.h"
#include "base/net.h"
#include "base/slice.h"

/* Which servers may be tested: this machine's own addresses; the mail servers of a domain that says so: a TXT record at _rndr-check.DOMAIN that holds the token, and the
 * tested address belongs to one of the domain's MX hosts, so that nobody can consent for somebody else's server; and, where banner_ok, a server that greets with the token.
 * Finds the address on the way. */
struct consent_plan {
	struct slice domain;        /* A-labels */
	struct slice host;          /* a name or an address; "" the domain's first MX */
	uint16_t port;
	struct slice token;
	bool own_ok;                /* this machine's own addresses need no consent: who asks is on this machine */
	bool banner_ok;             /* the token in the server's banner is consent for that server: it is connected to for that, once, when nothing else was shown */
	bool proved;                /* consent was shown in another way (the postmaster's answer): only the address is looked for, and that it is an MX */
};

struct consent_result {
	bool given;
	struct net_address address; /* set when given */
	struct buf host;            /* its name, or address */
	struct buf why;             /* in words, either way */
};

struct consent;
struct consent *consent_ask(struct loop *l, struct dns *d, const struct consent_plan *plan, void (*done)(void *arg, const struct consent_result *r), void *arg);
void consent_free(struct consent *c); /* no callback any more; NULL is fine; allowed inside done */

bool consent_is_own_address(const struct net_ip *ip); /* loopback, or on one of our interfaces */

/* The token of who asks, for a domain: "porter-rndr-" and 20 letters, the same each time on this machine. */
void consent_token(struct buf *out, struct slice domain);
#endif
