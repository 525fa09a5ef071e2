#ifndef BASE_FIELD_H
#define BASE_FIELD_H
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/slice.h"

/* Length-prefixed fields: the one form of records on disk, in maps and between processes. A field is
 * {u8 tag, u32 length, bytes}, big endian; a number is a field of 1..8 bytes. Readers take tags they don't know as an error,
 * so that old code refuses new records instead of guessing. Records on disk begin with a version (see the room's header). */
int field_add(struct buf *b, uint8_t tag, struct slice value);
int field_add_uint(struct buf *b, uint8_t tag, uint64_t value);

/* The next field at the front of *in. True: *in begins behind it. False at the end (in->n is 0) or for a bad length (in->n is not). */
bool field_next(struct slice *in, uint8_t *tag, struct slice *value);

/* A field's value as a number <= max. */
bool field_uint(struct slice value, uint64_t max, uint64_t *out);
#endif
