/* Signing for a handshake, in the keeper. */
#include "base/tls_key.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "base/tls_inside.h"

enum { BLANKS = 64, RANDOMS = 64, NAMED_CURVE = 3 };

static EVP_PKEY *raw(const struct crypto_key *k)
{
	return crypto_key_raw(k);
}

void tls_key_id_of(const struct crypto_key *k, uint8_t out[32])
{
	tls_key_id(raw(k), out);
}

bool tls_key_may_sign(struct slice data)
{
	static const char context[] = "TLS 1.3, server CertificateVerify"; /* and its NUL */
	size_t blanks = 0;
	while (blanks < data.n && blanks < BLANKS && data.p[blanks] == ' ')
		blanks++;
	struct slice rest = slice_skip(data, BLANKS);
	if (blanks == BLANKS && slice_starts(rest, slice(context, sizeof context)))
		return rest.n == sizeof context + 32 || rest.n == sizeof context + 48;
	struct slice params = slice_skip(data, RANDOMS);
	return params.n > 4 && params.p[0] == NAMED_CURVE && params.n == 4u + (unsigned char)params.p[3];
}

struct scheme {
	unsigned number;
	enum crypto_kind kind;
	const char *digest;
	bool pss;
};

static const struct scheme schemes[] = {
	{ 0x0401, CRYPTO_RSA, "SHA256", false }, { 0x0501, CRYPTO_RSA, "SHA384", false }, { 0x0601, CRYPTO_RSA, "SHA512", false },
	{ 0x0804, CRYPTO_RSA, "SHA256", true }, { 0x0805, CRYPTO_RSA, "SHA384", true }, { 0x0806, CRYPTO_RSA, "SHA512", true },
	{ 0x0403, CRYPTO_EC, "SHA256", false }, { 0x0503, CRYPTO_EC, "SHA384", false }, { 0x0603, CRYPTO_EC, "SHA512", false },
	{ 0x0807, CRYPTO_ED25519, NULL, false },
};

static const struct scheme *scheme_of(const struct crypto_key *k, unsigned number)
{
	for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
		if (schemes[i].number == number && schemes[i].kind == crypto_key_kind(k))
			return &schemes[i];
	return NULL;
}

int tls_key_sign(const struct crypto_key *k, unsigned number, struct slice data, struct buf *out)
{
	const struct scheme *s = scheme_of(k, number);
	unsigned char signature[CRYPTO_MAX_SIGNATURE];
	size_t n = sizeof signature;
	if (!s)
		return -EINVAL;
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	EVP_PKEY_CTX *p = NULL; /* c's */
	bool good = c && EVP_DigestSignInit_ex(c, &p, s->digest, NULL, NULL, raw(k), NULL) == 1;
	if (good && s->pss)
		good = EVP_PKEY_CTX_set_rsa_padding(p, RSA_PKCS1_PSS_PADDING) == 1 && EVP_PKEY_CTX_set_rsa_pss_saltlen(p, RSA_PSS_SALTLEN_DIGEST) == 1;
	good = good && EVP_DigestSign(c, signature, &n, (const unsigned char *)data.p, data.n) == 1;
	EVP_MD_CTX_free(c);
	return good ? buf_add(out, slice((const char *)signature, n)) : -EINVAL;
}
