/* Canonical forms. A body is looked at a block at a time for places where the form changes something; all between them is one run. */
#include "base/mail_canon.h"

#include <string.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "base/text.h"

#define EIGHT(x) x x x x x x x x
static const char line_ends[] = EIGHT(EIGHT(EIGHT("\r\n"))); /* a message may be millions of them */
enum { TOGETHER = (sizeof line_ends - 1) / 2, SOME = 32 };

/* Line ends at the front, one behind the other. */
static size_t count_line_ends(struct slice in)
{
	size_t n = 0;
	for (; in.n - n >= 2 * SOME && memcmp(in.p + n, line_ends, 2 * SOME) == 0; n += 2 * SOME)
		;
	for (; in.n - n >= 2 && in.p[n] == '\r' && in.p[n + 1] == '\n'; n += 2)
		;
	return n / 2;
}

static void put(struct mail_canon_body *b, const char *p, size_t n)
{
	if (!n)
		return;
	while (b->line_ends) {
		size_t now = b->line_ends < TOGETHER ? (size_t)b->line_ends : TOGETHER;
		b->sink(b->arg, line_ends, now * 2);
		b->line_ends -= now;
	}
	if (b->blank)
		b->sink(b->arg, " ", 1);
	b->blank = false;
	b->any = true;
	b->sink(b->arg, p, n);
}

/* A CR at the end of the last chunk: the front of this one says what it was. */
static struct slice settle_cr(struct mail_canon_body *b, struct slice in)
{
	b->cr = false;
	if (in.p[0] != '\n') {
		put(b, "\r", 1);
		return in;
	}
	b->blank = false;
	b->line_ends++;
	return slice_skip(in, 1);
}

static void add_simple(struct mail_canon_body *b, struct slice in)
{
	size_t n = in.n, ends = 0;
	b->cr = n && in.p[n - 1] == '\r';
	n -= b->cr;
	for (; n >= 2 * SOME && memcmp(in.p + n - 2 * SOME, line_ends, 2 * SOME) == 0; n -= 2 * SOME)
		ends += SOME;
	while (n >= 2 && in.p[n - 1] == '\n' && in.p[n - 2] == '\r') {
		n -= 2;
		ends++;
	}
	put(b, in.p, n);
	b->line_ends += ends;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* True if the byte at p may have to change; the two behind it can be read. */
static inline bool is_trouble(const char *p)
{
	return p[0] == '\t' || (p[0] == ' ' && (is_blank(p[1]) || p[1] == '\r')) || (p[0] == '\n' && p[1] == '\r');
}

#ifdef __x86_64__
/* Both look for the first byte that is_trouble, a block at a time, and stop where a block and the byte behind it are not all there. */
static size_t skip_blocks_sse2(const char *p, size_t n)
{
	const __m128i space = _mm_set1_epi8(' '), tab = _mm_set1_epi8('\t'), cr = _mm_set1_epi8('\r'), lf = _mm_set1_epi8('\n');
	size_t i = 0;
	for (; i + 17 < n; i += 16) {
		__m128i here = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
		__m128i next = _mm_loadu_si128((const __m128i *)(const void *)(p + i + 1));
		__m128i at_space = _mm_cmpeq_epi8(here, space), at_tab = _mm_cmpeq_epi8(here, tab), next_cr = _mm_cmpeq_epi8(next, cr);
		__m128i next_blank = _mm_or_si128(_mm_cmpeq_epi8(next, space), _mm_cmpeq_epi8(next, tab));
		__m128i at_end = _mm_and_si128(next_cr, _mm_or_si128(at_space, _mm_cmpeq_epi8(here, lf)));
		int mask = _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(at_tab, at_end), _mm_and_si128(at_space, next_blank)));
		if (mask)
			return i + (size_t)__builtin_ctz((unsigned)mask);
	}
	return i;
}

__attribute__((target("avx2"))) static size_t skip_blocks_avx2(const char *p, size_t n)
{
	const __m256i space = _mm256_set1_epi8(' '), tab = _mm256_set1_epi8('\t'), cr = _mm256_set1_epi8('\r'), lf = _mm256_set1_epi8('\n');
	size_t i = 0;
	for (; i + 33 < n; i += 32) {
		__m256i here = _mm256_loadu_si256((const __m256i *)(const void *)(p + i));
		__m256i next = _mm256_loadu_si256((const __m256i *)(const void *)(p + i + 1));
		__m256i at_space = _mm256_cmpeq_epi8(here, space), at_tab = _mm256_cmpeq_epi8(here, tab), next_cr = _mm256_cmpeq_epi8(next, cr);
		__m256i next_blank = _mm256_or_si256(_mm256_cmpeq_epi8(next, space), _mm256_cmpeq_epi8(next, tab));
		__m256i at_end = _mm256_and_si256(next_cr, _mm256_or_si256(at_space, _mm256_cmpeq_epi8(here, lf)));
		unsigned mask = (unsigned)_mm256_movemask_epi8(_mm256_or_si256(_mm256_or_si256(at_tab, at_end), _mm256_and_si256(at_space, next_blank)));
		if (mask)
			return i + (size_t)__builtin_ctz(mask);
	}
	return i;
}

