#ifndef BASE_TLS_KEY_H
#define BASE_TLS_KEY_H
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/crypto.h"
#include "base/slice.h"

/* The keeper's half of a handshake's signature (base/tls_remote.c is the server's). */

/* SHA-256 of the SubjectPublicKeyInfo: how a key is named. */
void tls_key_id_of(const struct crypto_key *k, uint8_t out[32]);

/* Is data what a server signs in a handshake, and nothing else (RFC 8446, 4.4.3; RFC 8422, 5.4: client random, server random, a named curve and a point)? */
bool tls_key_may_sign(struct slice data);

/* Signs data by a SignatureScheme of RFC 8446, 4.2.3. -EINVAL: not a scheme of this key. */
int tls_key_sign(const struct crypto_key *k, unsigned scheme, struct slice data, struct buf *out);
#endif
