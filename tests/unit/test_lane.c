#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/mem.h"
#include "delivery/lane.h"

static void forget(struct lane **all)
{
	while (*all) {
		(*all)->jobs = 0, (*all)->until_ms = 0, (*all)->window = 1;
		lane_drop_idle(all);
	}
}

static void a_window_grows_with_success_and_shrinks_without_room(void **state)
{
	(void)state;
	struct lane *all = NULL, *l = lane_of(&all, SLICE("mx:a.test"));
	unsigned first = l->window;
	lane_learn(l, false, false, 0, 50);
	assert_int_equal(l->window, first + 1);
	lane_learn(l, false, true, 0, 50);                /* 4xx for want of room: fewer at once, and no rest */
	assert_int_equal(l->window, (first + 1) / 2);
	assert_int_equal(lane_rest(l), 0);
	for (int i = 0; i < 100; i++)
		lane_learn(l, false, false, 0, 50);
	assert_int_equal(l->window, 50);
	for (int i = 0; i < 20; i++)
		lane_learn(l, true, false, 0, 50);
	assert_int_equal(l->window, 1);
	forget(&all);
}

static void failures_bring_a_rest_that_grows_and_success_ends_it(void **state)
{
	(void)state;
	struct lane *all = NULL, *l = lane_of(&all, SLICE("mx:a.test"));
	lane_learn(l, true, false, 0, 50);
	uint64_t one = lane_rest(l);
	lane_learn(l, true, false, 0, 50);
	assert_true(one > 0 && one <= 5000 && lane_rest(l) > 9000 && lane_rest(l) <= 10000);
	for (int i = 0; i < 30; i++)
		lane_learn(l, true, false, 0, 50);
	assert_true(lane_rest(l) <= 300000);
	lane_learn(l, true, false, 900000, 50);
	assert_true(lane_rest(l) > 800000);               /* as long as its hosts are known to be dead */
	lane_learn(l, false, false, 0, 50);
	assert_int_equal(lane_rest(l), 0);
	forget(&all);
}

static void busy_and_resting_lanes_stay_and_others_go(void **state)
{
	(void)state;
	struct lane *all = NULL;
	struct lane *busy = lane_of(&all, SLICE("busy")), *rests = lane_of(&all, SLICE("rests"));
	busy->jobs = 1;
	lane_learn(rests, true, false, 0, 50);
	lane_of(&all, SLICE("idle"));
	lane_drop_idle(&all);
	assert_true(lane_of(&all, SLICE("busy")) == busy && all == busy);
	assert_true(busy->next == rests && !rests->next);
	forget(&all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_window_grows_with_success_and_shrinks_without_room),
		cmocka_unit_test(failures_bring_a_rest_that_grows_and_success_ends_it),
		cmocka_unit_test(busy_and_resting_lanes_stay_and_others_go),
	};
	return cmocka_run_group_tests_name("lane", tests, NULL, NULL);
}
