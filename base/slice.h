#ifndef BASE_SLICE_H
#define BASE_SLICE_H
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* A view of bytes that somebody else owns. All strings inside Porter are slices; a NUL-terminated string is made
 * only at libc's edge (arena_cstr, mem_copy). A slice may hold any bytes, NUL included. p may be NULL where n is 0. */
struct slice {
	const char *p;
	size_t n;
};

#define SLICE_NONE ((struct slice){ NULL, 0 })
/* A literal, for expressions; SLICE_INIT for static tables. */
#define SLICE(literal) ((struct slice){ "" literal, sizeof(literal) - 1 })
#define SLICE_INIT(literal) { "" literal, sizeof(literal) - 1 }
/* For printf: "%.*s", SLICE_FMT(s). Never for foreign bytes in a log line: log escapes those itself. */
#define SLICE_FMT(s) (int)(s).n, (s).n ? (s).p : ""

static inline struct slice slice(const char *p, size_t n)
{
	return (struct slice){ p, n };
}

static inline struct slice slice_of(const char *cstr)
{
	return (struct slice){ cstr, cstr ? strlen(cstr) : 0 };
}

static inline bool slice_eq(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* ASCII letters fold, nothing else does. */
bool slice_eq_nocase(struct slice a, struct slice b);

/* Order by bytes, the shorter first; -1, 0, 1. */
int slice_cmp(struct slice a, struct slice b);

bool slice_starts(struct slice s, struct slice head);
bool slice_starts_nocase(struct slice s, struct slice head);
bool slice_ends(struct slice s, struct slice tail);
bool slice_ends_nocase(struct slice s, struct slice tail);

/* The first offset of byte c, or s.n. */
size_t slice_find(struct slice s, char c);

/* The last offset of byte c, or s.n. */
size_t slice_rfind(struct slice s, char c);

/* The first offset of word, or s.n. */
size_t slice_find_slice(struct slice s, struct slice word);

/* s without its first n bytes (all of them if n is larger). */
struct slice slice_skip(struct slice s, size_t n);

/* The first n bytes of s (all of them if n is larger). */
struct slice slice_head(struct slice s, size_t n);

/* s without blanks (space, tab, CR, LF) at either end. */
struct slice slice_trim(struct slice s);

/* Cuts at the first c: returns what stands before it, *rest begins behind it. Without a c all of s is returned and *rest
 * becomes empty with p NULL, so that "nothing behind" and "empty behind" differ. rest may be the address of s's variable. */
struct slice slice_cut(struct slice s, char c, struct slice *rest);

/* All bytes are 7-bit. */
bool slice_is_ascii(struct slice s);

/* Equal in a time that depends on the lengths alone, for secrets. */
bool slice_eq_secret(struct slice a, struct slice b);
#endif
