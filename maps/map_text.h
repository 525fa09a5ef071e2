#ifndef MAPS_MAP_TEXT_H
#define MAPS_MAP_TEXT_H
#include "base/setting.h"
#include "maps/map.h"

/* A text map in memory: the file's bytes once, and a sorted array of entries that point into it. One million entries cost their text and 40 bytes each. */
struct map_text;

/* How a map's raw key becomes its canonical one: NULL, or what is wrong with it. */
typedef const char *(*map_key_reader)(void *arg, struct slice raw, struct arena *mem, struct slice *out);

/* Reads file (its content, which outlives the map) named `name` in complaints. colon: the key may end in one (aliases(5)). Duplicate keys are errors that name both
 * lines. False: complaints were added. key NULL: the map is a list in the order of its lines; keys are "%08u" of the line, values the whole line. */
bool map_text_read(struct slice file, struct slice name, map_key_reader key, void *arg, bool colon, struct complaints *wrong, struct map_text **out);
/* The same; also where false is returned, *out has what could be read, so that its values' errors are told together with those of the keys. */
bool map_text_read_part(struct slice file, struct slice name, map_key_reader key, void *arg, bool colon, struct complaints *wrong, struct map_text **out);
void map_text_free(struct map_text *t);

/* Where a line's key ends: at the first blank outside of quotes, or (colon) at one; and where its comment begins: at a '#' at its start or behind a blank, as in
 * porter.conf. Quotes protect both, with \" inside of them. line.n: it has none. */
size_t map_text_key_end(struct slice line, bool colon);
size_t map_text_comment(struct slice line);

/* Notes of the compiler beside the entries of the text ("\x01first@domain"); call map_text_sort behind the last. */
/* Looking up is for sorted maps; map_text_read has sorted. */
void map_text_note(struct map_text *t, struct slice key, struct slice value, uint32_t line);
void map_text_sort(struct map_text *t);

void map_text_set_value(struct map_text *t, size_t i, struct slice value);          /* copied */

const struct map_entry *map_text_find(const struct map_text *t, struct slice key); /* NULL: absent */
const struct map_entry *map_text_at(const struct map_text *t, size_t i);           /* in the order of keys */
size_t map_text_count(const struct map_text *t);
#endif
