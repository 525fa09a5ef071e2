/* The settings of the mailbox process. */
#include "delivery/mailbox_settings.h"

#include <stddef.h>

struct mailbox_settings mailbox_settings;

static const char *check_user(struct slice value)
{
	return !value.n || slice_eq(value, SLICE("root")) ? "is no user whom a mail store may belong to" : NULL;
}

static const struct setting rows[] = {
	{ "mail-root", SETTING_PATH, offsetof(struct mailbox_settings, mail_root), "/var/mail/porter", 0, 0, NULL, NULL,
	  "The folder below which Maildirs named by a relative path lie, and are made when they are missing." },
	{ "mail-user", SETTING_TEXT, offsetof(struct mailbox_settings, mail_user), "_portermail", 0, 0, NULL, check_user,
	  "The system user who owns the Maildirs of virtual users, and as whom the mailbox process runs; never root." },
	{ "mail-reserve", SETTING_SIZE, offsetof(struct mailbox_settings, reserve), "64M", 0, UINT64_C(1) << 50, NULL, NULL,
	  "Free space of the mail root's file system that new mail leaves alone: below it recipients are answered 452." },
	{ "program-user", SETTING_TEXT, offsetof(struct mailbox_settings, program_user), "nobody", 0, 0, NULL, NULL,
	  "The system user as whom programs that get mail run; never root." },
	{ "program-timeout", SETTING_SPAN, offsetof(struct mailbox_settings, program_timeout_s), "3m", 1, 230, NULL, NULL,
	  "How long a program that gets mail may take; then it is killed with all that it started, and the client is answered 451." },
	{ "program-processes", SETTING_UINT, offsetof(struct mailbox_settings, program_processes), "500", 2, 100000, NULL, NULL,
	  "How many processes and threads the user of a program may have: one more can't be started by it. Not where Porter runs as an ordinary user, who is its own program-user." },
};

struct setting_table mailbox_setting_table = { "mailbox", rows, sizeof rows / sizeof rows[0], &mailbox_settings };
