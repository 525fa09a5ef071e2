/* Views of bytes: compare, find, cut. Nothing here allocates or looks past n. */
#include "base/slice.h"

#include <stdint.h>

static inline unsigned char fold(unsigned char c)
{
	return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

/* Eight bytes with their letters in lower case. */
static inline uint64_t fold_eight(const char *p)
{
	const uint64_t ones = 0x0101010101010101u, tops = ones << 7;
	uint64_t w;
	memcpy(&w, p, sizeof w);
	uint64_t low = w & ~tops, upper = (low + ones * (0x80 - 'A')) & ~(low + ones * (0x7f - 'Z')) & ~w & tops; /* the top bit of each 'A'..'Z' */
	return w | upper >> 2;
}

static bool same_nocase(const char *a, const char *b, size_t n)
{
	size_t i = 0;
	for (; i + 8 <= n; i += 8)
		if (fold_eight(a + i) != fold_eight(b + i))
			return false;
	for (; i < n; i++)
		if (fold((unsigned char)a[i]) != fold((unsigned char)b[i]))
			return false;
	return true;
}

bool slice_eq_nocase(struct slice a, struct slice b)
{
	return a.n == b.n && same_nocase(a.p, b.p, a.n);
}

int slice_cmp(struct slice a, struct slice b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int order = n ? memcmp(a.p, b.p, n) : 0;
	if (order)
		return order < 0 ? -1 : 1;
	return (a.n > b.n) - (a.n < b.n);
}

bool slice_starts(struct slice s, struct slice head)
{
	return s.n >= head.n && slice_eq(slice(s.p, head.n), head);
}

bool slice_starts_nocase(struct slice s, struct slice head)
{
	return s.n >= head.n && same_nocase(s.p, head.p, head.n);
}

bool slice_ends(struct slice s, struct slice tail)
{
	return s.n >= tail.n && slice_eq(slice_skip(s, s.n - tail.n), tail);
}

bool slice_ends_nocase(struct slice s, struct slice tail)
{
	return s.n >= tail.n && slice_eq_nocase(slice_skip(s, s.n - tail.n), tail);
}

size_t slice_find(struct slice s, char c)
{
	const char *at = s.n ? memchr(s.p, c, s.n) : NULL;
	return at ? (size_t)(at - s.p) : s.n;
}

size_t slice_rfind(struct slice s, char c)
{
	const char *at = s.n ? memrchr(s.p, c, s.n) : NULL;
	return at ? (size_t)(at - s.p) : s.n;
}

size_t slice_find_slice(struct slice s, struct slice word)
{
	if (word.n == 0)
		return 0;
	const char *at = s.n ? memmem(s.p, s.n, word.p, word.n) : NULL;
	return at ? (size_t)(at - s.p) : s.n;
}

struct slice slice_skip(struct slice s, size_t n)
{
	return n >= s.n ? slice(s.p ? s.p + s.n : NULL, 0) : slice(s.p + n, s.n - n);
}

struct slice slice_head(struct slice s, size_t n)
{
	return n >= s.n ? s : slice(s.p, n);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct slice slice_trim(struct slice s)
{
	while (s.n && is_blank(s.p[0]))
		s = slice_skip(s, 1);
	while (s.n && is_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

struct slice slice_cut(struct slice s, char c, struct slice *rest)
{
	size_t at = slice_find(s, c);
	if (at == s.n) {
		*rest = SLICE_NONE;
		return s;
	}
	*rest = slice(s.p + at + 1, s.n - at - 1);
	return slice(s.p, at);
}

bool slice_is_ascii(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] & 0x80)
			return false;
	return true;
}

bool slice_eq_secret(struct slice a, struct slice b)
{
	if (a.n != b.n)
		return false;
	volatile uint8_t differ = 0;
	for (size_t i = 0; i < a.n; i++)
		differ |= (uint8_t)(a.p[i] ^ b.p[i]);
	return differ == 0;
}
