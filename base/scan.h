#ifndef BASE_SCAN_H
#define BASE_SCAN_H
#include <stdbool.h>
#include <stdint.h>
#include "base/slice.h"

/* Readers that take something from the front of *in. True: it was there, *in begins behind it, *out is set.
 * False: *in and *out are as before. Every number has a maximum, so nothing overflows. */

/* Exactly byte c. */
bool scan_byte(struct slice *in, char c);

/* Exactly word, ASCII case folded. */
bool scan_word(struct slice *in, struct slice word);

/* One or more decimal digits, value <= max. More digits than max has fail too. */
bool scan_uint(struct slice *in, uint64_t max, uint64_t *out);

/* Exactly n hexadecimal digits (n <= 16). */
bool scan_hex(struct slice *in, size_t n, uint64_t *out);

/* One or more bytes for which `in_class` says true, at most max of them taken; fails if none stands there. */
bool scan_while(struct slice *in, bool (*in_class)(unsigned char), size_t max, struct slice *out);

/* Skips spaces and tabs; returns how many. */
size_t scan_blanks(struct slice *in);

/* A line up to LF, which is taken but not part of *out (nor is a CR before it). At the end of *in what is left is
 * a line, too. False only when *in is empty. For text files, never for the wire. */
bool scan_line(struct slice *in, struct slice *out);

/* All of s is one decimal number <= max. */
bool scan_uint_all(struct slice s, uint64_t max, uint64_t *out);

/* Bytes with a unit: "10", "64k", "10M", "2G" (powers of 1024), <= max. All of s. */
bool scan_size_all(struct slice s, uint64_t max, uint64_t *out);

/* A span of time in seconds: "30", "30s", "5m", "4h", "5d", "2w", <= max seconds. All of s. */
bool scan_span_all(struct slice s, uint64_t max, uint64_t *out);
#endif
