/* porterctl import. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "ctl/import.h"
#include "ctl/tables.h"
#include "maps/compile.h"
#include "maps/prove.h"

enum { MAX_MAP = 1 << 30, MAX_TOLD = 1 << 20 };

static int write_map(const char *folder, struct slice name, struct slice text, const char *from, bool secret)
{
	char path[8300];
	int fd, error;
	if (snprintf(path, sizeof path, "%s/%.*s", folder, SLICE_FMT(name)) >= (int)sizeof path)
		return -ENAMETOOLONG;
	error = file_open(AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, secret ? 0600 : 0644, &fd);
	if (error)
		return error;
	struct buf head = BUF_INIT(9000);
	buf_addf(&head, "# imported from %s\n", from);
	error = file_write(fd, buf_slice(&head));
	error = error ? error : file_write(fd, text);
	buf_free(&head);
	file_close(&fd);
	return error;
}

static int write_all(struct import *im, const char *folder, const char *from)
{
	if (mkdir(folder, 0755) < 0)
		return ctl_fail(CTL_IO, "%s: %s", folder, errno == EEXIST ? "is there already; name another folder with --to" : strerror(errno));
	for (unsigned id = 0; id < MAP_FIXED; id++) {
		int error = write_map(folder, map_kinds[id].name, buf_slice(&im->maps[id]), from, map_kinds[id].secret);
		if (error)
			return ctl_fail(CTL_IO, "%s/%.*s: %s", folder, SLICE_FMT(map_kinds[id].name), strerror(-error));
	}
	int error = im->relayed.n ? write_map(folder, SLICE("relay-recipients"), buf_slice(&im->relayed), from, false) : 0;
	return error ? ctl_fail(CTL_IO, "%s/relay-recipients: %s", folder, strerror(-error)) : 0;
}

/* Addresses of domains that no table served are seldom meant to be lost: each domain is told once. */
static void on_found(void *arg, const struct prove_finding *f)
{
	static const struct slice words = SLICE_INIT("no line of domains serves ");
	struct buf *told = arg;
	if (f->grade != PROVE_NOTE || !slice_starts(f->text, words))
		return;
	struct slice domain = slice_head(slice_skip(f->text, words.n), slice_find(slice_skip(f->text, words.n), ':'));
	for (struct slice rest = buf_slice(told), one; rest.n;)
		if (one = slice_cut(rest, '\n', &rest), slice_eq(one, domain))
			return;
	buf_addf(told, "%.*s\n", SLICE_FMT(domain));
}

static void tell_unserved(struct map_set *set)
{
	struct buf told = BUF_INIT(64 << 10);
	struct prove_plan plan = { .set = set, .found = on_found, .arg = &told };
	struct prove_summary sum;
	prove_run(&plan, &sum);
	if (told.n)
		puts("Domains that have addresses, and no line in domains, so that nobody looks at these:");
	ctl_print(buf_slice(&told));
	buf_free(&told);
}

/* What the rule thinks of it: aliases that lead nowhere are the old server's, but ours would refuse to compile them. */
static void tell_rule(const char *folder)
{
	struct complaints wrong = { BUF_INIT(MAX_TOLD), 0 };
	struct map_set *set;
	if (map_set_read(slice_of(folder), &wrong, &set) == 0) {
		struct compile_plan plan = { .directory = slice_of(folder) };
		compile_check(set, &plan, &wrong);
		tell_unserved(set);
		map_set_close(set);
	}
	if (wrong.count) {
		puts("Before it compiles, this has to be mended:");
		fflush(stdout);
		fwrite(wrong.text.p, 1, wrong.text.n, stdout);
	}
	complaint_free(&wrong);
}

static void tell(struct import *im, const char *folder)
{
	if (im->lost_count) {
		printf("Not carried over (%zu):\n", im->lost_count);
		ctl_print(buf_slice(&im->lost));
	}
	if (im->advice.n) {
		puts("By hand, in porter.conf or elsewhere:");
		ctl_print(buf_slice(&im->advice));
	}
	tell_rule(folder);
	printf("%zu entries carried over into %s; look at them, then move them beside porter.conf and compile\n", im->carried, folder);
}

static bool set_root(struct import *im, const char *from)
{
	struct stat st;
	char *real = realpath(from, NULL);
	if (!real || stat(real, &st) < 0) {
		free(real);
		return false;
	}
	char *slash = strrchr(real, '/');
	struct slice root = S_ISDIR(st.st_mode) || !slash ? slice_of(real) : slice(real, (size_t)(slash - real));
	im->root = arena_cstr(&im->c->mem, root);
	free(real);
	return true;
}

static int run_format(struct import *im, const char *format, const char *from)
{
	struct stat st;
	bool folder = stat(from, &st) == 0 && S_ISDIR(st.st_mode);
	char *real = realpath(from, NULL);
	char *path = arena_cstr(&im->c->mem, slice_of(real));
	free(real);
	if (strcmp(format, "postfix") == 0)
		import_postfix(im);
	else if (strcmp(format, "aliases") == 0 && !folder)
		import_aliases_file(im, slice_of(path), SLICE(""));
	else if (strcmp(format, "exim") == 0)
		import_exim(im, folder ? NULL : path);
	else if (strcmp(format, "opensmtpd") == 0)
		import_opensmtpd(im, folder ? NULL : path);
	else if (strcmp(format, "sendmail") == 0)
		import_sendmail(im);
	else if (strcmp(format, "qmail") == 0)
		import_qmail(im);
	else
		return ctl_fail(CTL_USAGE, "import knows postfix, aliases (a file), exim, opensmtpd, sendmail and qmail");
	return 0;
}

static int run_import(struct ctl *c, int argc, char **argv)
{
	const char *to = ctl_value(&argc, argv, "--to");
	char folder[8200];
	if (argc != 2)
		return ctl_fail(CTL_USAGE, "import [--to FOLDER] postfix|aliases|exim|opensmtpd|sendmail|qmail FILE-OR-DIRECTORY");
	struct import im = { .c = c, .relayed = BUF_INIT(MAX_MAP), .lost = BUF_INIT(MAX_TOLD), .advice = BUF_INIT(MAX_TOLD), .key = hash_key_random() };
	for (unsigned id = 0; id < MAP_FIXED; id++)
		buf_init(&im.maps[id], MAX_MAP);
	if (!set_root(&im, argv[1]))
		return ctl_fail(CTL_NO_INPUT, "%s: %s", argv[1], strerror(errno));
	snprintf(folder, sizeof folder, "%s/imported-%s", c->directory, argv[0]);
	int code = run_format(&im, argv[0], argv[1]);
	if (!code)
		code = write_all(&im, to ? to : folder, argv[1]);
	if (!code)
		tell(&im, to ? to : folder);
	for (unsigned id = 0; id < MAP_FIXED; id++)
		buf_free(&im.maps[id]);
	buf_free(&im.relayed);
	buf_free(&im.lost);
	buf_free(&im.advice);
	mem_free(im.seen);
	return code;
}

const struct ctl_command ctl_maps_import_commands[] = {
	{ "import", "[--to FOLDER] postfix|aliases|exim|opensmtpd|sendmail|qmail FILE-OR-DIRECTORY",
	  "Turns another server's tables into maps in a folder of their own, and lists what could not be carried over.", run_import },
	{ NULL, NULL, NULL, NULL }
};
