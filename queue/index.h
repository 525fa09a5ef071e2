#ifndef QUEUE_INDEX_H
#define QUEUE_INDEX_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A hash table of nodes that live in their owners: eight bytes a node beside the array. It grows by itself. Hashes are the caller's (keyed, since
 * strangers choose names). */
struct index_node {
	struct index_node *next;
};

struct index {
	struct index_node **buckets;
	size_t count, size;
	uint64_t (*hash_of)(const struct index_node *n, const void *arg); /* for growing */
	const void *arg;
};

#define INDEX_INIT(hash_of, arg) { NULL, 0, 0, (hash_of), (arg) }

void index_add(struct index *x, struct index_node *n, uint64_t hash);
void index_remove(struct index *x, struct index_node *n, uint64_t hash);
/* The first node of that hash for which `is` says true; NULL none. */
struct index_node *index_find(const struct index *x, uint64_t hash, bool (*is)(const struct index_node *n, const void *key), const void *key);
/* Nodes from *at on, whole buckets until there are `most` of them; *at: where to go on, x->size at the end. A table that has grown meanwhile begins anew. */
void index_some(const struct index *x, size_t *at, size_t most, void (*each)(void *arg, struct index_node *n), void *arg);
/* Every node, until each says false; nodes may not come or go meanwhile. */
void index_each(const struct index *x, bool (*each)(void *arg, struct index_node *n), void *arg);
void index_free(struct index *x);   /* nodes are forgotten, not freed */
#endif
