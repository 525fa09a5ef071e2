#ifndef CTL_LISTENER_NAMES_H
#define CTL_LISTENER_NAMES_H
#include <stdbool.h>
#include <stddef.h>
#include "base/slice.h"

/* The listeners of the house: their names, the settings that say where, and whether each smtpd process has a socket of its own. */
struct listener_name {
	const char *name;
	const struct slice *setting;
	bool per_process;
};
extern const struct listener_name listener_names[];
extern const size_t listener_name_count;
#endif
