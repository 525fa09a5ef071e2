/* The parent's life: start, signals, reload, stop. */
#include "ctl/parent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/general_settings.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proc.h"
#include "ctl/settings_all.h"
#include "ctl/web_settings.h"
#include "queue/drop.h"
#include "delivery/mailbox_settings.h"
#include "delivery/tls_policy_settings.h"
#include "smtpd/smtpd_settings.h"

enum { MAX_CONF = 1 << 20, STOP_MS = 12000, WANTED_DESCRIPTORS = 65536 };

/* Settings -------------------------------------------------------------------------------------------------------------------------- */

static int read_conf(const char *directory, struct arena *mem, struct slice *conf)
{
	char path[4200];
	struct buf text = BUF_INIT(MAX_CONF);
	snprintf(path, sizeof path, "%s/porter.conf", directory);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		fprintf(stderr, "porterd: %s: %s (name the configuration's directory with -c DIR)\n", path, strerror(errno));
		return -ENOENT;
	}
	ssize_t n;
	for (char *room = buf_room(&text, 65536); room && (n = read(fd, room, 65536)) > 0; room = buf_room(&text, 65536))
		buf_used(&text, (size_t)n);
	close(fd);
	*conf = arena_copy(mem, buf_slice(&text));
	buf_free(&text);
	return 0;
}

/* Into the rooms' structs. With errors nothing of the old is kept: callers try on a copy first. */
static int parse_conf(const char *directory, struct slice conf, struct arena *mem, struct buf *told)
{
	struct complaints wrong = { BUF_INIT(1 << 20), 0 };
	int error = setting_read(conf, SLICE("porter.conf"), slice_of(directory), settings_all, settings_all_count, mem, &wrong);
	buf_add(told, buf_slice(&wrong.text));
	complaint_free(&wrong);
	return error;
}

static unsigned process_count(void)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	return smtpd_settings.processes ? (unsigned)smtpd_settings.processes : cores < 1 ? 1 : cores > 16 ? 16 : (unsigned)cores;
}

/* Alerts ---------------------------------------------------------------------------------------------------------------------------- */

void parent_alert(struct parent *p, struct slice text)
{
	struct slice head = slice_head(text, sizeof p->alerts[0].text - 1);
	size_t i = 0;
	while (i < p->alert_count && !slice_eq(slice_of(p->alerts[i].text), head))
		i++;
	if (i == PARENT_MAX_ALERTS) {
		memmove(&p->alerts[0], &p->alerts[1], sizeof p->alerts - sizeof p->alerts[0]);
		i--;
		p->alert_count--;
	}
	if (i == p->alert_count) {
		p->alert_count++;
		memset(&p->alerts[i], 0, sizeof p->alerts[i]);
		memcpy(p->alerts[i].text, head.p, head.n);
		log_event(LOG_WARN, "alert", LOG_STR("text", head), LOG_END);
	}
	p->alerts[i].count++;
	p->alerts[i].at_s = clock_wall_s();
}

/* Children -------------------------------------------------------------------------------------------------------------------------- */

static bool is_wanted(const struct role *r)
{
	return !r->wanted || r->wanted();
}

static bool has_old(const struct parent *p, const struct role *r)
{
	for (const struct child *c = p->children; c; c = c->next)
		if (c->role == r && c->epoch != p->epoch)
			return true;
	return false;
}

static void make_children(struct parent *p)
{
	for (size_t i = 0; i < role_count; i++) {
		const struct role *r = &roles[i];
		if (!is_wanted(r) || (r->alone && has_old(p, r)))
			continue;
		for (unsigned k = 0; k < (r->per_core ? p->processes : 1); k++)
			child_start(child_new(p, r, k));
	}
}

void parent_child_ready(struct parent *p)
{
	for (const struct child *c = p->children; c; c = c->next)
		if (!c->gone && !c->ready)
			return;
	if (p->announced)
		return;
	p->announced = true;
	log_event(LOG_INFO, "serving", LOG_UINT("generation", p->generation), LOG_UINT("start_ms", clock_mono_ms() - p->started_ms), LOG_END);
	if (p->on_serving)
		p->on_serving(p);
	mem_trim();
}

static bool any_child(const struct parent *p, const char *role, bool old_only)
{
	for (const struct child *c = p->children; c; c = c->next)
		if ((!role || strcmp(c->role->name, role) == 0) && (!old_only || c->epoch != p->epoch))
			return true;
	return false;
}

/* While stopping: first those who take mail in, then the others, last the mailbox process, so that everything asked is answered. */
static void stop_next(struct parent *p)
{
	bool smtpd_left = any_child(p, "smtpd", false);
	for (struct child *c = p->children; c; c = c->next)
		if ((!c->gone || c->draining) && (!smtpd_left || strcmp(c->role->name, "smtpd") == 0 || strcmp(c->role->name, "web") == 0))
			child_stop(c);
	if (!p->children)
		loop_stop(p->loop);
}

