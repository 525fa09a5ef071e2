/* Privileges, in one place: the order of steps matters, and each is checked. */
#include "base/proc.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static int in_chroot;

/* A sanitizer's leak checker attaches to its process at the end and reads /proc: it may, and in a chroot, where it can't, it stays away. */
#ifdef __SANITIZE_ADDRESS__
enum { TRACEABLE = 1 };

int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return in_chroot;
}
#else
enum { TRACEABLE = 0 };
#endif

static int enter_root(int fd)
{
	if (fchdir(fd) < 0 || chroot(".") < 0 || chdir("/") < 0)
		return -errno;
	in_chroot = 1;
	return 0;
}

static int set_ids(const struct passwd *pw)
{
	if (setgroups(1, &pw->pw_gid) < 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 || setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0)
		return -errno;
	return setuid(0) == 0 ? -EPERM : 0; /* it must not be possible to come back */
}

static int drop_capabilities(void)
{
	cap_t none = cap_init();
	if (!none)
		return -errno;
	int error = cap_set_proc(none) < 0 ? -errno : 0;
	cap_free(none);
	return error;
}

int proc_restrict(const struct proc_plan *plan, bool privileged, const char **step)
{
	int error = 0;
	struct passwd *pw = NULL;
	pid_t parent = getppid();
	if (privileged && plan->user) {
		*step = "user";
		errno = 0;
		pw = getpwnam(plan->user);
		if (!pw)
			return errno ? -errno : -ENOENT;
	}
	*step = "chroot";
	if (privileged && plan->root_fd >= 0 && (error = enter_root(plan->root_fd)))
		return error;
	*step = "ids";
	if (pw && (error = set_ids(pw)))
		return error;
	*step = "capabilities";
	if (pw && (error = drop_capabilities()))
		return error;
	*step = "no-new-privileges";
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	prctl(PR_SET_DUMPABLE, TRACEABLE);
	*step = "parent";
	if ((error = proc_end_with(parent, SIGKILL))) /* setresuid cleared it */
		return error;
	*step = "system-call-filter";
	return proc_filter_calls(plan->calls);
}

int proc_end_with(pid_t parent, int signal)
{
	if (prctl(PR_SET_PDEATHSIG, signal) < 0)
		return -errno;
	return getppid() == parent ? 0 : -ESRCH; /* it died in between, and nobody would have told us */
}

int proc_become(const char *user, const char **home)
{
	struct passwd *pw = getpwnam(user);
	if (!pw)
		return -ENOENT;
	if (pw->pw_uid == 0)
		return -EPERM; /* nothing of the network's runs as root */
	if (geteuid() == 0) {
		if (initgroups(pw->pw_name, pw->pw_gid) < 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
		    setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0)
			return -errno;
	} else if (geteuid() != pw->pw_uid) {
		return -EPERM;
	}
	*home = pw->pw_dir;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

unsigned long proc_raise_descriptors(unsigned long wanted)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 0;
	struct rlimit more = { wanted > limit.rlim_cur ? wanted : limit.rlim_cur, wanted > limit.rlim_max ? wanted : limit.rlim_max };
	if (setrlimit(RLIMIT_NOFILE, &more) == 0)
		return more.rlim_cur;
	more = (struct rlimit){ limit.rlim_max, limit.rlim_max };
	return setrlimit(RLIMIT_NOFILE, &more) == 0 ? limit.rlim_max : limit.rlim_cur;
}

bool proc_user_exists(const char *user)
{
	return getpwnam(user) != NULL;
}

int proc_give_folder(const char *path, const char *user)
{
	struct passwd *pw = user && geteuid() == 0 ? getpwnam(user) : NULL;
	struct stat st;
	if (!pw || (lstat(path, &st) == 0 && st.st_uid == pw->pw_uid))
		return 0;
	return chown(path, pw->pw_uid, pw->pw_gid) < 0 ? -errno : 0;
}
