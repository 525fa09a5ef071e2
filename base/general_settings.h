#ifndef BASE_GENERAL_SETTINGS_H
#define BASE_GENERAL_SETTINGS_H
#include "base/setting.h"

/* Settings that every process reads. */
struct general_settings {
	struct slice hostname;         /* in greetings, trace fields, EHLO */
	struct slice local_domain;     /* behind bare names given to the sendmail command; "" is hostname */
	struct slice postmaster;       /* digests and alerts go to */
	struct slice run_directory, spool_directory;
	struct slice log, log_form, log_level;
};

extern struct general_settings general_settings;
extern struct setting_table general_setting_table;
#endif
