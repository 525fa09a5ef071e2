#ifndef MAPS_MAPS_SETTINGS_H
#define MAPS_MAPS_SETTINGS_H
#include <stdint.h>
#include "base/setting.h"

/* Settings of the maps: where generations live, and what a compile may do by itself. */
struct maps_settings {
	struct slice maps_directory;     /* N/ generations, `current` */
	struct slice secrets_directory;  /* N/ credentials */
	uint64_t keep_generations;
	struct slice sync_user;
	uint64_t sync_shrink_percent;
	uint64_t sync_timeout_s;
};

extern struct maps_settings maps_settings;
extern struct setting_table maps_setting_table;
#endif