static size_t skip_blocks(const char *p, size_t n)
{
	return n > 64 && __builtin_cpu_supports("avx2") ? skip_blocks_avx2(p, n) : skip_blocks_sse2(p, n);
}
#else
static size_t skip_blocks(const char *p, size_t n)
{
	(void)p;
	(void)n;
	return 0;
}
#endif

/* How many bytes at the front may go on as they are. The last two of a chunk never do: what follows them isn't known. */
static size_t plain_run(const char *p, size_t n)
{
	size_t i = skip_blocks(p, n);
	while (i + 2 < n && !is_trouble(p + i))
		i++;
	return i;
}

/* Where blanks stand thick: some bytes one by one, without a branch that could be guessed wrong. *gap: blanks wait for a word. lines: line ends are blanks, too. At most n + 1
 * bytes go to `to`; how many. */
enum { LONG_RUN = 16, PIECE = 240 };
static inline size_t squeeze(const char *p, size_t n, bool lines, bool *gap, char *to)
{
	char *start = to;
	bool blank = *gap;
	for (size_t i = 0; i < n; i++) {
		bool fold = p[i] == ' ' || p[i] == '\t' || (lines && (p[i] == '\r' || p[i] == '\n'));
		*to = ' ';
		to += blank & !fold;
		*to = p[i];
		to += !fold;
		blank = fold;
	}
	*gap = blank;
	return (size_t)(to - start);
}

/* One byte at a time. Returns how many were taken: it stops where a plain run may begin. */
static size_t add_slowly(struct mail_canon_body *b, struct slice in)
{
	size_t i = 0;
	while (i < in.n) {
		char c = in.p[i];
		if (is_blank(c)) {
			b->blank = true;
		} else if (c == '\r' && i + 1 == in.n) {
			b->cr = true;
		} else if (c == '\r' && in.p[i + 1] == '\n') {
			size_t ends = count_line_ends(slice_skip(in, i));
			b->blank = false;
			b->line_ends += ends;
			i += 2 * ends - 1;
		} else if (in.n - i > 2) {
			return i;
		} else {
			put(b, in.p + i, 1);
		}
		i++;
	}
	return i;
}

/* The front of a line of many blanks; how much was taken. The last two bytes are left: what follows them isn't known. */
static size_t add_thick(struct mail_canon_body *b, struct slice in)
{
	char piece[PIECE + 2];
	struct slice s = slice_head(in, in.n > PIECE + 2 ? PIECE : in.n - 2);
	s = slice_head(s, slice_find(s, '\r'));
	bool gap = b->blank;
	size_t made = squeeze(s.p, s.n, false, &gap, piece);
	if (made)
		b->blank = false, put(b, piece, made);
	b->blank = gap;
	return s.n;
}

/* A line end at the end of a run is taken back: what follows may be an empty line, and then it waits with the others. */
static void add_relaxed(struct mail_canon_body *b, struct slice in)
{
	while (in.n) {
		in = slice_skip(in, add_slowly(b, in));
		if (!in.n)
			return;
		size_t n = plain_run(in.p, in.n);
		if (n < in.n && in.p[n] == '\n' && n && in.p[n - 1] == '\r')
			n--;
		if (n >= 2 && in.p[n - 1] == '\n' && in.p[n - 2] == '\r')
			n -= 2;
		if (n && in.p[n - 1] == '\r')
			n--; /* CR and LF are seen together by the slow way */
		if (!n)
			n = 1;
		put(b, in.p, n);
		in = slice_skip(in, n);
		if (n < LONG_RUN && in.n > LONG_RUN)
			in = slice_skip(in, add_thick(b, in));
	}
}

void mail_canon_add(struct mail_canon_body *b, struct slice chunk)
{
	if (!chunk.n)
		return;
	if (b->cr)
		chunk = settle_cr(b, chunk);
	if (b->form == CANON_SIMPLE)
		add_simple(b, chunk);
	else
		add_relaxed(b, chunk);
}

void mail_canon_end(struct mail_canon_body *b)
{
	if (b->cr)
		put(b, "\r", 1);
	b->cr = b->blank = false;
	b->line_ends = 0;
	if (b->form == CANON_SIMPLE || b->any)
		b->sink(b->arg, "\r\n", 2);
}

static void put_simple_lines(struct slice s, mail_canon_sink sink, void *arg)
{
	while (s.n) {
		size_t at = slice_find(s, '\n'), n = at && at < s.n && s.p[at - 1] == '\r' ? at - 1 : at;
		if (n)
			sink(arg, s.p, n);
		if (at < s.n)
			sink(arg, "\r\n", 2);
		s = slice_skip(s, at + 1);
	}
}

