/* Maildir folders and names, quotas that count them, and the sweep. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "delivery/maildir.h"
#include "delivery/maildir_find.h"
#include "delivery/maildir_sweep.h"
#include "delivery/quota.h"

static char path[64];
static int root = -1;

static int setup(void **state)
{
	(void)state;
	snprintf(path, sizeof path, "/tmp/porter-maildir-XXXXXX");
	assert_non_null(mkdtemp(path));
	return file_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0, &root);
}

static int teardown(void **state)
{
	char command[96];
	(void)state;
	file_close(&root);
	snprintf(command, sizeof command, "rm -rf %s", path);
	return system(command);
}

static void make_file(const char *name, size_t size)
{
	int fd = openat(root, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	close(fd);
}

static void make_maildir(const char *place)
{
	int fd;
	assert_int_equal(maildir_open(root, slice_of(place), MAILDIR_NEW, true, &fd), 0);
	close(fd);
}

static bool has(const char *place, const char *transaction)
{
	bool found = false;
	assert_int_equal(maildir_find(root, slice_of(place), slice_of(transaction), &found), 0);
	return found;
}

static void a_message_is_found_by_its_transaction_where_a_reader_moved_it(void **state)
{
	char name[MAILDIR_MAX_NAME], from[MAILDIR_MAX_NAME + 20], to[MAILDIR_MAX_NAME + 20];
	bool found;
	(void)state;
	assert_false(has("ann", "1mabc"));
	assert_int_equal(faccessat(root, "ann", F_OK, 0), -1); /* nothing is made for a question */
	make_maildir("ann");
	assert_false(has("ann", "1mabc"));
	maildir_name(name, SLICE("1mabc"), SLICE("host"), 9);
	snprintf(from, sizeof from, "ann/new/%s", name);
	make_file(from, 9);
	assert_true(has("ann", "1mabc"));
	assert_false(has("ann", "1mab"));
	assert_false(has("ann", "mabc"));
	assert_false(has("bob", "1mabc"));
	snprintf(to, sizeof to, "ann/cur/%s:2,S", name);
	assert_int_equal(renameat(root, from, root, to), 0);
	assert_true(has("ann", "1mabc"));
	assert_true(maildir_find(root, SLICE("../ann"), SLICE("1mabc"), &found) < 0);
}

static int fail_sync(void *arg, enum file_call call, int fd, int dir, const char *name)
{
	(void)arg, (void)fd, (void)dir, (void)name;
	return call == FILE_SYNC ? -EIO : 0;
}

static void what_is_found_counts_only_when_its_name_is_synced(void **state)
{
	char name[MAILDIR_MAX_NAME], path_there[MAILDIR_MAX_NAME + 20];
	bool found = false;
	(void)state;
	make_maildir("ann");
	maildir_name(name, SLICE("1mabc"), SLICE("host"), 9);
	snprintf(path_there, sizeof path_there, "ann/new/%s", name);
	make_file(path_there, 9);
	file_test_hook(fail_sync, NULL);
	assert_int_equal(maildir_find(root, SLICE("ann"), SLICE("1mabc"), &found), -EIO);
	file_test_hook(NULL, NULL);
	assert_false(found);
}

static bool is_there(const char *name)
{
	struct stat st;
	return file_stat_at(root, name, &st) == 0;
}

static void a_place_has_no_dots_and_no_empty_parts(void **state)
{
	static const char *const good[] = { "a", "a/b", "/a", "/a/b/", "a/...", "a/.b", "-x", "a b" };
	static const char *const bad[] = { "", "/", "//", "a//b", ".", "..", "a/..", "../a", "/..", "a/./b", "//a" };
	char longer[MAILDIR_MAX_PLACE + 2];
	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		assert_true(maildir_place_ok(slice_of(good[i])));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(maildir_place_ok(slice_of(bad[i])));
	assert_false(maildir_place_ok(SLICE("a\0b")));
	memset(longer, 'x', sizeof longer);
	assert_false(maildir_place_ok(slice(longer, 256)));
	for (size_t i = 0; i < sizeof longer; i += 2)
		longer[i] = '/';
	assert_false(maildir_place_ok(slice(longer, sizeof longer)));
}

