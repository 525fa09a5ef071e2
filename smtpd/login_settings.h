#ifndef SMTPD_LOGIN_SETTINGS_H
#define SMTPD_LOGIN_SETTINGS_H
#include <stdint.h>
#include "base/setting.h"

/* Settings of logins: the process `login`, its helpers, and what AUTH offers. */
struct login_settings {
	struct slice source;          /* credentials | dovecot | pam */
	struct slice dovecot_socket, pam_service, token_verifier, helper_user;
	struct slice mechanisms;
	uint64_t workers, queue, helpers;
};
extern struct login_settings login_settings;
extern struct setting_table login_setting_table;
#endif
