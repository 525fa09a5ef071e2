#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "delivery/groups.h"

static struct group *learnt(struct groups *g, const char *place, const char *host)
{
	groups_learn(g, slice_of(place), slice_of(host));
	return groups_of_place(g, slice_of(place));
}

static void places_behind_hosts_of_one_house_share_it(void **state)
{
	(void)state;
	struct groups *g = groups_new(50, 0);
	assert_null(groups_of_place(g, SLICE("mx:one.test")));
	struct group *x = learnt(g, "mx:one.test", "one-test.mail.big.example");
	assert_non_null(x);
	assert_string_equal(x->name, "mail.big.example");
	assert_true(learnt(g, "mx:two.test", "two-test.mail.big.example") == x);
	assert_true(learnt(g, "mx:three.test", "mx.other.example") != x);
	assert_string_equal(learnt(g, "mx:four.test", "four.test")->name, "four.test");
	assert_string_equal(learnt(g, "[192.0.2.1]:25", "192.0.2.1")->name, "192.0.2.1");
	assert_true(learnt(g, "mx:one.test", "mx.moved.example") != x);
	groups_free(g);
}

static void a_window_grows_by_one_and_is_halved(void **state)
{
	(void)state;
	struct groups *g = groups_new(30, 0);
	struct group *x = learnt(g, "mx:one.test", "mx.big.example");
	assert_int_equal(x->window, 20);
	for (int i = 0; i < 20; i++)
		assert_int_equal(group_wait_ms(x, 1), 0), group_enter(g, x, 1);
	assert_true(group_wait_ms(x, 1) == UINT64_MAX);
	group_leave(g, x, false);
	assert_int_equal(x->window, 21);
	group_leave(g, x, true);
	assert_int_equal(x->window, 10);
	while (x->running)
		group_leave(g, x, true);
	assert_int_equal(x->window, 1);
	for (int i = 0; i < 100; i++)
		group_enter(g, x, 1), group_leave(g, x, false);
	assert_int_equal(x->window, 30);
	groups_free(g);
}

static void a_pace_spreads_them(void **state)
{
	(void)state;
	struct groups *g = groups_new(30, 60);
	struct group *x = learnt(g, "mx:one.test", "mx.big.example");
	assert_int_equal(group_wait_ms(x, 5000), 0);
	group_enter(g, x, 5000);
	assert_int_equal(group_wait_ms(x, 5000), 1000);
	assert_int_equal(group_wait_ms(x, 5900), 100);
	assert_int_equal(group_wait_ms(x, 6000), 0);
	group_enter(g, x, 9000);
	assert_int_equal(group_wait_ms(x, 9000), 1000); /* time that nobody used is no credit */
	groups_free(g);
}

static void one_is_sent(struct groups *g, struct group *x, enum group_word word, uint64_t at_ms)
{
	group_enter(g, x, at_ms);
	group_leave(g, x, false);
	group_heard(g, x, word, at_ms, at_ms);
}

static void a_rate_that_is_too_fast_is_halved_once_and_never_below_one_a_minute(void **state)
{
	(void)state;
	struct groups *g = groups_new(30, 600);
	struct group *x = learnt(g, "mx:one.test", "mx.big.example");
	uint64_t now = 600000;
	for (int i = 0; i < 200; i++)
		one_is_sent(g, x, GROUP_TAKEN, now += 100);
	assert_int_equal(x->rate_m, 0);
	for (int i = 0; i < 10; i++)
		group_enter(g, x, now);
	for (int i = 0; i < 10; i++)
		group_leave(g, x, false), group_heard(g, x, GROUP_TOO_FAST, now, now + 50); /* all of one moment */
	assert_true(x->rate_m >= 100000 && x->rate_m <= 110000);       /* of the 210 that went, not of the 600 that were allowed */
	assert_int_equal(group_wait_ms(x, now + 50), (60000000 + x->rate_m - 1) / x->rate_m);
	for (int i = 0; i < 20; i++)
		one_is_sent(g, x, GROUP_TOO_FAST, now += 60000);
	assert_int_equal(x->rate_m, 1000);
	assert_int_equal(group_wait_ms(x, now), 60000);
	groups_free(g);
}

