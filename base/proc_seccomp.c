/* System call filters: lists of what each kind of process needs, by name. Anything else ends the process; the kernel's log and the parent's
 * "child-died signal=31" say so. Files can only be opened by kinds whose list has openat. */
#include "base/proc.h"

#include <errno.h>
#include <seccomp.h>
#include <stddef.h>

/* glibc, malloc, threads, time, epoll, what is in hand. */
static const char *const basic[] = {
	"read", "write", "readv", "writev", "close", "fstat", "newfstatat", "lseek", "mmap", "munmap", "mprotect", "mremap", "madvise", "brk", "futex",
	"futex_waitv", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "clock_gettime", "clock_nanosleep", "nanosleep", "gettimeofday", "time",
	"getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid", "exit", "exit_group", "tgkill", "sched_yield", "getrandom", "restart_syscall",
	"poll", "ppoll", "select", "pselect6", "epoll_wait", "epoll_pwait", "epoll_pwait2", "epoll_ctl", "epoll_create1", "eventfd2", "pipe2",
	"fcntl", "dup", "dup3", "ioctl", "recvmsg", "sendmsg", "recvfrom", "sendto", "shutdown", "getsockopt", "setsockopt", "getsockname", "getpeername",
	"prctl", "set_robust_list", "rseq", "clone", "clone3", "sched_getaffinity", "getrusage", "sysinfo", "uname", "membarrier", "socketpair", "umask",
	"prlimit64", "timerfd_create", "timerfd_settime", NULL
};

static const char *const network[] = {
	"accept4", "accept", "socket", "connect", "bind", "listen", "openat", "open", "openat2", "access", "faccessat", "faccessat2", "stat", "lstat", "readlink",
	"readlinkat", "getdents64", "pread64", "pwrite64", "preadv", "preadv2", "pwritev", "ftruncate", "fallocate", "copy_file_range", "getcwd", "fadvise64", "statx", "sendmmsg",
	"recvmmsg", "statfs", "fstatfs", NULL
};

static const char *const files[] = {
	"openat", "open", "openat2", "access", "faccessat", "faccessat2", "stat", "lstat", "statx", "readlink", "readlinkat", "getdents64", "pread64", "pwrite64",
	"preadv", "preadv2", "pwritev", "ftruncate", "fallocate", "copy_file_range", "sendfile", "fsync", "fdatasync", "syncfs", "sync_file_range", "link", "linkat", "unlink",
	"unlinkat", "rename", "renameat", "renameat2", "mkdir", "mkdirat", "rmdir", "statfs", "fstatfs", "fchmod", "fchmodat", "fchown", "fchownat", "flock", "getcwd",
	"fadvise64", "utimensat", "fchdir", NULL
};

static const char *const none[] = { NULL };

static int allow(scmp_filter_ctx filter, const char *const *names)
{
	for (; *names; names++) {
		int number = seccomp_syscall_resolve_name(*names);
		if (number == __NR_SCMP_ERROR) /* unknown to this library or machine */
			continue;
		int error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
		if (error && error != -EEXIST && error != -EDOM)
			return error;
	}
	return 0;
}

/* Whoever looks up a user's name may make glibc ask a daemon (nscd, systemd's user database): it is told that there is no socket, not killed for it. */
static int refuse_sockets(scmp_filter_ctx filter)
{
	return seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), seccomp_syscall_resolve_name("socket"), 0);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
int proc_filter_calls(enum proc_calls calls)
{
	(void)calls, (void)allow, (void)refuse_sockets, (void)basic, (void)network, (void)files, (void)none;
	return 0;
}
#else
int proc_filter_calls(enum proc_calls calls)
{
	const char *const *extra = none, *const *more = none;
	switch (calls) {
	case PROC_CALLS_ANY:
		return 0;
	case PROC_CALLS_NETWORK:
		extra = network;
		break;
	case PROC_CALLS_FILES:
		extra = files;
		break;
	case PROC_CALLS_NETWORK_FILES:
		extra = network;
		more = files;
		break;
	case PROC_CALLS_PURE:
		break;
	}
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	if (!filter)
		return -ENOMEM;
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	int error = allow(filter, basic);
	error = error ? error : allow(filter, extra);
	error = error ? error : allow(filter, more);
	error = error || calls != PROC_CALLS_FILES ? error : refuse_sockets(filter);
	error = error ? error : seccomp_load(filter);
	seccomp_release(filter);
	return error;
}
#endif
