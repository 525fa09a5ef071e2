#ifndef BASE_SHARED_H
#define BASE_SHARED_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/hash.h"
#include "base/slice.h"

/* Tables of fixed size that processes share: memory of the parent's, or a file of the spool that lives over restarts. A table begins with a head; its sets of
 * entries have a lock each. */
struct house;

/* The file that the parent handed over, such as "shared:harvest", mapped. NULL: there is none, it is shorter than `least`, or it can't be mapped. */
void *shared_map(struct house *h, struct slice name, size_t least, size_t *size);

/* Memory of this process alone, for where nobody has any to share. NULL: there is none. */
void *shared_own(size_t size);

struct shared_head {
	atomic_uint state;
	uint32_t form;
	struct hash_key key;          /* made by the first who comes */
};

/* A file of such a table before anybody maps it: one that is damaged at its head, was never finished, or is of another form is emptied, and 1 returned. 0: it is well, or new. -errno. */
int shared_mend(int fd, uint32_t form);

/* What is zeroed is new, and gets its form and its key. False: it is of another form, or whoever made it died over it. */
bool shared_begin(struct shared_head *head, uint32_t form);

/* Zeroed: open. It is stolen from a process that died holding it: a holder changes single entries, so at worst one of them is wrong. */
void shared_lock(atomic_uint *lock);
void shared_unlock(atomic_uint *lock);
#endif
