/* Settings that every process reads. */
#include "base/general_settings.h"

#include <stddef.h>

struct general_settings general_settings;

static const char *check_log(struct slice value)
{
	bool known = slice_eq(value, SLICE("stderr")) || slice_eq(value, SLICE("syslog")) || slice_starts(value, SLICE("syslog:/")) || slice_starts(value, SLICE("/"));
	return known ? NULL : "is neither stderr, syslog, syslog:/SOCKET nor a file's name from / on";
}

static const struct setting rows[] = {
	{ "hostname", SETTING_DOMAIN, offsetof(struct general_settings, hostname), "localhost", 0, 0, NULL, NULL,
	  "The name of this host: in greetings, trace fields and EHLO. It should resolve to this host's address, and back." },
	{ "local-domain", SETTING_TEXT, offsetof(struct general_settings, local_domain), "", 0, 0, NULL, NULL,
	  "What the sendmail command puts behind addresses without a domain; empty is the hostname." },
	{ "postmaster", SETTING_TEXT, offsetof(struct general_settings, postmaster), "postmaster", 0, 0, NULL, NULL,
	  "Who gets daily digests and alerts; a bare name is of the first mailbox domain." },
	{ "run-directory", SETTING_PATH, offsetof(struct general_settings, run_directory), "/run/porter", 0, 0, NULL, NULL,
	  "The folder of the control socket and the pid file." },
	{ "spool-directory", SETTING_PATH, offsetof(struct general_settings, spool_directory), "/var/spool/porter", 0, 0, NULL, NULL,
	  "The folder of the queue, the ledger and the dead letters." },
	{ "log", SETTING_TEXT, offsetof(struct general_settings, log), "stderr", 0, 0, NULL, check_log,
	  "Where events are written: stderr, syslog (the socket /dev/log, or syslog:/SOCKET), or the name of a file, which is opened anew at each reload." },
	{ "log-form", SETTING_WORD, offsetof(struct general_settings, log_form), "text", 0, 0, "text json", NULL,
	  "The form of a line: key=value text, or one JSON object." },
	{ "log-level", SETTING_WORD, offsetof(struct general_settings, log_level), "info", 0, 0, "error warn info debug", NULL,
	  "Which events are written: those of this level and above." },
};

struct setting_table general_setting_table = { "general", rows, sizeof rows / sizeof rows[0], &general_settings };
