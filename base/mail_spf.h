#ifndef BASE_MAIL_SPF_H
#define BASE_MAIL_SPF_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/mail_dns.h"
#include "base/net.h"
#include "base/slice.h"

/* SPF (RFC 7208) by events: check_host() as a stack of records, one question open at a time. Ten look-ups, two void ones, ten MX and ten PTR
 * names, a time for it all; exp= is checked but never fetched (security-kit S9).
 * A pass carries the path along which it matched, so that evidence can be graded: `+all` passes, too, and proves nothing. */
enum spf_result { SPF_NONE, SPF_NEUTRAL, SPF_PASS, SPF_FAIL, SPF_SOFTFAIL, SPF_TEMPERROR, SPF_PERMERROR };

enum { SPF_MAX_LOOKUPS = 10, SPF_MAX_VOIDS = 2, SPF_MAX_NAMES = 10, SPF_MAX_TERMS = 4096, SPF_MAX_PATH = 2 * (SPF_MAX_LOOKUPS + 3), SPF_TIME_MS = 20000 };

/* What makes a matched path prove nothing (rule.md, evidence `spf`). */
enum { SPF_WEAK_ALL = 1, SPF_WEAK_EXISTS = 2, SPF_WEAK_PTR = 4, SPF_WEAK_MACRO = 8, SPF_WEAK_WIDE = 16 /* wider than /8, IPv6 /16 */ };

struct spf_question {
	struct net_ip client;
	struct slice helo;
	struct slice local_part;  /* of the sender; "" is postmaster (4.3) */
	struct slice domain;      /* whose record is asked for: of MAIL FROM, or the HELO name for the HELO identity; A-labels */
	struct slice sender;      /* the sender's domain, for macros; "" is domain */
};

struct spf_verdict {
	enum spf_result result;
	const char *why;          /* a fixed phrase where it is an error or none */
	struct slice term;        /* what matched, as written: "ip4:192.0.2.0/24"; "" none, the default or an error */
	unsigned weak;            /* with SPF_PASS: SPF_WEAK_ bits of the whole path */
	struct slice path[SPF_MAX_PATH]; /* whose records and hosts led to the match: the question's domain, each include and redirect, what a: or mx: names, the MX host; each with
	                                  * the name that its CNAME leads to */
	size_t path_count;
	unsigned lookups, voids;
};

/* A step, for `porterctl auth spf --trace`: depth 0 is the question's own record; term "" when a record was read. */
typedef void (*spf_trace)(void *arg, size_t depth, struct slice domain, struct slice term, const char *outcome);

/* done is called once, from the loop, never from inside spf_start. The verdict is valid until spf_free, which also ends a check under way. The
 * question is copied. */
struct spf;
struct spf *spf_start(struct mail_dns *dns, const struct spf_question *q, void (*done)(void *arg, struct spf *s), void *arg);
const struct spf_verdict *spf_verdict(const struct spf *s); /* NULL before done */
void spf_watch(struct spf *s, spf_trace trace, void *arg);
void spf_free(struct spf *s); /* NULL is fine */

const char *spf_result_name(enum spf_result r); /* RFC 8601's words */
#endif