static void missing_folders_are_made_below_the_root_alone(void **state)
{
	int fd;
	char outside[128];
	(void)state;
	assert_int_equal(maildir_open(root, SLICE("d/u"), MAILDIR_NEW, false, &fd), -ENOENT);
	assert_false(is_there("d"));
	make_maildir("d/u");
	assert_true(is_there("d/u/new") && is_there("d/u/cur") && is_there("d/u/tmp"));
	snprintf(outside, sizeof outside, "%s/e/u", path);
	assert_int_equal(maildir_open(root, slice_of(outside), MAILDIR_NEW, true, &fd), -ENOENT);
	assert_false(is_there("e"));
}

static void a_link_on_the_way_is_refused(void **state)
{
	int fd;
	(void)state;
	make_maildir("real");
	assert_int_equal(symlinkat("real", root, "link"), 0);
	assert_int_equal(symlinkat("/tmp", root, "out"), 0);
	assert_int_equal(maildir_open(root, SLICE("link"), MAILDIR_NEW, true, &fd), -ELOOP);
	assert_int_not_equal(maildir_open(root, SLICE("out/u"), MAILDIR_NEW, true, &fd), 0);
}

static void names_are_unique_and_tell_size_and_origin(void **state)
{
	char a[MAILDIR_MAX_NAME], b[MAILDIR_MAX_NAME];
	struct maildir_origin origin;
	uint64_t size;
	(void)state;
	maildir_name(a, SLICE("tx-1"), SLICE("mx.example"), 4096);
	maildir_name(b, SLICE("tx-1"), SLICE("mx.example"), 4096);
	assert_string_not_equal(a, b);
	assert_true(maildir_name_size(slice_of(a), &size));
	assert_int_equal(size, 4096);
	assert_true(maildir_name_parse(slice_of(a), SLICE("mx.example"), &origin));
	assert_int_equal(origin.pid, getpid());
	assert_false(maildir_name_parse(slice_of(a), SLICE("other"), &origin));
	assert_false(maildir_name_parse(SLICE("1.M2P3Q4_x.mx.example2,S=1"), SLICE("mx.example"), &origin));
	assert_false(maildir_name_parse(SLICE("1700000000.P3.mx.example"), SLICE("mx.example"), &origin));
	assert_false(maildir_name_size(SLICE("1700000000.P3.mx:2,S"), &size));
	assert_true(maildir_name_size(SLICE("1.x,S=12,W=13:2,S"), &size));
	assert_int_equal(size, 12);
}

static void a_quota_counts_new_and_cur_by_name_or_by_stat(void **state)
{
	struct quota_table *t = quota_new(root, 100);
	struct quota_limits limits = { 1000, 0 };
	(void)state;
	make_maildir("u");
	make_file("u/new/1.a,S=300", 1);
	make_file("u/cur/2.b:2,S", 400);
	make_file("u/cur/.hidden", 5000);
	make_file("u/tmp/3.c,S=5000", 1);
	assert_int_equal(quota_check(t, SLICE("u"), &limits, 300), 0);
	assert_int_equal(quota_check(t, SLICE("u"), &limits, 301), -EDQUOT);
	limits.messages = 2;
	assert_int_equal(quota_check(t, SLICE("u"), &limits, 1), -EDQUOT);
	assert_int_equal(quota_check(t, SLICE("missing"), &limits, 1000), 0);
	assert_int_equal(quota_check(t, SLICE("missing"), &limits, 1001), -EDQUOT);
	quota_free(t);
}

static void a_change_behind_our_back_is_counted(void **state)
{
	struct quota_table *t = quota_new(root, 100);
	struct quota_limits limits = { 0, 2 };
	(void)state;
	make_maildir("u");
	assert_int_equal(quota_reserve(t, SLICE("u"), &limits, 10), 0);
	make_file("u/new/1.a,S=10", 10);
	quota_settle(t, SLICE("u"), 10, true);
	assert_int_equal(quota_reserve(t, SLICE("u"), &limits, 10), 0);
	assert_int_equal(quota_check(t, SLICE("u"), &limits, 10), -EDQUOT);
	quota_settle(t, SLICE("u"), 10, false);
	usleep(20000); /* folder times have the grain of the kernel's tick */
	assert_int_equal(file_unlink(root, "u/new/1.a,S=10"), 0);
	assert_int_equal(quota_reserve(t, SLICE("u"), &limits, 10), 0);
	assert_int_equal(quota_reserve(t, SLICE("u"), &limits, 10), 0);
	assert_int_equal(quota_reserve(t, SLICE("u"), &limits, 10), -EDQUOT);
	quota_free(t);
}

