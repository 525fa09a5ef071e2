#ifndef BASE_DNS_SETTINGS_H
#define BASE_DNS_SETTINGS_H
#include "base/dns.h"
#include "base/setting.h"

/* Where smtpd and delivery ask DNS. */
struct dns_rows {
	struct slice resolvers, trust_anchor;
	bool local_zones;
	uint64_t timeout_s;
};
extern struct dns_rows dns_rows;
extern struct setting_table dns_setting_table;

/* For dns_new, before a chroot. */
struct dns_settings dns_settings_made(void);
#endif
