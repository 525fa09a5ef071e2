/* OpenSSL's EVP, and nothing of it outside. A failure inside OpenSSL with good arguments means that memory is gone: the process ends, as with any memory. */
#include "base/crypto.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"

enum { MAX_EXPONENT_BITS = 33 };

static void need(bool good)
{
	if (!good)
		abort();
}

static const unsigned char *bytes(struct slice s)
{
	return (const unsigned char *)(s.n ? s.p : "");
}

/* A message takes several digests, and a context costs as much as a block or two: a few that have ended are kept for whoever comes next, in any thread. */
enum { SPARE = 4 };
static EVP_MD_CTX *spare[SPARE];

static EVP_MD_CTX *context_take(void)
{
	EVP_MD_CTX *h = NULL;
	for (size_t i = 0; i < SPARE && !h; i++)
		if (__atomic_load_n(&spare[i], __ATOMIC_RELAXED))
			h = __atomic_exchange_n(&spare[i], NULL, __ATOMIC_ACQUIRE);
	if (!h)
		h = EVP_MD_CTX_new();
	need(h != NULL);
	return h;
}

static void context_give(EVP_MD_CTX *h)
{
	for (size_t i = 0; i < SPARE && h; i++)
		if (!__atomic_load_n(&spare[i], __ATOMIC_RELAXED))
			h = __atomic_exchange_n(&spare[i], h, __ATOMIC_RELEASE); /* whatever was there by now looks for another place */
	EVP_MD_CTX_free(h);
}

static struct crypto_hash *hash_new(const EVP_MD *kind)
{
	EVP_MD_CTX *h = context_take();
	need(EVP_DigestInit_ex(h, kind, NULL) == 1);
	return (struct crypto_hash *)h;
}

struct crypto_hash *crypto_sha256_new(void)
{
	static const EVP_MD *kind;
	if (!kind)
		kind = EVP_MD_fetch(NULL, "SHA256", NULL); /* once: the look-up costs more than a short digest */
	return hash_new(kind);
}

struct crypto_hash *crypto_sha1_new(void)
{
	return hash_new(EVP_sha1());
}

void crypto_hash_add(struct crypto_hash *h, struct slice s)
{
	if (s.n)
		need(EVP_DigestUpdate((EVP_MD_CTX *)h, s.p, s.n) == 1);
}

size_t crypto_hash_end(struct crypto_hash *h, uint8_t *out)
{
	unsigned n = 0;
	need(EVP_DigestFinal_ex((EVP_MD_CTX *)h, out, &n) == 1);
	context_give((EVP_MD_CTX *)h);
	return n;
}

void crypto_hash_drop(struct crypto_hash *h)
{
	EVP_MD_CTX_free((EVP_MD_CTX *)h);
}

struct crypto_hash *crypto_hash_copy(const struct crypto_hash *h)
{
	EVP_MD_CTX *copy = context_take();
	need(EVP_MD_CTX_copy_ex(copy, (const EVP_MD_CTX *)h) == 1);
	return (struct crypto_hash *)copy;
}

void crypto_hmac_sha1(struct slice key, struct slice s, uint8_t out[CRYPTO_SHA1])
{
	unsigned n = 0;
	need(HMAC(EVP_sha1(), bytes(key), (int)key.n, bytes(s), s.n, out, &n) != NULL);
}


/* Keys ------------------------------------------------------------------------------------------------------------------------------ */

/* A key, and for RSA what its operation needs beside it, made once: looking algorithms up costs a tenth of a verification. */
struct crypto_key {
	EVP_PKEY *key;
	EVP_PKEY_CTX *verify, *sign; /* over SHA-256 digests; NULL: made when they are needed */
};

static EVP_PKEY *raw(const struct crypto_key *k)
{
	return k->key;
}

void *crypto_key_raw(const struct crypto_key *k)
{
	return raw(k);
}

