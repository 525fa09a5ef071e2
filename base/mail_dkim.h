#ifndef BASE_MAIL_DKIM_H
#define BASE_MAIL_DKIM_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/mail_body.h"
#include "base/mail_dns.h"
#include "base/mail_header.h"
#include "base/mail_signature.h"

/* DKIM verification (RFC 6376, 8301, 8463, 8616) by events: signatures are read and keys asked for when the header section is complete, the
 * body's digests are made while it arrives, and the verdicts come when both are there. At most DKIM_MAX_CHECKED signatures are checked, the
 * first ones from the top that can be read. */
enum dkim_result { DKIM_NONE, DKIM_PASS, DKIM_FAIL, DKIM_POLICY, DKIM_NEUTRAL, DKIM_TEMPERROR, DKIM_PERMERROR }; /* RFC 8601's words */
enum { DKIM_MAX_CHECKED = 5, DKIM_MAX_SEEN = 50 };

struct dkim_options {
	bool lax;          /* sha1, short keys and l= may pass: for old corpora only */
	int64_t now_s;
};

struct dkim_verdict {
	enum dkim_result result;
	const char *why;                 /* a fixed phrase; NULL with a pass */
	struct slice domain, selector, identity; /* "" where the field could not be read */
	enum mail_algorithm algorithm;
	unsigned key_bits;
	bool testing;                    /* the key says t=y */
	struct slice signature;          /* decoded; its base64's head tells signatures apart (header.b, RFC 6008) */
	struct mail_digest header_hash, body_hash; /* as computed */
};

struct dkim;

/* header may go when this returns. body: the shared digests, before its first byte; lives longer than the dkim. */
struct dkim *dkim_start(struct mail_dns *dns, const struct mail_header *header, struct mail_body *body, const struct dkim_options *options);

/* After mail_body_end; done is called once, from the loop, never from inside. */
void dkim_judge(struct dkim *d, void (*done)(void *arg, struct dkim *d), void *arg);

/* After done: signatures from the top; none gives count 0. */
const struct dkim_verdict *dkim_verdicts(const struct dkim *d, size_t *count);
void dkim_free(struct dkim *d); /* NULL is fine */

const char *dkim_result_name(enum dkim_result r);
#endif
