#ifndef BASE_MAIL_SIGN_H
#define BASE_MAIL_SIGN_H
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/mail_arc.h"
#include "base/mail_header.h"
#include "base/mail_signature.h"
#include "base/slice.h"

/* Making DKIM-Signature, ARC-Message-Signature and ARC-Seal in two steps, because the private key is somebody else's (base/keeper): begin writes
 * the field without its signature and gives the digest to sign, end puts the signature in. */
struct mail_sign {
	enum mail_signature_kind kind;
	enum mail_algorithm algorithm;
	enum mail_canon header_form, body_form;
	struct slice domain, selector;
	struct slice identity;     /* i= of DKIM; "" leaves it out */
	struct slice names;        /* h=: "from:to:..." */
	int64_t made_s, expires_s; /* expires_s 0: no x= */
	unsigned instance;         /* of ARC */
	enum arc_cv cv;            /* of a seal */
};

/* The field, its line end CRLF included, is added to field; *at is where the signature belongs. 0, or -EMSGSIZE. DKIM and ARC messages: over header
 * and the body's digest. */
int mail_sign_message(const struct mail_sign *p, const struct mail_header *h, const struct mail_digest *body, struct buf *field, size_t *at,
                      struct mail_digest *digest);

/* A seal: over the chain's sets (those that are there, and the new one's results and message, whose fields are given). */
int mail_sign_seal(const struct mail_sign *p, const struct arc_chain *chain, const struct mail_field *results, const struct mail_field *message,
                   struct buf *field, size_t *at, struct mail_digest *digest);

/* Puts the signature where it belongs, as base64: DKIM's folded, ARC's on its line, since a later seal covers it as it stands. */
int mail_sign_end(enum mail_signature_kind kind, struct buf *field, size_t at, struct slice signature);

/* h= for DKIM: the fields worth signing that are there, and each of those that a forger would add once more than it is there (oversigning,
 * 6376, 8.15). For ARC (arc true): the same without oversigning, and with the message's DKIM-Signature. */
int mail_sign_names(const struct mail_header *h, bool arc, struct buf *out);

/* A field of text that ends with CRLF, as a struct mail_field. */
struct mail_field mail_sign_field(struct slice text);
#endif
