#ifndef BASE_BUF_H
#define BASE_BUF_H
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/slice.h"

/* A growing run of bytes with a ceiling that is named at its birth. A write past the ceiling writes nothing, returns
 * -EMSGSIZE and sets `full`, so a caller may write many pieces and look once at the end (buf_full). */
struct buf {
	char *p;
	size_t n;   /* bytes in use */
	size_t cap; /* bytes allocated */
	size_t max; /* the ceiling */
	bool full;  /* a write was refused since the last buf_clear */
};

#define BUF_INIT(ceiling) { NULL, 0, 0, (ceiling), false }

void buf_init(struct buf *b, size_t max);

/* Frees the bytes; b may be used again, with the same ceiling. */
void buf_free(struct buf *b);

/* n = 0, full = false; keeps the allocation. */
void buf_clear(struct buf *b);

/* 0, or -EMSGSIZE with nothing written. s may not point into b. */
int buf_add(struct buf *b, struct slice s);
int buf_add_byte(struct buf *b, char c);
int buf_add_cstr(struct buf *b, const char *s);
int buf_add_uint(struct buf *b, uint64_t v);
int buf_addf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
int buf_addv(struct buf *b, const char *format, va_list args) __attribute__((format(printf, 2, 0)));

/* Room for at least n more bytes behind b->n, to be read into; NULL past the ceiling. buf_used tells how many came. */
char *buf_room(struct buf *b, size_t n);
void buf_used(struct buf *b, size_t n);

/* Removes the first n bytes. */
void buf_drop(struct buf *b, size_t n);

/* Cuts back to n bytes. */
void buf_truncate(struct buf *b, size_t n);

/* Gives back what is allocated and not in use. */
void buf_fit(struct buf *b);

/* A view that ends with the next change of b. */
static inline struct slice buf_slice(const struct buf *b)
{
	return slice(b->p, b->n);
}

static inline bool buf_full(const struct buf *b)
{
	return b->full;
}
#endif
