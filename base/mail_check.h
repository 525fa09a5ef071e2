#ifndef BASE_MAIL_CHECK_H
#define BASE_MAIL_CHECK_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/dns.h"
#include "base/mail_arc.h"
#include "base/mail_dkim.h"
#include "base/mail_dmarc.h"
#include "base/mail_dns.h"
#include "base/mail_header.h"
#include "base/mail_spf.h"

/* All that can be known about who sent one message: SPF from the envelope, DKIM and ARC while content arrives, DMARC over both. One budget of DNS
 * questions, one pass over the body. The server and porterctl use the same.
 *
 *	new → envelope (SPF starts) → header → body… → end → done, from the loop
 *
 * Each step may be left out; what was not given is "none". */
struct mail_check_options {
	const struct suffix_list *suffixes; /* DMARC by RFC 7489; NULL: the tree walk */
	bool helo_too;                      /* check the HELO identity, too, where MAIL FROM is not null */
	bool seal;                          /* the body's relaxed digest will be wanted (mail_check_body_digest) */
	struct dkim_options dkim;           /* its clock, its laxity */
};

struct mail_check_envelope {
	struct net_ip client;
	struct slice helo;
	struct slice local_part, domain;    /* reverse-path; both "" for the null one: then SPF's identity is postmaster@HELO */
};

struct mail_check;
struct mail_check *mail_check_new(struct loop *l, struct dns *d, const struct mail_check_options *options);
void mail_check_free(struct mail_check *c); /* NULL is fine; ends all questions */
struct mail_dns *mail_check_dns(struct mail_check *c); /* to watch it */

void mail_check_envelope(struct mail_check *c, const struct mail_check_envelope *e);

/* done is called from the loop when the envelope's SPF is known; at once known: too. One waiter. */
void mail_check_await_spf(struct mail_check *c, void (*done)(void *arg), void *arg);

/* The header section; may go when this returns. */
void mail_check_header(struct mail_check *c, const struct mail_header *h);
void mail_check_body(struct mail_check *c, struct slice chunk);
void mail_check_end(struct mail_check *c, void (*done)(void *arg), void *arg);

/* After the end, with `seal`: SHA-256 of the whole body in relaxed form. */
void mail_check_body_digest(const struct mail_check *c, struct mail_digest *out);

struct mail_check_results {
	const struct spf_verdict *spf;       /* NULL: not known, or nobody asked; of MAIL FROM, or of HELO for the null reverse-path */
	const struct spf_verdict *helo;      /* the HELO identity, apart */
	bool spf_is_helo;
	const struct dkim_verdict *dkim;
	size_t dkim_count;
	const struct dmarc_verdict *dmarc;   /* NULL before the end, and where From has no one domain */
	const char *from_wrong;              /* why From names no one author's domain: a fixed phrase; NULL good */
	bool from_hides;                     /* a mail program may show the address of a domain that nobody can tell */
	const struct arc_verdict *arc;       /* NULL before the end */
	unsigned questions;
};
void mail_check_results(const struct mail_check *c, struct mail_check_results *out);

/* The body of an Authentication-Results field: "id; spf=pass ...", lines folded by CRLF HTAB. extra is added first where not NULL
 * ("auth=pass ..." by authres_method). */
struct buf;
void mail_check_authres(const struct mail_check *c, struct slice id, void (*extra)(void *arg, struct buf *out), void *arg, struct buf *out);
#endif
