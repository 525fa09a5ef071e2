/* The kinds of short-lived processes. */
#include "ctl/helper_kinds.h"

#include "delivery/mailbox_settings.h"

const struct helper_kind helper_kinds[] = {
	{ "system", "mailbox", true, true, NULL, true, 600, 0, NULL, NULL },
	{ "login-dovecot", "login", true, true, NULL, false, 30, UINT64_C(1) << 30, NULL, NULL },
	{ "login-pam", "login", true, true, NULL, false, 30, 0, NULL, NULL },
	{ "login-token", "login", true, true, NULL, false, 30, UINT64_C(4) << 30, NULL, NULL },
	{ "sts", "delivery", true, false, "_porter", false, 60, UINT64_C(4) << 30, NULL, NULL },
	{ "connect-unix", "delivery", true, false, "_porter", false, 10, UINT64_C(1) << 30, NULL, NULL },
	{ "tls-report", "delivery", true, false, "_porter", false, 90, UINT64_C(4) << 30, NULL, NULL },
	{ "program", "mailbox", false, true, NULL, false, 0, UINT64_C(1) << 30, &mailbox_settings.program_timeout_s, &mailbox_settings.program_processes },
};
const size_t helper_kind_count = sizeof helper_kinds / sizeof *helper_kinds;
