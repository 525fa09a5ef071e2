#ifndef MAPS_COMPILE_H
#define MAPS_COMPILE_H
#include <stdbool.h>
#include <stdint.h>
#include "base/setting.h"
#include "maps/map.h"

/* From text to a generation: all maps or none. A generation is written aside (N.tmp), synced, made read-only, renamed to N; then the link `current` is replaced by one
 * rename, which is the switch for all maps at once. A kill at any moment leaves the old one. Maps whose text did not change are taken over by a hard link. */
struct compile_plan {
	struct slice directory;          /* of the text maps */
	const char *maps_directory, *secrets_directory;
	uint64_t keep;                   /* generations that stay for rollback, the new one included; at least 2 */
	bool prove;                      /* refuse what the rule refuses: dangling and looping aliases, lists without an owner */
	bool publish;                    /* false: written, measured, thrown away */
	void (*progress)(void *arg, const char *what, uint64_t done, uint64_t total); /* NULL: nobody looks */
	bool (*is_ourselves)(void *arg, struct slice place); /* a next hop's place; NULL: not looked at */
	void *arg;
};

struct compile_result {
	uint64_t generation;             /* 0 when not published */
	size_t entries;
};

/* 0; -EINVAL with complaints; or -errno of a file system call, told in complaints too. -EBUSY: another compile is under way. */
int compile_maps(const struct compile_plan *plan, struct complaints *wrong, struct compile_result *out);

/* The walk over every address of a set that `prove` in the plan means (maps/prove.h); true: nothing is wrong. */
bool compile_check(struct map_set *set, const struct compile_plan *plan, struct complaints *wrong);

/* Makes an existing generation the current one. 0, -ENOENT, -EBADMSG (its digests are wrong), -errno. */
int compile_rollback(const char *maps_directory, const char *secrets_directory, uint64_t generation);
#endif
