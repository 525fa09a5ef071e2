#ifndef SMTPD_FILTER_SETTINGS_H
#define SMTPD_FILTER_SETTINGS_H
#include <stdbool.h>
#include <stdint.h>
#include "base/setting.h"

struct filter_settings {
	struct slice milters;
	uint64_t milter_timeout_s, milter_body_limit;
	struct slice milter_down;
	struct slice policy_services;
	uint64_t policy_timeout_s;
	struct slice policy_down;
	struct slice unix_sockets;
	struct slice dnsbl_zones;
	uint64_t score_no_name, score_bad_helo, score_tag, score_greylist, score_refuse;
	bool greylist_all;
	uint64_t greylist_delay_s, greylist_window_s, greylist_keep_s, greylist_entries;
	uint64_t header_match_limit, header_time_limit_ms;
};

extern struct filter_settings filter_settings;
extern struct setting_table filter_setting_table;

/* Whether a service of these settings has this Unix socket. */
bool filter_settings_name_socket(struct slice path);
#endif
