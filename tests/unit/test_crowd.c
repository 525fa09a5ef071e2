/* Sessions counted by address and network, over all processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "smtpd/crowd.h"

enum { FIRST = 100, SECOND = 200 };

static void *memory;
static struct crowd *one, *two;

static int setup(void **state)
{
	(void)state;
	memory = mem_new(crowd_size());
	one = crowd_attach(memory, crowd_size(), FIRST);
	two = crowd_attach(memory, crowd_size(), SECOND);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	crowd_detach(one);
	crowd_detach(two);
	mem_free(memory);
	return 0;
}

static struct net_ip ip(const char *text)
{
	struct net_ip out;
	assert_true(net_ip_parse(slice_of(text), &out));
	return out;
}

static enum crowd_answer enter(struct crowd *c, const struct net_ip *a, uint64_t all, uint64_t address, uint64_t network)
{
	return crowd_enter(c, a, &(struct crowd_limits){ all, address, network });
}

static void an_address_has_its_limit_over_all_processes(void **state)
{
	struct net_ip a = ip("192.0.2.1"), b = ip("192.0.2.2");
	(void)state;
	assert_int_equal(enter(one, &a, 100, 2, 10), CROWD_COME_IN);
	assert_int_equal(enter(two, &a, 100, 2, 10), CROWD_COME_IN);
	assert_int_equal(enter(one, &a, 100, 2, 10), CROWD_TOO_MANY);
	assert_int_equal(enter(two, &a, 100, 2, 10), CROWD_TOO_MANY);
	assert_int_equal(enter(two, &b, 100, 2, 10), CROWD_COME_IN);
	crowd_leave(one, &a);
	assert_int_equal(enter(two, &a, 100, 2, 10), CROWD_COME_IN);
	assert_int_equal(crowd_count(one), 3);
}

static void a_network_has_its_limit(void **state)
{
	static const char *const v6[] = { "2001:db8:1::1", "2001:db8:1:2::1", "2001:db8:1:ffff::1" };
	(void)state;
	for (int i = 0; i < 3; i++) {
		struct net_ip a = ip(v6[i]);
		assert_int_equal(enter(i ? one : two, &a, 100, 10, 2), i < 2 ? CROWD_COME_IN : CROWD_TOO_MANY);
	}
	struct net_ip other = ip("2001:db8:2::1"), refused = ip(v6[2]);
	assert_int_equal(enter(one, &other, 100, 10, 2), CROWD_COME_IN);
	assert_int_equal(crowd_count(one), 3);
	crowd_leave(two, &(struct net_ip){ 0 });      /* the count in all; nobody has this address */
	assert_int_equal(enter(one, &refused, 100, 1, 3), CROWD_COME_IN); /* its address was not left counted */
}

static void all_together_have_a_limit_that_nobody_is_free_of(void **state)
{
	struct net_ip a = ip("192.0.2.1");
	(void)state;
	assert_int_equal(enter(one, NULL, 2, 1, 1), CROWD_COME_IN);
	assert_int_equal(enter(two, &a, 2, 1, 1), CROWD_COME_IN);
	assert_int_equal(enter(one, NULL, 2, 1, 1), CROWD_FULL);
	crowd_leave(two, &a);
	assert_int_equal(enter(one, NULL, 2, 1, 1), CROWD_COME_IN);
}

static void what_a_dead_process_has_counted_goes_and_nothing_else(void **state)
{
	struct net_ip a = ip("192.0.2.1");
	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(enter(one, &a, 100, 5, 10), CROWD_COME_IN);
	for (int i = 0; i < 2; i++)
		assert_int_equal(enter(two, &a, 100, 5, 10), CROWD_COME_IN);
	assert_int_equal(enter(two, &a, 100, 5, 10), CROWD_TOO_MANY);
	struct crowd *parent = crowd_attach(memory, crowd_size(), 0);
	crowd_process_ended(parent, FIRST);
	crowd_detach(parent);
	assert_int_equal(crowd_count(two), 2);
	for (int i = 0; i < 4; i++)
		assert_int_equal(enter(two, &a, 100, 5, 10), i < 3 ? CROWD_COME_IN : CROWD_TOO_MANY);
}

static void processes_without_end_find_a_row(void **state)
{
	(void)state;
	for (uint32_t i = 1; i < 3 * CROWD_PROCESSES; i++) {
		struct crowd *c = crowd_attach(memory, crowd_size(), 1000 + i);
		assert_int_equal(enter(c, NULL, 1, 1, 1), CROWD_COME_IN);
		if (i % 100 == 0)
			assert_int_equal(enter(two, NULL, 1, 1, 1), CROWD_FULL);
		crowd_process_ended(c, 1000 + i);
		crowd_detach(c);
	}
	assert_int_equal(crowd_count(one), 0);
}

static void who_finds_no_row_leaves_no_entry_behind(void **state)
{
	(void)state;
	struct crowd *all[CROWD_PROCESSES];
	struct net_ip a = ip("192.0.2.1");
	for (uint32_t i = 0; i < CROWD_PROCESSES; i++)
		all[i] = crowd_attach(memory, crowd_size(), 1000 + i);
	struct crowd *late = crowd_attach(memory, crowd_size(), 2000);
	for (int i = 0; i < 3; i++)
		assert_int_equal(enter(late, &a, 100, 1, 1), CROWD_COME_IN);
	assert_int_equal(crowd_used(late), 0);
	crowd_leave(late, &a);
	crowd_process_ended(one, 2000);
	assert_int_equal(crowd_count(one), 0);
	crowd_detach(late);
	for (uint32_t i = 0; i < CROWD_PROCESSES; i++)
		crowd_detach(all[i]);
}

static void nothing_is_kept_of_who_has_left(void **state)
{
	(void)state;
	for (int round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 20000; i++) {
			struct net_ip a = ip("10.0.0.0");
			a.bytes[13] = (uint8_t)(i >> 8), a.bytes[15] = (uint8_t)i;
			assert_int_equal(enter(one, &a, 20000, 1000, 100000), CROWD_COME_IN);
		}
		for (unsigned i = 0; i < 20000; i++) {
			struct net_ip a = ip("10.0.0.0");
			a.bytes[13] = (uint8_t)(i >> 8), a.bytes[15] = (uint8_t)i;
			crowd_leave(one, &a);
		}
		assert_int_equal(crowd_used(one), 0);
		assert_int_equal(crowd_count(one), 0);
	}
}

/* More than there is room for: they are let in, and what is counted stays right. */
static void a_full_table_lets_in(void **state)
{
	(void)state;
	for (unsigned i = 0; i < CROWD_ENTRIES; i++) {
		struct net_ip a = ip("10.0.0.0");
		a.bytes[12] = (uint8_t)(i >> 16), a.bytes[13] = (uint8_t)(i >> 8), a.bytes[14] = (uint8_t)i;
		assert_int_equal(enter(one, &a, CROWD_ENTRIES, 1, 1), CROWD_COME_IN);
	}
	assert_true(crowd_used(one) <= CROWD_ENTRIES);
	assert_int_equal(crowd_count(one), CROWD_ENTRIES);
	crowd_process_ended(two, FIRST);
	assert_int_equal(crowd_used(two), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_address_has_its_limit_over_all_processes), TEST(a_network_has_its_limit), TEST(all_together_have_a_limit_that_nobody_is_free_of),
		TEST(what_a_dead_process_has_counted_goes_and_nothing_else), TEST(processes_without_end_find_a_row), TEST(who_finds_no_row_leaves_no_entry_behind),
		TEST(nothing_is_kept_of_who_has_left), TEST(a_full_table_lets_in),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
