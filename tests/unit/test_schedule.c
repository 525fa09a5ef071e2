#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <malloc.h>
#include <cmocka.h>

#include "queue/schedule.h"

static const struct schedule_limits limits = { .jobs = 100, .place_jobs = 20 };

static struct slice id_of(char out[32], unsigned n)
{
	snprintf(out, 32, "B%015u", n);
	return slice(out, SCHEDULE_ID);
}

static struct item *add(struct schedule *s, unsigned n, const char *sender, const char *place, int8_t priority, int64_t due_s)
{
	char id[32];
	struct message *m = schedule_add(s, id_of(id, n), slice_of(sender), priority);
	assert_non_null(m);
	return schedule_add_item(s, m, slice_of(place), 1, 0, due_s);
}

static unsigned number_of(const struct item *i)
{
	unsigned n;
	assert_int_equal(sscanf(i->message->id, "B%15u", &n), 1);
	return n;
}

static void done(struct schedule *s, struct item *i)
{
	schedule_back(s, i, INT64_MAX);
	schedule_remove(s, i->message);
}

static void an_item_is_tried_when_it_is_due_and_not_before(void **state)
{
	(void)state;
	struct schedule *s = schedule_new(&limits);
	add(s, 1, "ann", "mx:a.test", 0, 1000);
	assert_null(schedule_take(s, 999));
	assert_int_equal(schedule_next_s(s), 1000);
	struct item *i = schedule_take(s, 1000);
	assert_non_null(i);
	assert_null(schedule_take(s, 1000));
	schedule_back(s, i, 1300);
	assert_null(schedule_take(s, 1299));
	i = schedule_take(s, 1300);
	assert_int_equal(number_of(i), 1);
	done(s, i);
	assert_int_equal(schedule_next_s(s), INT64_MAX);
	schedule_free(s);
}

static void the_same_id_is_taken_once(void **state)
{
	char id[32];
	(void)state;
	struct schedule *s = schedule_new(&limits);
	add(s, 1, "ann", "mx:a.test", 0, 0);
	assert_null(schedule_add(s, id_of(id, 1), SLICE("ann"), 0));
	assert_non_null(schedule_find(s, id_of(id, 1)));
	assert_null(schedule_find(s, id_of(id, 2)));
	schedule_free(s);
}

static void a_place_has_no_more_jobs_than_its_window(void **state)
{
	(void)state;
	struct schedule *s = schedule_new(&limits);
	struct item *out[100], *i;
	int n = 0;
	for (unsigned k = 0; k < 200; k++)
		add(s, k, k % 2 ? "ann" : "bob", "mx:slow.test", 0, 0);
	while ((i = schedule_take(s, 1)))
		out[n++] = i;
	assert_int_equal(n, 20);
	schedule_window(s, out[0], 3, 0);
	for (int k = 0; k < 17; k++)
		done(s, out[k]);
	assert_null(schedule_take(s, 1));
	done(s, out[17]);
	assert_non_null(schedule_take(s, 1));
	assert_null(schedule_take(s, 1));
	schedule_free(s);
}

static void one_message_does_not_wait_behind_a_hundred_thousand(void **state)
{
	(void)state;
	static struct item *out[1000];
	struct schedule *s = schedule_new(&limits);
	struct item *i;
	int in = 0, ended = 0;
	for (unsigned k = 0; k < 100000; k++)
		add(s, k, "flood", k % 3 ? "mx:a.test" : "mx:b.test", 0, 0);
	for (int k = 0; k < 30; k++) /* all are awake, and the two places are full */
		while ((i = schedule_take(s, 1)))
			out[in++] = i;
	assert_int_equal(in, 40);
	add(s, 200000, "ann", "mx:a.test", 0, 1);
	for (bool seen = false; !seen && ended < 500;) {
		done(s, out[ended++]); /* the oldest ends, and what may go goes */
		while ((i = schedule_take(s, 1))) {
			out[in++] = i;
			seen = seen || number_of(i) == 200000;
		}
	}
	print_message("%d others ended before it went\n", ended);
	assert_true(ended <= 10);
	schedule_free(s);
}

static void a_flood_over_many_places_leaves_slots_for_others(void **state)
{
	(void)state;
	struct schedule *s = schedule_new(&limits);
	char place[32];
	int n = 0;
	for (unsigned k = 0; k < 5000; k++) {
		snprintf(place, sizeof place, "mx:d%u.test", k);
		add(s, k, "flood", place, 0, 0);
	}
	while (schedule_take(s, 1))
		n++;
	assert_int_equal(n, 67);
	add(s, 100000, "ann", "mx:x.test", 0, 1);
	assert_int_equal(number_of(schedule_take(s, 1)), 100000);
	schedule_free(s);
}