static EVP_PKEY_CTX *rsa_operation(EVP_PKEY *k, const EVP_MD *kind, int (*init)(EVP_PKEY_CTX *))
{
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(k, NULL);
	if (c && init(c) == 1 && EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_PADDING) == 1 && EVP_PKEY_CTX_set_signature_md(c, kind) == 1)
		return c;
	EVP_PKEY_CTX_free(c);
	return NULL;
}

/* k NULL: there is none. */
static struct crypto_key *wrap(EVP_PKEY *k, int (*init)(EVP_PKEY_CTX *))
{
	if (!k)
		return NULL;
	struct crypto_key *out = MEM_NEW(struct crypto_key);
	out->key = k;
	EVP_PKEY_CTX *c = EVP_PKEY_get_base_id(k) == EVP_PKEY_RSA && init ? rsa_operation(k, EVP_sha256(), init) : NULL;
	*(init == EVP_PKEY_sign_init ? &out->sign : &out->verify) = c;
	return out;
}

static EVP_PKEY *checked(EVP_PKEY *k)
{
	int id = k ? EVP_PKEY_get_base_id(k) : 0;
	if (k && id != EVP_PKEY_RSA && id != EVP_PKEY_ED25519 && id != EVP_PKEY_EC) {
		EVP_PKEY_free(k);
		k = NULL;
	}
	return k;
}

/* A key that somebody publishes decides what a verification costs: an exponent as long as the modulus makes it a hundredfold. */
static bool exponent_is_small(const EVP_PKEY *k)
{
	BIGNUM *e = NULL;
	bool small = EVP_PKEY_get_bn_param(k, OSSL_PKEY_PARAM_RSA_E, &e) && BN_num_bits(e) <= MAX_EXPONENT_BITS;
	BN_free(e);
	return small;
}

struct crypto_key *crypto_key_rsa_public(struct slice der)
{
	if (!der.n || der.n > 8192)
		return NULL;
	const unsigned char *at = bytes(der), *end = at + der.n;
	EVP_PKEY *k = d2i_PUBKEY(NULL, &at, (long)der.n);
	if (!k) {
		at = bytes(der);
		k = d2i_PublicKey(EVP_PKEY_RSA, NULL, &at, (long)der.n);
	}
	if (k && (at != end || EVP_PKEY_get_base_id(k) != EVP_PKEY_RSA || !exponent_is_small(k))) {
		EVP_PKEY_free(k);
		k = NULL;
	}
	return wrap(k, EVP_PKEY_verify_init);
}

struct crypto_key *crypto_key_ed25519_public(struct slice key)
{
	return key.n == 32 ? wrap(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, bytes(key), key.n), NULL) : NULL;
}

struct crypto_key *crypto_key_private_pem(struct slice pem)
{
	BIO *in = BIO_new_mem_buf(bytes(pem), (int)pem.n);
	need(in != NULL);
	EVP_PKEY *k = PEM_read_bio_PrivateKey(in, NULL, NULL, (void *)"");
	BIO_free(in);
	return wrap(checked(k), EVP_PKEY_sign_init);
}

struct crypto_key *crypto_key_generate_rsa(unsigned bits)
{
	return wrap(EVP_RSA_gen(bits), EVP_PKEY_sign_init);
}

struct crypto_key *crypto_key_generate_ed25519(void)
{
	return wrap(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), NULL);
}

void crypto_key_free(struct crypto_key *k)
{
	if (!k)
		return;
	EVP_PKEY_CTX_free(k->verify);
	EVP_PKEY_CTX_free(k->sign);
	EVP_PKEY_free(k->key);
	mem_free(k);
}

enum crypto_kind crypto_key_kind(const struct crypto_key *k)
{
	int id = EVP_PKEY_get_base_id(raw(k));
	return id == EVP_PKEY_RSA ? CRYPTO_RSA : id == EVP_PKEY_EC ? CRYPTO_EC : CRYPTO_ED25519;
}

unsigned crypto_key_bits(const struct crypto_key *k)
{
	return (unsigned)EVP_PKEY_get_bits(raw(k));
}

