/* The settings of the maps. */
#include "maps/maps_settings.h"

#include <stddef.h>

struct maps_settings maps_settings;

static const struct setting rows[] = {
	{ "maps-directory", SETTING_PATH, offsetof(struct maps_settings, maps_directory), "/var/lib/porter/maps", 0, 0, NULL, NULL,
	  "The folder of compiled map generations; smtpd's root." },
	{ "secrets-directory", SETTING_PATH, offsetof(struct maps_settings, secrets_directory), "/var/lib/porter/secrets", 0, 0, NULL, NULL,
	  "The folder of the generations' credentials, which only the login process opens." },
	{ "maps-keep", SETTING_UINT, offsetof(struct maps_settings, keep_generations), "3", 2, 100, NULL, NULL,
	  "How many generations stay for porterctl rollback." },
	{ "sync-user", SETTING_TEXT, offsetof(struct maps_settings, sync_user), "nobody", 0, 0, NULL, NULL,
	  "The system user as whom the commands of porterctl sync run; never root." },
	{ "sync-shrink", SETTING_UINT, offsetof(struct maps_settings, sync_shrink_percent), "10", 0, 100, NULL, NULL,
	  "A synchronised map that would lose more than this percentage of its keys is not taken." },
	{ "sync-timeout", SETTING_SPAN, offsetof(struct maps_settings, sync_timeout_s), "5m", 1, 86400, NULL, NULL,
	  "How long the source of a synchronised map may take." },
};

struct setting_table maps_setting_table = { "maps", rows, sizeof rows / sizeof rows[0], &maps_settings };
