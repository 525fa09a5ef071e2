/* A hash table with intrusive nodes. */
#include "queue/index.h"

#include "base/mem.h"

enum { FIRST_SIZE = 64 };

static void grow(struct index *x)
{
	size_t size = x->size ? x->size * 2 : FIRST_SIZE;
	struct index_node **buckets = mem_new_array(size, sizeof *buckets), *n, *next;
	for (size_t i = 0; i < x->size; i++)
		for (n = x->buckets[i]; n; n = next) {
			size_t at = x->hash_of(n, x->arg) & (size - 1);
			next = n->next;
			n->next = buckets[at];
			buckets[at] = n;
		}
	mem_free(x->buckets);
	x->buckets = buckets;
	x->size = size;
}

void index_add(struct index *x, struct index_node *n, uint64_t hash)
{
	if (x->count >= x->size)
		grow(x);
	struct index_node **at = &x->buckets[hash & (x->size - 1)];
	n->next = *at;
	*at = n;
	x->count++;
}

void index_remove(struct index *x, struct index_node *n, uint64_t hash)
{
	struct index_node **at = &x->buckets[hash & (x->size - 1)];
	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
	x->count--;
}

struct index_node *index_find(const struct index *x, uint64_t hash, bool (*is)(const struct index_node *n, const void *key), const void *key)
{
	struct index_node *n = x->size ? x->buckets[hash & (x->size - 1)] : NULL;
	while (n && !is(n, key))
		n = n->next;
	return n;
}

void index_each(const struct index *x, bool (*each)(void *arg, struct index_node *n), void *arg)
{
	for (size_t i = 0; i < x->size; i++)
		for (struct index_node *n = x->buckets[i]; n; n = n->next)
			if (!each(arg, n))
				return;
}

void index_some(const struct index *x, size_t *at, size_t most, void (*each)(void *arg, struct index_node *n), void *arg)
{
	for (size_t count = 0; *at < x->size && count < most; ++*at)
		for (struct index_node *n = x->buckets[*at]; n; n = n->next, count++)
			each(arg, n);
}

void index_free(struct index *x)
{
	mem_free(x->buckets);
	x->buckets = NULL;
	x->count = x->size = 0;
}