static void senders_take_turns(void **state)
{
	(void)state;
	struct schedule *s = schedule_new(&(struct schedule_limits){ .jobs = 1000, .place_jobs = 1000 });
	int counts[3] = { 0 };
	for (unsigned k = 0; k < 3000; k++)
		add(s, k, k < 2000 ? "a" : k < 2900 ? "b" : "c", "mx:a.test", 0, 0);
	for (int k = 0; k < 300; k++) {
		struct item *i = schedule_take(s, 1);
		assert_non_null(i);
		counts[number_of(i) < 2000 ? 0 : number_of(i) < 2900 ? 1 : 2]++;
		done(s, i);
	}
	for (int k = 0; k < 3; k++)
		assert_in_range(counts[k], 80, 120);
	schedule_free(s);
}

static void higher_priority_goes_first_among_one_senders(void **state)
{
	(void)state;
	struct schedule *s = schedule_new(&limits);
	add(s, 1, "ann", "mx:a.test", 0, 0);
	add(s, 2, "ann", "mx:a.test", -3, 0);
	add(s, 3, "ann", "mx:a.test", 5, 0);
	assert_int_equal(number_of(schedule_take(s, 1)), 3);
	assert_int_equal(number_of(schedule_take(s, 1)), 1);
	assert_int_equal(number_of(schedule_take(s, 1)), 2);
	schedule_free(s);
}

static void a_resting_place_is_left_alone(void **state)
{
	(void)state;
	struct schedule *s = schedule_new(&limits);
	struct item *i = add(s, 1, "ann", "mx:dead.test", 0, 0);
	assert_ptr_equal(schedule_take(s, 10), i);
	schedule_window(s, i, 0, 500);
	schedule_back(s, i, 20);
	add(s, 2, "bob", "mx:dead.test", 0, 10);
	assert_null(schedule_take(s, 499));
	assert_int_equal(schedule_next_s(s), 500);
	assert_non_null(schedule_take(s, 500));
	assert_non_null(schedule_take(s, 500));
	schedule_free(s);
}

static void held_messages_and_paused_places_wait(void **state)
{
	(void)state;
	struct schedule *s = schedule_new(&limits);
	struct item *i = add(s, 1, "ann", "mx:a.test", 0, 0);
	schedule_hold(s, i->message, true);
	assert_null(schedule_take(s, 100));
	schedule_hold(s, i->message, false);
	schedule_pause(s, SLICE("mx:a.test"), true);
	assert_null(schedule_take(s, 100));
	schedule_pause(s, SLICE("mx:a.test"), false);
	assert_ptr_equal(schedule_take(s, 100), i);
	schedule_hold(s, i->message, true);
	schedule_back(s, i, 0);
	assert_null(schedule_take(s, 100));
	schedule_free(s);
}

static void a_message_to_several_places_has_an_item_for_each(void **state)
{
	char id[32];
	(void)state;
	struct schedule *s = schedule_new(&limits);
	struct schedule_counts c;
	struct message *m = schedule_add(s, id_of(id, 1), SLICE("ann"), 0);
	for (int k = 0; k < 5; k++) {
		snprintf(id, sizeof id, "mx:d%d.test", k);
		schedule_add_item(s, m, slice_of(id), 10, 0, 0);
	}
	schedule_count(s, &c);
	assert_int_equal(c.items, 5);
	assert_int_equal(c.recipients, 50);
	assert_int_equal(c.places, 5);
	struct item *i;
	for (int k = 5; k; k--) {
		i = schedule_take(s, 1);
		assert_int_equal(m->out, 1);
		schedule_back(s, i, 1);
		schedule_remove_item(s, i);
	}
	assert_null(message_items(m));
	schedule_remove(s, m);
	schedule_count(s, &c);
	assert_int_equal(c.messages + c.items + c.places + c.senders + c.ready, 0);
	schedule_free(s);
}

static void a_queued_recipient_costs_less_than_two_hundred_bytes(void **state)
{
	enum { N = 200000 };
	char name[40];
	(void)state;
	struct mallinfo2 before = mallinfo2();
	struct schedule *s = schedule_new(&limits);
	for (unsigned k = 0; k < N; k++) {
		snprintf(name, sizeof name, "mx:d%u.example", k); /* the worst: a place for each */
		add(s, k, "ann@example.test", name, 0, 1000 + k % 977);
	}
	struct mallinfo2 after = mallinfo2();
	size_t each = (after.uordblks + after.hblkhd - before.uordblks - before.hblkhd) / N;
	print_message("%zu bytes a queued recipient\n", each);
	assert_true(each <= 200);
	schedule_free(s);
}

