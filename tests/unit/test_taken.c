#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "queue/queue_settings.h"
#include "queue/taken.h"

enum { CAME = 100000, DELAY = 4 * 3600, EXPIRES = CAME + 5 * 86400 };

static struct envelope_recipient to = { .address = SLICE_INIT("ann@far.test"), .place = SLICE_INIT("mx:far.test"), .way = WAY_FOREIGN };

static struct envelope envelope(void)
{
	return (struct envelope){ .arrived_s = CAME, .expires_s = EXPIRES, .reverse_path = SLICE("alice@example.test"), .recipients = &to, .recipient_count = 1 };
}

static int set_up(void **state)
{
	(void)state;
	queue_settings.delay_notice_s = DELAY;
	to.notify = 0;
	return 0;
}

static void a_delay_is_told_before_the_end(void **state)
{
	struct envelope e = envelope();
	struct recipient_state r = { .fate = RECIPIENT_WAITING };
	struct message_state m = { .recipients = &r, .waiting = 1 };
	(void)state;
	assert_int_equal(taken_look_s(&e, NULL, false), CAME + DELAY);
	assert_int_equal(taken_look_s(&e, &m, false), CAME + DELAY);
	assert_int_equal(taken_look_s(&e, &m, true), EXPIRES);
	r.delay_told = true;
	assert_int_equal(taken_look_s(&e, &m, false), EXPIRES);
}

static void nobody_is_told_who_does_not_want_to_hear_or_was_told_the_end(void **state)
{
	struct envelope e = envelope();
	struct recipient_state r = { .fate = RECIPIENT_DONE };
	struct message_state m = { .recipients = &r };
	(void)state;
	assert_int_equal(taken_look_s(&e, &m, false), EXPIRES);
	to.notify = NOTIFY_FAILURE;
	assert_int_equal(taken_look_s(&e, NULL, false), EXPIRES);
	to.notify = 0;
	e.report = true;
	assert_int_equal(taken_look_s(&e, NULL, false), EXPIRES);
	e.report = false;
	queue_settings.delay_notice_s = 0;
	assert_int_equal(taken_look_s(&e, NULL, false), EXPIRES);
}

static void time_on_hold_is_no_delay(void **state)
{
	struct envelope e = envelope();
	(void)state;
	e.hold_until_s = CAME + 8 * 3600;
	assert_int_equal(taken_delay_s(&e), CAME + 8 * 3600 + DELAY);
	assert_int_equal(taken_look_s(&e, NULL, false), CAME + 8 * 3600 + DELAY);
}

static void deliverby_notifies_or_ends_at_its_deadline(void **state)
{
	struct envelope e = envelope();
	(void)state;
	e.deliver_by_s = CAME + 60;
	assert_int_equal(taken_look_s(&e, NULL, false), CAME + 60);
	assert_int_equal(taken_look_s(&e, NULL, true), EXPIRES);
	e.deliver_by_return = true;
	assert_int_equal(taken_delay_s(&e), CAME + DELAY);
	assert_int_equal(taken_look_s(&e, NULL, true), CAME + 60);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_delay_is_told_before_the_end),
		TEST(nobody_is_told_who_does_not_want_to_hear_or_was_told_the_end),
		TEST(time_on_hold_is_no_delay),
		TEST(deliverby_notifies_or_ends_at_its_deadline),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
