#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/hash.h"

/* The reference vectors: key 00..0f, input 00..(n-1). */
static void the_reference_vectors_hold(void **state)
{
	(void)state;
	const struct hash_key key = { 0x0706050403020100, 0x0f0e0d0c0b0a0908 };
	char input[63];
	for (int i = 0; i < 63; i++)
		input[i] = (char)i;
	assert_int_equal(hash_bytes(&key, slice(input, 0)), 0x726fdb47dd0e0e31);
	assert_int_equal(hash_bytes(&key, slice(input, 1)), 0x74f839c593dc67fd);
	assert_int_equal(hash_bytes(&key, slice(input, 8)), 0x93f5f5799a932462);
	assert_int_equal(hash_bytes(&key, slice(input, 15)), 0xa129ca6149be45e5);
	assert_int_equal(hash_bytes(&key, slice(input, 63)), 0x958a324ceb064572);
}

static void two_random_keys_differ(void **state)
{
	(void)state;
	struct hash_key a = hash_key_random(), b = hash_key_random();
	assert_true(a.k0 != b.k0 || a.k1 != b.k1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_reference_vectors_hold),
		cmocka_unit_test(two_random_keys_differ),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
