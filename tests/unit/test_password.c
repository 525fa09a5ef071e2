#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/crypto.h"
#include "maps/credentials.h"
#include "maps/password.h"

static void a_made_password_verifies_and_another_does_not(void **state)
{
	(void)state;
	struct buf line = BUF_INIT(1000);
	struct arena mem = ARENA_INIT(1 << 16);
	struct credentials c;
	assert_int_equal(password_make(SLICE("correct horse"), &line, NULL), 0);
	assert_null(credentials_parse(buf_slice(&line), &mem, &c));
	assert_true(slice_starts(c.hash, SLICE("$argon2id$")));
	assert_int_equal(password_verify(c.hash, SLICE("correct horse")), FOUND);
	assert_int_equal(password_verify(c.hash, SLICE("correct horsf")), ABSENT);
	assert_int_equal(password_verify(c.hash, SLICE("")), ABSENT);
	assert_int_equal(c.scram_sha256.iterations, PASSWORD_SCRAM_ROUNDS);
	uint8_t salted[CRYPTO_SHA256], server[CRYPTO_SHA256];
	assert_true(crypto_pbkdf2_sha256(SLICE("correct horse"), c.scram_sha256.salt, PASSWORD_SCRAM_ROUNDS, salted));
	crypto_hmac_sha256(slice((char *)salted, sizeof salted), SLICE("Server Key"), server);
	assert_true(slice_eq(c.scram_sha256.server_key, slice((char *)server, sizeof server)));
	buf_free(&line);
	arena_free(&mem);
}

static void hashes_of_others_verify(void **state)
{
	(void)state;
	/* as the C library's crypt(3) makes them */
	assert_int_equal(password_verify(SLICE("$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"), SLICE("U*U")), FOUND);
	assert_int_equal(password_verify(SLICE("$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"), SLICE("U*V")), ABSENT);
	assert_int_equal(password_verify(SLICE("$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"),
	                                 SLICE("Hello world!")), FOUND);
	assert_int_equal(password_verify(SLICE("$nonsense$x"), SLICE("x")), UNSURE);
}

static void bad_passwords_are_refused(void **state)
{
	(void)state;
	struct buf line = BUF_INIT(1000);
	static const struct slice bad[] = { SLICE_INIT(""), SLICE_INIT("a\0b"), SLICE_INIT("\xff\xfe"), SLICE_INIT("a\tb"), SLICE_INIT("\u00ad") };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		const char *why = NULL;
		assert_int_equal(password_make(bad[i], &line, &why), -EINVAL);
		assert_non_null(why);
		assert_int_equal(line.n, 0);
	}
	buf_free(&line);
}

/* RFC 5802, 2.2 and RFC 4616, 2: both sides prepare. */
static void a_password_is_the_same_however_it_is_typed(void **state)
{
	(void)state;
	struct buf line = BUF_INIT(1000);
	struct arena mem = ARENA_INIT(1 << 16);
	struct credentials c;
	const struct slice typed = SLICE("gold\u00a0\ufb01sh\u00ad"), prepared = SLICE("gold fish");
	assert_int_equal(password_make(typed, &line, NULL), 0);
	assert_null(credentials_parse(buf_slice(&line), &mem, &c));
	assert_int_equal(password_verify(c.hash, typed), FOUND);
	assert_int_equal(password_verify(c.hash, prepared), FOUND);
	assert_int_equal(password_verify(c.hash, SLICE("gold fish ")), ABSENT);
	assert_int_equal(password_verify_scram(&c.scram_sha256, typed), FOUND);
	assert_int_equal(password_verify_scram(&c.scram_sha256, prepared), FOUND);
	assert_int_equal(password_verify_scram(&c.scram_sha256, SLICE("goldfish")), ABSENT);
	buf_free(&line);
	arena_free(&mem);
}

/* crypt(3) of another system knows nothing of SASLprep. */
static void a_hash_of_the_raw_form_verifies_too(void **state)
{
	(void)state;
	const struct slice hash = SLICE("$2b$04$abcdefghijklmnopqrstuu.VgfZMMGvtP8CgPIKofAZ.kF53YubS."); /* of U+FB01 "sh" */
	assert_int_equal(password_verify(hash, SLICE("\ufb01sh")), FOUND);
	assert_int_equal(password_verify(hash, SLICE("fish")), ABSENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_made_password_verifies_and_another_does_not),
		cmocka_unit_test(hashes_of_others_verify),
		cmocka_unit_test(bad_passwords_are_refused),
		cmocka_unit_test(a_password_is_the_same_however_it_is_typed),
		cmocka_unit_test(a_hash_of_the_raw_form_verifies_too),
	};
	return cmocka_run_group_tests_name("password", tests, NULL, NULL);
}
