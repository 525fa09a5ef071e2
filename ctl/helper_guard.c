/* Who watches a program. It was forked from the parent and allocates nothing. */
#include "ctl/helper_guard.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/proc.h"

enum { ROUNDS = 10000, REST_US = 1000, LEVELS = 1000, READ = 256 };

/* Kills the children of that thread, and theirs. A process that has its SIGKILL forks no more, so what is read behind it is all that it will ever have; those of one that is gone
 * already are our own in the next round, and so are those of other threads and below the last level. */
static void kill_below(const char *children, int level)
{
	char text[READ], below[64];
	int fd = open(children, O_RDONLY | O_CLOEXEC);
	pid_t pid = 0;
	for (ssize_t n; fd >= 0 && (n = read(fd, text, sizeof text)) > 0;)
		for (ssize_t i = 0; i < n; i++) {
			if (text[i] >= '0' && text[i] <= '9') {
				pid = pid * 10 + (text[i] - '0');
				continue;
			}
			if (pid && kill(pid, SIGKILL) == 0 && level < LEVELS) {
				snprintf(below, sizeof below, "/proc/%d/task/%d/children", (int)pid, (int)pid);
				kill_below(below, level + 1);
			}
			pid = 0;
		}
	if (fd >= 0)
		close(fd);
}

/* False: there are no children. */
static bool kill_all(void)
{
	pid_t pid;
	kill_below("/proc/thread-self/children", 0);
	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
		;
	return pid == 0;
}

/* True: the program has ended, and how. */
static bool reap(pid_t program, int *status)
{
	int s;
	bool ended = false;
	for (pid_t pid = waitpid(-1, &s, WNOHANG); pid > 0; pid = waitpid(-1, &s, WNOHANG))
		if (pid == program) {
			*status = s;
			ended = true;
		}
	return ended;
}

/* As it ended itself. */
static _Noreturn void end(int status, const sigset_t *watched)
{
	if (WIFEXITED(status))
		_exit(WEXITSTATUS(status));
	signal(WTERMSIG(status), SIG_DFL);
	sigprocmask(SIG_UNBLOCK, watched, NULL);
	kill(getpid(), WTERMSIG(status));
	_exit(75);
}

pid_t helper_guard(pid_t parent)
{
	sigset_t watched;
	int status = SIGKILL;
	sigemptyset(&watched);
	sigaddset(&watched, SIGCHLD);
	sigaddset(&watched, SIGTERM);
	sigprocmask(SIG_BLOCK, &watched, NULL);
	prctl(PR_SET_NAME, "porterd:guard");
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	pid_t guard = getpid(), program = proc_end_with(parent, SIGTERM) ? -1 : fork();
	if (program < 0)
		_exit(75);
	if (program == 0) {
		prctl(PR_SET_CHILD_SUBREAPER, 0);
		setsid();
		sigprocmask(SIG_UNBLOCK, &watched, NULL);
		return guard;
	}
	setpriority(PRIO_PROCESS, 0, -20); /* before whatever it watches; as far as it may */
	while (sigwaitinfo(&watched, NULL) != SIGTERM && !reap(program, &status))
		;
	kill(-program, SIGKILL); /* at once, and where the kernel lists no children */
	for (int i = 0; i < ROUNDS && kill_all(); i++)
		usleep(REST_US);
	end(status, &watched);
}