static bool is_asked_to_the_end(const struct role *r)
{
	return strcmp(r->name, "keeper") == 0 || strcmp(r->name, "login") == 0 || strcmp(r->name, "resolver") == 0;
}

/* While reloading: when the old smtpd processes have ended their sessions, the old others may go; a role that is alone is started when the old one is gone. */
static void reload_next(struct parent *p)
{
	if (!any_child(p, "smtpd", true))
		for (struct child *c = p->children; c; c = c->next)
			if (c->epoch != p->epoch && !c->gone)
				child_drain(c);
	if (!any_child(p, "smtpd", true) && !any_child(p, "delivery", true)) /* nobody is left to ask the old keeper, login and resolver */
		for (struct child *c = p->children; c; c = c->next)
			if (c->epoch != p->epoch && is_asked_to_the_end(c->role) && (!c->gone || c->draining))
				child_stop(c);
	for (size_t i = 0; i < role_count; i++) {
		const struct role *r = &roles[i];
		bool there = false;
		for (const struct child *c = p->children; c; c = c->next)
			there |= c->role == r;
		if (r->alone && is_wanted(r) && !there)
			child_start(child_new(p, r, 0));
	}
}

void parent_child_ended(struct parent *p)
{
	if (p->stopping)
		stop_next(p);
	else
		reload_next(p);
}

/* The rooms' structs point into mem now, no longer into what was there before. */
static void take_conf(struct parent *p, const struct arena *mem, struct slice conf)
{
	arena_free(&p->mem);
	p->mem = *mem;
	p->conf = conf;
}

/* A trial has left the rooms' structs wrong: they are filled again from the text that serves. */
static void go_back(struct parent *p)
{
	struct arena mem = ARENA_INIT(0);
	struct buf nobody = BUF_INIT(1 << 20);
	struct slice conf = arena_copy(&mem, p->conf);
	parse_conf(p->directory, conf, &mem, &nobody);
	buf_free(&nobody);
	take_conf(p, &mem, conf);
}

int parent_reload(struct parent *p, struct buf *answer)
{
	struct arena fresh = ARENA_INIT(0);
	struct slice conf;
	if (read_conf(p->directory, &fresh, &conf) < 0) {
		arena_free(&fresh);
		buf_add_cstr(answer, "porter.conf can't be read; everything stays as it is\n");
		return 78;
	}
	struct arena trial = ARENA_INIT(0);
	int error = parse_conf(p->directory, conf, &trial, answer);
	error = error ? error : spool_claim(p, answer);
	arena_free(&trial);
	if (error) {
		arena_free(&fresh);
		go_back(p);
		buf_add_cstr(answer, "nothing was changed\n");
		return 78;
	}
	parse_conf(p->directory, conf, &fresh, answer);
	take_conf(p, &fresh, conf);
	log_place_open(p, answer);
	p->epoch++;
	p->processes = process_count();
	if (listeners_open(p) < 0)
		buf_add_cstr(answer, "some listeners can't be opened, see the log\n");
	files_open(p);
	generation_switch(p, NULL);
	for (struct child *c = p->children; c; c = c->next)
		if (c->role->alone && c->epoch != p->epoch)
			child_stop(c);
	make_children(p);
	for (struct child *c = p->children; c; c = c->next)
		if (c->epoch != p->epoch && !c->gone && strcmp(c->role->name, "smtpd") == 0)
			child_drain(c);
	reload_next(p);
	log_event(LOG_INFO, "reload", LOG_UINT("epoch", p->epoch), LOG_END);
	buf_add_cstr(answer, "reloaded: new processes serve, the old ones end with their last session\n");
	return 0;
}

/* Signals --------------------------------------------------------------------------------------------------------------------------- */

static void out_of_patience(void *arg)
{
	struct parent *p = arg;
	for (struct child *c = p->children; c; c = c->next)
		if (c->pid > 0)
			kill(c->pid, SIGKILL);
	log_event(LOG_WARN, "stop-forced", LOG_END);
	loop_timer_set(p->patience, 1000);
}

void parent_stop(struct parent *p)
{
	if (p->stopping)
		return;
	p->stopping = true;
	log_event(LOG_INFO, "stopping", LOG_END);
	listeners_close(p);
	submit_close(p);
	for (struct child *c = p->children, *next; c; c = next) {
		next = c->next;
		if (c->pid == 0)
			child_free(c);
	}
	loop_timer_set(p->patience, STOP_MS);
	stop_next(p);
}

static void on_term(void *arg)
{
	parent_stop(arg);
}

static void on_hup(void *arg)
{
	struct buf answer = BUF_INIT(1 << 16);
	parent_reload(arg, &answer);
	if (answer.n)
		log_event(LOG_INFO, "reload-said", LOG_STR("text", buf_slice(&answer)), LOG_END);
	buf_free(&answer);
}

static void on_child(void *arg)
{
	struct parent *p = arg;
	int status;
	for (pid_t pid = waitpid(-1, &status, WNOHANG); pid > 0; pid = waitpid(-1, &status, WNOHANG))
		if (!child_reap(p, pid, status) && !generation_reap(p, pid, status))
			helper_reap(p, pid, status);
}

