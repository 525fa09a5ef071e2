#ifndef BASE_MEM_H
#define BASE_MEM_H
#include <stddef.h>

/* Memory that cannot fail: out of memory ends the process with one line on stderr. Nothing that was
 * promised is lost by that (see etc/doc/architecture.md), and no caller has an error path that is never run. */

/* size zeroed bytes; size 0 gives a pointer that may be freed. */
void *mem_new(size_t size);

/* count * each zeroed bytes, checked for overflow. */
void *mem_new_array(size_t count, size_t each);

/* p (or NULL) with room for count * each bytes; what is added is not zeroed. */
void *mem_grow(void *p, size_t count, size_t each);

/* A copy of n bytes with a NUL behind it. */
char *mem_copy(const char *p, size_t n);

/* Frees p; NULL is fine. */
void mem_free(void *p);

/* Overwrites n bytes so that the compiler can't leave it out, for secrets. */
void mem_wipe(void *p, size_t n);

/* Gives free pages back to the system: for the moment when a process has finished to set itself up, or has nothing to do. */
void mem_trim(void);

#define MEM_NEW(type) ((type *)mem_new(sizeof(type)))
#endif
