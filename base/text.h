#ifndef BASE_TEXT_H
#define BASE_TEXT_H
#include <stdbool.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/slice.h"

/* Codings of text: case, UTF-8, hex, base64, xtext, C-style escapes. Decoders refuse what is not canonical. */

static inline bool text_is_digit(unsigned char c) { return c >= '0' && c <= '9'; }
static inline bool text_is_alpha(unsigned char c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; }
static inline bool text_is_alnum(unsigned char c) { return text_is_digit(c) || text_is_alpha(c); }
static inline bool text_is_print(unsigned char c) { return c >= 0x20 && c < 0x7f; }
static inline char text_lower_byte(char c) { return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c; }

/* A copy with ASCII letters in lower case, other bytes as they are; SLICE_NONE past the arena's ceiling. */
struct slice text_lower(struct arena *mem, struct slice s);

/* Well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms, <= U+10FFFF). */
bool text_is_utf8(struct slice s);

/* Lower-case hexadecimal. */
int text_add_hex(struct buf *out, struct slice bytes);
bool text_hex_decode(struct slice s, struct buf *out);

/* RFC 4648 base64 with padding. The decoder refuses foreign bytes, wrong padding and set bits in the padding. */
int text_add_base64(struct buf *out, struct slice bytes);
bool text_base64_decode(struct slice s, struct buf *out);

/* xtext of RFC 3461, 4. The decoder refuses what is not xtext, and any decoded byte that is not printable ASCII
 * (security-kit S6: no control characters from parameters). */
int text_add_xtext(struct buf *out, struct slice bytes);
bool text_xtext_decode(struct slice s, struct buf *out);

/* s with control bytes, DEL, backslash, double quote and bytes that are not UTF-8 written as \n \t \\ \" \xHH:
 * safe in one line of a log and inside double quotes. */
int text_add_escaped(struct buf *out, struct slice s);

/* The length of a character at the front of s (well-formed UTF-8) that is not shown but acts: C1 controls, line and paragraph separators, marks that turn the direction of what
 * follows. 0: it is none. */
size_t text_acting_length(struct slice s);

/* The same for JSON strings (RFC 8259), quotes around it included; bytes that are not UTF-8 become U+FFFD. */
int text_add_json(struct buf *out, struct slice s);
#endif
