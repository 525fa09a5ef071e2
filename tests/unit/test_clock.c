/* A clock that was set, beside one that is slewed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"

static void small_steps_are_no_leap(void **state)
{
	struct clock_watch w;
	(void)state;
	clock_watch_begin(&w);
	for (int i = 0; i < 60; i++) {
		clock_test_turn_wall(10);
		for (int k = 0; k < 100; k++)
			assert_int_equal(clock_watch_leap(&w), 0);
	}
	assert_true(clock_watch_believes(&w));
	clock_test_turn_wall(-600);
}

static void a_leap_forward_is_doubted_one_back_is_not(void **state)
{
	struct clock_watch w;
	(void)state;
	clock_watch_begin(&w);
	clock_test_turn_wall(-86400);
	int64_t leap = clock_watch_leap(&w);
	assert_true(leap < -86390 * 1000L && leap > -86410 * 1000L);
	assert_int_equal(clock_watch_doubt_s(&w), 0);
	clock_test_turn_wall(86400);
	leap = clock_watch_leap(&w);
	assert_true(leap > 86390 * 1000L && leap < 86410 * 1000L);
	assert_int_equal(clock_watch_leap(&w), 0); /* told once */
	assert_false(clock_watch_believes(&w));
	assert_in_range(clock_watch_doubt_s(&w), 3500, 3600);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(small_steps_are_no_leap), cmocka_unit_test(a_leap_forward_is_doubted_one_back_is_not) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
