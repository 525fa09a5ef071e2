#ifndef DELIVERY_DELIVERY_SETTINGS_H
#define DELIVERY_DELIVERY_SETTINGS_H
#include <stdbool.h>
#include <stdint.h>
#include "base/setting.h"

/* Settings of the process `delivery`. */
struct delivery_settings {
	bool chunking;
	uint64_t port, connect_s, concurrency, rate, positive_s, negative_s;
};

extern struct delivery_settings delivery_settings;
extern struct setting_table delivery_setting_table;
#endif
