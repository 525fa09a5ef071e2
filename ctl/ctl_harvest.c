/* Commands about counts that smtpd keeps: what users have handed in, and harvesting: whose unknown recipients are counted (rule.md, "Both horns"). */
#include <stdio.h>

#include "ctl/tables.h"

static int ask(struct ctl *c, const char *verb, const char *who)
{
	const char *words[4] = { "harvest", verb };
	size_t count = 2;
	if (who)
		words[count++] = who;
	if (c->json)
		words[count++] = "--json";
	if (!ctl_settings_to_ask(c))
		return CTL_CONFIG;
	return ctl_ask_and_print(c, "smtpd", words, count);
}

static int run_list(struct ctl *c, int argc, char **argv)
{
	if (argc)
		return ctl_fail(CTL_USAGE, "%s is too much here", argv[0]);
	return ask(c, "list", NULL);
}

/* "ADDRESS", or "domain NAME" as one word or two. */
static int ask_about(struct ctl *c, const char *verb, int argc, char **argv)
{
	char text[300];
	if (argc < 1 || argc > 2)
		return ctl_fail(CTL_USAGE, "an address, or domain NAME, is wanted");
	int n = snprintf(text, sizeof text, argc == 2 ? "%s %s" : "%s", argv[0], argc == 2 ? argv[1] : "");
	if (n >= (int)sizeof text)
		return ctl_fail(CTL_USAGE, "this is too long");
	return ask(c, verb, text);
}

static int run_forgive(struct ctl *c, int argc, char **argv)
{
	return ask_about(c, "forgive", argc, argv);
}

static int run_test(struct ctl *c, int argc, char **argv)
{
	return ask_about(c, "test", argc, argv);
}

static int run_usage(struct ctl *c, int argc, char **argv)
{
	const char *words[3] = { "usage" };
	size_t count = 1;
	if (argc > 1)
		return ctl_fail(CTL_USAGE, "%s is too much here", argv[1]);
	if (argc)
		words[count++] = argv[0];
	if (c->json)
		words[count++] = "--json";
	if (!ctl_settings_to_ask(c))
		return CTL_CONFIG;
	return ctl_ask_and_print(c, "smtpd", words, count);
}

const struct ctl_command ctl_harvest_commands[] = {
	{ "user usage", "[--json] [LOGIN]", "What users have handed in within the last hour and day: messages, recipients, and the limits of user-messages-hour and its like.", run_usage },
	{ "harvest list", "[--json]", "Who has named unknown recipients lately, and how they are answered for it.", run_list },
	{ "harvest forgive", "[--json] ADDRESS | NETWORK | domain NAME", "Forgets what an address and its network, or a domain, has done.", run_forgive },
	{ "harvest test", "[--json] ADDRESS | NETWORK | domain NAME", "How that client would be answered if it named an unknown recipient now.", run_test },
	{ 0 }
};
