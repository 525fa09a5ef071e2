/* Files and folders: each function is one system call behind the test hook. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { MAX_JOURNALED = 64 };

static file_hook hook;
static void *hook_arg;
static int proc_fd = -1;
static dev_t journaled[MAX_JOURNALED]; /* devices with an ext4 journal of their own, when we started */
static size_t journaled_count;
static enum { ORDER_ASKED, ORDER_YES, ORDER_NO } order_test;

void file_test_hook(file_hook h, void *arg)
{
	hook = h;
	hook_arg = arg;
}

void file_test_order(bool keeps)
{
	order_test = keeps ? ORDER_YES : ORDER_NO;
}

static int ask(enum file_call call, int fd, int dir, const char *name)
{
	return hook ? hook(hook_arg, call, fd, dir, name) : 0;
}

static int result(int r)
{
	return r < 0 ? -errno : 0;
}

int file_open(int dir, const char *name, int flags, mode_t mode, int *fd)
{
	int error = ask(FILE_OPEN, -1, dir, name);
	if (error)
		return error;
	int got = openat(dir, name, flags | O_CLOEXEC, mode);
	if (got < 0)
		return -errno;
	*fd = got;
	return 0;
}

int file_open_no_links(int dir, const char *path, int flags, int *fd)
{
	struct open_how how = { .flags = (uint64_t)(flags | O_CLOEXEC), .resolve = RESOLVE_NO_SYMLINKS };
	int error = ask(FILE_OPEN, -1, dir, path);
	if (error)
		return error;
	long got = syscall(SYS_openat2, dir, path, &how, sizeof how);
	if (got < 0)
		return -errno;
	*fd = (int)got;
	return 0;
}

int file_dup(int fd, int *copy)
{
	int error = ask(FILE_DUP, fd, -1, NULL);
	if (error)
		return error;
	int got = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (got < 0)
		return -errno;
	*copy = got;
	return 0;
}

void file_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

int file_write(int fd, struct slice s)
{
	int error = ask(FILE_WRITE, fd, -1, NULL);
	while (error == 0 && s.n) {
		ssize_t n = write(fd, s.p, s.n);
		if (n < 0 && errno != EINTR)
			error = -errno;
		else if (n > 0)
			s = slice_skip(s, (size_t)n);
	}
	return error;
}

int file_make(int dir, const char *name, mode_t mode, struct slice content)
{
	int fd = -1, error = file_open(dir, name, O_WRONLY | O_CREAT | O_EXCL, mode, &fd);
	error = error ? error : file_write(fd, content);
	file_close(&fd);
	return error;
}

int file_write_at(int fd, struct slice s, uint64_t at)
{
	int error = ask(FILE_WRITE, fd, -1, NULL);
	while (error == 0 && s.n) {
		ssize_t n = pwrite(fd, s.p, s.n, (off_t)at);
		if (n < 0 && errno != EINTR)
			error = -errno;
		if (n > 0) {
			s = slice_skip(s, (size_t)n);
			at += (uint64_t)n;
		}
	}
	return error;
}

static int copy_by_hand(int from, int to, off_t at, uint64_t length)
{
	char block[65536];
	while (length) {
		ssize_t n = pread(from, block, length < sizeof block ? length : sizeof block, at);
		if (n <= 0)
			return n < 0 ? -errno : -EBADMSG;
		for (ssize_t done = 0; done < n;) {
			ssize_t w = pwrite(to, block + done, (size_t)(n - done), at + done);
			if (w < 0)
				return -errno;
			done += w;
		}
		at += n;
		length -= (uint64_t)n;
	}
	return 0;
}

int file_copy(int from, int to, uint64_t length)
{
	off_t in = 0, out = 0;
	int error = ask(FILE_COPY, to, -1, NULL);
	if (error)
		return error;
	while (length) {
		ssize_t n = copy_file_range(from, &in, to, &out, length, 0);
		if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP))
			return copy_by_hand(from, to, in, length);
		if (n <= 0)
			return n < 0 ? -errno : -EBADMSG;
		length -= (uint64_t)n;
	}
	return 0;
}

int file_truncate(int fd, uint64_t length)
{
	int error = ask(FILE_TRUNCATE, fd, -1, NULL);
	return error ? error : result(ftruncate(fd, (off_t)length));
}

int file_sync_data(int fd)
{
	int error = ask(FILE_SYNC_DATA, fd, -1, NULL);
	return error ? error : result(fdatasync(fd));
}

