/* porterd-house: what porterd starts, roles and helpers, unless a role has a program of its own; and the maker of the demo. */
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "base/keeper.h"
#include "base/scan.h"
#include "ctl/demo.h"
#include "ctl/helper_mains.h"
#include "ctl/role_begin.h"
#include "ctl/web_main.h"
#include "delivery/delivery_main.h"
#include "delivery/mailbox.h"
#include "queue/queue.h"
#include "smtpd/login.h"
#include "smtpd/smtpd.h"

enum { EX_USAGE = 64 };

static const struct {
	const char *role;
	int (*main)(struct house *h);
} mains[] = {
	{ "keeper", keeper_main }, { "login", login_main }, { "mailbox", mailbox_main }, { "delivery", delivery_main }, { "queue", queue_main }, { "smtpd", smtpd_main },
	{ "web", web_main },
};

static int usage(void)
{
	fputs("usage: porterd demo DIR [--port-base N]\nporterd-house is a part of porterd(8), which starts it\n", stderr);
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

static int run_role(const char *name, const char *log)
{
	for (size_t i = 0; i < sizeof mains / sizeof *mains; i++)
		if (strcmp(mains[i].role, name) == 0)
			return role_begin(mains[i].role, mains[i].main, log);
	return usage();
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
	if (argc >= 2 && strncmp(argv[1], "--role=", 7) == 0)
		return run_role(argv[1] + 7, argc == 4 ? argv[3] : NULL);
	if (argc >= 2 && strncmp(argv[1], "--helper=", 9) == 0)
		return run_helper(argv[1] + 9, argc - 2, argv + 2);
	return argc >= 2 && strcmp(argv[1], "demo") == 0 ? run_demo(argc - 2, argv + 2) : usage();
}
