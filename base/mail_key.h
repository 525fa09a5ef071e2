#ifndef BASE_MAIL_KEY_H
#define BASE_MAIL_KEY_H
#include <stdbool.h>
#include <stdint.h>
#include "base/mail_signature.h"
#include "base/slice.h"

/* Key records of DKIM and ARC (RFC 6376, 3.6.1) and signatures checked with them. Records and their keys are kept in a bounded table by their bytes:
 * decoding a key costs more than checking a signature. */
enum { MAIL_KEY_MIN_BITS = 1024, MAIL_KEY_MAX_BITS = 4096, MAIL_KEY_CACHE = 256, MAIL_KEY_MAX_RECORD = 16 << 10 };

struct mail_key_record {
	bool ed25519;             /* k= */
	bool revoked;             /* p= is empty */
	bool testing;             /* t=y */
	bool strict;              /* t=s: i= must be at d= itself */
	struct slice key;         /* p=, base64 */
	struct slice hashes;      /* h=, p NULL: all */
	struct slice addresses;   /* g= of RFC 4871, for old corpora; p NULL: none written */
};

/* 0, or -EINVAL with *why: no key record, or one that isn't for mail. Views of text. */
int mail_key_parse(struct slice text, struct mail_key_record *out, const char **why);

/* True if g= lets the key sign for this identity: "*" for any, at most one "*" in a pattern, "" for none (RFC 4871, 3.6.1). */
bool mail_key_suits(const struct mail_key_record *k, struct slice identity);

/* A record and its key in the table, until the next mail_key_find. NULL: no key record, *why as above. */
struct mail_key;
struct mail_key *mail_key_find(struct slice text, const char **why);
const struct mail_key_record *mail_key_record(const struct mail_key *k);

/* Checks signature over digest. NULL: it is good; else a fixed phrase. *bits becomes the key's length. lax: keys of any length, SHA-1. */
const char *mail_key_verify(struct mail_key *k, const struct mail_signature *s, const struct mail_digest *digest, bool lax, unsigned *bits);
#endif
