/* A byte buffer with a ceiling. Growth doubles, so adding is linear over all. */
#include "base/buf.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "base/mem.h"

enum { SMALLEST = 64 };

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){ .max = max };
}

void buf_free(struct buf *b)
{
	mem_free(b->p);
	buf_init(b, b->max);
}

void buf_clear(struct buf *b)
{
	b->n = 0;
	b->full = false;
}

char *buf_room(struct buf *b, size_t n)
{
	if (n > b->max - b->n) {
		b->full = true;
		return NULL;
	}
	if (n > b->cap - b->n) {
		size_t cap = b->cap > b->max / 2 ? b->max : b->cap * 2;
		if (cap < SMALLEST)
			cap = SMALLEST < b->max ? SMALLEST : b->max;
		if (cap < b->n + n)
			cap = b->n + n;
		b->p = mem_grow(b->p, cap, 1);
		b->cap = cap;
	}
	return b->p ? b->p + b->n : NULL;
}

void buf_fit(struct buf *b)
{
	if (!b->n) {
		mem_free(b->p);
		b->p = NULL;
	} else if (b->n < b->cap) {
		b->p = mem_grow(b->p, b->n, 1);
	}
	b->cap = b->n;
}

void buf_used(struct buf *b, size_t n)
{
	assert(n <= b->cap - b->n);
	b->n += n;
}

int buf_add(struct buf *b, struct slice s)
{
	char *to = buf_room(b, s.n);
	if (!to && s.n)
		return -EMSGSIZE;
	if (s.n)
		memcpy(to, s.p, s.n);
	b->n += s.n;
	return 0;
}

int buf_add_byte(struct buf *b, char c)
{
	return buf_add(b, slice(&c, 1));
}

int buf_add_cstr(struct buf *b, const char *s)
{
	return buf_add(b, slice_of(s));
}

int buf_add_uint(struct buf *b, uint64_t v)
{
	char digits[20], *p = digits + sizeof digits;
	do
		*--p = (char)('0' + v % 10);
	while (v /= 10);
	return buf_add(b, slice(p, (size_t)(digits + sizeof digits - p)));
}

int buf_addv(struct buf *b, const char *format, va_list args)
{
	va_list again;
	va_copy(again, args);
	int n = vsnprintf(b->cap ? b->p + b->n : NULL, b->cap - b->n, format, again);
	va_end(again);
	assert(n >= 0);
	if ((size_t)n < b->cap - b->n) {
		b->n += (size_t)n;
		return 0;
	}
	char *to = buf_room(b, (size_t)n + 1); /* vsnprintf wants its NUL */
	if (!to)
		return -EMSGSIZE;
	vsnprintf(to, (size_t)n + 1, format, args);
	b->n += (size_t)n;
	return 0;
}

int buf_addf(struct buf *b, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int result = buf_addv(b, format, args);
	va_end(args);
	return result;
}

void buf_drop(struct buf *b, size_t n)
{
	assert(n <= b->n);
	if (n && n < b->n)
		memmove(b->p, b->p + n, b->n - n);
	b->n -= n;
}

void buf_truncate(struct buf *b, size_t n)
{
	assert(n <= b->n);
	b->n = n;
}
