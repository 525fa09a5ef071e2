#ifndef BASE_PROC_H
#define BASE_PROC_H
#include <stdbool.h>
#include <sys/types.h>

/* What a process may do: the one place that changes users, root folders, capabilities and system call filters. */

/* Sets of system calls, as rows of base/proc_seccomp.c. */
enum proc_calls {
	PROC_CALLS_ANY,       /* no filter: the parent, and helpers that exec */
	PROC_CALLS_NETWORK,   /* smtpd, delivery, web: sockets in hand, new ones, threads; files only below its root, read-only */
	PROC_CALLS_NETWORK_FILES, /* web: both, below a root of its own */
	PROC_CALLS_FILES,     /* mailbox, queue: files, folders, syncs, threads; no sockets but those in hand */
	PROC_CALLS_PURE       /* keeper, login: only what it has in hand */
};

struct proc_plan {
	const char *user;     /* "_porter"; NULL stays */
	int root_fd;          /* a folder that becomes "/"; -1 none */
	enum proc_calls calls;
};

/* Applies the plan: chroot, groups, ids, no capabilities, no new privileges, not traceable, system call filter. privileged false (an ordinary user started
 * us): only what an ordinary user may do, which is all but users and chroot. 0, or -errno and *step names the step. */
int proc_restrict(const struct proc_plan *plan, bool privileged, const char **step);

/* The filter alone (base/proc_seccomp.c); without effect in sanitizer builds, whose runtime calls what it likes. */
int proc_filter_calls(enum proc_calls calls);

/* For a short-lived helper that runs as a person: all ids of that user. Used by the parent's child before exec. */
int proc_become(const char *user, const char **home);

/* The kernel sends us this signal when that process, our parent, ends; to be asked for anew after each change of ids. 0, or -ESRCH: it has ended already. */
int proc_end_with(pid_t parent, int signal);

/* Raises RLIMIT_NOFILE as far as allowed; returns what it is now. */
unsigned long proc_raise_descriptors(unsigned long wanted);

/* As root: a folder becomes the user's (NULL or an unknown user: it stays). 0 or -errno. */
int proc_give_folder(const char *path, const char *user);

/* Whether any of the ids is a user of this system. */
bool proc_user_exists(const char *user);
#endif
