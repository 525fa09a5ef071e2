/* Messages between processes: what a peer said before it died. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/ipc.h"

static struct loop *loop;
static unsigned heard, closed;

static int on_message(void *arg, struct ipc *from, struct ipc_message *m)
{
	(void)arg, (void)from;
	assert_int_equal(m->type, 7);
	assert_true(slice_eq(m->payload, SLICE("last words")));
	heard++;
	return 0;
}

static void on_close(void *arg, struct ipc *which)
{
	(void)arg;
	closed++;
	ipc_free(which);
	loop_stop(loop);
}

static const struct ipc_handler handler = { on_message, on_close };

static struct ipc *begin(int *peer)
{
	int fds[2];
	heard = closed = 0;
	loop = loop_new();
	assert_int_equal(ipc_pair(fds), 0);
	*peer = fds[1];
	return ipc_new(loop, fds[0], &handler, NULL);
}

static void what_a_peer_said_before_it_died_is_heard_though_sending_to_it_fails(void **state)
{
	int peer;
	struct ipc *c = begin(&peer);
	(void)state;
	assert_int_equal(ipc_send_blocking(peer, 7, 1, SLICE("last words"), -1), 0);
	assert_int_equal(ipc_send_blocking(peer, 7, 2, SLICE("last words"), -1), 0);
	close(peer);
	assert_int_equal(ipc_send(c, 9, 0, SLICE("anybody there?"), -1), -EPIPE);
	assert_int_equal(ipc_send(c, 9, 0, SLICE("really not?"), -1), -EPIPE);
	assert_int_equal(closed, 0);
	loop_run(loop);
	assert_int_equal(heard, 2);
	assert_int_equal(closed, 1);
	loop_free(loop);
}

static void what_waits_for_a_peer_that_dies_is_dropped_and_its_end_is_told_once(void **state)
{
	int peer;
	struct ipc *c = begin(&peer);
	static char block[1 << 20];
	(void)state;
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(ipc_send(c, 9, i, slice(block, sizeof block), -1), 0); /* more than the socket takes */
	assert_int_equal(ipc_send_blocking(peer, 7, 1, SLICE("last words"), -1), 0);
	close(peer);
	loop_run(loop);
	assert_int_equal(heard, 1);
	assert_int_equal(closed, 1);
	loop_free(loop);
}

static void an_announced_length_past_the_ceiling_cuts_the_peer_off(void **state)
{
	static const char head[16] = { 0x7f, 0, 0, 0 };
	int peer;
	begin(&peer);
	(void)state;
	assert_int_equal(write(peer, head, sizeof head), sizeof head);
	loop_run(loop);
	assert_int_equal(heard, 0);
	assert_int_equal(closed, 1);
	close(peer);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_peer_said_before_it_died_is_heard_though_sending_to_it_fails),
		cmocka_unit_test(what_waits_for_a_peer_that_dies_is_dropped_and_its_end_is_told_once),
		cmocka_unit_test(an_announced_length_past_the_ceiling_cuts_the_peer_off),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
