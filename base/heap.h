#ifndef BASE_HEAP_H
#define BASE_HEAP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A binary heap of nodes that live in their owners: the smallest key first, ties in no order. Each node knows its place, so it can be
 * moved or taken out in O(log n). The heap owns only its array of pointers. */
struct heap_node {
	uint64_t key;
	size_t at;           /* its place + 1; 0: in no heap */
};

struct heap {
	struct heap_node **nodes;
	size_t count, room;
};

void heap_add(struct heap *h, struct heap_node *n, uint64_t key); /* n is in no heap */
void heap_remove(struct heap *h, struct heap_node *n);             /* none: nothing happens */
struct heap_node *heap_first(const struct heap *h);                /* NULL when empty */
void heap_free(struct heap *h);                                    /* nodes are forgotten, not freed */

static inline bool heap_has(const struct heap_node *n)
{
	return n->at != 0;
}
#endif