int file_sync(int fd)
{
	int error = ask(FILE_SYNC, fd, -1, NULL);
	return error ? error : result(fsync(fd));
}

int file_sync_store(int fd)
{
	int error = ask(FILE_SYNC_STORE, fd, -1, NULL);
	return error ? error : result(syncfs(fd));
}

static bool has_journal(dev_t device)
{
	for (size_t i = 0; i < journaled_count; i++)
		if (journaled[i] == device)
			return true;
	return false;
}

bool file_keeps_order(int fd)
{
	struct statfs kind;
	struct stat st;
	if (order_test != ORDER_ASKED)
		return order_test == ORDER_YES;
	if (fstatfs(fd, &kind) < 0 || fstat(fd, &st) < 0)
		return false;
	return kind.f_type == XFS_SUPER_MAGIC || (kind.f_type == EXT4_SUPER_MAGIC && has_journal(st.st_dev));
}

int file_start(int fd)
{
	int error = ask(FILE_START, fd, -1, NULL);
	return error ? error : result(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE));
}

/* With all three flags the kernel writes for integrity: also pages that became dirty while they were on their way. */
int file_await(int fd)
{
	int error = ask(FILE_AWAIT, fd, -1, NULL);
	return error ? error : result(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER));
}

/* The times are set so that the folder has a change in the journal's running transaction, whatever else there was: fsync has then something to wait for. */
int file_sync_order(int folder)
{
	int error = ask(FILE_SYNC_ORDER, folder, -1, NULL);
	error = error ? error : result(futimens(folder, NULL));
	return error ? error : result(fsync(folder));
}

/* An ext4 without a journal (or an ext2 that the same code serves) looks like one with it. The journals that are open are listed by device and inode, 8 wherever it
 * was not made otherwise. What isn't found counts as none. */
static void find_journals(void)
{
	FILE *f = fopen("/proc/partitions", "re");
	char line[256], name[64], path[128];
	unsigned major, minor;
	while (f && journaled_count < MAX_JOURNALED && fgets(line, sizeof line, f)) {
		if (sscanf(line, "%u %u %*u %63s", &major, &minor, name) != 3)
			continue;
		snprintf(path, sizeof path, "/proc/fs/jbd2/%s-8", name);
		if (access(path, F_OK) == 0)
			journaled[journaled_count++] = makedev(major, minor);
	}
	if (f)
		fclose(f);
}

int file_init(void)
{
	if (proc_fd >= 0)
		return 0;
	find_journals();
	proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return proc_fd < 0 ? -errno : 0;
}

int file_publish(int fd, int dir, const char *name)
{
	char number[16];
	int error = ask(FILE_PUBLISH, fd, dir, name);
	if (error)
		return error;
	snprintf(number, sizeof number, "%d", fd);
	return result(linkat(proc_fd, number, dir, name, AT_SYMLINK_FOLLOW));
}

int file_link(int from_dir, const char *from, int to_dir, const char *to)
{
	int error = ask(FILE_LINK, -1, to_dir, to);
	return error ? error : result(linkat(from_dir, from, to_dir, to, 0));
}

int file_rename(int from_dir, const char *from, int to_dir, const char *to)
{
	int error = ask(FILE_RENAME, -1, to_dir, to);
	return error ? error : result(renameat(from_dir, from, to_dir, to));
}

int file_unlink(int dir, const char *name)
{
	int error = ask(FILE_UNLINK, -1, dir, name);
	return error ? error : result(unlinkat(dir, name, 0));
}

int file_mkdir(int dir, const char *name, mode_t mode)
{
	int error = ask(FILE_MKDIR, -1, dir, name);
	return error ? error : result(mkdirat(dir, name, mode));
}

int file_stat_fd(int fd, struct stat *st)
{
	int error = ask(FILE_STAT, fd, -1, NULL);
	return error ? error : result(fstat(fd, st));
}

int file_stat_at(int dir, const char *name, struct stat *st)
{
	int error = ask(FILE_STAT, -1, dir, name);
	return error ? error : result(fstatat(dir, name, st, AT_SYMLINK_NOFOLLOW));
}

int file_stat_store(int fd, struct statvfs *v)
{
	int error = ask(FILE_STAT, fd, -1, NULL);
	return error ? error : result(fstatvfs(fd, v));
}