int crypto_key_add_public_der(const struct crypto_key *k, struct buf *out)
{
	if (crypto_key_kind(k) == CRYPTO_ED25519) {
		unsigned char key[32];
		size_t n = sizeof key;
		need(EVP_PKEY_get_raw_public_key(raw(k), key, &n) == 1);
		return buf_add(out, slice((const char *)key, n));
	}
	unsigned char *der = NULL;
	int n = i2d_PUBKEY(raw(k), &der);
	need(n > 0);
	int error = buf_add(out, slice((const char *)der, (size_t)n));
	OPENSSL_free(der);
	return error;
}

int crypto_key_add_private_pem(const struct crypto_key *k, struct buf *out)
{
	BIO *mem = BIO_new(BIO_s_mem());
	need(mem && PEM_write_bio_PrivateKey(mem, raw(k), NULL, NULL, 0, NULL, NULL) == 1);
	char *text;
	long n = BIO_get_mem_data(mem, &text);
	int error = buf_add(out, slice(text, (size_t)n));
	BIO_free(mem);
	return error;
}

/* Signatures ------------------------------------------------------------------------------------------------------------------------- */

static bool verify_rsa(const struct crypto_key *k, const EVP_MD *kind, struct slice digest, struct slice signature)
{
	bool kept = k->verify && kind == EVP_sha256();
	EVP_PKEY_CTX *c = kept ? k->verify : rsa_operation(raw(k), kind, EVP_PKEY_verify_init);
	bool good = c && EVP_PKEY_verify(c, bytes(signature), signature.n, bytes(digest), digest.n) == 1;
	if (!kept)
		EVP_PKEY_CTX_free(c);
	return good;
}

static bool verify_ed25519(const struct crypto_key *k, struct slice digest, struct slice signature)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	bool good = c && EVP_DigestVerifyInit(c, NULL, NULL, NULL, raw(k)) == 1 &&
	            EVP_DigestVerify(c, bytes(signature), signature.n, bytes(digest), digest.n) == 1;
	EVP_MD_CTX_free(c);
	return good;
}

bool crypto_verify_digest(const struct crypto_key *k, struct slice digest, struct slice signature)
{
	return crypto_key_kind(k) == CRYPTO_RSA ? verify_rsa(k, EVP_sha256(), digest, signature) :
	       crypto_key_kind(k) == CRYPTO_ED25519 && verify_ed25519(k, digest, signature);
}

bool crypto_verify_digest_sha1(const struct crypto_key *k, struct slice digest, struct slice signature)
{
	return crypto_key_kind(k) == CRYPTO_RSA && verify_rsa(k, EVP_sha1(), digest, signature);
}

static int sign_rsa(const struct crypto_key *k, struct slice digest, unsigned char *out, size_t *n)
{
	EVP_PKEY_CTX *c = k->sign ? k->sign : rsa_operation(raw(k), EVP_sha256(), EVP_PKEY_sign_init);
	bool good = c && EVP_PKEY_sign(c, out, n, bytes(digest), digest.n) == 1;
	if (!k->sign)
		EVP_PKEY_CTX_free(c);
	return good ? 0 : -EINVAL;
}

static int sign_ed25519(const struct crypto_key *k, struct slice digest, unsigned char *out, size_t *n)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	bool good = c && EVP_DigestSignInit(c, NULL, NULL, NULL, raw(k)) == 1 && EVP_DigestSign(c, out, n, bytes(digest), digest.n) == 1;
	EVP_MD_CTX_free(c);
	return good ? 0 : -EINVAL;
}

int crypto_sign_digest(const struct crypto_key *k, struct slice digest, struct buf *out)
{
	unsigned char signature[CRYPTO_MAX_SIGNATURE];
	size_t n = sizeof signature;
	if (crypto_key_kind(k) == CRYPTO_EC)
		return -EINVAL;
	int error = crypto_key_kind(k) == CRYPTO_RSA ? sign_rsa(k, digest, signature, &n) : sign_ed25519(k, digest, signature, &n);
	return error ? error : buf_add(out, slice((const char *)signature, n));
}
