/* Connections to Unix sockets that helpers make: whatever becomes of a helper, whoever asked hears of it, once. The test is the parent. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/house.h"
#include "base/ipc.h"
#include "base/log.h"
#include "delivery/unix_helper.h"

enum { OPENED = 1, PATIENCE_MS = 20000 };

static struct house house;
static struct unix_helper *helper;
static int parent;             /* its end of the channel */
static int told, times;

static void on_opened(void *arg, int fd)
{
	(void)arg;
	told = fd;
	times++;
}

static int nothing(void *arg, struct ipc *from, struct ipc_message *m)
{
	(void)arg, (void)from, (void)m;
	return 0;
}

static void closed(void *arg, struct ipc *which)
{
	(void)arg, (void)which;
}

static void over(void *arg)
{
	(void)arg;
	loop_stop(house.loop);
}

/* What is ready is done; nothing comes later, since nobody else is here. */
static void run(void)
{
	struct loop_timer *t = loop_timer_new(house.loop, over, NULL);
	loop_timer_set(t, 50);
	loop_run(house.loop);
	loop_timer_free(t);
}

/* Asks; the helper's end of its channel. */
static int ask(uint64_t *id)
{
	struct ipc_message m;
	struct buf payload = BUF_INIT(4096);
	told = times = 0;
	assert_int_equal(unix_helper_open(helper, SLICE("/run/lmtp"), on_opened, NULL), 0);
	run();
	assert_int_equal(ipc_receive_blocking(parent, PATIENCE_MS, &m, &payload), 0);
	buf_free(&payload);
	assert_int_equal(m.type, HOUSE_HELPER);
	assert_true(m.fd >= 0);
	*id = m.id;
	return m.fd;
}

static void a_connection_comes_before_or_behind_the_helpers_end(void **state)
{
	(void)state;
	for (int first = 0; first < 2; first++) {
		uint64_t id;
		int way = ask(&id), fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		assert_int_equal(ipc_send_blocking(way, OPENED, 1, SLICE_NONE, fd), 0);
		close(fd);
		close(way);
		if (first)
			unix_helper_done(helper, id, 0);
		run();
		unix_helper_done(helper, id, 0);
		assert_true(times == 1 && told >= 0);
		close(told);
	}
}

/* The helper has sent it, and it was not taken: there was no descriptor free here. */
static void a_connection_that_got_lost_on_its_way_is_told(void **state)
{
	(void)state;
	for (int first = 0; first < 2; first++) {
		uint64_t id;
		int way = ask(&id);
		if (first)
			unix_helper_done(helper, id, 0);
		close(way);
		run();
		if (!first)
			unix_helper_done(helper, id, 0);
		assert_true(times == 1 && told == -EAGAIN);
	}
}

static void a_helper_that_fails_is_told(void **state)
{
	(void)state;
	uint64_t id;
	int way = ask(&id);
	close(way);
	run();
	assert_int_equal(times, 0); /* why, its end says */
	unix_helper_done(helper, id, 1 << 8);
	assert_true(times == 1 && told == -ECONNREFUSED);
}

static int set_up(void **state)
{
	static const struct ipc_handler handler = { nothing, closed };
	int pair[2];
	(void)state;
	log_open(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_FORM_TEXT, "test");
	house.loop = loop_new();
	if (ipc_pair(pair) < 0)
		return -1;
	house.parent = ipc_new(house.loop, pair[0], &handler, NULL);
	parent = pair[1];
	helper = unix_helper_new(&house);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unix_helper_free(helper);
	ipc_free(house.parent);
	close(parent);
	loop_free(house.loop);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_connection_comes_before_or_behind_the_helpers_end),
		cmocka_unit_test(a_connection_that_got_lost_on_its_way_is_told),
		cmocka_unit_test(a_helper_that_fails_is_told),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
