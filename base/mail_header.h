#ifndef BASE_MAIL_HEADER_H
#define BASE_MAIL_HEADER_H
#include <stdbool.h>
#include <stddef.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/slice.h"

/* A header section, field by field, as bytes (RFC 5322, 2.2). Lines end with CRLF or LF; only an empty line ends the section. NUL and 8-bit
 * bytes are bytes like others. Nothing is copied: all slices are views of what was given. */
struct mail_field {
	struct slice raw;    /* all of it, the line end of its last line included */
	struct slice name;   /* what stands before the colon, without blanks behind it; at least one byte */
	struct slice value;  /* what stands behind the colon, folding kept, without the last line end */
};

enum mail_field_kind {
	MAIL_FIELD,      /* *f is set */
	MAIL_FIELD_BAD,  /* a line that is no field (no colon, blanks in the name, a fold with nothing before it), with its folds: f->raw */
	MAIL_FIELD_END   /* the empty line, or the end of the input; *in begins at the body */
};

/* The field at the front of *in; *in begins behind it. */
enum mail_field_kind mail_field_next(struct slice *in, struct mail_field *f);

/* The same, in an array: header section of a message (which may go on behind it), at most max fields. Bad lines are counted, not kept. */
struct mail_header {
	struct mail_field *fields;
	size_t count;
	size_t bad;             /* lines that are no fields */
	struct slice section;   /* the header section's bytes, without the empty line */
	struct slice body;      /* what stands behind the empty line; p NULL where there is none */
};

/* 0, or -E2BIG: more than max fields, or the arena is full. */
int mail_header_parse(struct slice message, size_t max, struct arena *mem, struct mail_header *out);

/* The field called name (ASCII case folded) at or behind place `from`, from the top; NULL if none. */
const struct mail_field *mail_header_find(const struct mail_header *h, struct slice name, size_t from);
size_t mail_header_count(const struct mail_header *h, struct slice name);

/* The value on one line: line ends removed, blanks at both ends too. In mem only where it was folded; SLICE_NONE past its ceiling. */
struct slice mail_field_unfold(const struct mail_field *f, struct arena *mem);
int mail_unfold(struct buf *out, struct slice value);

/* TLS-Required: No (RFC 8689, 5), once: the sender would rather have the message go without what the recipient's domain demands of TLS. */
bool mail_header_waives_tls(struct slice message);

/* True when the name is a token of RFC 5322 (printable ASCII without colon). */
bool mail_field_name_is_good(struct slice name);

/* The place of the body in a message whose header section may not be complete yet: the offset behind the empty line, or 0 if that hasn't come. */
size_t mail_header_end(struct slice message);
#endif
