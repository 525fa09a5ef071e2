#ifndef BASE_MAIL_ARC_H
#define BASE_MAIL_ARC_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/mail_body.h"
#include "base/mail_dns.h"
#include "base/mail_header.h"
#include "base/mail_signature.h"

/* The Authenticated Received Chain (RFC 8617): collected, validated, and what sealing on top of it needs. */
enum arc_result { ARC_NONE, ARC_PASS, ARC_FAIL, ARC_TEMPERROR };

/* The sets of a header section, ordered by instance. */
struct arc_set {
	const struct mail_field *results, *message, *seal;
	struct mail_signature message_signature, seal_signature;
};

struct arc_chain {
	struct arc_set *sets;   /* sets[0] is i=1 */
	size_t count;
	const char *wrong;      /* the chain has a wrong form: a fixed phrase; NULL good */
};

/* All of a header section's ARC fields, in mem; fields are views of the header. A chain of a wrong form has the sets that could be read. */
void arc_collect(const struct mail_header *h, struct arena *mem, struct arc_chain *out);

/* The text of ARC-Authentication-Results behind "i=N;"; p NULL for a wrong form. */
struct slice arc_results_text(const struct mail_field *f, unsigned *instance);

/* The digest of seal `instance` (1-based) over all sets up to it. chain->sets may hold a new last set whose seal's b= is empty. */
void arc_seal_digest(const struct arc_chain *chain, size_t instance, struct mail_digest *out);

struct arc_verdict {
	enum arc_result result;
	const char *why;               /* a fixed phrase with ARC_FAIL and ARC_TEMPERROR */
	unsigned instance;             /* the highest */
	bool signs_from;               /* the newest message signature covers From: without it the chain says nothing about the author */
	bool sealed_fail;              /* the newest seal says cv=fail: nobody seals on top (8617, 5.1) */
	struct slice sealer[ARC_MAX_INSTANCE];   /* d= of each seal, [0] is i=1; with ARC_PASS */
	struct slice results[ARC_MAX_INSTANCE];  /* what each sealer had found: the text behind "i=N;" */
	struct slice selector;         /* of the newest seal */
	struct mail_digest header_hash, body_hash; /* of the newest message signature */
};

struct arc;

/* As in mail_dkim: header may go when this returns, body is shared and lives longer. */
struct arc *arc_start(struct mail_dns *dns, const struct mail_header *header, struct mail_body *body, bool lax);
void arc_judge(struct arc *a, void (*done)(void *arg, struct arc *a), void *arg);
const struct arc_verdict *arc_verdict(const struct arc *a);
void arc_free(struct arc *a); /* NULL is fine */

const char *arc_result_name(enum arc_result r);
#endif
