/* Sessions counted by address and network. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "smtpd/crowd.h"

static struct net_ip ip(const char *text)
{
	struct net_ip out;
	assert_true(net_ip_parse(slice_of(text), &out));
	return out;
}

static void an_address_has_its_limit(void **state)
{
	struct crowd *c = crowd_new();
	struct net_ip a = ip("192.0.2.1"), b = ip("192.0.2.2");
	(void)state;
	assert_true(crowd_enter(c, &a, 2, 10));
	assert_true(crowd_enter(c, &a, 2, 10));
	assert_false(crowd_enter(c, &a, 2, 10));
	assert_true(crowd_enter(c, &b, 2, 10));
	crowd_leave(c, &a);
	assert_true(crowd_enter(c, &a, 2, 10));
	crowd_free(c);
}

static void a_network_has_its_limit(void **state)
{
	static const char *const v6[] = { "2001:db8:1::1", "2001:db8:1:2::1", "2001:db8:1:ffff::1" };
	struct crowd *c = crowd_new();
	(void)state;
	for (int i = 0; i < 3; i++) {
		struct net_ip a = ip(v6[i]);
		assert_int_equal(crowd_enter(c, &a, 10, 2), i < 2);
	}
	struct net_ip other = ip("2001:db8:2::1");
	assert_true(crowd_enter(c, &other, 10, 2));
	crowd_free(c);
}

static void nothing_is_kept_of_who_has_left(void **state)
{
	struct crowd *c = crowd_new();
	(void)state;
	for (int round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 20000; i++) {
			struct net_ip a = ip("10.0.0.0");
			a.bytes[13] = (uint8_t)(i >> 8), a.bytes[15] = (uint8_t)i;
			assert_true(crowd_enter(c, &a, 1000, 100000));
		}
		for (unsigned i = 0; i < 20000; i++) {
			struct net_ip a = ip("10.0.0.0");
			a.bytes[13] = (uint8_t)(i >> 8), a.bytes[15] = (uint8_t)i;
			crowd_leave(c, &a);
		}
		assert_int_equal(crowd_size(c), 0);
	}
	crowd_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_address_has_its_limit),
		cmocka_unit_test(a_network_has_its_limit),
		cmocka_unit_test(nothing_is_kept_of_who_has_left),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
