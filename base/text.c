/* Codings of text. Each decoder is the exact inverse of its encoder and takes nothing else. */
#include "base/text.h"

#include <errno.h>
#include <stdint.h>

#include "base/scan.h"

struct slice text_lower(struct arena *mem, struct slice s)
{
	char *p = arena_cstr(mem, s);
	if (!p)
		return SLICE_NONE;
	for (size_t i = 0; i < s.n; i++)
		p[i] = text_lower_byte(p[i]);
	return slice(p, s.n);
}

/* The length of the UTF-8 sequence at the front of s, 0 if it is ill-formed. */
static size_t utf8_length(struct slice s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	if (p[0] < 0x80)
		return 1;
	size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	if (p[0] < 0xc2 || p[0] > 0xf4 || s.n < n)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f)) /* overlong; surrogates */
		return 0;
	if ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f)) /* overlong; > U+10FFFF */
		return 0;
	return n;
}

bool text_is_utf8(struct slice s)
{
	while (s.n) {
		uint64_t eight;
		if (s.n >= sizeof eight) {
			memcpy(&eight, s.p, sizeof eight);
			if (!(eight & UINT64_C(0x8080808080808080))) {
				s = slice_skip(s, sizeof eight);
				continue;
			}
		}
		size_t n = utf8_length(s);
		if (n == 0)
			return false;
		s = slice_skip(s, n);
	}
	return true;
}

static const char hex_digits[] = "0123456789abcdef";

int text_add_hex(struct buf *out, struct slice bytes)
{
	char *to = buf_room(out, bytes.n * 2);
	if (!to && bytes.n)
		return -EMSGSIZE;
	for (size_t i = 0; i < bytes.n; i++) {
		*to++ = hex_digits[(unsigned char)bytes.p[i] >> 4];
		*to++ = hex_digits[(unsigned char)bytes.p[i] & 15];
	}
	buf_used(out, bytes.n * 2);
	return 0;
}

