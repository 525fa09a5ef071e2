/* Short-lived processes: started by the parent because it alone can become another user; limited in time and memory; killed with all their children. */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/field.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proc.h"
#include "ctl/helper_guard.h"
#include "ctl/helper_kinds.h"
#include "ctl/parent.h"

enum { MAX_OF_KIND = 200, MAX_WORDS = 64, MAX_STDERR = 400, MAX_MESSAGE = 64 };

struct helper {
	struct parent *parent;
	struct child *asker;          /* NULL: it is gone */
	uint64_t id;
	pid_t pid;
	const struct helper_kind *kind;
	char message[MAX_MESSAGE];    /* whose message it is about; "" none */
	struct loop_timer *limit;
	int errors;                   /* the read end of its standard error */
	struct helper *next;
};

static uint64_t seconds_of(const struct helper_kind *k)
{
	return k->limit ? *k->limit : k->seconds;
}

/* Of each kind by itself: slow programs, which strangers can start, must not keep users from logging in. */
static bool are_too_many(const struct parent *p, const struct helper_kind *k)
{
	size_t n = 0;
	for (const struct helper *h = p->helpers; h; h = h->next)
		n += h->kind == k;
	return n >= MAX_OF_KIND;
}

static void tell(struct child *c, uint64_t id, int status)
{
	struct buf b = BUF_INIT(64);
	field_add_uint(&b, HOUSE_TAG_NUMBER, (uint64_t)(int64_t)status);
	if (c->channel)
		ipc_send(c->channel, HOUSE_HELPER_DONE, id, buf_slice(&b), -1);
	buf_free(&b);
}

/* In the new process ---------------------------------------------------------------------------------------------------------------- */

static void limit(int what, rlim_t value)
{
	struct rlimit l = { value, value };
	setrlimit(what, &l);
}

static void set_environment(const char *user, const char *home)
{
	clearenv();
	setenv("PATH", "/usr/local/bin:/usr/bin:/bin", 1);
	setenv("HOME", home, 1);
	setenv("USER", user, 1);
	setenv("LOGNAME", user, 1);
	setenv("LANG", "C.UTF-8", 1);
}

/* Who it is to be, and then it is; NULL: it can't. */
static const char *become(const struct helper_kind *k, const char *user, const char **home)
{
	struct passwd *own = geteuid() == 0 || k->that_user ? NULL : getpwuid(geteuid());
	const char *name = own ? mem_copy(own->pw_name, strlen(own->pw_name)) : user;
	return name && (!*name || proc_become(name, home) == 0) ? name : NULL;
}

/* A program and its words, of the maps or the settings. */
static void run_program(char **argv)
{
	signal(SIGPIPE, SIG_DFL);
	execv(argv[0], argv);
	dprintf(2, "%s: %s\n", argv[0], strerror(errno));
	_exit(errno == ENOENT || errno == EACCES ? 71 : 75);
}

/* porterd-helper, with the words behind its kind. */
static void run_ours(struct parent *p, const struct helper_kind *k, char **words)
{
	char kind[64], log[32];
	char *argv[MAX_WORDS + 4] = { p->program, kind, log };
	snprintf(kind, sizeof kind, "--helper=%s", k->name);
	snprintf(log, sizeof log, "--log=%s", log_form_name());
	for (size_t i = 0; words[i] && i < MAX_WORDS; i++)
		argv[i + 3] = words[i];
	programs_exec(p->helper_program, argv);
	_exit(75);
}

static void become_helper(struct parent *p, pid_t parent, const struct helper_kind *k, const char *user, char **argv, int fd, int errors)
{
	const char *home = "/";
	bool was_root = geteuid() == 0;
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	int null = open("/dev/null", O_RDWR);
	if (fd >= 0 ? dup2(fd, 0) < 0 : dup2(null, 0) < 0)
		_exit(75);
	if (!k->ours && (dup2(null, 1) < 0 || dup2(errors, 2) < 0))
		_exit(75);
	close_range(3, ~0u, k->ours ? CLOSE_RANGE_CLOEXEC : 0);
	limit(RLIMIT_CORE, 0);
	if (!k->ours)
		parent = helper_guard(parent);
	user = become(k, user, &home);
	if (!user || proc_end_with(parent, SIGKILL))
		_exit(75);
	set_environment(user, home);
	if (chdir(home) < 0 && chdir("/") < 0)
		_exit(75);
#ifndef __SANITIZE_ADDRESS__ /* whose shadow is larger than any limit */
	if (k->memory)
		limit(RLIMIT_AS, k->memory);
#endif
	limit(RLIMIT_CPU, seconds_of(k));
	if (k->processes && was_root) /* of its user, whoever started them */
		limit(RLIMIT_NPROC, *k->processes);
	if (k->ours)
		run_ours(p, k, argv);
	run_program(argv);
}

