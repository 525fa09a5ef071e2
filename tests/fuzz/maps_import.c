/* libFuzzer: the tables of other servers. The first byte names the format; the rest, cut at form feeds, are its files in a folder of their own. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "ctl/import.h"

enum { FORMATS = 6, FILES = 4, MAX_TABLE = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[64];
static const char *const names[FORMATS][FILES] = {
	{ "main.cf", "virtual", "transport", "access" },
	{ "exim4.conf", "aliases", "domains", "update-exim4.conf.conf" },
	{ "smtpd.conf", "aliases", "domains", "virtuals" },
	{ "virtusertable", "mailertable", "access", "sendmail.mc" },
	{ "control/virtualdomains", "control/smtproutes", "control/rcpthosts", "alias/.qmail-x" },
	{ "aliases", "list", "", "" },
};

/* ctl/ctl.c's, for files of the folder alone: names in a configuration may be this machine's. */
int ctl_read_file(const char *path, size_t max, struct buf *out)
{
	size_t n = strlen(folder);
	buf_init(out, max);
	FILE *f = strncmp(path, folder, n) == 0 && path[n] == '/' && !strstr(path, "..") ? fopen(path, "r") : NULL;
	if (!f)
		return -ENOENT;
	char block[4096];
	for (size_t got; (got = fread(block, 1, sizeof block, f)) > 0;)
		buf_add(out, slice(block, got));
	fclose(f);
	return 0;
}

static void make_folder(void)
{
	char path[100];
	snprintf(folder, sizeof folder, "/dev/shm/porter-fuzz-%d", (int)getpid());
	mkdir(folder, 0700);
	snprintf(path, sizeof path, "%s/control", folder);
	mkdir(path, 0700);
	snprintf(path, sizeof path, "%s/alias", folder);
	mkdir(path, 0700);
}

static void put(const char *name, struct slice text)
{
	char path[128];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	unlink(path);
	FILE *f = text.p ? fopen(path, "w") : NULL;
	if (!f)
		return;
	fwrite(text.p, 1, text.n, f);
	fclose(f);
}

static void run(struct import *im, unsigned format)
{
	switch (format) {
	case 0:
		return import_postfix(im);
	case 1:
		return import_exim(im, NULL);
	case 2:
		return import_opensmtpd(im, NULL);
	case 3:
		return import_sendmail(im);
	case 4:
		return import_qmail(im);
	}
	import_aliases_file(im, SLICE("aliases"), SLICE(""));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	if (!folder[0])
		make_folder();
	unsigned format = data[0] % FORMATS;
	struct slice rest = slice((const char *)data + 1, size - 1);
	for (unsigned i = 0; i < FORMATS; i++)
		for (size_t k = 0; k < FILES; k++)
			if (names[i][k][0])
				put(names[i][k], i == format ? slice_cut(rest, '\f', &rest) : SLICE_NONE);
	struct ctl c = { .mem = ARENA_INIT(64 << 20) };
	struct import im = { .c = &c, .root = folder, .relayed = BUF_INIT(MAX_TABLE), .lost = BUF_INIT(MAX_TABLE), .advice = BUF_INIT(MAX_TABLE) };
	for (unsigned id = 0; id < MAP_FIXED; id++)
		buf_init(&im.maps[id], MAX_TABLE);
	run(&im, format);
	for (unsigned id = 0; id < MAP_FIXED; id++)
		buf_free(&im.maps[id]);
	buf_free(&im.relayed);
	buf_free(&im.lost);
	buf_free(&im.advice);
	mem_free(im.seen);
	arena_free(&c.mem);
	return 0;
}
