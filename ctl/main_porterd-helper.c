/* porterd-helper: the short-lived processes, and the maker of the demo. */
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "base/scan.h"
#include "ctl/demo.h"
#include "ctl/helper_mains.h"
#include "ctl/role_begin.h"

enum { EX_USAGE = 64 };

static int usage(void)
{
	fputs("usage: porterd demo DIR [--port-base N]\nporterd-helper is a part of porterd(8), which starts it\n", stderr);
	return EX_USAGE;
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
	if (argc && argv[0][0] == '-') /* --help: not a folder's name */
		return usage();
	if (argc == 3 && strcmp(argv[1], "--port-base") == 0 && read_port(argv[2], &base))
		return demo_make(argv[0], base);
	return argc == 1 ? demo_make(argv[0], 0) : usage();
}

static int run_helper(const char *kind, int argc, char **argv)
{
	if (argc < 1)
		return usage();
	role_open_log(argv[0], "helper");
	role_name_process(kind);
	return helper_main(kind, argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
	mallopt(M_ARENA_MAX, 1); /* as in porterd */
	if (argc >= 2 && strncmp(argv[1], "--helper=", 9) == 0)
		return run_helper(argv[1] + 9, argc - 2, argv + 2);
	return argc >= 2 && strcmp(argv[1], "demo") == 0 ? run_demo(argc - 2, argv + 2) : usage();
}