static void a_rate_grows_back_to_its_limit_and_no_further(void **state)
{
	(void)state;
	struct groups *g = groups_new(30, 60);
	struct group *x = learnt(g, "mx:one.test", "mx.big.example");
	uint64_t now = 600000, begin, minutes;
	for (int i = 0; i < 60; i++)
		one_is_sent(g, x, GROUP_TAKEN, now += 1000);
	one_is_sent(g, x, GROUP_TOO_FAST, now);
	assert_int_equal(x->rate_m, 30000);
	begin = now;
	uint64_t before = x->rate_m;
	while (x->rate_m && now < begin + 3600000) {
		now += group_wait_ms(x, now);
		one_is_sent(g, x, GROUP_TAKEN, now);
		assert_true(!x->rate_m || x->rate_m >= before);
		before = x->rate_m;
	}
	minutes = (now - begin) / 60000;
	assert_true(minutes >= 4 && minutes <= 6);
	one_is_sent(g, x, GROUP_TAKEN, now += group_wait_ms(x, now));
	assert_int_equal(group_wait_ms(x, now), 1000);          /* the setting's */
	groups_free(g);
}

static void a_rate_without_a_setting_is_free_again_some_time_later(void **state)
{
	(void)state;
	struct groups *g = groups_new(30, 0);
	struct group *x = learnt(g, "mx:one.test", "mx.big.example");
	uint64_t now = 600000;
	assert_int_equal(group_wait_ms(x, now), 0);
	group_heard(g, x, GROUP_TOO_FAST, now, now);            /* before anything was counted */
	assert_int_equal(x->rate_m, 30000);
	group_heard(g, x, GROUP_TAKEN, now - 1, now + 60000);   /* it was on its way */
	assert_int_equal(x->rate_m, 30000);
	for (int i = 0; i < 30; i++)
		one_is_sent(g, x, GROUP_TAKEN, now += 60000);
	assert_int_equal(x->rate_m, 0);
	assert_int_equal(group_wait_ms(x, now += 60000), 0);
	groups_free(g);
}

static void thousands_of_places_are_known(void **state)
{
	(void)state;
	char place[64];
	size_t known = 0;
	struct groups *g = groups_new(50, 0);
	for (int turn = 0; turn < 2; turn++)
		for (int i = 0; i < 3000; i++) {
			snprintf(place, sizeof place, "mx:d%d.test", i);
			if (turn)
				known += groups_of_place(g, slice_of(place)) != NULL;
			else
				groups_learn(g, slice_of(place), SLICE("mx.big.example"));
		}
	assert_true(known > 2950);
	groups_free(g);
}

static void many_houses_forget_idle_ones_only(void **state)
{
	(void)state;
	char place[64], host[64];
	struct groups *g = groups_new(30, 0);
	struct group *x = learnt(g, "mx:busy.test", "mx.busy.example");
	group_enter(g, x, 1);
	for (int i = 0; i < 20000; i++) {
		snprintf(place, sizeof place, "mx:d%d.test", i);
		snprintf(host, sizeof host, "mx.house%d.example", i);
		groups_learn(g, slice_of(place), slice_of(host));
	}
	assert_string_equal(x->name, "busy.example");
	assert_int_equal(x->running, 1);
	group_leave(g, x, false);
	group_enter(g, NULL, 1), group_leave(g, NULL, true);
	assert_int_equal(group_wait_ms(NULL, 1), 0);
	groups_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(places_behind_hosts_of_one_house_share_it),
		cmocka_unit_test(a_window_grows_by_one_and_is_halved),
		cmocka_unit_test(a_pace_spreads_them),
		cmocka_unit_test(a_rate_that_is_too_fast_is_halved_once_and_never_below_one_a_minute),
		cmocka_unit_test(a_rate_grows_back_to_its_limit_and_no_further),
		cmocka_unit_test(a_rate_without_a_setting_is_free_again_some_time_later),
		cmocka_unit_test(thousands_of_places_are_known),
		cmocka_unit_test(many_houses_forget_idle_ones_only),
	};
	return cmocka_run_group_tests_name("groups", tests, NULL, NULL);
}
