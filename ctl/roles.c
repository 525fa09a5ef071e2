/* The processes and their channels. */
#include "ctl/roles.h"

#include <string.h>

#include "base/keeper.h"
#include "ctl/web_main.h"
#include "ctl/web_settings.h"
#include "delivery/delivery_main.h"
#include "delivery/mailbox.h"
#include "queue/queue.h"
#include "smtpd/login.h"
#include "smtpd/smtpd.h"

const struct role roles[] = {
	{ "keeper", keeper_main, false, "", "tls-key: dkim-key: mac-keys", false, NULL, NULL },
	{ "login", login_main, false, "", "login-salt", false, NULL, NULL },
	{ "mailbox", mailbox_main, false, "", "", false, NULL, "porterd-mailbox" },
	{ "delivery", delivery_main, false, "", "shared:tls-report", false, NULL, NULL },
	{ "queue", queue_main, false, "", "shared:attacks shared:flight shared:usage", true, NULL, NULL }, /* behind those whom it hands jobs */
	{ "smtpd", smtpd_main, true, "mx submission submissions", "tls-cert: shared:harvest shared:crowd shared:greylist shared:usage shared:attacks shared:flight", false, NULL, NULL },
	{ "web", web_main, false, "http rndr-catch", "shared:attacks", true, web_is_wanted, NULL },
};
const size_t role_count = sizeof roles / sizeof *roles;

const struct role_link role_links[] = {
	{ "smtpd", "mailbox" }, { "smtpd", "keeper" }, { "smtpd", "queue" }, { "smtpd", "delivery" }, { "smtpd", "login" },
	{ "queue", "delivery" }, { "queue", "mailbox" }, { "delivery", "keeper" }, { "delivery", "login" }, { "web", "queue" },
};
const size_t role_link_count = sizeof role_links / sizeof *role_links;

const struct role *role_find(const char *name)
{
	for (size_t i = 0; i < role_count; i++)
		if (strcmp(roles[i].name, name) == 0)
			return &roles[i];
	return NULL;
}
