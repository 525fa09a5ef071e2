#ifndef CTL_WEB_SETTINGS_H
#define CTL_WEB_SETTINGS_H
#include <stdbool.h>
#include "base/setting.h"

struct web_settings {
	struct slice listen_http, listen_catch;
	struct slice directory, page_url, probe_domain, abuse_contact, metrics_from;
	uint64_t limit_asker, limit_domain;
};

extern struct web_settings web_settings;
extern struct setting_table web_setting_table;
bool web_is_wanted(void);   /* listen-http names something */
#endif
