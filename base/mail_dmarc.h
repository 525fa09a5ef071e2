#ifndef BASE_MAIL_DMARC_H
#define BASE_MAIL_DMARC_H
#include <stdbool.h>
#include <stddef.h>
#include "base/mail_dmarc_record.h"
#include "base/mail_dns.h"
#include "base/slice.h"
#include "base/suffix.h"

/* DMARC (RFC 9989) by events. Discovery starts when the author's domain is known, the verdict comes when the authenticated identifiers are. The
 * organizational domain is found by the tree walk of 4.10; with a suffix list by that list, as RFC 7489 had it. */
enum dmarc_result { DMARC_NONE, DMARC_PASS, DMARC_FAIL, DMARC_TEMPERROR, DMARC_PERMERROR };
enum { DMARC_MAX_IDENTIFIERS = 8 };

struct dmarc_identifiers {
	struct slice spf;                          /* MAIL FROM domain that passed SPF; "" none */
	struct slice dkim[DMARC_MAX_IDENTIFIERS];  /* d= of signatures that passed */
	size_t dkim_count;
	struct slice unsure_spf;                   /* the same whose check ended in temperror; without a pass the result is that, too, if one of them */
	struct slice unsure_dkim[DMARC_MAX_IDENTIFIERS]; /* could be aligned */
	size_t unsure_count;                       /* of unsure_dkim */
};

struct dmarc_verdict {
	enum dmarc_result result;
	enum dmarc_policy policy;        /* what to apply to a failure: p, sp or np, one step milder with t=y */
	enum dmarc_policy published;     /* the same before t=y */
	const char *why;                 /* a fixed phrase for errors and none */
	struct slice author;             /* the author's domain, A-labels */
	struct slice domain;             /* where the record was found; "" none */
	struct slice organisation;       /* of the author; "" unknown */
	struct slice text;               /* the record */
	struct dmarc_record record;
	bool nonexistent;                /* the author's domain does not exist */
	bool spf_aligned, dkim_aligned;
	struct slice aligned_dkim;       /* the d= that did it */
};

struct dmarc;

/* author: the domain of From, U- or A-labels; an invalid name gives permerror. suffixes may be NULL: the tree walk. */
struct dmarc *dmarc_start(struct mail_dns *dns, struct slice author, const struct suffix_list *suffixes);

/* Once: done is called from the loop, never from inside. */
void dmarc_judge(struct dmarc *d, const struct dmarc_identifiers *who, void (*done)(void *arg, struct dmarc *d), void *arg);
const struct dmarc_verdict *dmarc_verdict(const struct dmarc *d); /* NULL before done */
void dmarc_free(struct dmarc *d); /* NULL is fine */

const char *dmarc_result_name(enum dmarc_result r);
#endif
