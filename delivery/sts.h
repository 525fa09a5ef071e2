#ifndef DELIVERY_STS_H
#define DELIVERY_STS_H
#include <stdbool.h>
#include <stdint.h>
#include "base/answer.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/dns.h"
#include "base/loop.h"
#include "base/slice.h"
#include "delivery/https.h"
#include "delivery/tls_report.h"

/* MTA-STS (RFC 8461): what a domain says about TLS at its mail hosts. Whether there is a policy is asked by DNS (TXT _mta-sts.DOMAIN); the policy itself is fetched
 * over HTTPS by a short-lived process, kept on disk by it, and in memory here until its max_age is over. A policy that is known is believed although record and
 * server are gone (5.1); a day before its end, and when the id changes, it is fetched again. */
enum { STS_MAX_MX = 64, STS_MAX_TEXT = 64 << 10, STS_MAX_DOMAINS = 20000, STS_MAX_AGE_S = 31557600 };
enum sts_mode { STS_NONE, STS_TESTING, STS_ENFORCE };

struct sts_policy {
	enum sts_mode mode;
	uint64_t max_age_s;
	struct slice mx[STS_MAX_MX];   /* lower case; "*.example.org" is one label more */
	size_t mx_count;
};

/* Reads a policy's text (3.2). False: not a policy. */
bool sts_parse(struct slice text, struct arena *mem, struct sts_policy *out);
/* Is this host one of the policy's (4.1)? */
bool sts_names(const struct sts_policy *p, struct slice host);
/* The id of a TXT record (3.1). False: not such a record. */
bool sts_record(struct slice txt, struct slice *id);

/* How the process has a policy fetched: starts the helper, whose answer comes to sts_fetched. 0 or -errno. */
typedef int (*sts_fetch)(void *how, struct slice domain, struct slice id);

struct sts;
struct sts *sts_new(struct loop *l, struct dns *d, sts_fetch fetch, void *how);
void sts_free(struct sts *s);

/* While what lies on disk is being told, by sts_fetched, questions wait, for as long as for a fetch: a young process must not pass by a policy that is known. */
void sts_loading(struct sts *s, bool loading);

/* What was fetched, also if it is no policy; fetched_s: when. Also for all that lies on disk, at start. */
void sts_fetched(struct sts *s, struct slice domain, struct slice id, struct slice text, int64_t fetched_s);
void sts_lost(struct sts *s, struct slice domain, struct slice id, enum https_end why); /* it can't be had */

/* Once an hour: policies that end within a day are fetched again, so that they don't end because nobody wrote there on the last day (RFC 8461, 10.2: an attacker would wait for that).
 * True: more are due than can be fetched at once. */
bool sts_refresh(struct sts *s);

/* FOUND: *p is the domain's policy, valid during the call; ABSENT: it has none; UNSURE: it says that it has one, which can't be had (mail goes on, 5); why, in the words of
 * TLS reports, else TLS_REPORT_SUCCESS. done is called once, from the loop. */
struct sts_query;
typedef void (*sts_done)(void *arg, enum answer a, const struct sts_policy *p, enum tls_report_result why);
struct sts_query *sts_find(struct sts *s, struct slice domain, sts_done done, void *arg);
void sts_cancel(struct sts_query *q); /* NULL is fine */

/* The helper's main (ctl/helper_kinds.c, kind "sts"): words: directory, then DOMAIN and ID to fetch; without them, all that lies on disk is told. Records of
 * {domain, id, fetched, text} are written to standard input, which is a socket. */
int sts_main(int argc, char **argv);
#endif
