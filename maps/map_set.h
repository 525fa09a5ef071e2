#ifndef MAPS_MAP_SET_H
#define MAPS_MAP_SET_H
#include "maps/map.h"
#include "maps/map_bdb.h"
#include "maps/map_text.h"

/* Inside of maps/ alone: what a set is made of. Notes that the compiler leaves beside the entries have keys that begin with byte 1:
 *	domains     "\1primary"         the first mailbox domain of the text: what "<postmaster>" means
 *	recipients  "\1first@DOMAIN"    the domain's first recipient: its postmaster where nobody else is named
 *	any         "\1net KIND"        the prefix lengths that occur, "4:24 4:32 6:64": so a look-up asks for those alone */
#define MAP_NOTE_PRIMARY "\001primary"
#define MAP_NOTE_FIRST "\001first"
#define MAP_NOTE_NET "\001net "

enum { MAP_MAX_PREFIXES = 64, MAP_MAX_NETS = 8 };

struct map_net {
	char kind[16];
	size_t count;
	struct {
		bool v4;
		unsigned prefix;
	} prefixes[MAP_MAX_PREFIXES];  /* the longest first, v4 and v6 apart */
};

struct map_one {
	char name[MAP_MAX_NAME + 1];
	struct map_text *text;
	bool absent;                   /* text: there is no file, which is an empty map */
	struct map_bdb *db;
	size_t db_entries;
	struct map_net *nets[MAP_MAX_NETS]; /* those that were asked for, then NULL */
};

struct map_set {
	uint64_t generation;
	struct map_bdb_env *env;
	struct map_one maps[MAP_MAX];
	size_t count;
	struct buf *files;             /* text: what the entries point into */
	size_t file_count;
};

bool map_is_note(struct slice key);
struct map_one *map_set_add(struct map_set *s, struct slice name); /* NULL: too many, or a bad name */
#endif
