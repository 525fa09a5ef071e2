/* Tag lists: one pass, no copies. */
#include "base/mail_tags.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "base/text.h"

static inline bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* slice_trim, without a call for the most that need nothing. */
static inline struct slice trim(struct slice s)
{
	return s.n && (is_blank(s.p[0]) || is_blank(s.p[s.n - 1])) ? slice_trim(s) : s;
}

static bool is_control(unsigned char c)
{
	return (c < 0x20 && c != '\t' && c != '\r' && c != '\n') || c == 0x7f;
}

#ifdef __x86_64__
/* Blocks at the front of s without a control; *high: a byte beyond ASCII was among them. */
static size_t text_blocks(struct slice s, bool *high)
{
	const __m128i tab = _mm_set1_epi8('\t'), cr = _mm_set1_epi8('\r'), lf = _mm_set1_epi8('\n'), last = _mm_set1_epi8(0x1f), del = _mm_set1_epi8(0x7f);
	size_t i = 0;
	int tops = 0;
	for (; i + 16 <= s.n; i += 16) {
		__m128i here = _mm_loadu_si128((const __m128i *)(const void *)(s.p + i));
		__m128i below = _mm_cmpeq_epi8(_mm_max_epu8(here, last), last);
		__m128i folds = _mm_or_si128(_mm_cmpeq_epi8(here, tab), _mm_or_si128(_mm_cmpeq_epi8(here, cr), _mm_cmpeq_epi8(here, lf)));
		if (_mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(folds, below), _mm_cmpeq_epi8(here, del))))
			break;
		tops |= _mm_movemask_epi8(here);
	}
	*high = tops != 0;
	return i;
}
#else
static size_t text_blocks(struct slice s, bool *high)
{
	(void)s;
	*high = false;
	return 0;
}
#endif

/* Printable, blanks, and line ends that are folds. */
static bool is_text(struct slice s)
{
	bool high;
	for (size_t i = text_blocks(s, &high); i < s.n; i++) {
		if (is_control((unsigned char)s.p[i]))
			return false;
		high |= (unsigned char)s.p[i] >= 0x80;
	}
	return !high || text_is_utf8(s);
}

static bool is_name_byte(char c)
{
	return text_is_alnum((unsigned char)c) || c == '_';
}

/* One tag at the front of *in, which begins with no blank and then behind the tag's semicolon. */
static bool read_tag(struct slice *in, struct mail_tag *tag)
{
	const char *p = in->p, *end = p + in->n;
	while (p < end && is_name_byte(*p))
		p++;
	tag->name = slice(in->p, (size_t)(p - in->p));
	while (p < end && is_blank(*p))
		p++;
	if (p == end || *p != '=' || !tag->name.n || !text_is_alpha((unsigned char)tag->name.p[0]))
		return false;
	tag->whole = slice_cut(slice(p + 1, (size_t)(end - p - 1)), ';', in);
	tag->value = trim(tag->whole);
	if (!tag->value.n)
		tag->value = SLICE("");
	*in = trim(*in);
	return true;
}

/* Its place + 1 among `letter`, for the names that most are. */
static inline size_t letter_of(struct slice name)
{
	return (size_t)name.p[0] & (MAIL_TAGS_LETTERS - 1); /* 'A'..'z': all different */
}

/* All bytes are looked at once: names and separators are text, too. */
int mail_tags_parse(struct slice text, struct mail_tags *out)
{
	out->count = 0;
	memset(out->letter, 0, sizeof out->letter);
	if (!is_text(text))
		return -EINVAL;
	text = slice_trim(text);
	while (text.n) {
		struct mail_tag tag;
		if (!read_tag(&text, &tag) || mail_tags_get(out, tag.name).p)
			return -EINVAL;
		if (out->count == MAIL_TAGS_MAX)
			return -E2BIG;
		out->tags[out->count++] = tag;
		if (tag.name.n == 1)
			out->letter[letter_of(tag.name)] = (uint8_t)out->count;
	}
	return 0;
}

struct slice mail_tags_get(const struct mail_tags *t, struct slice name)
{
	if (name.n == 1 && text_is_alpha((unsigned char)name.p[0])) {
		size_t place = t->letter[letter_of(name)];
		return place ? t->tags[place - 1].value : SLICE_NONE;
	}
	for (size_t i = 0; i < t->count; i++)
		if (slice_eq(t->tags[i].name, name))
			return t->tags[i].value;
	return SLICE_NONE;
}

bool mail_tags_item(struct slice *list, char separator, struct slice *item)
{
	if (!list->p)
		return false;
	const char *p = list->p, *at = list->n ? memchr(p, separator, list->n) : NULL;
	size_t n = at ? (size_t)(at - p) : list->n;
	*list = at ? slice(at + 1, list->n - n - 1) : SLICE_NONE;
	*item = trim(slice(p, n));
	return true;
}

/* The value of a base64 digit; BASE64_BLANK for what is skipped, BASE64_PAD for '=', BASE64_WRONG for anything else. */
enum { BASE64_BLANK = 64, BASE64_PAD = 65, BASE64_WRONG = 66 };
static const unsigned char digits64[256] = {
	66, 66, 66, 66, 66, 66, 66, 66, 66, 64, 64, 66, 66, 64, 66, 66,
	66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66,
	64, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 62, 66, 66, 66, 63,
	52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 66, 66, 66, 65, 66, 66,
	66,  0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14,
	15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 66, 66, 66, 66, 66,
	66, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
	41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 66, 66, 66, 66, 66,
	66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66,
	66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66,
	66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66,
	66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66,
	66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66,
	66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66,
	66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66,
	66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66, 66,
};

