/* The processes and their channels. */
#include "ctl/roles.h"

#include "ctl/web_settings.h"

const struct role roles[] = {
	{ "resolver", false, "", "", false, NULL },
	{ "keeper", false, "", "tls-key: dkim-key: mac-keys", false, NULL },
	{ "login", false, "", "login-salt", false, NULL },
	{ "mailbox", false, "", "", false, NULL },
	{ "delivery", false, "", "shared:tls-report", false, NULL },
	{ "queue", false, "", "shared:attacks shared:flight shared:usage", true, NULL }, /* behind those whom it hands jobs */
	{ "smtpd", true, "mx submission submissions", "tls-cert: shared:harvest shared:crowd shared:greylist shared:usage shared:attacks shared:flight", false, NULL },
	{ "web", false, "http rndr-catch", "shared:attacks", true, web_is_wanted },
};
const size_t role_count = sizeof roles / sizeof *roles;

const struct role_link role_links[] = {
	{ "smtpd", "mailbox" }, { "smtpd", "keeper" }, { "smtpd", "queue" }, { "smtpd", "delivery" }, { "smtpd", "login" },
	{ "queue", "delivery" }, { "queue", "mailbox" }, { "delivery", "keeper" }, { "delivery", "login" }, { "web", "queue" },
	{ "smtpd", "resolver" }, { "delivery", "resolver" }, { "web", "resolver" },
};
const size_t role_link_count = sizeof role_links / sizeof *role_links;
