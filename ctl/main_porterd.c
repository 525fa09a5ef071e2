/* porterd: the parent. */
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/demo.h"
#include "ctl/parent.h"

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
		demo_print_hints();
}

static void find_program(char program[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", program, PATH_MAX - 1);
	snprintf(program + (n < 0 ? 0 : n), n < 0 ? PATH_MAX : 1, "%s", n < 0 ? "./porterd" : "");
}

/* A demo is made by porterd-helper, which has the libraries that making it needs. */
static int run_demo(char **argv)
{
	char program[PATH_MAX];
	find_program(program);
	int helper = programs_find(program, "helper");
	if (helper < 0)
		return EX_CONFIG;
	programs_exec(helper, argv);
	fprintf(stderr, "porterd: porterd-helper: %s\n", strerror(errno));
	return EX_CONFIG;
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
	find_program(program);
	return parent_run(directory, program, json, on_serving);
}

int main(int argc, char **argv)
{
	mallopt(M_ARENA_MAX, 1); /* threads write files and hash: they allocate too little for heaps of their own, which cost each process some 250 KiB */
	if (argc >= 2 && strcmp(argv[1], "demo") == 0)
		return run_demo(argv);
	return run_parent(argc - 1, argv + 1);
}
