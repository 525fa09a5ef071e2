/* porterd: the parent, every other process of the house, and the demo, by how it is called. */
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/scan.h"
#include "ctl/demo.h"
#include "ctl/helper_kinds.h"
#include "ctl/role_begin.h"

enum { EX_USAGE = 64, EX_CONFIG = 78 };

static int usage(void)
{
	fputs("usage: porterd [-c DIR] [--json]              serve with the configuration in DIR (/etc/porter)\n"
	      "       porterd demo DIR [--port-base N]       make a demo configuration in DIR\n"
	      "See porterd(8); porterctl checks, compiles, and talks to a running porterd.\n", stderr);
	return EX_USAGE;
}

static void on_serving(struct parent *p)
{
	if (demo_is(p->directory))
		demo_print_hints(p);
}

static bool read_port(const char *text, unsigned *out)
{
	uint64_t n;
	if (!scan_uint_all(slice_of(text), 65532, &n) || !n)
		return false;
	*out = (unsigned)n;
	return true;
}

static int run_demo(int argc, char **argv)
{
	unsigned base = 0;
	if (argc == 3 && strcmp(argv[1], "--port-base") == 0 && read_port(argv[2], &base))
		return demo_make(argv[0], base);
	return argc == 1 ? demo_make(argv[0], 0) : usage();
}

static int run_role(const char *name, const char *log)
{
	const struct role *r = role_find(name);
	return r ? role_begin(r->name, r->main, log) : usage();
}

static int run_helper(const char *kind, int argc, char **argv)
{
	if (argc < 1)
		return usage();
	role_open_log(argv[0], "helper");
	role_name_process(kind);
	return helper_main(kind, argc - 1, argv + 1);
}

static int run_parent(int argc, char **argv)
{
	static char directory[PATH_MAX], program[PATH_MAX];
	const char *conf = "/etc/porter";
	bool json = false;
	for (int i = 0; i < argc; i++)
		if (strcmp(argv[i], "--json") == 0)
			json = true;
		else if (strcmp(argv[i], "-c") == 0 && i + 1 < argc)
			conf = argv[++i];
		else
			return usage();
	if (!realpath(conf, directory)) {
		fprintf(stderr, "porterd: %s: %s (name the configuration's directory with -c DIR)\n", conf, strerror(errno));
		return EX_CONFIG;
	}
	ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
	if (n < 0)
		snprintf(program, sizeof program, "porterd");
	return parent_run(directory, program, json, on_serving);
}

int main(int argc, char **argv)
{
	mallopt(M_ARENA_MAX, 1); /* threads write files and hash: they allocate too little for heaps of their own, which cost each process some 250 KiB */
	if (argc >= 2 && strncmp(argv[1], "--role=", 7) == 0)
		return run_role(argv[1] + 7, argc == 4 ? argv[3] : NULL);
	if (argc >= 2 && strncmp(argv[1], "--helper=", 9) == 0)
		return run_helper(argv[1] + 9, argc - 2, argv + 2);
	if (argc >= 2 && strcmp(argv[1], "demo") == 0)
		return run_demo(argc - 2, argv + 2);
	return run_parent(argc - 1, argv + 1);
}
