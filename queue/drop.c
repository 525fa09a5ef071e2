/* The form of a dropped message's head. */
#include "queue/drop.h"

#include <errno.h>

#include "base/field.h"
#include "queue/record.h"

enum { TAG_HEAD = 'D', TAG_VERSION = 1, TAG_RECIPIENT = 60, FIELD_HEAD = 5, MAX_ADDRESS = 1024 };

static const struct record_row rows[] = {
	RECORD_ROW_MAX(2, RECORD_BYTES, drop, reverse_path, MAX_ADDRESS), RECORD_ROW_MAX(3, RECORD_BYTES, drop, envelope_id, MAX_ADDRESS),
	RECORD_ROW(4, RECORD_FLAG, drop, return_full),                    RECORD_ROW(5, RECORD_FLAG, drop, utf8),
	RECORD_ROW(6, RECORD_FLAG, drop, return_headers),
};

static const struct record_row recipient_rows[] = {
	RECORD_ROW_MAX(2, RECORD_BYTES, drop_recipient, address, MAX_ADDRESS),
	RECORD_ROW_MAX(3, RECORD_UINT8, drop_recipient, notify, 15),
};

int drop_put(struct buf *out, const struct drop *d)
{
	struct buf head = BUF_INIT(DROP_MAX_HEAD - FIELD_HEAD);
	int error = field_add_uint(&head, TAG_VERSION, DROP_VERSION);
	error = error ? error : record_put(&head, RECORD_TABLE(rows), d);
	for (size_t i = 0; i < d->recipient_count && !error; i++)
		error = record_put_nested(&head, TAG_RECIPIENT, RECORD_TABLE(recipient_rows), &d->recipients[i]);
	error = error ? error : field_add(out, TAG_HEAD, buf_slice(&head));
	buf_free(&head);
	return error;
}

static int get_head(struct slice in, struct arena *mem, struct drop *d)
{
	struct slice value;
	uint64_t version;
	uint8_t tag;
	if (!field_next(&in, &tag, &value) || tag != TAG_VERSION || !field_uint(value, DROP_VERSION, &version) || version != DROP_VERSION ||
	    !record_get(&in, RECORD_TABLE(rows), d))
		return -EPROTO;
	size_t count = record_count(in, TAG_RECIPIENT, DROP_MAX_RECIPIENTS);
	if (count == SIZE_MAX || count == 0 || !(d->recipients = ARENA_ARRAY(mem, struct drop_recipient, count)))
		return -EPROTO;
	while (field_next(&in, &tag, &value))
		if (!record_get_all(value, RECORD_TABLE(recipient_rows), &d->recipients[d->recipient_count++]))
			return -EPROTO;
	return 0;
}

int drop_get(struct slice file, struct arena *mem, struct drop *out, size_t *content_offset)
{
	struct slice in = file, head;
	struct drop d = { .reverse_path = SLICE_NONE };
	uint8_t tag;
	if (file.n && (uint8_t)file.p[0] != TAG_HEAD)
		return -EPROTO;
	if (!field_next(&in, &tag, &head))
		return file.n >= DROP_MAX_HEAD ? -EPROTO : -EAGAIN;
	int error = get_head(head, mem, &d);
	if (error)
		return error;
	*out = d;
	*content_offset = file.n - in.n;
	return 0;
}
