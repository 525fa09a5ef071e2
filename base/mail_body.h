#ifndef BASE_MAIL_BODY_H
#define BASE_MAIL_BODY_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/mail_canon.h"
#include "base/slice.h"

/* The digests of one body, for all signatures that want them, in one pass while content arrives: at most one canonicaliser for each form,
 * whatever the number of signatures. */
enum { MAIL_BODY_MAX_DIGESTS = 12, MAIL_DIGEST_MAX = 32 };
#define MAIL_BODY_WHOLE UINT64_MAX

struct mail_digest {
	uint8_t bytes[MAIL_DIGEST_MAX];
	size_t n;
};

struct mail_body;
struct mail_body *mail_body_new(void);
void mail_body_free(struct mail_body *b); /* NULL is fine */

/* A digest that will be wanted, over the first `length` octets of the canonical form (l=) or MAIL_BODY_WHOLE. Before the first add. Returns its number, the same
 * one for the same wish; -1 when there are too many. */
int mail_body_want(struct mail_body *b, enum mail_canon form, bool sha1, uint64_t length);

/* The body, without the empty line before it, cut anywhere; lines end with CRLF. */
void mail_body_add(struct mail_body *b, struct slice chunk);
void mail_body_end(struct mail_body *b);

/* After the end. False: the body is shorter than the length that was wanted. */
bool mail_body_digest(const struct mail_body *b, int number, struct mail_digest *out);
#endif
