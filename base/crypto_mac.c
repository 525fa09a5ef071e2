/* GMAC by OpenSSL, whose state is a pass of carry-less multiplications: an eighth of SHA-256's time where the processor has instructions for both. */
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <stdlib.h>

#include "base/crypto.h"

enum { NONCE = 12, TAG = 16 };

static void need(bool good)
{
	if (!good)
		abort();
}

static EVP_MAC_CTX *raw(const struct crypto_mac *m)
{
	return (EVP_MAC_CTX *)m;
}

/* The nonce is always the same one. Two tags under one nonce would tell the key, so none is ever shown (crypto_mac_value). */
struct crypto_mac *crypto_mac_new(const uint8_t key[CRYPTO_MAC_KEY])
{
	static EVP_MAC *kind;
	static char cipher[] = "AES-256-GCM";
	static uint8_t nonce[NONCE];
	if (!kind)
		kind = EVP_MAC_fetch(NULL, "GMAC", NULL); /* once: the look-up costs more than a short digest */
	EVP_MAC_CTX *c = EVP_MAC_CTX_new(kind);
	const OSSL_PARAM with[] = { OSSL_PARAM_utf8_string(OSSL_MAC_PARAM_CIPHER, cipher, sizeof cipher - 1), OSSL_PARAM_octet_string(OSSL_MAC_PARAM_IV, nonce, sizeof nonce),
		                    OSSL_PARAM_END };
	need(c && EVP_MAC_init(c, key, CRYPTO_MAC_KEY, with) == 1);
	return (struct crypto_mac *)c;
}

void crypto_mac_add(struct crypto_mac *m, struct slice s)
{
	if (s.n)
		need(EVP_MAC_update(raw(m), (const unsigned char *)s.p, s.n) == 1);
}

void crypto_mac_value(const struct crypto_mac *m, uint8_t out[CRYPTO_SHA256])
{
	uint8_t tag[TAG];
	size_t n = 0;
	EVP_MAC_CTX *copy = EVP_MAC_CTX_dup(raw(m));
	need(copy && EVP_MAC_final(copy, tag, &n, sizeof tag) == 1 && n == sizeof tag);
	EVP_MAC_CTX_free(copy);
	crypto_sha256(slice((const char *)tag, n), out);
}

void crypto_mac_free(struct crypto_mac *m)
{
	EVP_MAC_CTX_free(raw(m));
}
