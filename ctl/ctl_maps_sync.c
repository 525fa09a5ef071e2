/* porterctl sync: text maps whose source is a command or a directory. The file `sync` beside porter.conf says where each comes from; what comes replaces the
 * text map only if it can be read, is not empty, has not shrunk too much, and compiles. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/proc.h"
#include "base/scan.h"
#include "ctl/ctl_maps.h"
#include "ctl/ctl_maps_text.h"
#include "ctl/sync_source.h"
#include "ctl/tables.h"
#include "maps/kinds.h"
#include "maps/map_key.h"
#include "maps/maps_settings.h"
#include "maps/value.h"

enum { MAX_RESULT = 1 << 30 };

/* Told here, and by a running porterd to the postmaster. name "": of no map in particular. */
static int alert(struct ctl *c, struct slice name, const char *why)
{
	struct buf text = BUF_INIT(1000), reply = BUF_INIT(4096);
	buf_addf(&text, "sync%s%.*s: %s; %s", name.n ? " " : "", SLICE_FMT(name), why, name.n ? "the map stays as it is" : "no map is fetched");
	const char *words[] = { "alert", arena_cstr(&c->mem, buf_slice(&text)) };
	ctl_ask(c, "parent", words, 2, &reply); /* that none runs, or does not know the word, is fine: it is told here, too */
	int code = ctl_fail(CTL_DATA, "%s", words[1]);
	buf_free(&text);
	buf_free(&reply);
	return code;
}

static struct map_text *read_sync(struct ctl *c, struct buf *text, int *code)
{
	struct complaints wrong = { BUF_INIT(1 << 20), 0 };
	struct map_text *t = NULL;
	char *path = maps_path(c, SLICE("sync"));
	int error = ctl_read_file(path, 1 << 20, text);
	bool good = !error && map_text_read(buf_slice(text), SLICE("sync"), sync_source_key, NULL, false, &wrong, &t);
	ctl_complain(&wrong);
	complaint_free(&wrong);
	if (error)
		*code = ctl_fail(CTL_NO_INPUT, "%s: %s; it says where maps come from, see porter-maps(5)", path, strerror(-error));
	else if (!good)
		*code = alert(c, SLICE(""), "a line of the file sync can't be read");
	return good ? t : NULL;
}

/* porterctl check: the lines, not what comes. */
bool maps_check_sync(struct ctl *c, struct complaints *wrong)
{
	struct buf text;
	struct map_text *t = NULL;
	size_t before = wrong->count;
	int error = ctl_read_file(maps_path(c, SLICE("sync")), 1 << 20, &text);
	if (error && error != -ENOENT)
		complaint_add(wrong, SLICE("sync"), 0, "it can't be read: %s", strerror(-error));
	if (error)
		return wrong->count == before;
	bool readable = map_text_read(buf_slice(&text), SLICE("sync"), sync_source_key, NULL, false, wrong, &t);
	for (size_t i = 0; readable && i < map_text_count(t); i++) {
		const struct map_entry *e = map_text_at(t, i);
		struct sync_source s = { .name = e->key };
		const char *why = sync_source_read(e->value, &c->mem, &s);
		if (why)
			complaint_add(wrong, SLICE("sync"), e->line, "%.*s: %s", SLICE_FMT(e->key), why);
	}
	map_text_free(t);
	buf_free(&text);
	return readable && wrong->count == before;
}

/* A command ----------------------------------------------------------------------------------------------------------------------------- */

static void run_child(const struct sync_source *s, int out)
{
	const char *home = "/";
	static char *const environment[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL };
	char *user = strndup(maps_settings.sync_user.p ? maps_settings.sync_user.p : "", maps_settings.sync_user.n);
	int null = open("/dev/null", O_RDONLY);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 || !user)
		_exit(126);
	if (geteuid() == 0 && (strcmp(user, "root") == 0 || proc_become(user, &home) < 0)) {
		fprintf(stderr, "porterctl: sync-user %s can't be become\n", user);
		_exit(126);
	}
	if (chdir("/") < 0 || close_range(STDERR_FILENO + 1, ~0u, 0) < 0) /* whoever called porterctl may have left some open */
		_exit(126);
	execve(s->argv[0], s->argv, environment);
	fprintf(stderr, "porterctl: %s: %s\n", s->argv[0], strerror(errno));
	_exit(127);
}

