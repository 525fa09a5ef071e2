/* The list of all tables. */
#include "ctl/settings_all.h"

#include "base/dns_settings.h"
#include "base/general_settings.h"
#include "ctl/web_settings.h"
#include "base/tls.h"
#include "delivery/delivery_settings.h"
#include "delivery/mailbox_settings.h"
#include "delivery/tls_policy_settings.h"
#include "maps/maps_settings.h"
#include "queue/queue_settings.h"
#include "queue/usage.h"
#include "smtpd/filter_settings.h"
#include "smtpd/login_settings.h"
#include "smtpd/evidence_settings.h"
#include "smtpd/smtpd_settings.h"

struct setting_table *const settings_all[] = {
	&general_setting_table,
	&maps_setting_table,
	&smtpd_setting_table,
	&evidence_setting_table,
	&login_setting_table,
	&tls_setting_table,
	&dns_setting_table,
	&tls_policy_setting_table,
	&filter_setting_table,
	&mailbox_setting_table,
	&queue_setting_table,
	&usage_setting_table,
	&web_setting_table,
	&delivery_setting_table,
};
const size_t settings_all_count = sizeof settings_all / sizeof *settings_all;
