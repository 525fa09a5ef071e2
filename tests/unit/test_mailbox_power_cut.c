/* A power cut. The mail root is an ext4 in an image file on a file system that can clone files at an instant (xfs). Under load the image is
 * cloned: the clone holds what had reached the disk at that moment, neither page cache nor unwritten journal. Each clone is mounted, which replays
 * its journal, and must hold every message that was answered before the cut began, whole. Needs root, xfs and loop devices; else skipped. */
#include "tests/unit/load_kit.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>

enum { CUTS = 8 };

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

static bool make_disks(void)
{
	return run("truncate -s 400M %s/outer && mkfs.xfs -q %s/outer >/dev/null 2>&1 && mkdir %s/o && mount -o loop %s/outer %s/o 2>/dev/null", base, base, base,
	           base, base) &&
	       run("truncate -s 48M %s/o/inner && mkfs.ext4 -q %s/o/inner && mkdir %s/m && mount -o loop %s/o/inner %s/m", base, base, base, base, base);
}

static void drop_disks(void)
{
	run("umount %s/m 2>/dev/null; umount %s/o 2>/dev/null; rm -rf %s", base, base, base);
}

static void cut(void *arg)
{
	char path[128];
	pid_t child = *(pid_t *)arg;
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
	struct loop_timer *t = loop_timer_new(loop, cut, &child);
	loop_timer_set(t, 10 + (uint64_t)rand() % 60);
	loop_run(loop);
	loop_timer_free(t);
	loop_free(loop);
	assert_int_equal(waitpid(child, NULL, 0), child);
}

static void what_was_answered_before_a_power_cut_is_on_the_disk(void **state)
{
	uint64_t kept = 0;
	(void)state;
	assert_non_null(mkdtemp(base));
	if (!make_disks()) {
		drop_disks();
		skip();
	}
	srand((unsigned)getpid());
	for (int i = 0; i < CUTS; i++) {
		snprintf(root, sizeof root, "%s/m/mail", base);
		load_until_a_cut();
		assert_true(run("umount %s/m && mount -o loop %s/o/cut%d %s/m", base, base, i, base));
		kept = check_all(promised_before[i]);
		assert_true(run("umount %s/m && rm %s/o/cut%d && mount -o loop %s/o/inner %s/m", base, base, i, base, base));
	}
	assert_true(kept > CUTS);
	drop_disks();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_answered_before_a_power_cut_is_on_the_disk),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