/* Start ------------------------------------------------------------------------------------------------------------------------------ */

/* Folders that are ours: made when missing, given to whom they belong. */
static int make_folder(struct parent *p, struct slice path, mode_t mode, const char *user)
{
	char *name = arena_cstr(&p->mem, path);
	if (mkdir(name, mode) == 0)
		return proc_give_folder(name, user);   /* one that was there keeps its owner: somebody may have a reason */
	if (errno == EEXIST)
		return 0;
	fprintf(stderr, "porterd: %s: %s\n", name, strerror(errno));
	return -errno;
}

/* Where the sendmail command leaves mail while nobody serves (queue/drop.h): anybody may add, nobody may list. */
static int make_drop(struct parent *p)
{
	struct buf path = BUF_INIT(4096);
	buf_addf(&path, "%.*s/drop", SLICE_FMT(general_settings.spool_directory));
	int error = make_folder(p, buf_slice(&path), 0700, "_porterq");
	char *name = arena_cstr(&p->mem, buf_slice(&path));
	if (!error && chmod(name, DROP_MODE) < 0)
		error = -errno;
	buf_free(&path);
	return error;
}

/* Without them every process of ours would end as soon as it begins, and be begun again for ever. */
static int find_users(struct parent *p)
{
	const char *users[] = { "_porter", "_porterq", "_porterkey", "_porterauth", arena_cstr(&p->mem, mailbox_settings.mail_user) };
	for (size_t i = 0; geteuid() == 0 && i < sizeof users / sizeof *users; i++)
		if (!proc_user_exists(users[i])) {
			fprintf(stderr, "porterd: there is no system user %s, as whom one of its processes runs; make it: useradd --system --user-group %s\n", users[i], users[i]);
			return -ENOENT;
		}
	return 0;
}

static int make_folders(struct parent *p)
{
	int error = make_folder(p, general_settings.run_directory, 0755, NULL);
	error = error ? error : make_folder(p, general_settings.spool_directory, 0711, "_porterq"); /* passed through to its drop/; what is in it is 0700 */
	error = error ? error : make_drop(p);
	error = error ? error : make_folder(p, tls_policy_settings.sts_directory, 0700, "_porter");
	error = error ? error : make_folder(p, mailbox_settings.mail_root, 0755, arena_cstr(&p->mem, mailbox_settings.mail_user));
	return error || !web_is_wanted() ? error : make_folder(p, web_settings.directory, 0700, "_porter");
}

static void write_pid(struct parent *p)
{
	char path[4200];
	snprintf(path, sizeof path, "%.*s/porterd.pid", SLICE_FMT(general_settings.run_directory));
	FILE *f = fopen(path, "we");
	if (f) {
		fprintf(f, "%d\n", (int)getpid());
		fclose(f);
	}
	(void)p;
}

static int begin(struct parent *p)
{
	struct buf told = BUF_INIT(1 << 20);
	int error = read_conf(p->directory, &p->mem, &p->conf);
	error = error ? error : parse_conf(p->directory, p->conf, &p->mem, &told);
	error = error ? error : log_place_open(p, &told);
	error = error ? error : find_users(p);
	error = error ? error : make_folders(p);
	error = error ? error : spool_claim(p, &told);
	if (told.n)
		fwrite(told.p, 1, told.n, stderr);
	buf_free(&told);
	if (error)
		return error;
	p->processes = process_count();
	error = generation_begin(p);
	error = error ? error : control_open(p);
	error = error ? error : submit_open(p);
	error = error ? error : listeners_open(p);
	error = error ? error : files_open(p);
	return error;
}

int parent_run(char *directory, char *program, bool json, void (*on_serving)(struct parent *p))
{
	static struct parent house;
	struct parent *p = &house;
	*p = (struct parent){ .directory = directory, .program = program, .json = json, .log_level = -1, .spool = -1, .on_serving = on_serving, .started_ms = clock_mono_ms() };
	p->mem = (struct arena)ARENA_INIT(0);
	p->own_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
	signal(SIGPIPE, SIG_IGN);
	umask(022);
	proc_raise_descriptors(WANTED_DESCRIPTORS);
	p->loop = loop_new();
	p->patience = loop_timer_new(p->loop, out_of_patience, p);
	if (programs_open(p) < 0 || begin(p) < 0) {
		log_place_say(p, "porterd: not started; the log says why\n");
		submit_close(p);
		control_close(p);
		return 78;
	}
	write_pid(p);
	struct loop_signal *signals[] = { loop_signal_new(p->loop, SIGCHLD, on_child, p), loop_signal_new(p->loop, SIGTERM, on_term, p),
		                          loop_signal_new(p->loop, SIGINT, on_term, p), loop_signal_new(p->loop, SIGHUP, on_hup, p) };
	make_children(p);
	loop_run(p->loop);
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		loop_signal_free(signals[i]);
	control_close(p);
	log_event(LOG_INFO, "stopped", LOG_END);
	return p->exit_code;
}
