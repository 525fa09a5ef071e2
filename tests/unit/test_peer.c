/* Questions to another process: before it is there, through its end, and after it came again. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <unistd.h>

#include "base/ipc.h"
#include "base/loop.h"
#include "smtpd/peer.h"

enum { QUESTION = 7 };

static struct loop *loop;
static struct peer *peer;
static unsigned gone, heard;

static int setup(void **state)
{
	(void)state;
	loop = loop_new();
	peer = peer_new(loop, "queue", NULL, NULL, NULL);
	gone = heard = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	peer_free(peer);
	loop_free(loop);
	return 0;
}

static int note(void *arg, struct ipc_message *m)
{
	(void)arg;
	if (m)
		heard++;
	else
		gone++;
	loop_stop(loop);
	return 0;
}

/* The peer comes; its end of the channel. */
static int arrive(void)
{
	int fds[2];
	assert_int_equal(ipc_pair(fds), 0);
	peer_attach(peer, fds[0]);
	return fds[1];
}

static void nobody_is_asked_who_is_not_there(void **state)
{
	(void)state;
	assert_null(peer_ask(peer, QUESTION, SLICE("?"), -1, 0, note, NULL));
	assert_int_equal(peer_tell(peer, QUESTION, 0, SLICE("!")), -EPIPE);
}

static void who_waits_for_a_peer_hears_when_it_comes(void **state)
{
	(void)state;
	assert_non_null(peer_await(peer, 60000, note, NULL));
	assert_non_null(peer_await(peer, 0, note, NULL));
	assert_int_equal(heard, 0);
	int other = arrive();
	assert_int_equal(heard, 2);
	assert_int_equal(gone, 0);
	close(other);
}

static void who_waits_too_long_hears_that_it_is_gone(void **state)
{
	(void)state;
	assert_non_null(peer_await(peer, 1, note, NULL));
	loop_run(loop);
	assert_int_equal(gone, 1);
	int other = arrive();
	assert_int_equal(heard, 0);
	close(other);
}

static void who_no_longer_waits_hears_nothing(void **state)
{
	(void)state;
	peer_cancel(peer_await(peer, 0, note, NULL));
	int other = arrive();
	assert_int_equal(heard + gone, 0);
	close(other);
}

/* Asks what it waited to ask. */
static int ask(void *arg, struct ipc_message *m)
{
	assert_non_null(m);
	assert_non_null(peer_ask(peer, QUESTION, SLICE("?"), -1, 0, note, arg));
	return 0;
}

static void what_was_waited_for_is_asked_on_the_new_channel_and_ends_with_it(void **state)
{
	(void)state;
	assert_non_null(peer_await(peer, 0, ask, NULL));
	int other = arrive();
	assert_int_equal(heard + gone, 0);
	close(other);
	loop_run(loop);
	assert_int_equal(gone, 1);
	assert_false(peer_is_up(peer));
}

static void a_new_channel_answers_what_the_old_one_was_asked(void **state)
{
	(void)state;
	int one = arrive();
	assert_non_null(peer_ask(peer, QUESTION, SLICE("?"), -1, 0, note, NULL));
	int two = arrive();
	assert_int_equal(gone, 1);
	assert_int_equal(heard, 0);
	close(one);
	close(two);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nobody_is_asked_who_is_not_there, setup, teardown),
		cmocka_unit_test_setup_teardown(who_waits_for_a_peer_hears_when_it_comes, setup, teardown),
		cmocka_unit_test_setup_teardown(who_waits_too_long_hears_that_it_is_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(who_no_longer_waits_hears_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_waited_for_is_asked_on_the_new_channel_and_ends_with_it, setup, teardown),
		cmocka_unit_test_setup_teardown(a_new_channel_answers_what_the_old_one_was_asked, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
