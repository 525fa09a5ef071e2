/* The table of what is under way. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "queue/flight.h"

static void *memory;
static struct flight *f;
static unsigned found;
static bool marked;
static char last[FLIGHT_MAX_RECORD + 1];

static int start(void **state)
{
	(void)state;
	memory = calloc(1, flight_size());
	f = flight_attach(memory, flight_size());
	found = 0;
	return f ? 0 : -1;
}

static int end(void **state)
{
	(void)state;
	flight_detach(f);
	free(memory);
	return 0;
}

static uint32_t dead; /* 0: all */

static bool is_dead(void *arg, uint32_t owner, uint64_t ticket)
{
	(void)arg, (void)ticket;
	return !dead || owner == dead;
}

static void on_record(void *arg, struct slice record, bool is_marked)
{
	(void)arg;
	marked = is_marked;
	memcpy(last, record.p, record.n);
	last[record.n] = '\0';
	found++;
}

static void reclaim(struct flight *of, uint32_t owner)
{
	dead = owner;
	flight_reclaim(of, &(struct flight_search){ is_dead, on_record, NULL });
}

static void what_a_dead_owner_had_under_way_is_found_once(void **state)
{
	(void)state;
	assert_true(flight_begin(f, 7, SLICE("one")) != 0);
	assert_true(flight_begin(f, 8, SLICE("another's")) != 0);
	reclaim(f, 7);
	assert_int_equal(found, 1);
	assert_string_equal(last, "one");
	reclaim(f, 7);
	assert_int_equal(found, 1);
	reclaim(f, 0);
	assert_int_equal(found, 2);
	assert_string_equal(last, "another's");
}

static void what_has_ended_is_not_found_and_its_slot_is_used_again(void **state)
{
	uint64_t first = flight_begin(f, 7, SLICE("one"));
	(void)state;
	assert_true(slice_eq(flight_record(f, 7, first), SLICE("one")));
	flight_end(f, 7, first);
	assert_true(flight_record(f, 7, first).p == NULL);
	uint64_t second = flight_begin(f, 7, SLICE("two"));
	assert_true(second != first && ((second ^ first) & 0x3fff) == 0);
	flight_end(f, 7, first);
	assert_true(slice_eq(flight_record(f, 7, second), SLICE("two")));
	flight_end(f, 7, second);
	reclaim(f, 0);
	assert_int_equal(found, 0);
	flight_end(f, 7, 0);
}

static void an_owner_whose_slot_was_reclaimed_leaves_the_next_one_alone(void **state)
{
	uint64_t slot = flight_begin(f, 7, SLICE("one"));
	struct flight *other = flight_attach(memory, flight_size());
	(void)state;
	reclaim(other, 0);
	assert_int_equal(found, 1);
	flight_end(f, 7, slot);
	uint64_t theirs = 0;
	while ((theirs ^ slot) & 0x3fff) /* until another process has taken this very slot */
		assert_true((theirs = flight_begin(other, 8, SLICE("theirs"))) != 0);
	flight_end(f, 7, slot);
	assert_true(slice_eq(flight_record(other, 8, theirs), SLICE("theirs")));
	flight_end(other, 8, theirs);
	flight_detach(other);
}

static void a_mark_is_of_one_use_of_a_slot(void **state)
{
	uint64_t first = flight_begin(f, 7, SLICE("one"));
	(void)state;
	flight_mark(f, slice((const char *)&first, sizeof first));
	reclaim(f, 7);
	assert_true(found == 1 && marked);
	uint64_t second = 0;
	while ((first ^ second) & 0x3fff)
		second = flight_begin(f, 7, SLICE("two"));
	flight_mark(f, slice((const char *)&first, sizeof first)); /* too late: its use is over */
	flight_mark(f, SLICE(""));
	flight_mark(f, SLICE("\0\0\0\0\0\0\0\0"));
	reclaim(f, 7);
	assert_true(found > 1 && !marked);
}

static void what_is_left_is_nobodys_until_it_is_reclaimed(void **state)
{
	uint64_t ticket = flight_begin(f, 7, SLICE("one"));
	(void)state;
	assert_false(flight_is_left(f, ticket));
	flight_leave(f, 8, ticket);
	assert_false(flight_is_left(f, ticket));
	flight_leave(f, 7, ticket);
	assert_true(flight_is_left(f, ticket));
	flight_end(f, 7, ticket);
	reclaim(f, 7);
	assert_int_equal(found, 0);
	flight_reclaim(f, &(struct flight_search){ NULL, on_record, NULL });
	assert_int_equal(found, 1); /* shown, and still there */
	reclaim(f, FLIGHT_LEFT);
	assert_int_equal(found, 2);
	assert_false(flight_is_left(f, ticket));
}

static void a_full_table_and_a_record_that_is_too_long_are_no_slot(void **state)
{
	static char longest[FLIGHT_MAX_RECORD + 1];
	(void)state;
	memset(longest, 'x', sizeof longest);
	assert_int_equal(flight_begin(f, 7, slice(longest, sizeof longest)), 0);
	for (unsigned i = 0; i < FLIGHT_SLOTS; i++)
		assert_true(flight_begin(f, 7, slice(longest, FLIGHT_MAX_RECORD)) != 0);
	assert_int_equal(flight_begin(f, 7, SLICE("one more")), 0);
	reclaim(f, 7);
	assert_int_equal(found, FLIGHT_SLOTS);
	assert_int_equal(strlen(last), FLIGHT_MAX_RECORD);
	assert_int_equal(flight_begin(NULL, 7, SLICE("no table")), 0);
}

static void a_table_of_rubbish_is_wiped(void **state)
{
	(void)state;
	memset(memory, 0xee, flight_size());
	reclaim(f, 0);
	assert_int_equal(found, 0);
	assert_true(flight_begin(f, 7, SLICE("one")) != 0);
	assert_null(flight_attach(memory, flight_size() - 1));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)
	const struct CMUnitTest tests[] = {
		TEST(what_a_dead_owner_had_under_way_is_found_once), TEST(what_has_ended_is_not_found_and_its_slot_is_used_again),
		TEST(an_owner_whose_slot_was_reclaimed_leaves_the_next_one_alone), TEST(a_full_table_and_a_record_that_is_too_long_are_no_slot),
		TEST(a_mark_is_of_one_use_of_a_slot), TEST(what_is_left_is_nobodys_until_it_is_reclaimed), TEST(a_table_of_rubbish_is_wiped),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