/* Everything it writes until it ends, in time; killed with its group if not. */
static const char *collect(int fd, pid_t pid, struct buf *out)
{
	uint64_t until = clock_mono_ms() + maps_settings.sync_timeout_s * 1000;
	const char *why = NULL;
	int status = 0;
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		uint64_t now = clock_mono_ms();
		if (now >= until || poll(&p, 1, (int)(until - now > 1000 ? 1000 : until - now)) < 0) {
			why = "it took longer than sync-timeout";
			break;
		}
		if (!p.revents)
			continue;
		char *room = buf_room(out, 65536);
		ssize_t n = room ? read(fd, room, 65536) : -1;
		if (n < 0)
			why = room ? "its output can't be read" : "its output is larger than 1 GiB";
		if (n <= 0)
			break;
		buf_used(out, (size_t)n);
	}
	close(fd);
	if (why)
		kill(-pid, SIGKILL);
	for (uint64_t now = clock_mono_ms(); waitpid(pid, &status, why ? 0 : WNOHANG) == 0; now = clock_mono_ms()) {
		if (now >= until) {
			kill(-pid, SIGKILL);
			why = "it closed its output and did not end";
		}
		usleep(10000);
	}
	if (why || (WIFEXITED(status) && WEXITSTATUS(status) == 0))
		return why;
	static char ended[60];
	snprintf(ended, sizeof ended, WIFEXITED(status) ? "it ended with exit code %d" : "it was killed by signal %d", WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	return ended;
}

static const char *run_command(const struct sync_source *s, struct buf *out)
{
	int pipes[2];
	if (pipe2(pipes, O_CLOEXEC) < 0)
		return strerror(errno);
	pid_t pid = fork();
	if (pid == 0) {
		setpgid(0, 0);
		run_child(s, pipes[1]);
	}
	close(pipes[1]);
	if (pid < 0) {
		close(pipes[0]);
		return "no process for it";
	}
	return collect(pipes[0], pid, out);
}

static const char *run_ldap(struct ctl *c, struct sync_source *s, struct buf *out)
{
	struct buf password = BUF_INIT(4096);
	const char *why = NULL;
	if (s->password_file) {
		if (ctl_read_file(maps_path(c, slice_of(s->password_file)), 4095, &password))
			return "its password-file can't be read";
		struct slice line = slice_cut(buf_slice(&password), '\n', &(struct slice){ 0 });
		s->ldap.password = arena_cstr(&c->mem, slice_trim(line));
		buf_free(&password);
	}
	s->ldap.timeout_s = maps_settings.sync_timeout_s;
	return sync_ldap_read(&s->ldap, &c->mem, out, &why) < 0 ? why : NULL;
}

/* The guard ----------------------------------------------------------------------------------------------------------------------------- */

struct comparing {
	struct map_text *new;
	uint64_t old, lost;
};

static bool compare_key(void *arg, const struct map_entry *e)
{
	struct comparing *x = arg;
	x->old++;
	x->lost += map_text_find(x->new, e->key) == NULL;
	return true;
}

/* A map that no line of domains names yet is compared with its file. */
static void compare_file(struct ctl *c, struct slice name, struct comparing *x)
{
	struct complaints ignored = { BUF_INIT(1 << 16), 0 };
	struct kind_reading reading = { .memo = ARENA_INIT(64 << 10) };
	struct map_text *old = NULL;
	struct buf text;
	if (ctl_read_file(maps_path(c, name), MAX_RESULT, &text) == 0) {
		if (map_text_read(buf_slice(&text), name, sync_source_key, &reading, false, &ignored, &old))
			for (size_t i = 0; i < map_text_count(old); i++) {
				struct slice key;
				if (map_key_address_folded(map_text_at(old, i)->key, false, &reading.memo, &key) == NULL)
					compare_key(x, &(struct map_entry){ key, SLICE(""), 0 });
				arena_reset(&reading.memo);
			}
		map_text_free(old);
		buf_free(&text);
	}
	arena_free(&reading.memo);
	complaint_free(&ignored);
}

static const char *shrink_text(struct ctl *c, uint64_t lost, uint64_t old)
{
	struct buf b = BUF_INIT(200);
	buf_addf(&b, "%llu of %llu keys would be gone, more than sync-shrink allows (--force takes it)", (unsigned long long)lost, (unsigned long long)old);
	const char *text = arena_cstr(&c->mem, buf_slice(&b));
	buf_free(&b);
	return text;
}

