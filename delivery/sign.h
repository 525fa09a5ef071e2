#ifndef DELIVERY_SIGN_H
#define DELIVERY_SIGN_H
#include <stdint.h>
#include "base/keeper.h"
#include "base/mail_arc.h"
#include "base/mail_body.h"
#include "base/mail_header.h"
#include "base/slice.h"
#include "maps/signers.h"

/* Signature fields for mail that leaves, with keys that only the keeper holds: DKIM by every key of the map's line, or one ARC set on top of a chain.
 * The canonical form is relaxed for header and body; the body's digest is made while content passes (base/mail_body). */
struct signing;

/* fields: whole, CRLF line ends, to be put on top; valid during the call. error: -ENOENT no such key, -EAGAIN, -ETIMEDOUT, -EMSGSIZE. */
typedef void (*signing_done)(void *arg, int error, struct slice fields);

/* done is called once, from the loop, never from inside. header may go when this returns. */
struct signing *signing_dkim(struct keeper *k, const struct signers *s, const struct mail_header *h, const struct mail_digest *body, int64_t now_s,
                             signing_done done, void *arg);

struct signing_seal {
	struct slice domain, selector;   /* of the seal */
	bool ed25519;
	struct slice results;            /* "id; spf=pass ..." as mail_check_authres writes it */
	enum arc_cv cv;                  /* what the chain below is worth */
	int64_t now_s;
};
/* The caller has seen to it that the chain is open: not sealed as failed, fewer than ARC_MAX_INSTANCE sets. */
struct signing *signing_arc(struct keeper *k, const struct signing_seal *s, const struct mail_header *h, const struct mail_digest *body, signing_done done,
                            void *arg);

void signing_free(struct signing *s); /* also what is under way; NULL is fine. After done: the caller's to call */
#endif
