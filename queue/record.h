#ifndef QUEUE_RECORD_H
#define QUEUE_RECORD_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/mail_status.h"
#include "base/slice.h"

/* Records of base/field by table: one row for each member, so that writer and reader can't disagree. A record has one form: each row's field
 * exactly once and in the table's order. Numbers past `max` and wrong tags are refused. Slices are views into what was read. */
enum record_kind {
	RECORD_BYTES,   /* struct slice, at most max bytes (0: any) */
	RECORD_INT64,   /* int64_t, 0..INT64_MAX */
	RECORD_UINT64,
	RECORD_UINT32,
	RECORD_UINT8,   /* uint8_t, <= max */
	RECORD_INT8,
	RECORD_FLAG,    /* bool */
	RECORD_ENUM,    /* any enum of four bytes, 0..max */
	RECORD_STATUS   /* struct mail_status */
};

struct record_row {
	uint8_t tag;
	uint8_t kind;
	size_t offset;
	uint64_t max;
};

struct record_table {
	const struct record_row *rows;
	size_t count;
};

#define RECORD_ROW(tag, kind, type, member) { (tag), (kind), offsetof(struct type, member), 0 }
#define RECORD_ROW_MAX(tag, kind, type, member, max) { (tag), (kind), offsetof(struct type, member), (max) }
#define RECORD_TABLE(rows) ((struct record_table){ (rows), sizeof(rows) / sizeof *(rows) })

/* 0 or -EMSGSIZE. */
int record_put(struct buf *out, struct record_table t, const void *from);
/* Takes the rows off the front of *in; false: something else stands there. */
bool record_get(struct slice *in, struct record_table t, void *into);

/* A record inside a record, as the value of one field: for arrays. Writing goes through a buffer of its own, at most 64 KiB. */
int record_put_nested(struct buf *out, uint8_t tag, struct record_table t, const void *from);
/* The whole of value is one record. */
bool record_get_all(struct slice value, struct record_table t, void *into);

/* How many of the fields in `in` have this tag; SIZE_MAX if another stands among them, the lengths don't add up, or there are more than max. */
size_t record_count(struct slice in, uint8_t tag, size_t max);

/* A status as one field. The reader refuses a code that disagrees with the fate. */
int record_put_status(struct buf *out, uint8_t tag, const struct mail_status *s);
bool record_get_status(struct slice value, struct mail_status *out);
#endif
