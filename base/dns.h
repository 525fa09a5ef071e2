#ifndef BASE_DNS_H
#define BASE_DNS_H
#include <stdbool.h>
#include <stdint.h>
#include "base/answer.h"
#include "base/arena.h"
#include "base/loop.h"
#include "base/slice.h"

/* DNS questions by events. Answers are hostile bytes: parsed with lengths, bounded in
 * number, names checked. FOUND: at least one record of the type. ABSENT: NXDOMAIN or no record of the type (see nxdomain).
 * UNSURE: servfail, time-out, bogus under DNSSEC, malformed, too many. */
enum dns_type { DNS_A = 1, DNS_CNAME = 5, DNS_PTR = 12, DNS_MX = 15, DNS_TXT = 16, DNS_AAAA = 28, DNS_TLSA = 52 };
enum { DNS_MAX_RECORDS = 512, DNS_MAX_ANSWER = 65536 };

struct dns_record {
	uint16_t preference;  /* MX */
	struct slice data;    /* A: 4 octets; AAAA: 16; TXT: strings joined; PTR, MX, CNAME: name in lower case without the last dot ("" is the root);
	                         TLSA: the rdata */
};

struct dns_answer {
	enum answer answer;
	bool nxdomain;               /* with ABSENT: the name does not exist at all */
	bool secure;                 /* validated by DNSSEC */
	const char *why;             /* with UNSURE: a fixed phrase: "timeout", "servfail", "bogus", "malformed" */
	uint32_t ttl_s;
	struct slice canonical;      /* the owner name after CNAMEs; "" where unknown */
	struct dns_record *records;
	size_t count;
};

struct dns_settings {
	struct slice resolvers;      /* "ADDR[@PORT] ..." to forward to; empty: /etc/resolv.conf; "root" for own recursion */
	struct slice trust_anchor;   /* file name; empty: no validation */
	bool local_zones;            /* libunbound's built-in local zones (test., localhost, reverse of private ranges); default off */
	struct slice zone_file;      /* tools only: answers come from this RFC 1035 master file alone, nothing else is asked */
	bool zone_secure;            /* with zone_file: its answers count as validated by DNSSEC */
	uint64_t timeout_ms;         /* for one question, all retries together; then UNSURE */
};

/* A source of answers: libunbound in this process, one that reads a zone file, or the house's process `resolver`; evaluators can't tell which. */
struct dns;
struct dns *dns_new(struct loop *l, const struct dns_settings *s, const char **why);
/* Questions wait for dns_attach, which takes fd, a channel to `resolver`; it comes again when that process was restarted. */
struct dns *dns_new_asking(struct loop *l, uint64_t timeout_ms);
void dns_attach(struct dns *d, int fd);
void dns_free(struct dns *d);

/* Asks. done is called exactly once, from the loop (never from inside dns_ask), unless dns_cancel comes first. The answer and what it points to
 * are valid during the call. name without a trailing dot, ASCII (A-labels), <= 253 bytes; a bad name is answered ABSENT with nxdomain. */
struct dns_query;
struct dns_query *dns_ask(struct dns *d, enum dns_type type, struct slice name,
                          void (*done)(void *arg, const struct dns_answer *a), void *arg);
void dns_cancel(struct dns_query *q); /* NULL is fine */
#endif