static inline bool is_fold(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* True if the byte at p, with another behind it, does not go on as it is: a single space between words does. */
static inline bool is_break(const char *p)
{
	return is_fold(p[0]) && (p[0] != ' ' || is_fold(p[1]));
}

#ifdef __x86_64__
/* The first byte of sixteen that is_break, or 16; the byte behind them can be read. */
static inline size_t break_in_block(const char *p)
{
	const __m128i space = _mm_set1_epi8(' '), tab = _mm_set1_epi8('\t'), cr = _mm_set1_epi8('\r'), lf = _mm_set1_epi8('\n');
	__m128i here = _mm_loadu_si128((const __m128i *)(const void *)p), next = _mm_loadu_si128((const __m128i *)(const void *)(p + 1));
	__m128i ends = _mm_or_si128(_mm_cmpeq_epi8(here, tab), _mm_or_si128(_mm_cmpeq_epi8(here, cr), _mm_cmpeq_epi8(here, lf)));
	__m128i next_fold = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(next, tab), _mm_cmpeq_epi8(next, space)),
	                                 _mm_or_si128(_mm_cmpeq_epi8(next, cr), _mm_cmpeq_epi8(next, lf)));
	int mask = _mm_movemask_epi8(_mm_or_si128(ends, _mm_and_si128(_mm_cmpeq_epi8(here, space), next_fold)));
	return mask ? (size_t)__builtin_ctz((unsigned)mask) : 16;
}

/* Blocks from the front, and one that ends with the last byte but one: what it looks at for a second time breaks nothing. */
static size_t skip_words(const char *p, size_t n)
{
	size_t i = 0, found = 16;
	for (; i + 16 < n; i += 16)
		if ((found = break_in_block(p + i)) < 16)
			return i + found;
	if (i)
		i = n - 17, i += break_in_block(p + i);
	return i;
}
#else
static size_t skip_words(const char *p, size_t n)
{
	(void)p;
	(void)n;
	return 0;
}
#endif

/* How many bytes at the front are words with single spaces between them. */
static size_t word_run(const char *p, size_t n)
{
	size_t i = skip_words(p, n);
	while (i + 1 < n && !is_break(p + i))
		i++;
	return i + 1 == n && !is_fold(p[i]) ? n : i;
}

/* Blanks and line ends become one space between words. *begun: a word was put before. */
static void put_relaxed_words(struct slice s, bool *begun, bool *gap, mail_canon_sink sink, void *arg)
{
	while (s.n) {
		size_t n = 0;
		while (n < s.n && is_fold(s.p[n]))
			n++;
		*gap |= n > 0;
		s = slice(s.p + n, s.n - n);
		n = s.n ? word_run(s.p, s.n) : 0;
		if (!n)
			return;
		if (*begun && *gap)
			sink(arg, " ", 1);
		sink(arg, s.p, n);
		*begun = true;
		*gap = false;
		s = slice(s.p + n, s.n - n);
		if (n >= LONG_RUN)
			continue;
		char piece[PIECE + 2];
		size_t take = s.n < PIECE ? s.n : PIECE, made = squeeze(s.p, take, true, gap, piece);
		if (made)
			sink(arg, piece, made);
		s = slice(s.p + take, s.n - take);
	}
}

static void field_relaxed(const struct mail_field *f, struct slice without, mail_canon_sink sink, void *arg)
{
	char name[64];
	size_t used = 0;
	for (size_t i = 0; i < f->name.n; i++) {
		name[used++] = text_lower_byte(f->name.p[i]);
		if (used == sizeof name)
			sink(arg, name, used), used = 0;
	}
	name[used++] = ':';
	sink(arg, name, used);
	bool begun = false, gap = false;
	struct slice v = f->value;
	if (without.p) {
		size_t before = (size_t)(without.p - v.p);
		put_relaxed_words(slice_head(v, before), &begun, &gap, sink, arg);
		v = slice_skip(v, before + without.n);
	}
	put_relaxed_words(v, &begun, &gap, sink, arg);
}

void mail_canon_field(enum mail_canon form, const struct mail_field *f, struct slice without, bool last, mail_canon_sink sink, void *arg)
{
	if (form == CANON_RELAXED) {
		field_relaxed(f, without, sink, arg);
	} else {
		struct slice all = slice(f->raw.p, (size_t)(f->value.p + f->value.n - f->raw.p));
		if (without.p) {
			size_t before = (size_t)(without.p - all.p);
			put_simple_lines(slice_head(all, before), sink, arg);
			all = slice_skip(all, before + without.n);
		}
		put_simple_lines(all, sink, arg);
	}
	if (!last)
		sink(arg, "\r\n", 2);
}
