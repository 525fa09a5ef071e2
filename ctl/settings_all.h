#ifndef CTL_SETTINGS_ALL_H
#define CTL_SETTINGS_ALL_H
#include "base/setting.h"

/* Every room's table of settings: what porter.conf may hold. Others add theirs in ctl/settings_all.c. */
extern struct setting_table *const settings_all[];
extern const size_t settings_all_count;
#endif
