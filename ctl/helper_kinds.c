/* The kinds of short-lived processes. */
#include "ctl/helper_kinds.h"

#include "delivery/mailbox_settings.h"
#include "delivery/sts.h"
#include "delivery/system_parcel.h"
#include "delivery/unix_helper.h"
#include "delivery/tls_report_house.h"
#include "smtpd/login.h"

static int system_main(int argc, char **argv)
{
	(void)argc, (void)argv;
	return system_user_main();
}

static int unix_main(int argc, char **argv)
{
	return argc > 0 ? unix_helper_main(argv[0]) : 64;
}

const struct helper_kind helper_kinds[] = {
	{ "system", "mailbox", system_main, true, NULL, true, 600, 0, NULL, NULL },
	{ "login-dovecot", "login", login_dovecot_main, true, NULL, false, 30, UINT64_C(1) << 30, NULL, NULL },
	{ "login-pam", "login", login_pam_main, true, NULL, false, 30, 0, NULL, NULL },
	{ "login-token", "login", login_token_main, true, NULL, false, 30, UINT64_C(4) << 30, NULL, NULL },
	{ "sts", "delivery", sts_main, false, "_porter", false, 60, UINT64_C(4) << 30, NULL, NULL },
	{ "connect-unix", "delivery", unix_main, false, "_porter", false, 10, UINT64_C(1) << 30, NULL, NULL },
	{ "tls-report", "delivery", tls_report_main, false, "_porter", false, 90, UINT64_C(4) << 30, NULL, NULL },
	{ "program", "mailbox", NULL, true, NULL, false, 0, UINT64_C(1) << 30, &mailbox_settings.program_timeout_s, &mailbox_settings.program_processes },
};
const size_t helper_kind_count = sizeof helper_kinds / sizeof *helper_kinds;
