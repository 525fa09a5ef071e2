#ifndef BASE_CRYPTO_H
#define BASE_CRYPTO_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/slice.h"

/* Digests, keyed digests, signatures (OpenSSL's EVP behind base/crypto.c, libnettle behind base/crypto_digest.c) and random bytes. */
enum { CRYPTO_SHA256 = 32, CRYPTO_SHA1 = 20, CRYPTO_MAX_SIGNATURE = 1024, CRYPTO_MAC_KEY = 32 };

/* An incremental SHA-256; crypto_hash_end frees it. SHA-1 is for old corpora and old protocols only. */
struct crypto_hash;
struct crypto_hash *crypto_sha256_new(void);
struct crypto_hash *crypto_sha1_new(void);
void crypto_hash_add(struct crypto_hash *h, struct slice s);
size_t crypto_hash_end(struct crypto_hash *h, uint8_t *out); /* writes the digest; returns its length */
void crypto_hash_drop(struct crypto_hash *h);                /* NULL is fine */
struct crypto_hash *crypto_hash_copy(const struct crypto_hash *h);

void crypto_sha256(struct slice s, uint8_t out[CRYPTO_SHA256]);
void crypto_hmac_sha256(struct slice key, struct slice s, uint8_t out[CRYPTO_SHA256]);
void crypto_hmac_sha1(struct slice key, struct slice s, uint8_t out[CRYPTO_SHA1]);
bool crypto_pbkdf2_sha256(struct slice password, struct slice salt, unsigned rounds, uint8_t out[CRYPTO_SHA256]);

/* A keyed digest of much data (base/crypto_mac.c): to who doesn't know the key, equal values are equal bytes (NIST SP 800-38D; SHA-256 of the tag). crypto_mac_value may be
 * asked at any time, and more be added then. */
struct crypto_mac;
struct crypto_mac *crypto_mac_new(const uint8_t key[CRYPTO_MAC_KEY]);
void crypto_mac_add(struct crypto_mac *m, struct slice s);
void crypto_mac_value(const struct crypto_mac *m, uint8_t out[CRYPTO_SHA256]);
void crypto_mac_free(struct crypto_mac *m);                  /* NULL is fine */

/* From the kernel; the process ends when there are none, since every secret would be worthless. */
void crypto_random(void *out, size_t n);

/* Public keys as DKIM publishes them: RSA as SubjectPublicKeyInfo or bare RSAPublicKey DER; Ed25519 as 32 bytes. NULL: not such a key, or an RSA
 * exponent beyond 33 bits (a library that many signers use stops at 32). A key serves one thread at a time. */
struct crypto_key;
struct crypto_key *crypto_key_rsa_public(struct slice der);
struct crypto_key *crypto_key_ed25519_public(struct slice bytes);
struct crypto_key *crypto_key_private_pem(struct slice pem); /* RSA, EC or Ed25519 */
struct crypto_key *crypto_key_generate_rsa(unsigned bits);
struct crypto_key *crypto_key_generate_ed25519(void);
void crypto_key_free(struct crypto_key *k);                  /* NULL is fine */
enum crypto_kind { CRYPTO_RSA, CRYPTO_ED25519, CRYPTO_EC };
enum crypto_kind crypto_key_kind(const struct crypto_key *k);
unsigned crypto_key_bits(const struct crypto_key *k);
struct buf;
int crypto_key_add_public_der(const struct crypto_key *k, struct buf *out); /* RSA: SubjectPublicKeyInfo; Ed25519: 32 bytes */
int crypto_key_add_private_pem(const struct crypto_key *k, struct buf *out);

/* Signatures over a SHA-256 digest (RSA: PKCS #1 1.5; Ed25519: over the 32 bytes, as RFC 8463 wants). */
bool crypto_verify_digest(const struct crypto_key *k, struct slice digest, struct slice signature);
bool crypto_verify_digest_sha1(const struct crypto_key *k, struct slice digest, struct slice signature);
int crypto_sign_digest(const struct crypto_key *k, struct slice digest, struct buf *out);
void *crypto_key_raw(const struct crypto_key *k); /* EVP_PKEY, for base/tls alone */
#endif
