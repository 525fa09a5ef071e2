/* Envelopes: admission and the record form. One table lists the fields, so that writer and reader can't disagree. */
#include "queue/envelope.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>

#include "base/field.h"

/* -- admission ------------------------------------------------------------------------------------------------------------------ */

#define REFUSED MAIL_STATUS(MAIL_NEVER, 550, 7, 1, "Relaying denied: this sender is not authenticated")
#define NOT_NOW MAIL_STATUS(MAIL_LATER, 451, 4, 1, "The next hop can't be reached; please try again")

static struct mail_status admit_one(const struct envelope *e, const struct envelope_recipient *r, bool hop_down)
{
	if (e->report)
		return MAIL_STATUS_OK; /* the gate let it pass, and it is never reported on */
	if (r->way == WAY_LIST)
		return e->evidence.grade == EVIDENCE_OWNER ? MAIL_STATUS_OK : REFUSED;
	if (e->evidence.grade >= EVIDENCE_CLIENT)
		return MAIL_STATUS_OK;
	if (r->way == WAY_FOREIGN || e->evidence.grade == EVIDENCE_OWNER)
		return REFUSED;
	return e->evidence.grade == EVIDENCE_SPF && hop_down ? MAIL_STATUS_OK : NOT_NOW;
}

struct mail_status envelope_admit(const struct envelope *e, bool hop_down)
{
	if (e->recipient_count == 0)
		return MAIL_STATUS(MAIL_NEVER, 554, 5, 1, "No recipients");
	if (e->reverse_path.n == 0 && !e->report) /* its failure could be told to nobody */
		return MAIL_STATUS(MAIL_NEVER, 550, 7, 1, "A null reverse-path is not queued");
	for (size_t i = 0; i < e->recipient_count; i++) {
		struct mail_status s = admit_one(e, &e->recipients[i], hop_down);
		if (s.fate != MAIL_OK)
			return s;
	}
	return MAIL_STATUS_OK;
}

bool envelope_wants(const struct envelope_recipient *r, uint8_t notify_bit)
{
	uint8_t wish = r->notify ? r->notify : NOTIFY_FAILURE | NOTIFY_DELAY; /* 3461 4.1: the default */
	return wish & notify_bit;
}

/* -- the record ------------------------------------------------------------------------------------------------------------------- */

enum { TAG_VERSION = 1, TAG_HOP_DOWN, TAG_GRADE, TAG_RECIPIENT };
enum kind { BYTES, INT64, FLAG, INT8, BITS, WAY };

struct row {
	uint8_t tag, kind;
	size_t offset;
};

#define ROW(tag, kind, type, member) { (tag), (kind), offsetof(struct type, member) }

static const struct row envelope_rows[] = {
	ROW(16, BYTES, envelope, id),            ROW(17, INT64, envelope, arrived_s),   ROW(18, INT64, envelope, expires_s),
	ROW(19, INT64, envelope, hold_until_s),  ROW(20, BYTES, envelope, evidence.who), ROW(21, BYTES, envelope, evidence.reason),
	ROW(22, BYTES, envelope, reverse_path),  ROW(23, FLAG, envelope, report),       ROW(24, BYTES, envelope, envelope_id),
	ROW(25, FLAG, envelope, return_full),    ROW(26, FLAG, envelope, utf8),         ROW(27, FLAG, envelope, eight_bit),
	ROW(28, FLAG, envelope, require_tls),    ROW(29, INT8, envelope, priority),     ROW(30, INT64, envelope, deliver_by_s),
	ROW(31, FLAG, envelope, deliver_by_return), ROW(32, BYTES, envelope, client),   ROW(33, BYTES, envelope, transaction),
	ROW(34, BYTES, envelope, message_id),
};

static const struct row recipient_rows[] = {
	ROW(16, BYTES, envelope_recipient, address), ROW(17, BYTES, envelope_recipient, place), ROW(18, BYTES, envelope_recipient, original),
	ROW(19, WAY, envelope_recipient, way),       ROW(20, BITS, envelope_recipient, notify),
};

enum { ENVELOPE_ROWS = sizeof envelope_rows / sizeof *envelope_rows, RECIPIENT_ROWS = sizeof recipient_rows / sizeof *recipient_rows };

static int put_row(struct buf *out, const struct row *r, const void *from)
{
	const char *at = (const char *)from + r->offset;
	switch ((enum kind)r->kind) {
	case BYTES:
		return field_add(out, r->tag, *(const struct slice *)at);
	case INT64:
		return field_add_uint(out, r->tag, (uint64_t)*(const int64_t *)at);
	case FLAG:
		return field_add_uint(out, r->tag, *(const bool *)at);
	case INT8:
		return field_add_uint(out, r->tag, (uint8_t)(*(const int8_t *)at + 128));
	case BITS:
		return field_add_uint(out, r->tag, *(const uint8_t *)at);
	case WAY:
		return field_add_uint(out, r->tag, *(const enum envelope_way *)at);
	}
	return -EINVAL;
}

