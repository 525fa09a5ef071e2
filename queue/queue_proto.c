/* The records between the queue process and those who ask it: putting in, the gate, lists, state. */
#include "queue/queue_proto.h"

#include <errno.h>

#include "base/field.h"
#include "base/ipc.h"
#include "base/text.h"
#include "queue/flight.h"
#include "queue/record.h"

enum { TAG_TRANSACTION = 60, TAG_STATUS, TAG_HEAD, TAG_ENVELOPE, TAG_ITEM, TAG_TEXT, TAG_ANSWER, TAG_HEADER };
enum { MAX_ADDRESS = 1024, MAX_HEADER = 64 << 10, MAX_TEXT = 2048, MAX_PUT = IPC_MAX_PAYLOAD };

static bool get_one(struct slice in, uint8_t wanted, struct slice *value)
{
	uint8_t tag;
	return field_next(&in, &tag, value) && tag == wanted && in.n == 0;
}

/* -- transactions and statuses ------------------------------------------------------------------------------------------------------ */

int queue_put_transaction(struct buf *out, struct slice transaction)
{
	return field_add(out, TAG_TRANSACTION, transaction);
}

static bool is_transaction(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!text_is_alnum((unsigned char)s.p[i]) && s.p[i] != '-' && s.p[i] != '_')
			return false;
	return s.n > 0 && s.n <= QUEUE_MAX_TRANSACTION;
}

int queue_get_transaction(struct slice in, struct slice *transaction)
{
	struct slice value;
	if (!get_one(in, TAG_TRANSACTION, &value) || !is_transaction(value))
		return -EPROTO;
	*transaction = value;
	return 0;
}

int queue_put_status(struct buf *out, const struct mail_status *s)
{
	return record_put_status(out, TAG_STATUS, s);
}

int queue_get_status(struct slice in, struct mail_status *out)
{
	struct slice value;
	return get_one(in, TAG_STATUS, &value) && record_get_status(value, out) ? 0 : -EPROTO;
}

/* -- put ---------------------------------------------------------------------------------------------------------------------------- */

static const struct record_row put_rows[] = {
	RECORD_ROW_MAX(1, RECORD_BYTES, queue_put, transaction, QUEUE_MAX_TRANSACTION), RECORD_ROW(2, RECORD_FLAG, queue_put, hold),
	RECORD_ROW(3, RECORD_FLAG, queue_put, from_pen),                                RECORD_ROW(4, RECORD_UINT64, queue_put, content_offset),
	RECORD_ROW(5, RECORD_UINT64, queue_put, content_length),                        RECORD_ROW(6, RECORD_FLAG, queue_put, hop_down),
	RECORD_ROW_MAX(7, RECORD_BYTES, queue_put, tickets, FLIGHT_MAX_TICKETS * sizeof(uint64_t)),
};

static int put_envelope(struct buf *out, const struct envelope *e, bool hop_down)
{
	struct buf one = BUF_INIT(MAX_PUT);
	int error = envelope_write(&one, e, hop_down);
	error = error ? error : field_add(out, TAG_ENVELOPE, buf_slice(&one));
	buf_free(&one);
	return error;
}

int queue_put_put(struct buf *out, const struct queue_put *m)
{
	struct buf head = BUF_INIT(MAX_PUT);
	int error = record_put(&head, RECORD_TABLE(put_rows), m);
	for (size_t i = 0; i < m->envelope_count && !error; i++)
		error = put_envelope(&head, &m->envelopes[i], m->hop_down);
	error = error ? error : field_add(out, TAG_HEAD, buf_slice(&head));
	buf_free(&head);
	return error;
}

int queue_send_put(struct ipc *to, uint64_t id, const struct queue_put *m)
{
	struct buf head = BUF_INIT(MAX_PUT);
	int error = queue_put_put(&head, m);
	error = error ? error : ipc_send2(to, QUEUE_PUT, id, buf_slice(&head), m->from_pen ? SLICE_NONE : m->content, -1);
	buf_free(&head);
	return error;
}

static bool get_envelopes(struct slice in, struct arena *mem, struct queue_put *m)
{
	size_t count = record_count(in, TAG_ENVELOPE, QUEUE_MAX_ENVELOPES);
	struct slice value;
	uint8_t tag;
	bool hop_down;
	if (count == SIZE_MAX || count == 0 || !(m->envelopes = ARENA_ARRAY(mem, struct envelope, count)))
		return false;
	while (field_next(&in, &tag, &value))
		if (envelope_read(value, mem, &m->envelopes[m->envelope_count++], &hop_down))
			return false;
	return true;
}

int queue_get_put(struct slice in, struct arena *mem, struct queue_put *out)
{
	struct queue_put m = { .transaction = SLICE_NONE };
	struct slice head;
	uint8_t tag;
	if (!field_next(&in, &tag, &head) || tag != TAG_HEAD || !record_get(&head, RECORD_TABLE(put_rows), &m) || !is_transaction(m.transaction) ||
	    !get_envelopes(head, mem, &m))
		return -EPROTO;
	if (m.tickets.n % sizeof(uint64_t))
		return -EPROTO;
	if (in.n > QUEUE_MAX_INLINE || (m.from_pen && in.n) || m.content_offset > INT64_MAX / 2 || m.content_length > INT64_MAX / 2)
		return -EPROTO;
	m.content = in;
	*out = m;
	return 0;
}

