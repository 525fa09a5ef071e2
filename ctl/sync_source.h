#ifndef CTL_SYNC_SOURCE_H
#define CTL_SYNC_SOURCE_H
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/slice.h"
#include "ctl/sync_ldap.h"

/* A line of the file sync (porter-maps(5), "SYNCHRONISED MAPS"): where a text map comes from. */
enum { SYNC_MAX_ARGV = 64 };

struct sync_source {
	struct slice name;              /* the map; the caller's */
	bool is_ldap;
	uint64_t every_s;
	char *argv[SYNC_MAX_ARGV + 1];  /* a command's; ends with NULL */
	struct sync_ldap ldap;
	const char *password_file;      /* NULL none */
};

/* A line's value into *s (zeroed but for the name); strings live in mem. NULL, or a phrase that says what is wrong. */
const char *sync_source_read(struct slice value, struct arena *mem, struct sync_source *s);

/* Its key, for map_text_read: a map's name, which is a file's. */
const char *sync_source_key(void *arg, struct slice raw, struct arena *mem, struct slice *out);
#endif
