#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/mem.h"
#include "queue/usage.h"

static const struct usage_counts most = { { [USAGE_HOUR] = { 3, 20 }, [USAGE_DAY] = { 5, 30 } } };
static const int64_t noon = 1000 * 86400 + 12 * 3600;
static enum usage_window window;
static enum usage_what what;

static bool takes(struct usage *u, const char *who, uint64_t recipients, int64_t now_s)
{
	return !usage_over(u, slice_of(who), &most, 1, recipients, true, now_s, &window, &what);
}

static struct usage *fresh(void **memory)
{
	*memory = mem_new(usage_size());
	struct usage *u = usage_attach(*memory, usage_size());
	assert_non_null(u);
	return u;
}

static void a_limit_is_reached_by_messages_or_recipients_in_an_hour_or_a_day(void **state)
{
	(void)state;
	void *memory;
	struct usage *u = fresh(&memory);
	for (int i = 0; i < 3; i++)
		assert_true(takes(u, "ann", 1, noon));
	assert_false(takes(u, "ann", 1, noon));
	assert_true(window == USAGE_HOUR && what == USAGE_MESSAGES);
	assert_true(takes(u, "bob", 20, noon));
	assert_false(takes(u, "bob", 1, noon));
	assert_true(window == USAGE_HOUR && what == USAGE_RECIPIENTS);
	assert_true(takes(u, "eve", 15, noon) && takes(u, "eve", 15, noon + 7200));
	assert_false(takes(u, "eve", 1, noon + 14400));
	assert_true(window == USAGE_DAY && what == USAGE_RECIPIENTS);
	usage_detach(u);
	mem_free(memory);
}

static void what_was_not_taken_after_all_is_given_back(void **state)
{
	(void)state;
	void *memory;
	struct usage *u = fresh(&memory);
	for (int i = 0; i < 3; i++)
		assert_true(takes(u, "ann", 5, noon));
	assert_false(takes(u, "ann", 5, noon));
	usage_give_back(u, SLICE("ann"), 1, 5, noon);
	assert_true(takes(u, "ann", 10, noon));
	assert_false(takes(u, "ann", 1, noon));
	usage_give_back(u, SLICE("ann"), 9, 900, noon);       /* never below nothing */
	assert_true(takes(u, "ann", 20, noon));
	usage_detach(u);
	mem_free(memory);
}

static void the_last_hour_slides(void **state)
{
	(void)state;
	void *memory;
	struct usage *u = fresh(&memory);
	for (int i = 0; i < 3; i++)
		assert_true(takes(u, "ann", 1, noon + 3599));
	assert_false(takes(u, "ann", 1, noon + 3601));        /* the next clock hour, not the next hour */
	assert_true(takes(u, "ann", 1, noon + 3600 + 1201));  /* a third of it has slid out */
	assert_false(takes(u, "ann", 1, noon + 3600 + 1202));
	assert_true(takes(u, "ann", 1, noon + 3 * 3600));
	assert_false(takes(u, "ann", 1, noon + 6 * 3600));    /* five in a day */
	assert_true(window == USAGE_DAY && what == USAGE_MESSAGES);
	assert_true(takes(u, "ann", 1, noon + 3 * 86400));
	usage_detach(u);
	mem_free(memory);
}

static void asking_counts_nothing_and_no_limit_is_none(void **state)
{
	(void)state;
	void *memory;
	struct usage *u = fresh(&memory);
	const struct usage_counts none = { 0 };
	for (int i = 0; i < 10; i++)
		assert_false(usage_over(u, SLICE("ann"), &most, 1, 1, false, noon, &window, &what));
	for (int i = 0; i < 1000; i++)
		assert_false(usage_over(u, SLICE("ann"), &none, 1, 100, true, noon, &window, &what));
	struct usage_user users[2];
	assert_int_equal(usage_list(u, users, 2, noon), 1);
	assert_string_equal(users[0].name, "ann");
	assert_int_equal(users[0].counts.of[USAGE_DAY][USAGE_RECIPIENTS], 100000);
	usage_detach(u);
	mem_free(memory);
}

static void counts_live_in_the_memory_and_a_full_set_forgets_who_was_seen_longest_ago(void **state)
{
	(void)state;
	void *memory;
	char name[32];
	struct usage *u = fresh(&memory);
	for (int i = 0; i < 3 * USAGE_ENTRIES; i++) {
		snprintf(name, sizeof name, "user%d", i);
		assert_true(takes(u, name, 1, noon + i));
	}
	usage_detach(u);
	u = usage_attach(memory, usage_size());
	struct usage_user *users = mem_new_array(USAGE_ENTRIES, sizeof *users);
	size_t listed = usage_list(u, users, USAGE_ENTRIES, noon + 3 * USAGE_ENTRIES);
	assert_true(listed > USAGE_ENTRIES / 2 && listed <= USAGE_ENTRIES);
	assert_null(usage_attach(memory, usage_size() - 1));
	mem_free(users);
	usage_detach(u);
	mem_free(memory);
}

static void a_clock_that_was_set_back_opens_nothing(void **state)
{
	(void)state;
	void *memory;
	struct usage *u = fresh(&memory);
	for (int i = 0; i < 3; i++)
		assert_true(takes(u, "ann", 1, noon));
	assert_false(takes(u, "ann", 1, noon - 7200));
	for (int i = 0; i < 3; i++)
		assert_true(takes(u, "bob", 1, noon + 365 * 86400));
	assert_false(takes(u, "bob", 1, noon));
	assert_true(takes(u, "bob", 1, noon + 2 * 86400));   /* and shuts nothing for a year */
	usage_detach(u);
	mem_free(memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_limit_is_reached_by_messages_or_recipients_in_an_hour_or_a_day),
		cmocka_unit_test(what_was_not_taken_after_all_is_given_back), cmocka_unit_test(the_last_hour_slides),
		cmocka_unit_test(asking_counts_nothing_and_no_limit_is_none),
		cmocka_unit_test(counts_live_in_the_memory_and_a_full_set_forgets_who_was_seen_longest_ago),
		cmocka_unit_test(a_clock_that_was_set_back_opens_nothing),
	};
	return cmocka_run_group_tests_name("usage", tests, NULL, NULL);
}
