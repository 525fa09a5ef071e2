#ifndef MAPS_MAP_TEXT_H
#define MAPS_MAP_TEXT_H
#include "base/setting.h"
#include "maps/map.h"

/* A text map in memory: the file's bytes once, and a sorted array of entries that point into it. One million entries cost their text and 40 bytes each. */
struct map_text;

/* What one kind of map makes of a line. Both return NULL, or a fixed phrase that says what is wrong; scratch lives as long as the line, keep as long as
 * the map. value may replace the value (includes) or, having complained itself, return MAP_TEXT_TOLD. */
extern const char MAP_TEXT_TOLD[];
struct map_text_rules {
	const char *(*key)(void *arg, struct slice raw, struct arena *scratch, struct slice *out);
	const char *(*value)(void *arg, struct slice key, struct slice raw, uint32_t line, struct arena *scratch, struct arena *keep, struct slice *out);
	bool colon;              /* the key may end in a colon (aliases(5)) */
	bool alone;              /* a key may stand without a value */
	void *arg;
};

/* Reads `file`, the content, which outlives the map; name is for complaints. Duplicate keys are errors that name both lines. False: complaints were added. */
bool map_text_read(struct slice file, struct slice name, const struct map_text_rules *rules, struct complaints *wrong, struct map_text **out);
void map_text_free(struct map_text *t);

/* Notes of the compiler beside the entries of the text ("\x01first@domain"); call map_text_sort behind the last. */
void map_text_note(struct map_text *t, struct slice key, struct slice value, uint32_t line);
void map_text_sort(struct map_text *t);

const struct map_entry *map_text_find(const struct map_text *t, struct slice key); /* NULL: absent */
const struct map_entry *map_text_at(const struct map_text *t, size_t i);           /* in the order of keys */
size_t map_text_count(const struct map_text *t);
#endif
