#ifndef DELIVERY_TLS_POLICY_H
#define DELIVERY_TLS_POLICY_H
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/dns.h"
#include "base/loop.h"
#include "base/mail_status.h"
#include "base/slice.h"
#include "delivery/sts.h"
#include "delivery/tls_report.h"

/* How a connection to a next hop must be protected: one decision for each host, between its addresses and the dialling, with its reason for the log.
 *
 *	1. the route's word: none, may, encrypt, verify (a known root and the host's name), dane (DANE or nothing)
 *	2. DANE (RFC 7672), where MX, addresses and TLSA are validated: it can't be overruled by the next
 *	3. MTA-STS (RFC 8461) of the domain, mode enforce: hosts that the policy doesn't name are no hosts, the others verify by name
 *	4. opportunistic: any TLS that is offered, else none
 *
 * REQUIRETLS (RFC 8689) demands 2, 3 or `verify` whatever else is said. A host whose TLSA records can't be looked up is not used now: an attacker who
 * breaks DNS gains a delay. TLS-Required: No, of the same RFC, waives 2 and 3. A host that is an alias has the TLSA records of the name behind it, else its own (RFC 7672, 2.2.2). */
struct tls_policy;
struct tls_context;

struct tls_policy_setup {
	struct loop *loop;
	struct dns *dns;
	struct sts *sts;           /* delivery/sts.h; NULL: no MTA-STS */
	bool dane;                 /* look for TLSA */
	struct slice standard;     /* where a route says nothing: none | may | encrypt | verify | dane */
};
struct tls_policy *tls_policy_new(const struct tls_policy_setup *s);
void tls_policy_free(struct tls_policy *p); /* NULL is fine; no question of it may be open */

/* What hosts_find found, in the order of its targets; a host may stand more than once. */
enum { TLS_POLICY_MAX_HOSTS = 64 };
struct tls_policy_host {
	struct slice name;         /* "" or a literal: an address is all that is known */
	struct slice canonical;    /* behind its CNAMEs; "" none */
	uint16_t port;
	bool secure;               /* its addresses were validated by DNSSEC */
};
struct tls_policy_question {
	struct slice domain;       /* whose mail it is, for its MTA-STS policy; "" where a route names the host */
	bool by_mx, mx_secure;     /* the names came from MX records, validated */
	const struct tls_policy_host *hosts;
	size_t count;
	struct slice route_tls;    /* the route's word, "" none */
	bool require_tls;
	bool waived;               /* the sender asks for neither 2 nor 3; the route's word holds */
};

enum tls_use { TLS_USE_NEVER, TLS_USE_MAY, TLS_USE_MUST };
struct tls_choice {
	bool usable;               /* else: not this host, now; status says why */
	enum tls_use use;
	struct tls_context *context; /* NULL where use is TLS_USE_NEVER; tls_hold keeps it behind the call */
	struct slice base;         /* whose TLSA records these are, for SNI; "" where there are none */
	const char *how;           /* "none", "opportunistic", "encrypt", "verify", "dane", "dane-unusable", "sts", "sts-testing", "waived": in the log as policy=HOW */
	struct mail_status status;
	enum tls_report_policy policy; /* the domain's own policy, for its report */
	struct slice policy_text;  /* its lines */
	enum tls_report_result failed; /* what the report says of the policy itself, whatever becomes of the connection; TLS_REPORT_SUCCESS: nothing */
};

/* choices[i] is for hosts[i]. Valid during the call. */
struct tls_policy_answer {
	const struct tls_choice *choices;
	size_t count;
};

/* Everything is copied. done is called once, from the loop, never inside. */
struct tls_policy_query;
struct tls_policy_query *tls_policy_find(struct tls_policy *p, const struct tls_policy_question *q,
                                         void (*done)(void *arg, const struct tls_policy_answer *a), void *arg);
void tls_policy_cancel(struct tls_policy_query *q); /* NULL is fine */
#endif
