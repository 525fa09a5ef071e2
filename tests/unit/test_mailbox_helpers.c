/* What needs another process: system users' homes and programs. The parent's part is played by a fork here. */
#include "tests/unit/mailbox_kit.h"

#include <signal.h>
#include <sys/wait.h>

#include "delivery/forward.h"
#include "delivery/program_parcel.h"
#include "delivery/system_parcel.h"

#define HELLO SLICE("Subject: hello\n\nHello, world.\n")

enum { MAX_CHILDREN = 64 };

#define SYSTEM_USER "--system-user" /* how this program is called as a user's process */

static struct kit kit;
static char home[160];
static struct {
	pid_t pid;
	uint64_t id;
} children[MAX_CHILDREN];
static struct loop_timer *reaper;
static size_t starts;

/* All that the child needs is made before the fork, since other threads may hold the allocator's lock at that moment; a user's process is this program again. */
static int start_helper(void *arg, uint64_t id, struct slice kind, struct slice user, struct slice message, const struct slice *words, size_t count, int fd)
{
	char *argv[8] = { "/proc/self/exe", SYSTEM_USER };
	(void)arg, (void)message;
	if (slice_eq(user, SLICE("missing")))
		return -ENOENT;
	if (slice_eq(kind, SLICE("program")))
		for (size_t i = 0; i < count && i < 7; i++)
			argv[i] = mem_copy(words[i].p, words[i].n);
	setenv("HOME", home, 1);
	starts++;
	pid_t pid = fork();
	if (pid == 0) {
		dup2(fd, 0);
		close_range(3, ~0U, 0);
		execv(argv[0], argv);
		_exit(75);
	}
	for (size_t i = 0; slice_eq(kind, SLICE("program")) && i < count && i < 7; i++)
		mem_free(argv[i]);
	for (size_t i = 0; i < MAX_CHILDREN; i++) {
		if (children[i].pid)
			continue;
		children[i].pid = pid;
		children[i].id = id;
		return 0;
	}
	return -EAGAIN;
}

static void reap(void *arg)
{
	int status;
	(void)arg;
	for (size_t i = 0; i < MAX_CHILDREN; i++) {
		if (children[i].pid == 0 || waitpid(children[i].pid, &status, WNOHANG) != children[i].pid)
			continue;
		children[i].pid = 0;
		mailbox_helper_ended(kit.mailbox, children[i].id, status);
	}
	loop_timer_set(reaper, 2);
}

static int start(void **state)
{
	(void)state;
	memset(&kit, 0, sizeof kit);
	kit.helpers = (struct helper_starter){ start_helper, NULL };
	kit_open(&kit, NULL);
	snprintf(home, sizeof home, "%s/home", kit.root);
	reaper = loop_timer_new(kit.loop, reap, NULL);
	loop_timer_set(reaper, 2);
	return mkdir(home, 0700);
}

static int end(void **state)
{
	(void)state;
	loop_timer_free(reaper);
	kit_end(&kit); /* those that rest end with it */
	for (size_t i = 0; i < MAX_CHILDREN; i++)
		if (children[i].pid)
			waitpid(children[i].pid, NULL, 0);
	memset(children, 0, sizeof children);
	return 0;
}

static struct mailbox_leaf leaf_of(enum leaf_kind kind, const char *place, size_t n)
{
	return (struct mailbox_leaf){ kind, slice(place, n), SLICE("u@example.test"), 0, 0 };
}

static struct mailbox_leaf user_leaf(const char *name)
{
	return leaf_of(LEAF_SYSTEM, name, strlen(name));
}