/* Four digits at p that stand together: three octets. False: something else is among them. */
static bool decode_four(const char *p, char *to)
{
	const unsigned char *at = (const unsigned char *)p;
	unsigned a = digits64[at[0]], b = digits64[at[1]], c = digits64[at[2]], d = digits64[at[3]];
	if ((a | b | c | d) > 63)
		return false;
	to[0] = (char)(a << 2 | b >> 4);
	to[1] = (char)(b << 4 | c >> 2);
	to[2] = (char)(c << 6 | d);
	return true;
}

#ifdef __x86_64__
/* Sixteen digits that stand together are twelve octets, as often as there are such; how many digits. What a digit is worth is looked up by its upper half, which the
 * lower half has to suit (Mula, Lemire: Faster Base64 Encoding and Decoding using AVX2 Instructions). */
__attribute__((target("ssse3"))) static size_t decode_sixteens(const char *p, size_t n, char **to)
{
	const __m128i low_suits = _mm_setr_epi8(0x15, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x13, 0x1a, 0x1b, 0x1b, 0x1b, 0x1a);
	const __m128i high_suits = _mm_setr_epi8(0x10, 0x10, 0x01, 0x02, 0x04, 0x08, 0x04, 0x08, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10);
	const __m128i worth = _mm_setr_epi8(0, 16, 19, 4, -65, -65, -71, -71, 0, 0, 0, 0, 0, 0, 0, 0), slash = _mm_set1_epi8('/');
	const __m128i order = _mm_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1);
	size_t i = 0;
	for (; i + 16 <= n; i += 16) {
		__m128i in = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
		__m128i high = _mm_and_si128(_mm_srli_epi32(in, 4), slash), low = _mm_and_si128(in, slash);
		__m128i wrong = _mm_and_si128(_mm_shuffle_epi8(low_suits, low), _mm_shuffle_epi8(high_suits, high));
		if (_mm_movemask_epi8(_mm_cmpgt_epi8(wrong, _mm_setzero_si128())))
			break;
		in = _mm_add_epi8(in, _mm_shuffle_epi8(worth, _mm_add_epi8(_mm_cmpeq_epi8(in, slash), high)));
		in = _mm_madd_epi16(_mm_maddubs_epi16(in, _mm_set1_epi32(0x01400140)), _mm_set1_epi32(0x00011000));
		char octets[16];
		_mm_storeu_si128((__m128i *)(void *)octets, _mm_shuffle_epi8(in, order));
		memcpy(*to, octets, 12);
		*to += 12;
	}
	return i;
}

static size_t decode_blocks(const char *p, size_t n, char **to)
{
	return __builtin_cpu_supports("ssse3") ? decode_sixteens(p, n, to) : 0;
}
#else
static size_t decode_blocks(const char *p, size_t n, char **to)
{
	(void)p, (void)n, (void)to;
	return 0;
}
#endif

/* Digits at the front that stand together, in fours: how many. */
static size_t decode_run(const char *p, size_t n, char **to)
{
	size_t i = decode_blocks(p, n, to);
	for (; i + 4 <= n && decode_four(p + i, *to); i += 4)
		*to += 3;
	return i;
}

static size_t blanks(const char *p, size_t n)
{
	size_t i = 0;
	while (i < n && digits64[(unsigned char)p[i]] == BASE64_BLANK)
		i++;
	return i;
}

/* The last digits, fewer than four: one or two octets. The bits behind the last octet are zero. */
static bool end_base64(uint32_t bits, size_t left, char **to)
{
	unsigned spare = left == 2 ? 4 : 2;
	if (left == 0)
		return true;
	if (left == 1 || (bits & ((1u << spare) - 1)))
		return false;
	bits >>= spare;
	if (left == 3)
		*(*to)++ = (char)(bits >> 8);
	*(*to)++ = (char)bits;
	return true;
}

bool mail_tags_base64_into(struct slice value, char **at)
{
	size_t digits = 0, padding = 0;
	char *to = *at;
	uint32_t bits = 0;
	for (size_t i = 0; i < value.n;) {
		if (digits % 4 == 0 && !padding && (i += decode_run(value.p + i, value.n - i, &to)) == value.n)
			break;
		unsigned char d = digits64[(unsigned char)value.p[i++]];
		if (d == BASE64_BLANK)
			i += blanks(value.p + i, value.n - i);
		if (d == BASE64_BLANK)
			continue;
		if (d == BASE64_PAD ? ++padding > 2 : d == BASE64_WRONG || padding)
			return false;
		if (d == BASE64_PAD)
			continue;
		bits = bits << 6 | d;
		if (++digits % 4 == 0) {
			*to++ = (char)(bits >> 16);
			*to++ = (char)(bits >> 8);
			*to++ = (char)bits;
		}
	}
	if ((padding && digits % 4 + padding != 4) || !end_base64(bits, digits % 4, &to))
		return false;
	*at = to;
	return true;
}

bool mail_tags_base64(struct slice value, struct buf *out)
{
	char *from = buf_room(out, MAIL_TAGS_BASE64_ROOM(value.n)), *to = from;
	if (!from || !mail_tags_base64_into(value, &to))
		return false;
	buf_used(out, (size_t)(to - from));
	return true;
}