static void the_table_is_bounded_and_keeps_what_is_reserved(void **state)
{
	struct quota_table *t = quota_new(root, 1);
	struct quota_limits limits = { 0, 1 };
	char place[16];
	int taken = 0, refused = 0;
	(void)state;
	for (int i = 0; i < 100; i++) {
		snprintf(place, sizeof place, "u%d", i);
		int error = quota_reserve(t, slice_of(place), &limits, 1);
		assert_true(error == 0 || error == -EAGAIN);
		taken += error == 0;
		refused += error == -EAGAIN;
	}
	assert_true(taken >= 8 && refused >= 80);
	assert_int_equal(quota_check(t, SLICE("u0"), &limits, 1), -EDQUOT);
	quota_free(t);
}

/* What the model says against what the table says, over random arrivals, deletions and aborts. */
static void a_quota_agrees_with_what_lies_there(void **state)
{
	struct quota_table *t = quota_new(root, 100);
	struct quota_limits limits = { 0, 20 };
	char name[64];
	bool there[200] = { false };
	int count = 0;
	(void)state;
	make_maildir("u");
	for (int step = 0; step < 400; step++) {
		int i = rand() % 200;
		snprintf(name, sizeof name, "u/%s/%d.x,S=5", i % 2 ? "new" : "cur", i);
		if (there[i]) {
			usleep(11000); /* as above, where it ticks a hundred times a second */
			assert_int_equal(file_unlink(root, name), 0);
			there[i] = false;
			count--;
			continue;
		}
		int error = quota_reserve(t, SLICE("u"), &limits, 5);
		assert_int_equal(error, count < 20 ? 0 : -EDQUOT);
		if (error)
			continue;
		bool kept = rand() % 4;
		if (kept)
			make_file(name, 5);
		there[i] = kept;
		count += kept;
		quota_settle(t, SLICE("u"), 5, kept);
	}
	quota_free(t);
}

static pid_t dead_pid(void)
{
	pid_t child = fork();
	if (child == 0)
		_exit(0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	return child;
}

static void the_sweep_takes_the_dead_ones_of_ours_alone(void **state)
{
	char dead[128], live[128], mine[128], old[128];
	(void)state;
	make_maildir("d/u");
	snprintf(dead, sizeof dead, "d/u/tmp/1700000000.M000001P%dQ1_t.host,S=1", (int)dead_pid());
	snprintf(live, sizeof live, "d/u/tmp/1700000000.M000001P%dQ1_t.host,S=1", (int)getppid());
	snprintf(mine, sizeof mine, "d/u/tmp/%lld.M000001P%dQ1_t.host,S=1", (long long)clock_wall_s() + 1, (int)getpid());
	snprintf(old, sizeof old, "d/u/tmp/1700000000.M000001P%dQ1_t.host,S=1", (int)getpid());
	const char *const others[] = { live, mine, "d/u/tmp/1700000000.P1.other", "d/u/tmp/x", "d/u/new/1700000000.M1P1Q1_t.host,S=1" };
	make_file(dead, 1);
	make_file(old, 1);
	for (size_t i = 0; i < 5; i++)
		make_file(others[i], 1);
	assert_int_equal(maildir_sweep(root, SLICE("host")), 2);
	assert_false(is_there(dead) || is_there(old));
	for (size_t i = 0; i < 5; i++)
		assert_true(is_there(others[i]));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_place_has_no_dots_and_no_empty_parts),
		TEST(missing_folders_are_made_below_the_root_alone),
		TEST(a_link_on_the_way_is_refused),
		TEST(names_are_unique_and_tell_size_and_origin),
		TEST(a_message_is_found_by_its_transaction_where_a_reader_moved_it),
		TEST(what_is_found_counts_only_when_its_name_is_synced),
		TEST(a_quota_counts_new_and_cur_by_name_or_by_stat),
		TEST(a_change_behind_our_back_is_counted),
		TEST(the_table_is_bounded_and_keeps_what_is_reserved),
		TEST(a_quota_agrees_with_what_lies_there),
		TEST(the_sweep_takes_the_dead_ones_of_ours_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
