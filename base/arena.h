#ifndef BASE_ARENA_H
#define BASE_ARENA_H
#include <stddef.h>
#include "base/slice.h"

/* Memory for things that end together: a transaction, a resolved address, a parsed record. One arena_reset frees all.
 * The ceiling bounds what hostile input can make it hold: past it arena_new returns NULL. A zeroed arena with max set is ready. */
struct arena_chunk;
struct arena {
	struct arena_chunk *chunks;
	size_t used; /* bytes handed out since the last reset */
	size_t max;  /* the ceiling; 0 is none, for callers whose input is bounded already */
};

#define ARENA_INIT(ceiling) { NULL, 0, (ceiling) }

/* n zeroed bytes, aligned for any type; NULL past the ceiling. */
void *arena_new(struct arena *a, size_t n);

/* A copy of s in the arena. Past the ceiling: SLICE_NONE (p NULL); a copy of an empty slice has p set. */
struct slice arena_copy(struct arena *a, struct slice s);

/* The same with a NUL behind it, for libc; NULL past the ceiling. A NUL inside s stays: callers refuse those before. */
char *arena_cstr(struct arena *a, struct slice s);

/* Where it stands, and back to there: what was handed out since is free again, and nobody may have it any more. */
struct arena_mark {
	struct arena_chunk *chunk;
	size_t chunk_used, used;
};
struct arena_mark arena_mark(const struct arena *a);
void arena_back_to(struct arena *a, struct arena_mark m);

/* Frees everything; one chunk may be kept for the next use. */
void arena_reset(struct arena *a);

/* Frees everything, the kept chunk too. */
void arena_free(struct arena *a);

#define ARENA_NEW(a, type) ((type *)arena_new((a), sizeof(type)))
#define ARENA_ARRAY(a, type, count) ((type *)arena_new((a), (count) * sizeof(type)))
#endif