/* In the parent --------------------------------------------------------------------------------------------------------------------- */

static void too_long(void *arg)
{
	struct helper *h = arg;
	log_event(LOG_WARN, "helper-killed", LOG_CSTR("id", h->message), LOG_CSTR("kind", h->kind->name), LOG_UINT("pid", (uint64_t)h->pid),
	          LOG_UINT("after_s", seconds_of(h->kind)), LOG_END);
	if (!h->kind->ours) {
		kill(h->pid, SIGTERM); /* its guard, who ends all of it */
		return;
	}
	kill(-h->pid, SIGKILL);
	kill(h->pid, SIGKILL);
}

static const struct helper_kind *find_kind(const struct child *c, struct slice kind)
{
	for (size_t i = 0; i < helper_kind_count; i++)
		if (slice_eq(slice_of(helper_kinds[i].name), kind) && strcmp(helper_kinds[i].role, c->role->name) == 0)
			return &helper_kinds[i];
	return NULL;
}

static int start(struct child *c, uint64_t id, const struct helper_kind *k, const char *user, struct slice message, char **argv, int fd)
{
	struct parent *p = c->parent;
	int errors[2];
	if (pipe2(errors, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	pid_t parent = getpid(), pid = fork();
	if (pid == 0)
		become_helper(p, parent, k, user, argv, fd, errors[1]);
	close(errors[1]);
	if (pid < 0) {
		close(errors[0]);
		return -EAGAIN;
	}
	struct helper *h = MEM_NEW(struct helper);
	*h = (struct helper){ .parent = p, .asker = c, .id = id, .pid = pid, .kind = k, .errors = errors[0], .next = p->helpers };
	p->helpers = h;
	snprintf(h->message, sizeof h->message, "%.*s", SLICE_FMT(message));
	h->limit = loop_timer_new(p->loop, too_long, h);
	loop_timer_set(h->limit, seconds_of(k) * 1000);
	return 0;
}

void helper_start_for(struct child *c, uint64_t id, struct slice kind, struct slice user, struct slice message, const struct slice *words, size_t count, int fd)
{
	const struct helper_kind *k = find_kind(c, kind);
	struct arena mem = ARENA_INIT(1 << 20);
	char *argv[MAX_WORDS + 1] = { NULL };
	bool good = k && count <= MAX_WORDS && (k->ours || count > 0);
	for (size_t i = 0; good && i < count; i++) {
		argv[i] = slice_find(words[i], '\0') == words[i].n ? arena_cstr(&mem, words[i]) : NULL;
		good = argv[i] != NULL;
	}
	const char *name = good ? (k->any_user ? arena_cstr(&mem, user) : k->user ? k->user : "") : NULL;
	good = good && name && (!k->any_user || (*name && slice_find(user, '\0') == user.n)) && (k->ours || argv[0][0] == '/');
	int error = !good ? -EINVAL : are_too_many(c->parent, k) ? -EAGAIN : start(c, id, k, name, message, argv, fd);
	if (error) {
		log_event(LOG_WARN, "helper-not-started", LOG_STR("id", message), LOG_CSTR("role", c->role->name), LOG_STR("kind", kind), LOG_STR("user", user), LOG_ERRNO(error), LOG_END);
		tell(c, id, error);
	}
	arena_free(&mem);
}

static void log_first_line(struct helper *h)
{
	char text[MAX_STDERR];
	ssize_t n = read(h->errors, text, sizeof text);
	if (n > 0) {
		struct slice line = slice(text, (size_t)n);
		log_event(LOG_INFO, "helper-said", LOG_CSTR("id", h->message), LOG_CSTR("kind", h->kind->name), LOG_UINT("pid", (uint64_t)h->pid),
		          LOG_STR("text", slice_head(line, slice_find(line, '\n'))), LOG_END);
	}
}

bool helper_reap(struct parent *p, pid_t pid, int status)
{
	struct helper **at = &p->helpers;
	while (*at && (*at)->pid != pid)
		at = &(*at)->next;
	struct helper *h = *at;
	if (!h)
		return false;
	*at = h->next;
	kill(-pid, SIGKILL);          /* what it left behind */
	log_first_line(h);
	if (h->asker)
		tell(h->asker, h->id, status);
	close(h->errors);
	loop_timer_free(h->limit);
	mem_free(h);
	return true;
}

void helper_child_gone(struct parent *p, struct child *c)
{
	for (struct helper *h = p->helpers; h; h = h->next)
		if (h->asker == c)
			h->asker = NULL;
}
