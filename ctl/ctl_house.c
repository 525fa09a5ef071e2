/* Commands about the house as a whole: compile, check, reload, stop, log-level, settings. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl/ctl_maps.h"
#include "ctl/settings_man.h"
#include "ctl/tables.h"
#include "maps/compile.h"

static int usage_error(const char *option)
{
	return ctl_fail(CTL_USAGE, "the option %s is unknown here", option);
}

static int run_compile(struct ctl *c, int argc, char **argv)
{
	bool no_prove = ctl_flag(&argc, argv, "--no-prove");
	if (argc)
		return usage_error(argv[0]);
	if (!ctl_settings(c))
		return CTL_CONFIG;
	struct complaints wrong = { BUF_INIT(1 << 20), 0 };
	struct compile_plan plan = maps_plan(c);
	plan.prove = plan.publish = !no_prove;
	struct compile_result result;
	int error = compile_maps(&plan, &wrong, &result);
	ctl_complain(&wrong);
	complaint_free(&wrong);
	if (error)
		return ctl_fail(error == -EBUSY ? CTL_TEMPFAIL : CTL_DATA, "nothing was changed; the maps that served before serve on");
	if (c->json)
		printf("{\"generation\":%llu,\"entries\":%zu,\"published\":%s}\n", (unsigned long long)result.generation, result.entries, no_prove ? "false" : "true");
	else if (no_prove)
		printf("%zu entries compiled; not proved, so not published\n", result.entries);
	else
		printf("%zu entries compiled, generation %llu\n", result.entries, (unsigned long long)result.generation);
	return no_prove ? 0 : maps_tell(c);
}

/* What the lines of the maps say is looked at whatever porter.conf says, so that all errors come at once; what they lead to, with good settings alone. */
static bool check_maps(struct ctl *c, bool settings, struct complaints *wrong, size_t *entries)
{
	struct map_set *set;
	bool good = map_set_read(slice_of(c->directory), wrong, &set) == 0;
	if (!good)
		return false;
	for (unsigned id = 0; id < map_count_maps(set); id++)
		*entries += map_size(set, id);
	if (settings) {
		struct compile_plan plan = maps_plan(c);
		good = compile_check(set, &plan, wrong);
	}
	map_set_close(set);
	return good;
}

static int run_check(struct ctl *c, int argc, char **argv)
{
	if (argc)
		return usage_error(argv[0]);
	struct complaints wrong = { BUF_INIT(1 << 20), 0 };
	size_t entries = 0;
	int settings = ctl_settings_told(c, &wrong);
	if (settings == -ENOENT)
		return CTL_CONFIG;
	bool good = check_maps(c, settings == 0, &wrong, &entries) && settings == 0;
	good = maps_check_sync(c, &wrong) && good;
	ctl_complain(&wrong);
	size_t count = wrong.count;
	complaint_free(&wrong);
	if (c->json)
		printf("{\"good\":%s,\"entries\":%zu,\"errors\":%zu}\n", good ? "true" : "false", entries, count);
	else if (good)
		puts("porter.conf and all maps are good");
	return good ? 0 : settings ? CTL_CONFIG : CTL_DATA;
}

static int ask_parent(struct ctl *c, const char *word, const char *argument)
{
	const char *words[] = { word, argument };
	return ctl_settings_to_ask(c) ? ctl_ask_and_print(c, "parent", words, argument ? 2 : 1) : CTL_CONFIG;
}

static int run_reload(struct ctl *c, int argc, char **argv)
{
	return argc ? usage_error(argv[0]) : ask_parent(c, "reload", NULL);
}

static int run_stop(struct ctl *c, int argc, char **argv)
{
	return argc ? usage_error(argv[0]) : ask_parent(c, "stop", NULL);
}

static int run_log_level(struct ctl *c, int argc, char **argv)
{
	if (argc != 1)
		return ctl_fail(CTL_USAGE, "log-level error|warn|info|debug");
	return ask_parent(c, "log-level", argv[0]);
}

static int run_settings(struct ctl *c, int argc, char **argv)
{
	bool man = ctl_flag(&argc, argv, "--man");
	if (argc)
		return usage_error(argv[0]);
	if (man)
		settings_man_page(stdout);
	else
		settings_list(stdout, c->json);
	return 0;
}

const struct ctl_command ctl_house_commands[] = {
	{ "compile", "[--no-prove]", "Compiles all maps and lets the running server switch to them, which it has when the command ends; with --no-prove only to see whether and how fast it works.", run_compile },
	{ "check", "", "Reads porter.conf, the text maps and the file sync as they stand and tells everything that is wrong.", run_check },
	{ "reload", "", "Reads porter.conf again: new processes serve, the old ones end with their last session.", run_reload },
	{ "stop", "", "Ends the running server in order.", run_stop },
	{ "log-level", "error|warn|info|debug", "Changes what the running server logs, until it is changed again or restarted.", run_log_level },
	{ "settings", "[--man] [--json]", "Lists every setting with its default; --man writes porter.conf(5).", run_settings },
	{ NULL, NULL, NULL, NULL }
};