static void write_home(const char *name, const char *text, mode_t mode)
{
	char path[256];
	snprintf(path, sizeof path, "%s/%s", home, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void mail_for_a_system_user_lies_in_the_homes_maildir(void **state)
{
	struct mailbox_leaf leaf = user_leaf("u");
	(void)state;
	assert_int_equal(kit_deliver(&kit, "s1", &leaf, 1, HELLO, false), MAIL_OK);
	assert_string_equal(kit_content(&kit, "home/Maildir", 0, NULL), HELLO.p);
	assert_int_equal(kit_count(&kit, "home/Maildir/tmp"), 0);
	assert_int_equal(kit_deliver(&kit, "s2", &leaf, 1, HELLO, true), MAIL_OK);
	assert_int_equal(kit_count(&kit, "home/Maildir/new"), 1);
	kit_tell(&kit, MAILBOX_COMMIT, "s2");
	assert_int_equal(kit.delivered.status.fate, MAIL_OK);
	assert_int_equal(kit_count(&kit, "home/Maildir/new"), 2);
}

static void an_abort_leaves_nothing_in_the_home(void **state)
{
	struct mailbox_leaf leaves[2] = { user_leaf("u"), kit_maildir("d/v") };
	(void)state;
	assert_int_equal(kit_deliver(&kit, "s1", leaves, 2, HELLO, true), MAIL_OK);
	kit_tell(&kit, MAILBOX_ABORT, "s1");
	kit_wait_idle(&kit);
	kit_idle(&kit, 300);
	assert_int_equal(kit_count(&kit, "home/Maildir/new"), 0);
	assert_int_equal(kit_count(&kit, "d/v/new"), 0);
}

static void a_large_message_goes_over_as_a_pen(void **state)
{
	struct mailbox_leaf leaves[2] = { user_leaf("u"), kit_maildir("d/v") };
	static char big[300000];
	struct stat st;
	(void)state;
	memset(big, 'x', sizeof big);
	assert_int_equal(kit_pen(&kit, "p", &leaves[0]), MAIL_OK);
	assert_int_equal(write(kit.pen_fd, big, sizeof big), sizeof big);
	struct mailbox_deliver m = { .transaction = SLICE("p"), .from_pen = true, .pen_length = sizeof big, .leaves = leaves, .leaf_count = 2 };
	kit.waiting++;
	mailbox_send_deliver(kit.channel, 1, &m);
	kit_run(&kit);
	assert_int_equal(kit.delivered.status.fate, MAIL_OK);
	kit_content(&kit, "home/Maildir", 0, &st);
	assert_int_equal(st.st_size, sizeof big);
	kit_content(&kit, "d/v", 1, &st);
	assert_int_equal(st.st_size, sizeof big);
}

static void a_user_that_does_not_start_is_451_for_all(void **state)
{
	struct mailbox_leaf leaves[2] = { user_leaf("missing"), kit_maildir("d/v") };
	(void)state;
	assert_int_equal(kit_deliver(&kit, "s", leaves, 2, HELLO, false), MAIL_LATER);
	assert_int_equal(kit.delivered.status.code, 451);
	assert_int_equal(kit_count(&kit, "d/v/new"), 0);
	assert_int_equal(kit_ask(&kit, &leaves[0], 1), MAIL_LATER);
}

static void forward_is_read_at_ask_and_only_addresses_count(void **state)
{
	struct mailbox_leaf leaf = user_leaf("u");
	(void)state;
	assert_int_equal(kit_ask(&kit, &leaf, 1), MAIL_OK);
	assert_int_equal(kit.asked.forward_count, 0);
	write_home(".forward", "# mine\n\\u, a@b.example ,\n\"|/usr/bin/vacation u\"\n/dev/null\n:include:/etc/passwd\n\"x,y\"@c.example\n", 0600);
	assert_int_equal(kit_ask(&kit, &leaf, 1), MAIL_OK);
	assert_int_equal(kit.asked.forward_count, 3);
	assert_true(slice_eq(kit.asked.forward[0], SLICE("u")));
	assert_true(slice_eq(kit.asked.forward[1], SLICE("a@b.example")));
	assert_true(slice_eq(kit.asked.forward[2], SLICE("\"x,y\"@c.example")));
	write_home(".forward", "a@b.example\n", 0666);
	assert_int_equal(kit_ask(&kit, &leaf, 1), MAIL_LATER);
}

static void a_users_process_rests_and_is_asked_again_and_looks_anew(void **state)
{
	struct mailbox_leaf leaf = user_leaf("u");
	char text[40];
	(void)state;
	starts = 0;
	for (int i = 0; i < 30; i++) {
		snprintf(text, sizeof text, "a%d@b.example\n", i);
		write_home(".forward", text, 0600);
		assert_int_equal(kit_ask(&kit, &leaf, 1), MAIL_OK);
		assert_int_equal(kit.asked.forward_count, 1);
		assert_true(slice_eq(kit.asked.forward[0], slice(text, strlen(text) - 1)));
	}
	assert_in_range(starts, 1, 5); /* one, where the machine doesn't sleep for seconds */
}

static void one_that_ended_while_it_rested_is_replaced(void **state)
{
	struct mailbox_leaf leaf = user_leaf("u");
	(void)state;
	for (int i = 0; i < 5; i++) {
		assert_int_equal(kit_ask(&kit, &leaf, 1), MAIL_OK);
		for (size_t n = 0; n < MAX_CHILDREN; n++)
			if (children[n].pid)
				kill(children[n].pid, SIGKILL);
		assert_int_equal(kit_ask(&kit, &leaf, 1), MAIL_OK);
		assert_int_equal(kit_deliver(&kit, "r1", &leaf, 1, HELLO, false), MAIL_OK);
	}
}

static void no_forward_text_crashes_its_reader(void **state)
{
	static const char bytes[] = ",\"\\|\n# a@b/:\r\t\x01\xff";
	char text[64];
	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct arena mem = ARENA_INIT(64 << 10);
		struct slice *items;
		size_t count, n = (size_t)rand() % sizeof text;
		for (size_t i = 0; i < n; i++)
			text[i] = bytes[(size_t)rand() % sizeof bytes];
		if (forward_parse(slice(text, n), &mem, &items, &count) == 0)
			for (size_t i = 0; i < count; i++)
				assert_true(items[i].n > 0 && items[i].p[0] != '|' && items[i].p[0] != '/');
		arena_free(&mem);
	}
}

static struct mailbox_leaf shell_leaf(const char *script)
{
	static char place[512];
	int n = snprintf(place, sizeof place, "/bin/sh%c-c%c%s", 0, 0, script);
	return leaf_of(LEAF_PROGRAM, place, (size_t)n);
}

static void a_program_gets_the_message_and_exact_arguments(void **state)
{
	char script[256], path[256];
	struct stat st;
	(void)state;
	snprintf(script, sizeof script, "cat > %s/got", home);
	struct mailbox_leaf leaf = shell_leaf(script);
	assert_int_equal(kit_ask(&kit, &leaf, 1), MAIL_OK);
	assert_int_equal(kit_deliver(&kit, "p1", &leaf, 1, HELLO, false), MAIL_OK);
	snprintf(path, sizeof path, "%s/got", home);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, HELLO.n);
}

