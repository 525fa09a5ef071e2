#ifndef DELIVERY_MAILBOX_SETTINGS_H
#define DELIVERY_MAILBOX_SETTINGS_H
#include <stdint.h>
#include "base/setting.h"

struct mailbox_settings {
	struct slice mail_root, mail_user;
	uint64_t reserve;      /* bytes */
	struct slice program_user;
	uint64_t program_timeout_s, program_processes;
};

extern struct mailbox_settings mailbox_settings;
extern struct setting_table mailbox_setting_table;
#endif