static void count_told(void *arg, struct message *m)
{
	unsigned n;
	assert_int_equal(sscanf(m->id, "B%15u", &n), 1);
	((unsigned char *)arg)[n]++;
}

static void all_messages_are_told_once_piece_by_piece(void **state)
{
	enum { COUNT = 5000 };
	static unsigned char told[2 * COUNT];
	struct schedule *s = schedule_new(&limits);
	struct schedule_cursor c = { 0 };
	unsigned pieces = 1;
	(void)state;
	for (unsigned i = 0; i < COUNT; i++)
		add(s, i, "alice", "mx:far.test", 0, 1000);
	while (schedule_some(s, &c, 100, count_told, told))
		pieces++;
	assert_true(pieces > COUNT / 200 && pieces <= COUNT / 100 + 1);
	for (unsigned i = 0; i < COUNT; i++)
		assert_int_equal(told[i], 1);
	assert_int_equal(c.anew, 0);
	c = (struct schedule_cursor){ 0 };
	schedule_some(s, &c, 100, count_told, told);
	for (unsigned i = COUNT; i < 2 * COUNT; i++) /* the table grows */
		add(s, i, "alice", "mx:far.test", 0, 1000);
	memset(told, 0, sizeof told);
	while (schedule_some(s, &c, 100, count_told, told))
		;
	assert_int_equal(c.anew, 1);
	for (unsigned i = 0; i < 2 * COUNT; i++)
		assert_int_equal(told[i], 1);
	schedule_free(s);
}

static void those_that_wait_for_a_named_time_count_for_their_sender(void **state)
{
	(void)state;
	struct schedule *s = schedule_new(&(struct schedule_limits){ 10, 10 });
	struct message *m[3];
	const char *ids[] = { "000000000000000a", "000000000000000b", "000000000000000c" };
	assert_int_equal(schedule_appointed(s, SLICE("ann")), 0);
	for (size_t k = 0; k < 3; k++) {
		m[k] = schedule_add(s, slice_of(ids[k]), SLICE("ann"), 0);
		schedule_add_item(s, m[k], SLICE("x.test"), 1, 0, 100);
		schedule_add_item(s, m[k], SLICE("y.test"), 1, 0, 100);
		schedule_appoint(m[k]);
		schedule_appoint(m[k]);
	}
	assert_int_equal(schedule_appointed(s, SLICE("ann")), 3);
	assert_int_equal(schedule_appointed(s, SLICE("bob")), 0);
	schedule_remove(s, m[0]);
	assert_int_equal(schedule_appointed(s, SLICE("ann")), 2);
	schedule_remove_item(s, &m[1]->first); /* by an act, and one comes in its place */
	schedule_add_item(s, m[1], SLICE("z.test"), 1, 0, 100);
	assert_int_equal(schedule_appointed(s, SLICE("ann")), 2);
	assert_null(schedule_take(s, 99));
	assert_non_null(schedule_take(s, 100));
	assert_int_equal(schedule_appointed(s, SLICE("ann")), 1);
	while (schedule_take(s, 100))
		;
	assert_int_equal(schedule_appointed(s, SLICE("ann")), 0);
	schedule_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(those_that_wait_for_a_named_time_count_for_their_sender), cmocka_unit_test(an_item_is_tried_when_it_is_due_and_not_before),
		cmocka_unit_test(the_same_id_is_taken_once),
		cmocka_unit_test(a_place_has_no_more_jobs_than_its_window),
		cmocka_unit_test(one_message_does_not_wait_behind_a_hundred_thousand),
		cmocka_unit_test(a_flood_over_many_places_leaves_slots_for_others),
		cmocka_unit_test(senders_take_turns),
		cmocka_unit_test(higher_priority_goes_first_among_one_senders),
		cmocka_unit_test(a_resting_place_is_left_alone),
		cmocka_unit_test(held_messages_and_paused_places_wait),
		cmocka_unit_test(a_message_to_several_places_has_an_item_for_each),
		cmocka_unit_test(a_queued_recipient_costs_less_than_two_hundred_bytes),
		cmocka_unit_test(all_messages_are_told_once_piece_by_piece),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
