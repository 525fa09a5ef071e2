/* Digests of what lies in memory whole, by libnettle: processes that need no more don't load OpenSSL, half a megabyte of each one's memory. What is digested as it comes, and long, is
 * base/crypto.c's, where OpenSSL is faster. */
#include "base/crypto.h"

#include <nettle/hmac.h>
#include <nettle/pbkdf2.h>
#include <nettle/sha2.h>

#include "base/mem.h"

static const uint8_t *bytes(struct slice s)
{
	return (const uint8_t *)(s.p ? s.p : "");
}

void crypto_sha256(struct slice s, uint8_t out[CRYPTO_SHA256])
{
	struct sha256_ctx h;
	sha256_init(&h);
	sha256_update(&h, s.n, bytes(s));
	sha256_digest(&h, CRYPTO_SHA256, out);
	mem_wipe(&h, sizeof h);
}

void crypto_hmac_sha256(struct slice key, struct slice s, uint8_t out[CRYPTO_SHA256])
{
	struct hmac_sha256_ctx h;
	hmac_sha256_set_key(&h, key.n, bytes(key));
	hmac_sha256_update(&h, s.n, bytes(s));
	hmac_sha256_digest(&h, CRYPTO_SHA256, out);
	mem_wipe(&h, sizeof h);
}

bool crypto_pbkdf2_sha256(struct slice password, struct slice salt, unsigned rounds, uint8_t out[CRYPTO_SHA256])
{
	if (!rounds)
		return false;
	pbkdf2_hmac_sha256(password.n, bytes(password), rounds, salt.n, bytes(salt), CRYPTO_SHA256, out);
	return true;
}
