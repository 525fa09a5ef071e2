/* Records by table. */
#include "queue/record.h"

#include <errno.h>

#include "base/field.h"

enum { NESTED_MAX = 64 << 10, STATUS_MAX = 8 << 10 };
enum { TAG_FATE = 1, TAG_CODE, TAG_SUBJECT, TAG_DETAIL, TAG_TEXT };

int record_put_status(struct buf *out, uint8_t tag, const struct mail_status *s)
{
	struct buf one = BUF_INIT(STATUS_MAX);
	field_add_uint(&one, TAG_FATE, (uint64_t)s->fate);
	field_add_uint(&one, TAG_CODE, s->code);
	field_add_uint(&one, TAG_SUBJECT, s->enhanced[0]);
	field_add_uint(&one, TAG_DETAIL, s->enhanced[1]);
	field_add(&one, TAG_TEXT, s->text);
	int error = buf_full(&one) ? -EMSGSIZE : field_add(out, tag, buf_slice(&one));
	buf_free(&one);
	return error;
}

static bool get_number(struct slice *in, uint8_t wanted, uint64_t max, uint64_t *out)
{
	uint8_t tag;
	struct slice value;
	return field_next(in, &tag, &value) && tag == wanted && field_uint(value, max, out);
}

bool record_get_status(struct slice in, struct mail_status *out)
{
	static const unsigned first_digit[] = { [MAIL_OK] = 2, [MAIL_LATER] = 4, [MAIL_NEVER] = 5 };
	uint64_t fate, code, subject, detail;
	struct slice text;
	uint8_t tag;
	if (!get_number(&in, TAG_FATE, MAIL_NEVER, &fate) || !get_number(&in, TAG_CODE, 599, &code) || !get_number(&in, TAG_SUBJECT, 255, &subject) ||
	    !get_number(&in, TAG_DETAIL, 255, &detail) || !field_next(&in, &tag, &text) || tag != TAG_TEXT || in.n || code / 100 != first_digit[fate])
		return false;
	*out = (struct mail_status){ (enum mail_fate)fate, (uint16_t)code, { (uint8_t)subject, (uint8_t)detail }, text };
	return true;
}

static int put_row(struct buf *out, const struct record_row *r, const void *from)
{
	const char *at = (const char *)from + r->offset;
	switch ((enum record_kind)r->kind) {
	case RECORD_BYTES:
		return field_add(out, r->tag, *(const struct slice *)at);
	case RECORD_INT64:
	case RECORD_UINT64:
		return field_add_uint(out, r->tag, *(const uint64_t *)at);
	case RECORD_UINT32:
		return field_add_uint(out, r->tag, *(const uint32_t *)at);
	case RECORD_UINT8:
		return field_add_uint(out, r->tag, *(const uint8_t *)at);
	case RECORD_INT8:
		return field_add_uint(out, r->tag, (uint8_t)(*(const int8_t *)at + 128));
	case RECORD_FLAG:
		return field_add_uint(out, r->tag, *(const bool *)at);
	case RECORD_ENUM:
		return field_add_uint(out, r->tag, *(const unsigned *)at);
	case RECORD_STATUS:
		return record_put_status(out, r->tag, (const struct mail_status *)at);
	}
	return -EINVAL;
}

static uint64_t most(const struct record_row *r)
{
	switch ((enum record_kind)r->kind) {
	case RECORD_INT64:
		return INT64_MAX;
	case RECORD_UINT64:
		return UINT64_MAX;
	case RECORD_UINT32:
		return UINT32_MAX;
	case RECORD_FLAG:
		return 1;
	case RECORD_INT8:
		return 255;
	case RECORD_UINT8:
	case RECORD_ENUM:
		return r->max;
	case RECORD_BYTES:
	case RECORD_STATUS:
		break;
	}
	return 0;
}

static bool get_bytes(struct slice value, const struct record_row *r, void *at)
{
	if (r->kind == RECORD_STATUS)
		return record_get_status(value, at);
	if (r->max && value.n > r->max)
		return false;
	*(struct slice *)at = value;
	return true;
}

static bool get_row(struct slice value, const struct record_row *r, void *into)
{
	char *at = (char *)into + r->offset;
	uint64_t n;
	if (r->kind == RECORD_BYTES || r->kind == RECORD_STATUS)
		return get_bytes(value, r, at);
	if (!field_uint(value, most(r), &n))
		return false;
	switch ((enum record_kind)r->kind) {
	case RECORD_INT64:
	case RECORD_UINT64:
		*(uint64_t *)at = n;
		return true;
	case RECORD_UINT32:
		*(uint32_t *)at = (uint32_t)n;
		return true;
	case RECORD_UINT8:
		*(uint8_t *)at = (uint8_t)n;
		return true;
	case RECORD_INT8:
		*(int8_t *)at = (int8_t)((int)n - 128);
		return true;
	case RECORD_FLAG:
		*(bool *)at = n;
		return true;
	case RECORD_ENUM:
		*(unsigned *)at = (unsigned)n;
		return true;
	case RECORD_BYTES:
	case RECORD_STATUS:
		break;
	}
	return false;
}

int record_put(struct buf *out, struct record_table t, const void *from)
{
	int error = 0;
	for (size_t i = 0; i < t.count && !error; i++)
		error = put_row(out, &t.rows[i], from);
	return error;
}

bool record_get(struct slice *in, struct record_table t, void *into)
{
	for (size_t i = 0; i < t.count; i++) {
		uint8_t tag;
		struct slice value;
		if (!field_next(in, &tag, &value) || tag != t.rows[i].tag || !get_row(value, &t.rows[i], into))
			return false;
	}
	return true;
}

int record_put_nested(struct buf *out, uint8_t tag, struct record_table t, const void *from)
{
	struct buf one = BUF_INIT(NESTED_MAX);
	int error = record_put(&one, t, from);
	error = error ? error : field_add(out, tag, buf_slice(&one));
	buf_free(&one);
	return error;
}

bool record_get_all(struct slice value, struct record_table t, void *into)
{
	return record_get(&value, t, into) && value.n == 0;
}

size_t record_count(struct slice in, uint8_t wanted, size_t max)
{
	struct slice value;
	uint8_t tag;
	size_t count = 0;
	while (field_next(&in, &tag, &value))
		if (tag != wanted || ++count > max)
			return SIZE_MAX;
	return in.n ? SIZE_MAX : count;
}
