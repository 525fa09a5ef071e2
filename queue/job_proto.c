/* The records of jobs. */
#include "queue/job_proto.h"

#include <errno.h>

#include "base/field.h"
#include "queue/envelope.h"
#include "queue/record.h"

enum { TAG_RECIPIENT = 60, TAG_HOST, TAG_OK };
enum { MAX_ID = 64, MAX_ADDRESS = 1024, MAX_PLACE = 32768, MAX_TEXT = 2048, MAX_HOST = 512 };

static const struct record_row job_rows[] = {
	RECORD_ROW_MAX(1, RECORD_BYTES, job, id, MAX_ID),                     RECORD_ROW_MAX(2, RECORD_BYTES, job, place, MAX_PLACE),
	RECORD_ROW_MAX(3, RECORD_BYTES, job, reverse_path, MAX_ADDRESS),      RECORD_ROW_MAX(4, RECORD_BYTES, job, envelope_id, MAX_TEXT),
	RECORD_ROW(5, RECORD_FLAG, job, return_full),                         RECORD_ROW(6, RECORD_FLAG, job, utf8),
	RECORD_ROW(7, RECORD_FLAG, job, eight_bit),                           RECORD_ROW(8, RECORD_FLAG, job, require_tls),
	RECORD_ROW_MAX(9, RECORD_BYTES, job, sign_domain, MAX_ADDRESS),       RECORD_ROW(10, RECORD_FLAG, job, ask_host),
	RECORD_ROW(11, RECORD_INT8, job, priority),                           RECORD_ROW(12, RECORD_INT64, job, deliver_by_s),
	RECORD_ROW(13, RECORD_FLAG, job, deliver_by_return),                  RECORD_ROW(14, RECORD_UINT64, job, content_offset),
	RECORD_ROW(15, RECORD_UINT64, job, content_length),                   RECORD_ROW_MAX(16, RECORD_BYTES, job, route, MAX_TEXT),
	RECORD_ROW_MAX(17, RECORD_BYTES, job, sign_keys, MAX_TEXT),           RECORD_ROW(18, RECORD_FLAG, job, return_headers),
	RECORD_ROW(19, RECORD_FLAG, job, deliver_by_trace),                   RECORD_ROW(20, RECORD_FLAG, job, waive_tls),
};

static const struct record_row recipient_rows[] = {
	RECORD_ROW(1, RECORD_UINT32, job_recipient, index),                   RECORD_ROW_MAX(2, RECORD_BYTES, job_recipient, address, MAX_ADDRESS),
	RECORD_ROW_MAX(3, RECORD_BYTES, job_recipient, original, MAX_ADDRESS), RECORD_ROW_MAX(4, RECORD_UINT8, job_recipient, notify, 15),
	RECORD_ROW_MAX(5, RECORD_UINT8, job_recipient, leaf_kind, 15),        RECORD_ROW_MAX(6, RECORD_BYTES, job_recipient, leaf_place, MAX_PLACE),
	RECORD_ROW(7, RECORD_UINT64, job_recipient, quota_bytes),             RECORD_ROW(8, RECORD_UINT64, job_recipient, quota_messages),
};

static const struct record_row result_rows[] = {
	RECORD_ROW(1, RECORD_UINT32, job_result, window),
	RECORD_ROW(2, RECORD_UINT64, job_result, rest_ms),
};

static const struct record_row recipient_result_rows[] = {
	RECORD_ROW(1, RECORD_UINT32, job_recipient_result, index),            RECORD_ROW(2, RECORD_STATUS, job_recipient_result, status),
	RECORD_ROW_MAX(3, RECORD_BYTES, job_recipient_result, host, MAX_HOST), RECORD_ROW(4, RECORD_FLAG, job_recipient_result, dsn_passed),
	RECORD_ROW(5, RECORD_FLAG, job_recipient_result, down),               RECORD_ROW(6, RECORD_FLAG, job_recipient_result, deadline_passed),
};

int job_put(struct buf *out, const struct job *j)
{
	int error = record_put(out, RECORD_TABLE(job_rows), j);
	for (size_t i = 0; i < j->recipient_count && !error; i++)
		error = record_put_nested(out, TAG_RECIPIENT, RECORD_TABLE(recipient_rows), &j->recipients[i]);
	return error;
}

int job_get(struct slice in, struct arena *mem, struct job *out)
{
	struct job j = { .id = SLICE_NONE };
	struct slice value;
	uint8_t tag;
	if (!record_get(&in, RECORD_TABLE(job_rows), &j))
		return -EPROTO;
	size_t count = record_count(in, TAG_RECIPIENT, JOB_MAX_RECIPIENTS);
	if (count == SIZE_MAX || count == 0 || j.place.n == 0 || j.content_length > INT64_MAX || j.content_offset > INT64_MAX ||
	    !(j.recipients = ARENA_ARRAY(mem, struct job_recipient, count)))
		return -EPROTO;
	while (field_next(&in, &tag, &value))
		if (!record_get_all(value, RECORD_TABLE(recipient_rows), &j.recipients[j.recipient_count++]))
			return -EPROTO;
	*out = j;
	return 0;
}

int job_put_result(struct buf *out, const struct job_result *r)
{
	int error = record_put(out, RECORD_TABLE(result_rows), r);
	for (size_t i = 0; i < r->recipient_count && !error; i++)
		error = record_put_nested(out, TAG_RECIPIENT, RECORD_TABLE(recipient_result_rows), &r->recipients[i]);
	return error;
}

int job_get_result(struct slice in, struct arena *mem, struct job_result *out)
{
	struct job_result r = { .window = 0 };
	struct slice value;
	uint8_t tag;
	if (!record_get(&in, RECORD_TABLE(result_rows), &r))
		return -EPROTO;
	size_t count = record_count(in, TAG_RECIPIENT, JOB_MAX_RECIPIENTS);
	if (count == SIZE_MAX || count == 0 || !(r.recipients = ARENA_ARRAY(mem, struct job_recipient_result, count)))
		return -EPROTO;
	while (field_next(&in, &tag, &value))
		if (!record_get_all(value, RECORD_TABLE(recipient_result_rows), &r.recipients[r.recipient_count++]))
			return -EPROTO;
	*out = r;
	return 0;
}

int job_put_host(struct buf *out, struct slice host)
{
	return field_add(out, TAG_HOST, host);
}

int job_get_host(struct slice in, struct slice *host)
{
	struct slice value;
	uint8_t tag;
	if (!field_next(&in, &tag, &value) || tag != TAG_HOST || in.n || value.n == 0 || value.n > MAX_HOST)
		return -EPROTO;
	*host = value;
	return 0;
}

int job_put_host_ok(struct buf *out, bool ok)
{
	return field_add_uint(out, TAG_OK, ok);
}

int job_get_host_ok(struct slice in, bool *ok)
{
	struct slice value;
	uint64_t n;
	uint8_t tag;
	if (!field_next(&in, &tag, &value) || tag != TAG_OK || in.n || !field_uint(value, 1, &n))
		return -EPROTO;
	*ok = n;
	return 0;
}
