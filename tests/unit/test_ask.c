/* What is remembered of next hops' words about recipients: how long each is believed, and what is no word about a recipient. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/clock.h"
#include "delivery/hop_inside.h"

enum { DAY = 86400, WEEK = 7 * DAY, TEN_MINUTES = 600 };

static struct hop hop = { .setup = { .positive_s = WEEK, .negative_s = TEN_MINUTES } };
static struct arena mem;
static const struct slice place = SLICE_INIT("[192.0.2.1]:25");

static struct mail_status heard(unsigned code, unsigned subject, unsigned detail)
{
	return (struct mail_status){ code / 100 == 2 ? MAIL_OK : code / 100 == 4 ? MAIL_LATER : MAIL_NEVER, (uint16_t)code, { (uint8_t)subject, (uint8_t)detail }, SLICE("Says who") };
}

/* The code that is remembered, 0 none; *old. */
static unsigned known(struct ask_cache *c, const char *address, bool *old)
{
	struct mail_status s;
	return ask_recall(c, place, slice_of(address), &mem, &s, old) ? s.code : 0;
}

static void learn(struct ask_cache *c, const char *address, struct mail_status s)
{
	ask_learn(c, place, slice_of(address), &s);
}

static void a_good_word_is_believed_for_seven_days(void **state)
{
	struct ask_cache *c = ask_cache_new(&hop);
	bool old;
	(void)state;
	learn(c, "u@a.test", heard(250, 1, 5));
	clock_test_turn_wall(WEEK - 5);
	assert_int_equal(known(c, "u@a.test", &old), 250);
	clock_test_turn_wall(10);
	assert_int_equal(known(c, "u@a.test", &old), 0);
	ask_cache_free(c);
}

static void a_refusal_is_believed_for_ten_minutes_and_is_old_in_the_last_of_them(void **state)
{
	struct ask_cache *c = ask_cache_new(&hop);
	bool old;
	(void)state;
	learn(c, "u@a.test", heard(550, 1, 1));
	assert_int_equal(known(c, "u@a.test", &old), 550);
	assert_false(old);
	assert_int_equal(known(c, "u@b.test", &old), 0);
	clock_test_turn_wall(TEN_MINUTES - 30);
	assert_int_equal(known(c, "u@a.test", &old), 550);
	assert_true(old);
	learn(c, "u@a.test", heard(550, 1, 1)); /* asked again behind the answer */
	assert_int_equal(known(c, "u@a.test", &old), 550);
	assert_false(old);
	clock_test_turn_wall(TEN_MINUTES + 5);
	assert_int_equal(known(c, "u@a.test", &old), 0);
	ask_cache_free(c);
}

static void a_clock_that_is_set_back_makes_no_refusal_last(void **state)
{
	struct ask_cache *c = ask_cache_new(&hop);
	bool old;
	(void)state;
	learn(c, "u@a.test", heard(550, 1, 1));
	clock_test_turn_wall(-DAY);
	assert_int_equal(known(c, "u@a.test", &old), 0);
	learn(c, "u@a.test", heard(550, 1, 1));
	assert_int_equal(known(c, "u@a.test", &old), 550);
	clock_test_turn_wall(DAY);
	ask_cache_free(c);
}

static void only_a_word_about_the_recipient_is_remembered(void **state)
{
	static const unsigned others[][3] = { { 550, 7, 1 }, { 550, 0, 0 }, { 552, 2, 2 }, { 450, 1, 1 }, { 451, 4, 1 }, { 550, 1, 7 }, { 550, 1, 8 }, { 550, 1, 0 } };
	struct ask_cache *c = ask_cache_new(&hop);
	bool old;
	(void)state;
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		learn(c, "u@a.test", heard(others[i][0], others[i][1], others[i][2]));
		assert_int_equal(known(c, "u@a.test", &old), 0);
	}
	learn(c, "u@a.test", heard(550, 1, 1));
	learn(c, "u@a.test", heard(250, 1, 5)); /* the last word counts */
	assert_int_equal(known(c, "u@a.test", &old), 250);
	ask_cache_free(c);
}

/* A million recipients of one hop, all unknown: the table keeps its size, and the last ones are there. */
static void a_million_unknown_recipients_cost_a_fixed_table(void **state)
{
	struct ask_cache *c = ask_cache_new(&hop);
	char address[40];
	size_t kept = 0;
	bool old;
	(void)state;
	for (int i = 0; i < 1000000; i++) {
		snprintf(address, sizeof address, "u%d@a.test", i);
		learn(c, address, heard(550, 1, 1));
	}
	assert_int_equal(known(c, "u999999@a.test", &old), 550);
	for (int i = 0; i < 1000000; i++) {
		snprintf(address, sizeof address, "u%d@a.test", i);
		kept += known(c, address, &old) != 0;
		arena_reset(&mem);
	}
	assert_in_range(kept, 10000, 32768);
	ask_cache_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_word_is_believed_for_seven_days), cmocka_unit_test(a_refusal_is_believed_for_ten_minutes_and_is_old_in_the_last_of_them),
		cmocka_unit_test(a_clock_that_is_set_back_makes_no_refusal_last),
		cmocka_unit_test(only_a_word_about_the_recipient_is_remembered), cmocka_unit_test(a_million_unknown_recipients_cost_a_fixed_table),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
