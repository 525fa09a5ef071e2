/* The programs of the roles, as they lay there when porterd began: what is installed meanwhile serves from the next start on. porterd itself has few
 * libraries, since what it doesn't load is neither in its memory nor in its reach. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "ctl/parent.h"

enum { LOWEST_FD = 4 }; /* out of the place of a child's channel */

/* Installed in sbin, with ../libexec/porter; in a build tree all lie together. Never one here and one there: they would be of two versions. */
static void find_folder(const char *program, char folder[PATH_MAX])
{
	const char *slash = strrchr(program, '/');
	int n = slash ? (int)(slash - program) + 1 : 0;
	snprintf(folder, PATH_MAX, "%.*s../libexec/porter/", n, program);
	if (access(folder, F_OK) < 0)
		snprintf(folder, PATH_MAX, "%.*s", n, program);
}

int programs_find(const char *program, const char *name)
{
	char folder[PATH_MAX], path[PATH_MAX + 64];
	find_folder(program, folder);
	snprintf(path, sizeof path, "%sporterd-%s", folder, name);
	int low = open(path, O_PATH | O_CLOEXEC);
	int fd = low < 0 ? -errno : fcntl(low, F_DUPFD_CLOEXEC, LOWEST_FD);
	if (low >= 0)
		close(low);
	else
		fprintf(stderr, "porterd: %s should be there: %s\n", path, strerror(-fd));
	return fd;
}

int programs_open(struct parent *p)
{
	bool good = (p->helper_program = programs_find(p->program, "helper")) >= 0;
	for (size_t i = 0; good && i < role_count; i++)
		good = (p->programs[i] = programs_find(p->program, roles[i].name)) >= 0;
	return good ? 0 : -ENOENT;
}

void programs_exec(int program, char **argv)
{
	execveat(program, "", argv, environ, AT_EMPTY_PATH);
}

pid_t programs_run(struct parent *p, const char *kind, const char *const *words)
{
	char helper[64], log[32];
	const char *argv[PROGRAMS_MAX_WORDS + 4] = { p->program, helper, log };
	snprintf(helper, sizeof helper, "--helper=%s", kind);
	snprintf(log, sizeof log, "--log=%s", log_form_name());
	for (size_t i = 0; words[i] && i < PROGRAMS_MAX_WORDS; i++)
		argv[i + 3] = words[i];
	pid_t pid = fork();
	if (pid)
		return pid;
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	programs_exec(p->helper_program, (char **)argv);
	_exit(72);
}
