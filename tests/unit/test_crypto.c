/* Digests against published vectors; keys and signatures there and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/crypto.h"
#include "base/text.h"

static void assert_hex(const uint8_t *bytes, size_t n, const char *hex)
{
	struct buf b = BUF_INIT(1000);
	text_add_hex(&b, slice((const char *)bytes, n));
	buf_add_byte(&b, '\0');
	assert_string_equal(b.p, hex);
	buf_free(&b);
}

static void digests_are_those_of_the_standards(void **state)
{
	(void)state;
	uint8_t d[CRYPTO_SHA256];
	crypto_sha256(SLICE("abc"), d); /* FIPS 180-4 */
	assert_hex(d, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	crypto_hmac_sha256(SLICE("Jefe"), SLICE("what do ya want for nothing?"), d); /* RFC 4231, 4.3 */
	assert_hex(d, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	crypto_hmac_sha1(SLICE("Jefe"), SLICE("what do ya want for nothing?"), d); /* RFC 2202 */
	assert_hex(d, 20, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
	assert_true(crypto_pbkdf2_sha256(SLICE("passwd"), SLICE("salt"), 1, d)); /* RFC 7914, 11 (first half) */
	assert_hex(d, 32, "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc");
}

static void a_digest_in_pieces_is_the_same(void **state)
{
	(void)state;
	uint8_t whole[CRYPTO_SHA256], parts[CRYPTO_SHA256], copied[CRYPTO_SHA256];
	crypto_sha256(SLICE("hello world"), whole);
	struct crypto_hash *h = crypto_sha256_new();
	crypto_hash_add(h, SLICE("hello "));
	struct crypto_hash *copy = crypto_hash_copy(h);
	crypto_hash_add(h, SLICE("world"));
	crypto_hash_add(copy, SLICE("world"));
	assert_int_equal(crypto_hash_end(h, parts), 32);
	crypto_hash_end(copy, copied);
	assert_memory_equal(whole, parts, 32);
	assert_memory_equal(whole, copied, 32);
}

/* AES-256-GCM of nothing under a key and a nonce of zeros (McGrew and Viega, "The Galois/Counter Mode of Operation", test case 13), and SHA-256 of that tag. */
static void a_keyed_digest_is_gmac(void **state)
{
	(void)state;
	static const uint8_t tag[] = { 0x53, 0x0f, 0x8a, 0xfb, 0xc7, 0x45, 0x36, 0xb9, 0xa9, 0x63, 0xb4, 0xf1, 0xc4, 0xcb, 0x73, 0x8b };
	uint8_t key[CRYPTO_MAC_KEY] = { 0 }, wanted[CRYPTO_SHA256], got[CRYPTO_SHA256], whole[CRYPTO_SHA256];
	struct crypto_mac *m = crypto_mac_new(key);
	crypto_sha256(slice((const char *)tag, sizeof tag), wanted);
	crypto_mac_value(m, got);
	assert_memory_equal(got, wanted, sizeof got);
	crypto_mac_add(m, SLICE("hello "));
	crypto_mac_value(m, got);               /* in the middle, and it goes on */
	crypto_mac_add(m, SLICE("world, for more than a block"));
	crypto_mac_value(m, got);
	crypto_mac_free(m);
	m = crypto_mac_new(key);
	crypto_mac_add(m, SLICE("hello world, for more than a block"));
	crypto_mac_value(m, whole);
	assert_memory_equal(got, whole, sizeof got);
	crypto_mac_free(m);
	key[31] = 1;
	m = crypto_mac_new(key);
	crypto_mac_add(m, SLICE("hello world, for more than a block"));
	crypto_mac_value(m, got);
	assert_memory_not_equal(got, whole, sizeof got);
	crypto_mac_free(m);
	crypto_mac_free(NULL);
}

static void both_libraries_digest_alike(void **state)
{
	(void)state;
	uint8_t at_once[CRYPTO_SHA256], in_pieces[CRYPTO_SHA256];
	char text[300];
	for (size_t n = 0; n <= sizeof text; n++) {
		if (n)
			text[n - 1] = (char)(n * 31);
		crypto_sha256(slice(text, n), at_once);
		struct crypto_hash *h = crypto_sha256_new();
		crypto_hash_add(h, slice(text, n / 2));
		crypto_hash_add(h, slice(text + n / 2, n - n / 2));
		crypto_hash_end(h, in_pieces);
		assert_memory_equal(at_once, in_pieces, CRYPTO_SHA256);
	}
	assert_false(crypto_pbkdf2_sha256(SLICE("p"), SLICE("s"), 0, at_once));
}

static void round_trip(struct crypto_key *key, bool ed25519)
{
	uint8_t digest[CRYPTO_SHA256];
	crypto_sha256(SLICE("message"), digest);
	struct slice d = slice((const char *)digest, 32);
	struct buf pem = BUF_INIT(10000), der = BUF_INIT(10000), signature = BUF_INIT(2000);
	assert_int_equal(crypto_key_add_private_pem(key, &pem), 0);
	assert_int_equal(crypto_key_add_public_der(key, &der), 0);
	struct crypto_key *private = crypto_key_private_pem(buf_slice(&pem));
	struct crypto_key *public = ed25519 ? crypto_key_ed25519_public(buf_slice(&der)) : crypto_key_rsa_public(buf_slice(&der));
	assert_non_null(private);
	assert_non_null(public);
	assert_int_equal(crypto_sign_digest(private, d, &signature), 0);
	assert_true(crypto_verify_digest(public, d, buf_slice(&signature)));
	signature.p[3] ^= 1;
	assert_false(crypto_verify_digest(public, d, buf_slice(&signature)));
	assert_false(crypto_verify_digest(public, d, SLICE("short")));
	crypto_key_free(private);
	crypto_key_free(public);
	crypto_key_free(key);
	buf_free(&pem);
	buf_free(&der);
	buf_free(&signature);
}

static void what_is_signed_verifies_and_a_changed_bit_does_not(void **state)
{
	(void)state;
	round_trip(crypto_key_generate_rsa(1024), false);
	round_trip(crypto_key_generate_ed25519(), true);
}

/* RSAPublicKey (RFC 8017, A.1.1): 512 bits, and an exponent of 5 bytes that begins with top. */
static bool exponent_is_taken(uint8_t top)
{
	uint8_t der[76] = { 0x30, 74, 0x02, 65, 0 };
	memset(der + 5, 0xab, 64);
	der[69] = 0x02;
	der[70] = 5;
	memset(der + 71, 0xff, 5);
	der[71] = top;
	struct crypto_key *k = crypto_key_rsa_public(slice((const char *)der, sizeof der));
	bool taken = k != NULL;
	crypto_key_free(k);
	return taken;
}

static void an_exponent_that_makes_verification_slow_is_no_key(void **state)
{
	(void)state;
	assert_true(exponent_is_taken(0));
	assert_true(exponent_is_taken(1));
	assert_false(exponent_is_taken(2)); /* 34 bits */
}

static void nonsense_is_no_key(void **state)
{
	(void)state;
	assert_null(crypto_key_rsa_public(SLICE("nonsense")));
	assert_null(crypto_key_rsa_public(SLICE("")));
	assert_null(crypto_key_ed25519_public(SLICE("31 bytes are not enough for it")));
	assert_null(crypto_key_private_pem(SLICE("-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(digests_are_those_of_the_standards),
		cmocka_unit_test(a_digest_in_pieces_is_the_same), cmocka_unit_test(a_keyed_digest_is_gmac),
		cmocka_unit_test(both_libraries_digest_alike),
		cmocka_unit_test(what_is_signed_verifies_and_a_changed_bit_does_not),
		cmocka_unit_test(an_exponent_that_makes_verification_slow_is_no_key), cmocka_unit_test(nonsense_is_no_key),
	};
	return cmocka_run_group_tests_name("crypto", tests, NULL, NULL);
}
