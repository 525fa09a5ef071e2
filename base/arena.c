/* Arenas: chunks in a list, the newest first; things are cut off its front. */
#include "base/arena.h"

#include <stdalign.h>
#include <stdbool.h>

#include "base/mem.h"

enum { CHUNK = 2048 - 64, ALIGN = alignof(max_align_t) };

struct arena_chunk {
	struct arena_chunk *next;
	size_t used, size;
	alignas(max_align_t) char bytes[];
};

/* A message takes and leaves a handful of arenas, and malloc is slow with chunks of this size: a few are kept for whoever comes next, in any thread. Not under a
 * sanitizer, which would miss a use after the end. */
#ifdef __SANITIZE_ADDRESS__
static const bool keeps = false;
#else
static const bool keeps = true;
#endif
enum { SPARE = 8 };
static struct arena_chunk *spare[SPARE];

static struct arena_chunk *chunk_take(void)
{
	struct arena_chunk *c = NULL;
	for (size_t i = 0; keeps && i < SPARE && !c; i++)
		if (__atomic_load_n(&spare[i], __ATOMIC_RELAXED))
			c = __atomic_exchange_n(&spare[i], NULL, __ATOMIC_ACQUIRE);
	return c;
}

static void chunk_leave(struct arena_chunk *c)
{
	for (size_t i = 0; keeps && c && c->size == CHUNK && i < SPARE; i++)
		if (!__atomic_load_n(&spare[i], __ATOMIC_RELAXED))
			c = __atomic_exchange_n(&spare[i], c, __ATOMIC_ACQ_REL); /* whatever was there by now looks for another place */
	mem_free(c);
}

static void *cut(struct arena_chunk *c, size_t n)
{
	if (!c || n > c->size - c->used)
		return NULL;
	void *p = c->bytes + c->used;
	c->used += n;
	return p;
}

void *arena_new(struct arena *a, size_t n)
{
	size_t size = (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	if (size < n || (a->max && size > a->max - a->used))
		return NULL;
	a->used += size;
	void *p = cut(a->chunks, size);
	if (p)
		return memset(p, 0, size);
	size_t room = size > CHUNK ? size : CHUNK;
	struct arena_chunk *c = room == CHUNK ? chunk_take() : NULL;
	bool used = c;
	if (!c)
		c = mem_new(sizeof *c + room);
	*c = (struct arena_chunk){ .next = a->chunks, .size = room };
	a->chunks = c;
	p = cut(c, size);
	return used ? memset(p, 0, size) : p;
}

char *arena_cstr(struct arena *a, struct slice s)
{
	char *p = arena_new(a, s.n + 1);
	if (p && s.n)
		memcpy(p, s.p, s.n);
	return p;
}

struct slice arena_copy(struct arena *a, struct slice s)
{
	char *p = arena_cstr(a, s);
	return p ? slice(p, s.n) : SLICE_NONE;
}

static void free_from(struct arena_chunk *c)
{
	while (c) {
		struct arena_chunk *next = c->next;
		chunk_leave(c);
		c = next;
	}
}

struct arena_mark arena_mark(const struct arena *a)
{
	return (struct arena_mark){ a->chunks, a->chunks ? a->chunks->used : 0, a->used };
}

void arena_back_to(struct arena *a, struct arena_mark m)
{
	while (a->chunks != m.chunk) {
		struct arena_chunk *next = a->chunks->next;
		chunk_leave(a->chunks);
		a->chunks = next;
	}
	if (a->chunks)
		a->chunks->used = m.chunk_used;
	a->used = m.used;
}

void arena_reset(struct arena *a)
{
	struct arena_chunk *keep = a->chunks;
	if (keep) {
		free_from(keep->next);
		keep->next = NULL;
		keep->used = 0;
		if (keep->size > CHUNK) {
			mem_free(keep);
			a->chunks = NULL;
		}
	}
	a->used = 0;
}

void arena_free(struct arena *a)
{
	free_from(a->chunks);
	a->chunks = NULL;
	a->used = 0;
}