static bool get_row(struct slice value, const struct row *r, void *into)
{
	char *at = (char *)into + r->offset;
	uint64_t n = 0;
	static const uint64_t most[] = { [INT64] = INT64_MAX, [FLAG] = 1, [INT8] = 255, [BITS] = 15, [WAY] = WAY_LIST };
	if (r->kind != BYTES && !field_uint(value, most[r->kind], &n))
		return false;
	switch ((enum kind)r->kind) {
	case BYTES:
		*(struct slice *)at = value;
		return true;
	case INT64:
		*(int64_t *)at = (int64_t)n;
		return true;
	case FLAG:
		*(bool *)at = n;
		return true;
	case INT8:
		*(int8_t *)at = (int8_t)((int)n - 128);
		return true;
	case BITS:
		*(uint8_t *)at = (uint8_t)n;
		return true;
	case WAY:
		*(enum envelope_way *)at = (enum envelope_way)n;
		return true;
	}
	return false;
}

static int put_rows(struct buf *out, const struct row *rows, size_t count, const void *from)
{
	int failed = 0;
	for (size_t i = 0; i < count && !failed; i++)
		failed = put_row(out, &rows[i], from);
	return failed;
}

/* Each row exactly once and in order: a record has one form. */
static bool get_rows(struct slice *in, const struct row *rows, size_t count, void *into)
{
	for (size_t i = 0; i < count; i++) {
		uint8_t tag;
		struct slice value;
		if (!field_next(in, &tag, &value) || tag != rows[i].tag || !get_row(value, &rows[i], into))
			return false;
	}
	return true;
}

int envelope_put(struct buf *out, const struct envelope *e, bool hop_down)
{
	assert(envelope_admit(e, hop_down).fate == MAIL_OK);
	int failed = field_add_uint(out, TAG_VERSION, ENVELOPE_VERSION);
	failed = failed ? failed : field_add_uint(out, TAG_HOP_DOWN, hop_down);
	failed = failed ? failed : field_add_uint(out, TAG_GRADE, e->evidence.grade);
	failed = failed ? failed : put_rows(out, envelope_rows, ENVELOPE_ROWS, e);
	for (size_t i = 0; i < e->recipient_count && !failed; i++) {
		struct buf one = BUF_INIT(64 << 10);
		failed = put_rows(&one, recipient_rows, RECIPIENT_ROWS, &e->recipients[i]);
		failed = failed ? failed : field_add(out, TAG_RECIPIENT, buf_slice(&one));
		buf_free(&one);
	}
	return failed;
}

static bool get_number(struct slice *in, uint8_t wanted, uint64_t max, uint64_t *out)
{
	uint8_t tag;
	struct slice value;
	return field_next(in, &tag, &value) && tag == wanted && field_uint(value, max, out);
}

static bool get_recipients(struct slice in, struct arena *mem, struct envelope *e)
{
	struct slice count_in = in, value;
	uint8_t tag;
	size_t count = 0;
	while (field_next(&count_in, &tag, &value))
		if (tag != TAG_RECIPIENT || ++count > ENVELOPE_MAX_RECIPIENTS)
			return false;
	e->recipients = ARENA_ARRAY(mem, struct envelope_recipient, count ? count : 1);
	if (count_in.n || !e->recipients)
		return false;
	while (field_next(&in, &tag, &value))
		if (!get_rows(&value, recipient_rows, RECIPIENT_ROWS, &e->recipients[e->recipient_count++]) || value.n)
			return false;
	return true;
}

int envelope_get(struct slice record, struct arena *mem, struct envelope *out)
{
	struct envelope e = { .id = SLICE_NONE };
	uint64_t version, hop_down, grade;
	if (!get_number(&record, TAG_VERSION, ENVELOPE_VERSION, &version) || version != ENVELOPE_VERSION ||
	    !get_number(&record, TAG_HOP_DOWN, 1, &hop_down) || !get_number(&record, TAG_GRADE, EVIDENCE_AUTH, &grade) ||
	    !get_rows(&record, envelope_rows, ENVELOPE_ROWS, &e) || !get_recipients(record, mem, &e))
		return -EPROTO;
	e.evidence.grade = (enum evidence_grade)grade;
	if (envelope_admit(&e, hop_down).fate != MAIL_OK)
		return -EPROTO;
	*out = e;
	return 0;
}