/* -- the gate ----------------------------------------------------------------------------------------------------------------------- */

static const struct record_row gate_rows[] = {
	RECORD_ROW_MAX(1, RECORD_BYTES, queue_gate, transaction, QUEUE_MAX_TRANSACTION),
	RECORD_ROW_MAX(2, RECORD_BYTES, queue_gate, to, MAX_ADDRESS),
	RECORD_ROW(3, RECORD_FLAG, queue_gate, to_ours),
};

int queue_put_gate(struct buf *out, const struct queue_gate *m)
{
	return record_put(out, RECORD_TABLE(gate_rows), m);
}

int queue_get_gate(struct slice in, struct queue_gate *out)
{
	struct queue_gate m;
	if (!record_get_all(in, RECORD_TABLE(gate_rows), &m) || m.to.n == 0)
		return -EPROTO;
	*out = m;
	return 0;
}

int queue_put_told(struct buf *out, const struct queue_told *m)
{
	int error = field_add(out, TAG_HEADER, slice_head(m->header, MAX_HEADER));
	return error ? error : put_envelope(out, &m->envelope, false);
}

int queue_get_told(struct slice in, struct arena *mem, struct queue_told *out)
{
	struct queue_told m;
	struct slice value;
	uint8_t tag;
	bool hop_down;
	if (!field_next(&in, &tag, &m.header) || tag != TAG_HEADER || m.header.n > MAX_HEADER || !field_next(&in, &tag, &value) || tag != TAG_ENVELOPE ||
	    in.n || envelope_read(value, mem, &m.envelope, &hop_down))
		return -EPROTO;
	*out = m;
	return 0;
}

/* -- lists -------------------------------------------------------------------------------------------------------------------------- */

static const struct record_row seen_rows[] = {
	RECORD_ROW_MAX(1, RECORD_BYTES, queue_seen, reverse_path, MAX_ADDRESS),
	RECORD_ROW_MAX(2, RECORD_UINT8, queue_seen, grade, EVIDENCE_AUTH),
};

int queue_put_seen(struct buf *out, const struct queue_seen *m, size_t count)
{
	int error = 0;
	for (size_t i = 0; i < count && !error; i++)
		error = record_put_nested(out, TAG_ITEM, RECORD_TABLE(seen_rows), &m[i]);
	return error;
}

int queue_get_seen(struct slice in, struct arena *mem, struct queue_seen **out, size_t *count)
{
	size_t n = record_count(in, TAG_ITEM, QUEUE_MAX_BATCH), i = 0;
	struct queue_seen *all;
	struct slice value;
	uint8_t tag;
	if (n == SIZE_MAX || !(all = ARENA_ARRAY(mem, struct queue_seen, n ? n : 1)))
		return -EPROTO;
	while (field_next(&in, &tag, &value)) {
		if (!record_get_all(value, RECORD_TABLE(seen_rows), &all[i]) || all[i].grade < EVIDENCE_SPF || all[i].reverse_path.n == 0)
			return -EPROTO;
		i++;
	}
	*out = all;
	*count = n;
	return 0;
}

int queue_put_texts(struct buf *out, const struct slice *texts, size_t count)
{
	int error = 0;
	for (size_t i = 0; i < count && !error; i++)
		error = field_add(out, TAG_TEXT, texts[i]);
	return error;
}

int queue_get_texts(struct slice in, size_t max, struct arena *mem, struct slice **out, size_t *count)
{
	size_t n = record_count(in, TAG_TEXT, max), i = 0;
	struct slice *all, value;
	uint8_t tag;
	if (n == SIZE_MAX || !(all = ARENA_ARRAY(mem, struct slice, n ? n : 1)))
		return -EPROTO;
	while (field_next(&in, &tag, &value)) {
		if (value.n > MAX_TEXT)
			return -EPROTO;
		all[i++] = value;
	}
	*out = all;
	*count = n;
	return 0;
}

int queue_put_answer(struct buf *out, enum answer a)
{
	return field_add_uint(out, TAG_ANSWER, (uint64_t)a);
}

int queue_get_answer(struct slice in, enum answer *out)
{
	struct slice value;
	uint64_t n;
	if (!get_one(in, TAG_ANSWER, &value) || !field_uint(value, UNSURE, &n))
		return -EPROTO;
	*out = (enum answer)n;
	return 0;
}

/* -- state -------------------------------------------------------------------------------------------------------------------------- */

static const struct record_row state_rows[] = {
	RECORD_ROW(1, RECORD_UINT64, queue_state, free_bytes),
	RECORD_ROW(2, RECORD_FLAG, queue_state, read_only),
	RECORD_ROW(3, RECORD_FLAG, queue_state, full),
	RECORD_ROW(4, RECORD_FLAG, queue_state, clock_doubt),
};

int queue_put_state(struct buf *out, const struct queue_state *m)
{
	return record_put(out, RECORD_TABLE(state_rows), m);
}

int queue_get_state(struct slice in, struct queue_state *out)
{
	struct queue_state m;
	if (!record_get_all(in, RECORD_TABLE(state_rows), &m))
		return -EPROTO;
	*out = m;
	return 0;
}
