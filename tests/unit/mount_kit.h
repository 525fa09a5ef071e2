#ifndef TESTS_UNIT_MOUNT_KIT_H
#define TESTS_UNIT_MOUNT_KIT_H
#include <sched.h>
#include <sys/mount.h>

/* What this test mounts is seen by itself alone. A test beside it that makes a mount namespace of its own would else take a copy of each mount, and hold it after we
 * have unmounted: an xfs can't be mounted twice ("duplicate UUID"), and the file below a loop device stays busy. Without the right to do so nothing is mounted either. */
static inline void mounts_are_our_own(void)
{
	if (unshare(CLONE_NEWNS) == 0)
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}
#endif
