/* A power cut. The mail root is an ext4 or xfs in an image file on a file system that can clone files at an instant (xfs). Under load the image is
 * cloned: the clone holds what had reached the disk at that moment, neither page cache nor unwritten journal. Each clone is mounted, which replays
 * its journal, and must hold every message that was answered before the cut began, whole, and no name without its content. Needs root, xfs and loop devices; else skipped. */
#include "tests/unit/load_kit.h"
#include "tests/unit/mount_kit.h"

#include "base/file.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>

enum { CUTS = 8, FEWEST = 20 };

static char base[] = "/tmp/porter-power-XXXXXX";
static bool promised_before[CUTS][MAX_MESSAGES];
static int cuts;

static bool run(const char *format, ...)
{
	char command[1024];
	va_list args;
	va_start(args, format);
	vsnprintf(command, sizeof command, format, args);
	va_end(args);
	return system(command) == 0;
}

static bool make_disks(const char *mkfs)
{
	return run("truncate -s 2G %s/outer && mkfs.xfs -q %s/outer >/dev/null 2>&1 && mkdir %s/o && mount -o loop %s/outer %s/o 2>/dev/null", base, base, base,
	           base, base) &&
	       run("truncate -s 400M %s/o/inner && %s %s/o/inner && mkdir %s/m && mount -o loop %s/o/inner %s/m", base, mkfs, base, base, base, base);
}

/* Asked in a process of its own: each mount may get another device. */
static bool disk_keeps_order(void)
{
	char path[128];
	int status;
	pid_t child = fork();
	if (child == 0) {
		snprintf(path, sizeof path, "%s/m", base);
		int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		_exit(file_init() == 0 && file_keeps_order(fd) && file_sync_order(fd) == 0 ? 1 : 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

static void drop_disks(void)
{
	run("umount %s/m 2>/dev/null; umount %s/o 2>/dev/null; rm -rf %s", base, base, base);
}

static struct loop_timer *knife;

static size_t count_promises(void)
{
	size_t n = 0;
	for (uint64_t i = 0; i < sent; i++)
		n += promised[i];
	return n;
}

static void cut(void *arg)
{
	char path[128];
	pid_t child = *(pid_t *)arg;
	if (count_promises() < FEWEST) {      /* a slow machine: there is nothing to look at yet */
		loop_timer_set(knife, 10);
		return;
	}
	memcpy(promised_before[cuts], promised, sizeof promised);
	snprintf(path, sizeof path, "%s/o/inner", base);
	int from = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof path, "%s/o/cut%d", base, cuts);
	int to = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(from >= 0 && to >= 0);
	assert_int_equal(ioctl(to, FICLONE, from), 0);
	close(from);
	close(to);
	cuts++;
	kill(child, SIGKILL);
}

static void load_until_a_cut(void)
{
	pid_t child = load_start();
	knife = loop_timer_new(loop, cut, &child);
	loop_timer_set(knife, 10 + (uint64_t)rand() % 60);
	loop_run(loop);
	loop_timer_free(knife);
	loop_free(loop);
	assert_int_equal(waitpid(child, NULL, 0), child);
}

static void cut_again_and_again(const char *mkfs)
{
	uint64_t kept = 0;
	memcpy(base + sizeof base - 7, "XXXXXX", 6);
	assert_non_null(mkdtemp(base));
	if (!make_disks(mkfs))
		skip();
	srand((unsigned)getpid());
	cuts = 0;
	for (int i = 0; i < CUTS; i++) {
		sent = 0;
		memset(promised, 0, sizeof promised);
		run("rm -rf %s/m/mail", base);
		assert_true(disk_keeps_order());
		snprintf(root, sizeof root, "%s/m/mail", base);
		load_until_a_cut();
		assert_true(run("umount %s/m && mount -o loop %s/o/cut%d %s/m", base, base, i, base));
		kept += check_all(promised_before[i]);
		assert_true(run("umount %s/m && rm %s/o/cut%d && mount -o loop %s/o/inner %s/m", base, base, i, base, base));
	}
	assert_true(kept >= CUTS * FEWEST);
}

static int teardown(void **state)
{
	(void)state;
	order_unknown = false;
	drop_disks();
	return 0;
}

static void what_was_answered_before_a_power_cut_is_on_an_ext4(void **state)
{
	(void)state;
	cut_again_and_again("mkfs.ext4 -q");
}

static void on_an_xfs(void **state)
{
	(void)state;
	cut_again_and_again("mkfs.xfs -q");
}

static void on_a_store_that_is_not_known_to_keep_order(void **state)
{
	(void)state;
	order_unknown = true;
	cut_again_and_again("mkfs.ext4 -q");
}

int main(void)
{
	mounts_are_our_own();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(what_was_answered_before_a_power_cut_is_on_an_ext4, teardown),
		cmocka_unit_test_teardown(on_an_xfs, teardown),
		cmocka_unit_test_teardown(on_a_store_that_is_not_known_to_keep_order, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