/* Is what came fit to replace what is there? NULL, or why not (in c->mem). */
static const char *judge(struct ctl *c, struct map_set *set, const struct sync_source *s, struct slice text, bool force, struct comparing *x)
{
	struct complaints wrong = { BUF_INIT(1 << 20), 0 };
	struct kind_reading reading = { .set = set, .memo = ARENA_INIT(64 << 10) };
	unsigned id = MAP_FIXED;
	bool known = map_named(set, s->name, &id);
	map_key_reader key = kind_key(id);
	bool good = key && map_text_read(text, s->name, key, &reading, id == MAP_ALIASES, &wrong, &x->new);
	ctl_complain(&wrong);
	complaint_free(&wrong);
	arena_free(&reading.memo);
	if (!good)
		return "what came is no text map";
	if (map_text_count(x->new) == 0)
		return "nothing came";
	if (known)
		map_each(set, id, compare_key, x);
	else
		compare_file(c, s->name, x);
	if (!force && x->lost * 100 > x->old * maps_settings.sync_shrink_percent)
		return shrink_text(c, x->lost, x->old);
	return NULL;
}

/* One map ------------------------------------------------------------------------------------------------------------------------------- */

static int take(struct ctl *c, const struct sync_source *s, struct slice text, bool force)
{
	struct edit e;
	struct comparing x = { NULL, 0, 0 };
	int code;
	if (!edit_begin(c, &e, &code)) {
		alert(c, s->name, "the maps can't be edited just now");
		return code;
	}
	const char *why = judge(c, e.set, s, text, force, &x);
	uint64_t now = x.new ? map_text_count(x.new) : 0;
	map_text_free(x.new);
	if (why) {
		edit_drop(&e);
		return alert(c, s->name, why);
	}
	int error = edit_whole(&e, s->name, text);
	if (error) {
		edit_drop(&e);
		return ctl_fail(CTL_IO, "%.*s: %s", SLICE_FMT(s->name), strerror(-error));
	}
	code = edit_finish(&e);
	if (code)
		return alert(c, s->name, "what came does not compile");
	printf("%.*s: %llu keys, %llu before, %llu of those gone\n", SLICE_FMT(s->name), (unsigned long long)now, (unsigned long long)x.old, (unsigned long long)x.lost);
	return 0;
}

static int sync_one(struct ctl *c, const struct map_entry *e, bool force)
{
	struct sync_source s = { .name = e->key };
	struct buf text = BUF_INIT(MAX_RESULT);
	const char *why = sync_source_read(e->value, &c->mem, &s);
	if (why)
		return alert(c, s.name, why);
	buf_addf(&text, "# by porterctl sync %.*s; changes made here are lost\n", SLICE_FMT(s.name));
	why = s.is_ldap ? run_ldap(c, &s, &text) : run_command(&s, &text);
	int code = why ? alert(c, s.name, why) : take(c, &s, buf_slice(&text), force);
	buf_free(&text);
	return code;
}

/* By the age of the text map: a source that failed is tried again at the next run. */
static bool is_due(struct ctl *c, const struct map_entry *e)
{
	struct sync_source s = { .name = e->key };
	struct stat st;
	if (sync_source_read(e->value, &c->mem, &s))
		return true;
	return stat(maps_path(c, e->key), &st) < 0 || clock_wall_s() - st.st_mtime >= (int64_t)s.every_s;
}

static int run_sync(struct ctl *c, int argc, char **argv)
{
	bool due = ctl_flag(&argc, argv, "--due"), force = ctl_flag(&argc, argv, "--force");
	struct buf text = BUF_INIT(0);
	int code = 0;
	if (due ? argc != 0 || force : argc != 1)
		return ctl_fail(CTL_USAGE, "sync [--force] NAME, or sync --due");
	if (!ctl_settings(c))
		return CTL_CONFIG;
	struct map_text *t = read_sync(c, &text, &code);
	if (!t) {
		buf_free(&text);
		return code;
	}
	const struct map_entry *e = due ? NULL : map_text_find(t, slice_of(argv[0]));
	if (e)
		code = sync_one(c, e, force);
	else if (!due)
		code = ctl_fail(CTL_USAGE, "%s has no line in sync", argv[0]);
	for (size_t i = 0; due && i < map_text_count(t); i++)
		if (is_due(c, map_text_at(t, i))) {
			int one = sync_one(c, map_text_at(t, i), false);
			code = one ? one : code;
		}
	map_text_free(t);
	buf_free(&text);
	return code;
}

const struct ctl_command ctl_maps_sync_commands[] = {
	{ "sync", "[--force] NAME | --due", "Fetches a map from its command or directory, as the file sync says; --due fetches all whose time has come.", run_sync },
	{ NULL, NULL, NULL, NULL }
};
