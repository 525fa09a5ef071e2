/* Deliveries on file systems that are not the build's: tmpfs, and images of xfs, btrfs and ext4, each made,
 * mounted and unmounted again. Needs root, the kernel's support and mkfs; what is missing is skipped. */
#include "tests/unit/mailbox_kit.h"
#include "tests/unit/mount_kit.h"

#include <sys/mount.h>

#define HELLO SLICE("Subject: hello\n\nHello, world.\n")

static void deliver_all_ways(const char *where)
{
	static struct kit k;
	struct mailbox_leaf leaves[3] = { kit_maildir("d/u"), kit_maildir("d/v"), kit_maildir("d/w") };
	static char big[300000];
	kit_start(&k, where);
	memset(big, 'x', sizeof big);
	assert_int_equal(kit_deliver(&k, "s1", leaves, 3, HELLO, false), MAIL_OK);
	for (size_t i = 0; i < 3; i++)
		assert_string_equal(kit_content(&k, i == 0 ? "d/u" : i == 1 ? "d/v" : "d/w", i, NULL), HELLO.p);
	assert_int_equal(kit_deliver(&k, "s2", leaves, 3, HELLO, true), MAIL_OK);
	kit_tell(&k, MAILBOX_ABORT, "s2");
	kit_wait_idle(&k);
	assert_int_equal(kit_pen(&k, "s3", &leaves[0]), MAIL_OK);
	assert_int_equal(write(k.pen_fd, big, sizeof big), sizeof big);
	struct mailbox_deliver m = { .transaction = SLICE("s3"), .from_pen = true, .pen_length = sizeof big, .leaves = leaves, .leaf_count = 3 };
	k.waiting++;
	mailbox_send_deliver(k.channel, 1, &m);
	kit_run(&k);
	assert_int_equal(k.delivered.status.fate, MAIL_OK);
	char id[16];
	for (int i = 0; i < 200; i++) {
		snprintf(id, sizeof id, "m%d", i);
		kit_send(&k, id, leaves, 1 + (size_t)(i % 3), HELLO, i % 10 == 0);
	}
	kit_run(&k);
	kit_disconnect(&k);
	assert_int_equal(kit_count(&k, "d/u/new"), 2 + 180);
	assert_int_equal(kit_count(&k, "d/u/tmp") + kit_count(&k, "d/v/tmp") + kit_count(&k, "d/w/tmp"), 0);
	kit_end(&k);
}

/* A file system made in a file of `megabytes` and mounted; false where that can't be. */
static bool mount_image(const char *kind, const char *mkfs, int megabytes, const char *image, const char *where)
{
	char command[512];
	snprintf(command, sizeof command, "truncate -s %dM %s && %s %s >/dev/null 2>&1 && mount -t %s -o loop %s %s 2>/dev/null", megabytes, image, mkfs,
	         image, kind, image, where);
	return mkdir(where, 0700) == 0 && system(command) == 0;
}

static void deliver_on(const char *kind, const char *mkfs, int megabytes)
{
	char base[] = "/tmp/porter-store-XXXXXX", image[64], where[64], command[256];
	assert_non_null(mkdtemp(base));
	snprintf(image, sizeof image, "%s/image", base);
	snprintf(where, sizeof where, "%s/mnt", base);
	bool mounted = mount_image(kind, mkfs, megabytes, image, where);
	if (mounted) {
		deliver_all_ways(where);
		assert_int_equal(umount(where), 0);
	}
	snprintf(command, sizeof command, "rm -rf %s", base);
	assert_int_equal(system(command), 0);
	if (!mounted)
		skip();
}

static void mail_is_delivered_on_ext4(void **state)
{
	(void)state;
	deliver_on("ext4", "mkfs.ext4 -q", 64);
}

static void mail_is_delivered_on_xfs(void **state)
{
	(void)state;
	deliver_on("xfs", "mkfs.xfs -q", 320);
}

static void mail_is_delivered_on_btrfs(void **state)
{
	(void)state;
	deliver_on("btrfs", "mkfs.btrfs -q", 128);
}

static void mail_is_delivered_on_tmpfs(void **state)
{
	char where[] = "/tmp/porter-store-XXXXXX";
	(void)state;
	assert_non_null(mkdtemp(where));
	bool mounted = mount("none", where, "tmpfs", 0, "size=16m") == 0;
	if (mounted) {
		deliver_all_ways(where);
		assert_int_equal(umount(where), 0);
	}
	assert_int_equal(rmdir(where), 0);
	if (!mounted)
		skip();
}

int main(void)
{
	mounts_are_our_own();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mail_is_delivered_on_tmpfs),
		cmocka_unit_test(mail_is_delivered_on_ext4),
		cmocka_unit_test(mail_is_delivered_on_xfs),
		cmocka_unit_test(mail_is_delivered_on_btrfs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
