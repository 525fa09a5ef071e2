/* kill -9 of the mailbox process under load, at random moments: what was answered is there and whole, what lies there is whole, and nothing lies
 * in tmp/. (The same through SMTP, for every process: tests/kill.) */
#include "tests/unit/load_kit.h"

enum { ROUNDS = 10 };

static void kill_it(void *arg)
{
	kill(*(pid_t *)arg, SIGKILL);
}

static void one_round(void)
{
	pid_t child = load_start();
	struct loop_timer *t = loop_timer_new(loop, kill_it, &child);
	loop_timer_set(t, 5 + (uint64_t)rand() % 80);
	loop_run(loop);
	loop_timer_free(t);
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
	assert_true(check_all(promised) > ROUNDS);
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
