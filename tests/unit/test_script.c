#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/conn.h"
#include "base/loop.h"
#include "delivery/script.h"

/* A script over a socket pair; the other end is ours. */
enum { PATIENCE_MS = 3000, BYTE_MS = 100, ROWS = 40 };
static struct loop *loop;
static struct conn *conn;
static struct script *script;
static struct loop_timer *drip;
static int peer;
static enum script_end ended;
static size_t dripped, replies;

static void on_data(void *arg, struct conn *c)
{
	(void)arg, (void)c;
	script_data(script);
}

static void on_event(void *arg, struct conn *c, enum conn_event what)
{
	(void)arg, (void)c, (void)what;
}

static void on_end(void *arg, enum script_end how, const char *why, const struct mail_reply *reply)
{
	(void)arg, (void)why, (void)reply;
	ended = how;
	loop_stop(loop);
}

static void on_reply(void *arg, size_t index, bool good, const struct mail_reply *r)
{
	(void)arg, (void)index, (void)good, (void)r;
	if (++replies == ROWS)
		loop_stop(loop);
}

static const struct conn_handler conn_handler = { on_data, on_event, NULL };
static const struct script_handler script_handler = { on_end };

static int set_up(void **state)
{
	int both[2];
	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, both), 0);
	loop = loop_new();
	conn = conn_new(loop, both[0], &(struct conn_limits){ 64 << 10, 64 << 10 }, &conn_handler, NULL);
	script = script_new(loop, conn, &script_handler, NULL);
	peer = both[1];
	ended = SCRIPT_CLOSED;
	dripped = replies = 0;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	loop_timer_free(drip);
	drip = NULL;
	script_free(script);
	conn_free(conn);
	close(peer);
	loop_free(loop);
	return 0;
}

/* A byte of one long reply from time to time, for ever. */
static void on_drip(void *arg)
{
	static const char words[] = "220 what is so long that nobody waits for its end, one byte after the other, and on and on, and on ";
	(void)arg;
	assert_int_equal(write(peer, words + (dripped < sizeof words - 2 ? dripped : sizeof words - 2), 1), 1);
	if (++dripped > 200)
		loop_stop(loop); /* far past its time */
	loop_timer_set(drip, BYTE_MS);
}

static void add(void)
{
	script_add(script, &(struct script_row){ .command = SLICE("NOOP"), .hopes = 2, .alone = true, .timeout_ms = PATIENCE_MS, .on_reply = on_reply });
	script_go(script);
}

static void a_reply_that_comes_byte_by_byte_has_no_more_time_than_another(void **state)
{
	(void)state;
	drip = loop_timer_new(loop, on_drip, NULL);
	add();
	loop_timer_set(drip, 1);
	loop_run(loop);
	assert_int_equal(ended, SCRIPT_TIMEOUT);
	assert_true(dripped < 200);
}

/* All together take longer than one may; each is there soon. */
static void on_answer(void *arg)
{
	(void)arg;
	assert_int_equal(write(peer, "250 ok\r\n", 8), 8);
	if (++dripped == ROWS)
		return;
	add();
	loop_timer_set(drip, BYTE_MS);
}

static void the_time_begins_anew_with_each_row(void **state)
{
	(void)state;
	drip = loop_timer_new(loop, on_answer, NULL);
	add();
	loop_timer_set(drip, BYTE_MS);
	loop_run(loop);
	assert_int_equal(replies, ROWS);
	assert_int_equal(ended, SCRIPT_CLOSED);
	add(); /* and now nobody answers */
	loop_run(loop);
	assert_int_equal(ended, SCRIPT_TIMEOUT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = { TEST(a_reply_that_comes_byte_by_byte_has_no_more_time_than_another), TEST(the_time_begins_anew_with_each_row) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
