#ifndef DELIVERY_TLS_POLICY_SETTINGS_H
#define DELIVERY_TLS_POLICY_SETTINGS_H
#include "base/setting.h"

/* How next hops are to be protected. */
struct tls_policy_settings {
	struct slice standard;
	bool dane, sts;
	struct slice sts_directory, sts_connect, report_from;
	uint64_t report_retry_s;
};
extern struct tls_policy_settings tls_policy_settings;
extern struct setting_table tls_policy_setting_table;
#endif
