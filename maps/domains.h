#ifndef MAPS_DOMAINS_H
#define MAPS_DOMAINS_H
#include "base/answer.h"
#include "base/arena.h"
#include "base/slice.h"
#include "maps/map.h"
#include "maps/map_value.h"

/* The line of `domains` that serves a domain: exact, then ".parent" from the longest. domain in any form. FOUND: it is ours, *out is set (maps/map_value.h:
 * relay, size limit, sole-sender, batv, srs ...). ABSENT: not ours. UNSURE: a 451. */
enum answer domains_find(struct map_set *s, struct slice domain, struct arena *mem, struct map_domain *out);
#endif
