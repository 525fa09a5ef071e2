/* A binary heap with intrusive nodes. */
#include "base/heap.h"

#include <assert.h>

#include "base/mem.h"

static void put(struct heap *h, size_t i, struct heap_node *n)
{
	h->nodes[i] = n;
	n->at = i + 1;
}

static void rise(struct heap *h, size_t i)
{
	struct heap_node *n = h->nodes[i];
	for (; i && n->key < h->nodes[(i - 1) / 2]->key; i = (i - 1) / 2)
		put(h, i, h->nodes[(i - 1) / 2]);
	put(h, i, n);
}

static void sink(struct heap *h, size_t i)
{
	struct heap_node *n = h->nodes[i];
	for (size_t child; (child = 2 * i + 1) < h->count; i = child) {
		if (child + 1 < h->count && h->nodes[child + 1]->key < h->nodes[child]->key)
			child++;
		if (n->key <= h->nodes[child]->key)
			break;
		put(h, i, h->nodes[child]);
	}
	put(h, i, n);
}

void heap_add(struct heap *h, struct heap_node *n, uint64_t key)
{
	assert(n->at == 0);
	if (h->count == h->room) {
		h->room = h->room ? h->room * 2 : 16;
		h->nodes = mem_grow(h->nodes, h->room, sizeof *h->nodes);
	}
	n->key = key;
	put(h, h->count, n);
	rise(h, h->count++);
}

void heap_remove(struct heap *h, struct heap_node *n)
{
	if (n->at == 0)
		return;
	size_t i = n->at - 1;
	struct heap_node *last = h->nodes[--h->count];
	n->at = 0;
	if (n == last)
		return;
	put(h, i, last);
	rise(h, i);
	sink(h, last->at - 1);
}

struct heap_node *heap_first(const struct heap *h)
{
	return h->count ? h->nodes[0] : NULL;
}

void heap_free(struct heap *h)
{
	mem_free(h->nodes);
	*h = (struct heap){ 0 };
}
