/* kill -9 of the mailbox process under load, at random moments: what was answered is there and whole, what lies there is whole, and nothing lies
 * in tmp/. (The same through SMTP, for every process: tests/kill.) */
#include "tests/unit/load_kit.h"

enum { ROUNDS = 10, PATIENCE_MS = 10000 };

static struct {
	pid_t child;
	unsigned kept_before;
	uint64_t waited_ms;
	struct loop_timer *timer;
} killing;

static void wait_some_more(void)
{
	uint64_t ms = 5 + (uint64_t)rand() % 80;
	killing.waited_ms += ms;
	loop_timer_set(killing.timer, ms);
}

/* At a random moment, but not before it has answered at all, which takes its time on a busy machine. */
static void kill_it(void *arg)
{
	(void)arg;
	if (promise_count == killing.kept_before && killing.waited_ms < PATIENCE_MS)
		wait_some_more();
	else
		kill(killing.child, SIGKILL);
}

static void one_round(void)
{
	pid_t child = killing.child = load_start();
	killing.kept_before = promise_count;
	killing.waited_ms = 0;
	killing.timer = loop_timer_new(loop, kill_it, NULL);
	wait_some_more();
	loop_run(loop);
	loop_timer_free(killing.timer);
	loop_free(loop);
	assert_int_equal(waitpid(child, NULL, 0), child);
}

static void what_was_answered_survives_a_kill_and_nothing_is_torn(void **state)
{
	char command[160];
	(void)state;
	snprintf(root, sizeof root, "/tmp/porter-kill-XXXXXX");
	assert_non_null(mkdtemp(root));
	srand((unsigned)getpid());
	for (int i = 0; i < ROUNDS; i++)
		one_round();
	assert_true(check_all(promised) >= ROUNDS);
	snprintf(command, sizeof command, "rm -rf %s", root);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_answered_survives_a_kill_and_nothing_is_torn),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
