#ifndef BASE_MAIL_SIGNATURE_H
#define BASE_MAIL_SIGNATURE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/mail_body.h"
#include "base/mail_header.h"
#include "base/slice.h"

/* The three fields that carry a signature: DKIM-Signature (RFC 6376, 3.5), ARC-Message-Signature and ARC-Seal (RFC 8617, 4.1). Read once when the
 * header section is complete; their header digests are made then, too, so nothing of the header has to be kept. */
enum mail_signature_kind { SIGNATURE_DKIM, SIGNATURE_ARC_MESSAGE, SIGNATURE_ARC_SEAL };
enum mail_algorithm { ALGORITHM_RSA_SHA1, ALGORITHM_RSA_SHA256, ALGORITHM_ED25519_SHA256 };
enum arc_cv { ARC_CV_NONE, ARC_CV_PASS, ARC_CV_FAIL };
enum { MAIL_SIGNATURE_MAX_FIELD = 64 << 10, MAIL_SIGNATURE_MAX_NAMES = 500 /* in h= */, MAIL_SIGNATURE_MAX_KEY_NAME = 240 /* s= and d= together */, ARC_MAX_INSTANCE = 50 };

struct mail_signature {
	enum mail_signature_kind kind;
	enum mail_algorithm algorithm;
	enum mail_canon header_form, body_form;
	struct slice domain;       /* d=, A-labels */
	struct slice selector;     /* s=, A-labels */
	struct slice identity;     /* i= of DKIM as written, "@" d= by default */
	struct slice signature;    /* b=, decoded */
	struct slice body_hash;    /* bh=, decoded */
	struct slice names;        /* h= */
	uint64_t length;           /* l=, or MAIL_BODY_WHOLE */
	int64_t made_s, expires_s; /* t=, x=; -1 none */
	unsigned instance;         /* i= of ARC */
	enum arc_cv cv;            /* of a seal */
	struct slice without;      /* the value of b= in the field: empty in its own digest */
};

/* Reads f's value. Strings are copied into mem, save for names and without, which are views of the field. lax: DKIM's
 * versions before RFC 4871 are read, too. 0, or -EINVAL with *why a fixed phrase. */
int mail_signature_parse(enum mail_signature_kind kind, const struct mail_field *f, struct arena *mem, bool lax, struct mail_signature *out,
                         const char **why);

/* Names of a header section, hashed once for any number of signatures. */
struct mail_names;
struct mail_names *mail_names_new(const struct mail_header *h, struct arena *mem); /* NULL: the arena is full */

/* The digest that DKIM-Signature and ARC-Message-Signature sign: the fields of h=, each name's from the bottom up, then the field itself without
 * the value of b= (6376, 3.7 and 5.4.2). own: the field itself, not chosen by h=. */
void mail_signature_digest(const struct mail_signature *s, const struct mail_header *h, const struct mail_names *names, const struct mail_field *own,
                           struct mail_digest *out);

/* A sink into a digest that gathers small runs. */
struct mail_digest_sink {
	struct crypto_hash *hash;
	size_t n;
	char bytes[2048];
};
void mail_digest_begin(struct mail_digest_sink *s, bool sha1);
void mail_digest_put(void *sink, const char *p, size_t n);
void mail_digest_end(struct mail_digest_sink *s, struct mail_digest *out);

const char *mail_algorithm_name(enum mail_algorithm a);
const char *arc_cv_name(enum arc_cv cv);
#endif