bool text_hex_decode(struct slice s, struct buf *out)
{
	size_t before = out->n;
	uint64_t byte;
	while (scan_hex(&s, 2, &byte))
		if (buf_add_byte(out, (char)byte))
			break;
	if (s.n == 0 && !buf_full(out))
		return true;
	buf_truncate(out, before);
	return false;
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int text_add_base64(struct buf *out, struct slice bytes)
{
	size_t size = (bytes.n + 2) / 3 * 4;
	char *to = buf_room(out, size);
	if (!to && size)
		return -EMSGSIZE;
	const unsigned char *p = (const unsigned char *)bytes.p;
	for (size_t i = 0; i < bytes.n; i += 3) {
		size_t left = bytes.n - i;
		uint32_t v = (uint32_t)p[i] << 16 | (uint32_t)(left > 1 ? p[i + 1] : 0) << 8 | (left > 2 ? p[i + 2] : 0);
		*to++ = base64_digits[v >> 18];
		*to++ = base64_digits[v >> 12 & 63];
		*to++ = left > 1 ? base64_digits[v >> 6 & 63] : '=';
		*to++ = left > 2 ? base64_digits[v & 63] : '=';
	}
	buf_used(out, size);
	return 0;
}

static int base64_value(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Four digits, up to two '=' at the end of the last four; returns bytes written, 0 for an error. */
static size_t base64_quad(const char *p, bool last, unsigned char out[3])
{
	size_t pad = last && p[3] == '=' ? (p[2] == '=' ? 2 : 1) : 0;
	uint32_t v = 0;
	for (size_t i = 0; i < 4; i++) {
		int digit = i >= 4 - pad ? 0 : base64_value((unsigned char)p[i]);
		if (digit < 0)
			return 0;
		v = v << 6 | (uint32_t)digit;
	}
	if ((pad == 2 && (v & 0xffff)) || (pad == 1 && (v & 0xff)))
		return 0;
	out[0] = (unsigned char)(v >> 16);
	out[1] = (unsigned char)(v >> 8);
	out[2] = (unsigned char)v;
	return 3 - pad;
}

bool text_base64_decode(struct slice s, struct buf *out)
{
	size_t before = out->n;
	bool good = s.n % 4 == 0;
	for (; good && s.n; s = slice_skip(s, 4)) {
		unsigned char three[3];
		size_t n = base64_quad(s.p, s.n == 4, three);
		good = n && buf_add(out, slice((char *)three, n)) == 0;
	}
	if (!good)
		buf_truncate(out, before);
	return good;
}

static bool is_xchar(unsigned char c)
{
	return c > 0x20 && c < 0x7f && c != '+' && c != '=';
}

int text_add_xtext(struct buf *out, struct slice bytes)
{
	for (size_t i = 0; i < bytes.n; i++) {
		unsigned char c = (unsigned char)bytes.p[i];
		int failed = is_xchar(c) ? buf_add_byte(out, (char)c) : buf_addf(out, "+%02X", c);
		if (failed)
			return failed;
	}
	return 0;
}

/* hexchar of RFC 3461 has upper-case digits only. */
static bool is_upper_hex(struct slice s)
{
	return s.n >= 2 && !(s.p[0] >= 'a' && s.p[0] <= 'f') && !(s.p[1] >= 'a' && s.p[1] <= 'f');
}

bool text_xtext_decode(struct slice s, struct buf *out)
{
	size_t before = out->n;
	while (s.n) {
		unsigned char c = (unsigned char)s.p[0];
		uint64_t byte = c;
		struct slice rest = slice_skip(s, 1);
		if (c == '+' && is_upper_hex(rest) && scan_hex(&rest, 2, &byte) && text_is_print((unsigned char)byte)) {
			if (buf_add_byte(out, (char)byte))
				break;
		} else if (!is_xchar(c) || buf_add_byte(out, (char)c)) {
			break;
		}
		s = rest;
	}
	if (s.n == 0)
		return true;
	buf_truncate(out, before);
	return false;
}

/* The high bit of each byte that is zero; beside one, maybe of another. */
static uint64_t zero_bytes(uint64_t w)
{
	return (w - UINT64_C(0x0101010101010101)) & ~w & UINT64_C(0x8080808080808080);
}

/* Eight bytes that stand for themselves, each. False may be wrong: then they are looked at one by one. */
static bool all_plain(const char *p)
{
	static const uint64_t ones = UINT64_C(0x0101010101010101);
	uint64_t w;
	memcpy(&w, p, sizeof w);
	uint64_t other = w | (w - ones * ' ') | zero_bytes(w ^ ones * 0x7f) | zero_bytes(w ^ ones * '\\') | zero_bytes(w ^ ones * '"');
	return !(other & ones * 0x80);
}

/* What stands for itself in every form: printable ASCII that needs no escape. */
static size_t plain_length(struct slice s)
{
	size_t n = 0;
	while (s.n - n >= sizeof(uint64_t) && all_plain(s.p + n))
		n += sizeof(uint64_t);
	while (n < s.n && s.p[n] >= ' ' && s.p[n] < 0x7f && s.p[n] != '\\' && s.p[n] != '"')
		n++;
	return n;
}

static int add_plain(struct buf *out, struct slice *s)
{
	size_t n = plain_length(*s);
	int failed = n ? buf_add(out, slice_head(*s, n)) : 0;
	*s = slice_skip(*s, n);
	return failed;
}

size_t text_acting_length(struct slice s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	if (s.n > 1 && p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)
		return 2;
	bool marks = s.n > 2 && p[0] == 0xe2 && p[1] == 0x80 && ((p[2] >= 0xa8 && p[2] <= 0xae) || p[2] == 0x8e || p[2] == 0x8f); /* U+2028 to 202E, 200E, 200F */
	return marks || (s.n > 2 && p[0] == 0xe2 && p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9) ? 3 : 0;                      /* U+2066 to 2069 */
}

int text_add_escaped(struct buf *out, struct slice s)
{
	int failed = add_plain(out, &s);
	while (s.n && !failed) {
		unsigned char c = (unsigned char)s.p[0];
		size_t n = utf8_length(s);
		if (c == '\\' || c == '"')
			failed = buf_addf(out, "\\%c", c);
		else if (c == '\n' || c == '\r' || c == '\t')
			failed = buf_add_cstr(out, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
		else if (n == 0 || c < 0x20 || c == 0x7f || text_acting_length(s))
			failed = buf_addf(out, "\\x%02x", c), n = 1;
		else
			failed = buf_add(out, slice_head(s, n));
		s = slice_skip(s, n ? n : 1);
		failed = failed ? failed : add_plain(out, &s);
	}
	return failed;
}

int text_add_json(struct buf *out, struct slice s)
{
	int failed = buf_add_byte(out, '"');
	failed = failed ? failed : add_plain(out, &s);
	while (s.n && !failed) {
		unsigned char c = (unsigned char)s.p[0];
		size_t n = utf8_length(s);
		if (n == 0)
			failed = buf_add_cstr(out, "\\ufffd"), n = 1;
		else if (c == '\\' || c == '"')
			failed = buf_addf(out, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			failed = buf_addf(out, "\\u%04x", c);
		else if (text_acting_length(s))
			failed = buf_addf(out, "\\u%04x", n == 2 ? (unsigned char)s.p[1] : 0x2000u | (s.p[1] & 1u) << 6 | (s.p[2] & 0x3fu));
		else
			failed = buf_add(out, slice_head(s, n));
		s = slice_skip(s, n);
		failed = failed ? failed : add_plain(out, &s);
	}
	return failed ? failed : buf_add_byte(out, '"');
}
