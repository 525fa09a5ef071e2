#ifndef MAPS_VALUE_H
#define MAPS_VALUE_H
#include <stdint.h>
#include "base/arena.h"
#include "base/mail_status.h"
#include "base/slice.h"

/* Pieces that the values of several maps are made of; map_item (maps/map.h) takes them apart. Parsers return NULL, or a fixed phrase that says what is wrong. */

/* "[CODE [X.Y.Z]] TEXT" behind refuse or defer. usual is the status where text is empty, and gives the codes that are not named. */
const char *value_status(struct slice text, const struct mail_status *usual, struct mail_status *out);

/* "name=value" cut at its '='; value.p is NULL without one. */
struct slice value_name(struct slice item, struct slice *value);

/* Takes one layer of double quotes off, with \" and \\ inside. SLICE_NONE: mem is full. */
struct slice value_unquote(struct slice s, struct arena *mem);
#endif