static void a_programs_exit_code_is_the_fate_of_all(void **state)
{
	static const struct {
		const char *script;
		unsigned code;
	} rows[] = { { "exit 0", 250 }, { "exit 75", 451 }, { "exit 67", 550 }, { "exit 65", 554 }, { "exit 77", 550 }, { "exit 1", 451 }, { "exit 99", 451 },
		     { "kill -9 $$", 451 }, { "exit 64", 451 } };
	int kept = 0;
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct mailbox_leaf leaves[2] = { kit_maildir("d/v"), shell_leaf(rows[i].script) };
		kit_deliver(&kit, "p2", leaves, 2, HELLO, false);
		assert_int_equal(kit.delivered.status.code, rows[i].code);
		kit_wait_idle(&kit);
		kept += rows[i].code == 250;
		assert_int_equal(kit_count(&kit, "d/v/new"), kept);
	}
}

static void two_programs_in_one_transaction_are_told_to_come_apart(void **state)
{
	struct mailbox_leaf one = shell_leaf("exit 0"), leaves[2] = { one, one };
	(void)state;
	assert_int_equal(kit_deliver(&kit, "p3", leaves, 2, HELLO, false), MAIL_LATER);
	assert_int_equal(kit.delivered.status.code, 452);
}

static void a_program_that_never_reads_or_does_not_exist_stalls_nobody(void **state)
{
	struct mailbox_leaf leaf = shell_leaf("exec 0<&-; exit 0"), missing = leaf_of(LEAF_PROGRAM, "/no/such/program", 16), v = kit_maildir("d/v");
	(void)state;
	assert_int_equal(kit_deliver(&kit, "p4", &leaf, 1, HELLO, false), MAIL_OK);
	assert_int_equal(kit_ask(&kit, &missing, 1), MAIL_LATER);
	assert_int_equal(kit_deliver(&kit, "p5", &missing, 1, HELLO, false), MAIL_LATER);
	assert_int_equal(kit_deliver(&kit, "p6", &v, 1, HELLO, false), MAIL_OK);
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], SYSTEM_USER) == 0)
		return system_user_main();
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)
	const struct CMUnitTest tests[] = {
		TEST(mail_for_a_system_user_lies_in_the_homes_maildir),
		TEST(an_abort_leaves_nothing_in_the_home),
		TEST(a_large_message_goes_over_as_a_pen),
		TEST(a_user_that_does_not_start_is_451_for_all),
		TEST(forward_is_read_at_ask_and_only_addresses_count),
		TEST(a_users_process_rests_and_is_asked_again_and_looks_anew),
		TEST(one_that_ended_while_it_rested_is_replaced),
		TEST(no_forward_text_crashes_its_reader),
		TEST(a_program_gets_the_message_and_exact_arguments),
		TEST(a_programs_exit_code_is_the_fate_of_all),
		TEST(two_programs_in_one_transaction_are_told_to_come_apart),
		TEST(a_program_that_never_reads_or_does_not_exist_stalls_nobody),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
