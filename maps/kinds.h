#ifndef MAPS_KINDS_H
#define MAPS_KINDS_H
#include "maps/map.h"
#include "maps/map_text.h"

/* The kinds of maps: how each one's keys become canonical and what its values may be. How to add a map: an id in maps/map.h, its facts in
 * maps/map.c, and a row in kinds.c. */
struct kind_reading {
	struct map_set *set;        /* domains, once read, tells whose local-parts keep their case */
	struct slice raw_domain, domain; /* the last key's domain and its canonical form: millions of lines have the same */
	bool exact;                 /* it keeps case */
	bool same;                  /* raw_domain is canonical */
	struct arena memo;          /* of domain; the caller frees it */
};

/* For map_text_read; its arg is a struct kind_reading. NULL: the map is a list of lines. id MAP_FIXED and above: named maps of recipients. */
map_key_reader kind_key(unsigned id);

/* NULL, or what is wrong with an entry's value. */
const char *kind_check(unsigned id, const struct map_entry *e, struct arena *mem);
#endif
