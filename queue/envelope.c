/* Envelopes: admission and the record form. One table lists the fields, so that writer and reader can't disagree. */
#include "queue/envelope.h"

#include <assert.h>
#include <errno.h>

#include "base/field.h"
#include "queue/record.h"

/* -- admission ------------------------------------------------------------------------------------------------------------------ */

#define REFUSED MAIL_STATUS(MAIL_NEVER, 550, 7, 1, "Relaying denied: this sender is not authenticated")
#define NOT_NOW MAIL_STATUS(MAIL_LATER, 451, 4, 1, "The next hop can't be reached; please try again")

static struct mail_status admit_one(const struct envelope *e, const struct envelope_recipient *r, bool hop_down)
{
	if (e->report)
		return MAIL_STATUS_OK; /* the gate let it pass, or it is withheld; it is never reported on */
	if (r->way == WAY_WITHHELD || r->way == WAY_HELD)
		return REFUSED;
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

bool envelope_wants_relayed(const struct envelope *e, const struct envelope_recipient *r, bool deadline_passed)
{
	return e->deliver_by_s && r->notify != NOTIFY_NEVER && (e->deliver_by_trace || (!e->deliver_by_return && !deadline_passed));
}

/* -- the record ------------------------------------------------------------------------------------------------------------------- */

enum { TAG_VERSION = 1, TAG_HOP_DOWN, TAG_GRADE, TAG_RECIPIENT };
enum { ADDED_IN_2 = 2, ADDED_IN_3 = 1, ADDED_IN_4 = 1 /* rows at the end */, MAX_ADDRESS = 1024, MAX_TEXT = 2048, MAX_PLACE = 32768 };

#define ROW RECORD_ROW
#define ROW_MAX RECORD_ROW_MAX

static const struct record_row envelope_rows[] = {
	ROW_MAX(16, RECORD_BYTES, envelope, id, 64),                       ROW(17, RECORD_INT64, envelope, arrived_s),
	ROW(18, RECORD_INT64, envelope, expires_s),                        ROW(19, RECORD_INT64, envelope, hold_until_s),
	ROW_MAX(20, RECORD_BYTES, envelope, evidence.who, MAX_TEXT),       ROW_MAX(21, RECORD_BYTES, envelope, evidence.reason, MAX_TEXT),
	ROW_MAX(22, RECORD_BYTES, envelope, reverse_path, MAX_ADDRESS),    ROW(23, RECORD_FLAG, envelope, report),
	ROW_MAX(24, RECORD_BYTES, envelope, envelope_id, MAX_TEXT),        ROW(25, RECORD_FLAG, envelope, return_full),
	ROW(26, RECORD_FLAG, envelope, utf8),                              ROW(27, RECORD_FLAG, envelope, eight_bit),
	ROW(28, RECORD_FLAG, envelope, require_tls),                       ROW(29, RECORD_INT8, envelope, priority),
	ROW(30, RECORD_INT64, envelope, deliver_by_s),                     ROW(31, RECORD_FLAG, envelope, deliver_by_return),
	ROW_MAX(32, RECORD_BYTES, envelope, client, MAX_TEXT),             ROW_MAX(33, RECORD_BYTES, envelope, transaction, 64),
	ROW_MAX(34, RECORD_BYTES, envelope, message_id, MAX_TEXT),         ROW(35, RECORD_FLAG, envelope, sign),
	ROW(36, RECORD_FLAG, envelope, return_headers),                    ROW(37, RECORD_FLAG, envelope, deliver_by_trace),
	ROW(38, RECORD_FLAG, envelope, waive_tls),                         ROW(39, RECORD_INT64, envelope, hold_for_s),
};

static const struct record_row recipient_rows[] = {
	ROW_MAX(16, RECORD_BYTES, envelope_recipient, address, MAX_ADDRESS), ROW_MAX(17, RECORD_BYTES, envelope_recipient, place, MAX_PLACE),
	ROW_MAX(18, RECORD_BYTES, envelope_recipient, original, MAX_ADDRESS), ROW_MAX(19, RECORD_ENUM, envelope_recipient, way, WAY_HELD),
	ROW_MAX(20, RECORD_UINT8, envelope_recipient, notify, 15),             ROW_MAX(21, RECORD_BYTES, envelope_recipient, route, MAX_TEXT),
};

int envelope_write(struct buf *out, const struct envelope *e, bool hop_down)
{
	int failed = field_add_uint(out, TAG_VERSION, ENVELOPE_VERSION);
	failed = failed ? failed : field_add_uint(out, TAG_HOP_DOWN, hop_down);
	failed = failed ? failed : field_add_uint(out, TAG_GRADE, e->evidence.grade);
	failed = failed ? failed : record_put(out, RECORD_TABLE(envelope_rows), e);
	for (size_t i = 0; i < e->recipient_count && !failed; i++)
		failed = record_put_nested(out, TAG_RECIPIENT, RECORD_TABLE(recipient_rows), &e->recipients[i]);
	return failed;
}

int envelope_put(struct buf *out, const struct envelope *e, bool hop_down)
{
	assert(envelope_admit(e, hop_down).fate == MAIL_OK);
	return envelope_write(out, e, hop_down);
}

static bool get_number(struct slice *in, uint8_t wanted, uint64_t max, uint64_t *out)
{
	uint8_t tag;
	struct slice value;
	return field_next(in, &tag, &value) && tag == wanted && field_uint(value, max, out);
}

static bool get_recipients(struct slice in, struct arena *mem, struct envelope *e)
{
	size_t count = record_count(in, TAG_RECIPIENT, ENVELOPE_MAX_RECIPIENTS);
	struct slice value;
	uint8_t tag;
	if (count == SIZE_MAX || !(e->recipients = ARENA_ARRAY(mem, struct envelope_recipient, count ? count : 1)))
		return false;
	while (field_next(&in, &tag, &value))
		if (!record_get_all(value, RECORD_TABLE(recipient_rows), &e->recipients[e->recipient_count++]))
			return false;
	return true;
}

/* What lay in the queue before an upgrade is delivered after it: version 1 ended with `sign`, 2 with `deliver_by_trace`, 3 with `waive_tls`. */
static struct record_table rows_of(uint64_t version)
{
	struct record_table t = RECORD_TABLE(envelope_rows);
	t.count -= (version < 2 ? ADDED_IN_2 : 0) + (version < 3 ? ADDED_IN_3 : 0) + (version < 4 ? ADDED_IN_4 : 0);
	return t;
}

int envelope_read(struct slice record, struct arena *mem, struct envelope *out, bool *hop_down)
{
	struct envelope e = { .id = SLICE_NONE };
	uint64_t version, down, grade;
	if (!get_number(&record, TAG_VERSION, ENVELOPE_VERSION, &version) || version == 0 ||
	    !get_number(&record, TAG_HOP_DOWN, 1, &down) || !get_number(&record, TAG_GRADE, EVIDENCE_AUTH, &grade) ||
	    !record_get(&record, rows_of(version), &e) || !get_recipients(record, mem, &e))
		return -EPROTO;
	e.evidence.grade = (enum evidence_grade)grade;
	*out = e;
	*hop_down = down;
	return 0;
}

int envelope_get(struct slice record, struct arena *mem, struct envelope *out)
{
	struct envelope e;
	bool hop_down;
	if (envelope_read(record, mem, &e, &hop_down) || envelope_admit(&e, hop_down).fate != MAIL_OK)
		return -EPROTO;
	*out = e;
	return 0;
}
