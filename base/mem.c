/* Allocation that cannot fail. The one place that calls malloc. */
#include "base/mem.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Noreturn void out_of_memory(void)
{
	static const char line[] = "porter: out of memory, this process ends\n";
	ssize_t n = write(STDERR_FILENO, line, sizeof line - 1);
	(void)n;
	abort();
}

static size_t product(size_t count, size_t each)
{
	size_t size;
	if (__builtin_mul_overflow(count, each, &size))
		out_of_memory();
	return size;
}

/* glibc's calloc (before 2.41) never takes what a thread has just freed, malloc does; where there is more to clear, calloc knows what is clear already. */
enum { MOST_OF_A_THREAD = 1024 };

void *mem_new(size_t size)
{
	void *p = size <= MOST_OF_A_THREAD ? malloc(size ? size : 1) : calloc(1, size);
	if (!p)
		out_of_memory();
	return size <= MOST_OF_A_THREAD ? memset(p, 0, size) : p;
}

void *mem_new_array(size_t count, size_t each)
{
	return mem_new(product(count, each));
}

void *mem_grow(void *p, size_t count, size_t each)
{
	size_t size = product(count, each);
	void *q = realloc(p, size ? size : 1);
	if (!q)
		out_of_memory();
	return q;
}

char *mem_copy(const char *p, size_t n)
{
	char *q = mem_grow(NULL, n + 1, 1);
	if (n)
		memcpy(q, p, n);
	q[n] = 0;
	return q;
}

void mem_free(void *p)
{
	free(p);
}

void mem_wipe(void *p, size_t n)
{
	if (n) /* p may be NULL then */
		explicit_bzero(p, n);
}

void mem_trim(void)
{
	malloc_trim(0);
}
