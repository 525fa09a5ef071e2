/* The records that go to and from the process `delivery`. Each record is a table of its parts, and one writer and one reader go by the tables:
 * fields in the table's order when written, in any order when read, each at most once save for lists. */
#include "delivery/hop_proto.h"

#include <errno.h>
#include <stddef.h>

#include "base/field.h"
#include "base/ipc.h"
#include "base/text.h"
#include "delivery/mailbox_proto.h"

enum { MAX_RECORD = 16384, MAX_HEAD = 2 << 20, MAX_DEPTH = 3 };

enum part_kind { PART_TEXT, PART_NUMBER, PART_UNSIGNED, PART_BYTE, PART_BOOL, PART_STATUS, PART_RECORD, PART_LIST };

struct record;
struct part {
	uint8_t tag;
	enum part_kind kind;
	bool needed;
	size_t at;                    /* in the struct; of a list: of the pointer to its elements */
	uint64_t max;                 /* of a number; of a text's length, 0 none; of a list's count */
	const struct record *inner;   /* RECORD, LIST; a list without one is of statuses */
	size_t count_at;              /* LIST */
};

struct record {
	const struct part *parts;
	size_t count;
	size_t size;                  /* of the struct */
};

#define RECORD(type, parts_) { parts_, sizeof(parts_) / sizeof((parts_)[0]), sizeof(struct type) }
#define AT(type, member) .at = offsetof(struct type, member)

static const struct part envelope_parts[] = {
	{ 1, PART_TEXT, false, AT(hop_envelope, transaction), HOP_MAX_TRANSACTION },
	{ 2, PART_TEXT, true, AT(hop_envelope, place), 4096 },
	{ 3, PART_TEXT, false, AT(hop_envelope, route) },
	{ 4, PART_TEXT, true, AT(hop_envelope, reverse_path), 1024 },
	{ 5, PART_TEXT, false, AT(hop_envelope, envelope_id), 1024 },
	{ 6, PART_NUMBER, false, AT(hop_envelope, size), INT64_MAX },
	{ 7, PART_UNSIGNED, false, AT(hop_envelope, flags), HOP_FLAGS },
	{ 8, PART_NUMBER, false, AT(hop_envelope, budget_ms), UINT32_MAX },
	{ 9, PART_NUMBER, false, AT(hop_envelope, deliver_by_s), INT64_MAX },
	{ 10, PART_BYTE, false, AT(hop_envelope, priority), 2 * HOP_PRIORITY_BASE - 1 },
};
static const struct record envelope_record = RECORD(hop_envelope, envelope_parts);

static const struct part recipient_parts[] = {
	{ 1, PART_TEXT, true, AT(hop_recipient, address), 1024 },
	{ 2, PART_TEXT, false, AT(hop_recipient, original), 1024 },
	{ 3, PART_BYTE, false, AT(hop_recipient, notify), 15 },
};
static const struct record recipient_record = RECORD(hop_recipient, recipient_parts);

static const struct part facts_parts[] = {
	{ 1, PART_TEXT, false, AT(hop_facts, host) },
	{ 2, PART_TEXT, false, AT(hop_facts, address) },
	{ 3, PART_TEXT, false, AT(hop_facts, tls) },
	{ 4, PART_BOOL, false, AT(hop_facts, down) },
	{ 5, PART_BOOL, false, AT(hop_facts, dot_sent) },
	{ 6, PART_BOOL, false, AT(hop_facts, unknown) },
	{ 7, PART_BOOL, false, AT(hop_facts, dsn) },
	{ 8, PART_BOOL, false, AT(hop_facts, deliver_by) },
};
static const struct record facts_record = RECORD(hop_facts, facts_parts);

static const struct part rcpt_parts[] = {
	{ 1, PART_TEXT, true, AT(hop_rcpt, transaction), HOP_MAX_TRANSACTION },
	{ 2, PART_RECORD, true, AT(hop_rcpt, recipient), .inner = &recipient_record },
	{ 3, PART_BOOL, false, AT(hop_rcpt, ask) },
};
static const struct record rcpt_record = RECORD(hop_rcpt, rcpt_parts);

static const struct part rcpt_done_parts[] = {
	{ 1, PART_STATUS, true, AT(hop_rcpt_done, status) },
	{ 2, PART_RECORD, true, AT(hop_rcpt_done, facts), .inner = &facts_record },
	{ 3, PART_BOOL, false, AT(hop_rcpt_done, accept_all) },
	{ 4, PART_BOOL, false, AT(hop_rcpt_done, about_recipient) },
};
static const struct record rcpt_done_record = RECORD(hop_rcpt_done, rcpt_done_parts);

static const struct part content_parts[] = {
	{ 1, PART_TEXT, true, AT(hop_content, transaction), HOP_MAX_TRANSACTION },
	{ 2, PART_NUMBER, false, AT(hop_content, budget_ms), UINT32_MAX },
	{ 3, PART_BOOL, false, AT(hop_content, eight_bit) },
	{ 4, PART_BOOL, false, AT(hop_content, from_file) },
	{ 5, PART_BOOL, false, AT(hop_content, lf_ends) },
	{ 6, PART_NUMBER, false, AT(hop_content, offset), INT64_MAX },
	{ 7, PART_NUMBER, false, AT(hop_content, length), INT64_MAX },
	{ 8, PART_TEXT, false, AT(hop_content, digest), HOP_MAX_DIGEST },
	{ 9, PART_BOOL, false, AT(hop_content, named) },
};
static const struct record content_record = RECORD(hop_content, content_parts);

static const struct part content_done_parts[] = {
	{ 1, PART_STATUS, true, AT(hop_content_done, status) },
	{ 2, PART_BOOL, false, AT(hop_content_done, mixed) },
	{ 3, PART_LIST, false, AT(hop_content_done, each), HOP_MAX_RECIPIENTS, NULL, offsetof(struct hop_content_done, count) },
	{ 4, PART_RECORD, true, AT(hop_content_done, facts), .inner = &facts_record },
};
static const struct record content_done_record = RECORD(hop_content_done, content_done_parts);

static const struct part late_parts[] = {
	{ 1, PART_TEXT, true, AT(hop_late, transaction), HOP_MAX_TRANSACTION },
	{ 2, PART_RECORD, true, AT(hop_late, done), .inner = &content_done_record },
};
static const struct record late_record = RECORD(hop_late, late_parts);

/* -- writing ------------------------------------------------------------------------------------------------------------------ */

static void put(struct buf *out, const struct record *r, const char *from);

static void put_inner(struct buf *out, uint8_t tag, const struct record *r, const char *from)
{
	struct buf inner = BUF_INIT(r == &content_done_record ? MAX_HEAD : MAX_RECORD);
	if (r)
		put(&inner, r, from);
	else
		mailbox_put_status(&inner, (const struct mail_status *)from);
	if (buf_full(&inner))
		out->full = true;
	else
		field_add(out, tag, buf_slice(&inner));
	buf_free(&inner);
}

static void put_list(struct buf *out, const struct part *p, const char *from)
{
	const char *elements = *(const char *const *)(from + p->at);
	size_t count = *(const size_t *)(from + p->count_at), size = p->inner ? p->inner->size : sizeof(struct mail_status);
	for (size_t i = 0; i < count; i++)
		put_inner(out, p->tag, p->inner, elements + i * size);
}

static void put_part(struct buf *out, const struct part *p, const char *from)
{
	const char *at = from + p->at;
	switch (p->kind) {
	case PART_TEXT: field_add(out, p->tag, *(const struct slice *)at); break;
	case PART_NUMBER: field_add_uint(out, p->tag, *(const uint64_t *)at); break;
	case PART_UNSIGNED: field_add_uint(out, p->tag, *(const unsigned *)at); break;
	case PART_BYTE: field_add_uint(out, p->tag, *(const uint8_t *)at); break;
	case PART_BOOL: field_add_uint(out, p->tag, *(const bool *)at); break;
	case PART_STATUS: put_inner(out, p->tag, NULL, at); break;
	case PART_RECORD: put_inner(out, p->tag, p->inner, at); break;
	case PART_LIST: put_list(out, p, from); break;
	}
}

/* What is empty, zero or no is left out: that is what a reader takes a missing field for. */
static bool is_worth_writing(const struct part *p, const char *from)
{
	const char *at = from + p->at;
	switch (p->kind) {
	case PART_TEXT: return p->needed || ((const struct slice *)at)->n > 0;
	case PART_NUMBER: return p->needed || *(const uint64_t *)at;
	case PART_UNSIGNED: return p->needed || *(const unsigned *)at;
	case PART_BYTE: return p->needed || *(const uint8_t *)at;
	case PART_BOOL: return *(const bool *)at;
	case PART_STATUS:
	case PART_RECORD:
	case PART_LIST: return true;
	}
	return true;
}

static void put(struct buf *out, const struct record *r, const char *from)
{
	for (size_t i = 0; i < r->count; i++)
		if (is_worth_writing(&r->parts[i], from))
			put_part(out, &r->parts[i], from);
}

static int write_record(struct buf *out, const struct record *r, const void *from)
{
	put(out, r, from);
	return buf_full(out) ? -EMSGSIZE : 0;
}

/* -- reading ------------------------------------------------------------------------------------------------------------------ */

static int get(struct slice in, const struct record *r, unsigned depth, struct arena *mem, char *to);

static size_t count_tag(struct slice in, uint8_t wanted)
{
	struct slice value;
	uint8_t tag;
	size_t n = 0;
	while (field_next(&in, &tag, &value))
		n += tag == wanted;
	return n;
}

/* whole: the record that the list is in; its elements are made when the first one comes. */
static bool get_element(struct slice whole, struct slice value, const struct part *p, unsigned depth, struct arena *mem, char *to)
{
	char **elements = (char **)(to + p->at);
	size_t *count = (size_t *)(to + p->count_at), size = p->inner ? p->inner->size : sizeof(struct mail_status);
	if (!*elements) {
		size_t n = count_tag(whole, p->tag);
		if (!mem || n > p->max || !(*elements = arena_new(mem, n * size)))
			return false;
	}
	char *element = *elements + size * (*count)++;
	return p->inner ? get(value, p->inner, depth + 1, mem, element) == 0 : mailbox_get_status(value, (struct mail_status *)element) == 0;
}

static bool get_number(struct slice value, const struct part *p, char *at)
{
	uint64_t n;
	if (!field_uint(value, p->kind == PART_BOOL ? 1 : p->max, &n))
		return false;
	if (p->kind == PART_NUMBER)
		*(uint64_t *)at = n;
	else if (p->kind == PART_UNSIGNED)
		*(unsigned *)at = (unsigned)n;
	else if (p->kind == PART_BYTE)
		*(uint8_t *)at = (uint8_t)n;
	else
		*(bool *)at = n != 0;
	return true;
}

static bool get_part(struct slice whole, struct slice value, const struct part *p, unsigned depth, struct arena *mem, char *to)
{
	char *at = to + p->at;
	switch (p->kind) {
	case PART_TEXT:
		*(struct slice *)at = value;
		return p->max == 0 || value.n <= p->max;
	case PART_NUMBER:
	case PART_UNSIGNED:
	case PART_BYTE:
	case PART_BOOL: return get_number(value, p, at);
	case PART_STATUS: return mailbox_get_status(value, (struct mail_status *)at) == 0;
	case PART_RECORD: return get(value, p->inner, depth + 1, mem, at) == 0;
	case PART_LIST: return get_element(whole, value, p, depth, mem, to);
	}
	return false;
}

static const struct part *find_part(const struct record *r, uint8_t tag, size_t *index)
{
	for (*index = 0; *index < r->count; ++*index)
		if (r->parts[*index].tag == tag)
			return &r->parts[*index];
	return NULL;
}

/* to is zeroed. */
static int get(struct slice in, const struct record *r, unsigned depth, struct arena *mem, char *to)
{
	struct slice whole = in, value;
	unsigned seen = 0;
	uint8_t tag;
	size_t at;
	if (depth > MAX_DEPTH)
		return -EPROTO;
	while (field_next(&in, &tag, &value)) {
		const struct part *p = find_part(r, tag, &at);
		if (!p || (p->kind != PART_LIST && seen >> at & 1) || !get_part(whole, value, p, depth, mem, to))
			return -EPROTO;
		seen |= 1u << at;
	}
	for (size_t i = 0; i < r->count; i++)
		if (r->parts[i].needed && !(seen >> i & 1))
			return -EPROTO;
	return in.n ? -EPROTO : 0;
}

static bool is_transaction(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!text_is_alnum((unsigned char)s.p[i]) && s.p[i] != '-' && s.p[i] != '_')
			return false;
	return s.n > 0 && s.n <= HOP_MAX_TRANSACTION;
}

/* An address goes out on a line of its own. */
static bool is_line(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
			return false;
	return true;
}

static bool is_recipient(const struct hop_recipient *r)
{
	return r->address.n > 0 && is_line(r->address) && is_line(r->original);
}

static bool is_envelope(const struct hop_envelope *e)
{
	return e->place.n > 0 && is_line(e->place) && is_line(e->reverse_path) && is_line(e->envelope_id); /* a route is for us alone, and may have tabs between its words */
}

/* -- one pair for each record ---------------------------------------------------------------------------------------------------- */

int hop_put_envelope(struct buf *out, const struct hop_envelope *e)
{
	return write_record(out, &envelope_record, e);
}

int hop_get_envelope(struct slice payload, struct hop_envelope *out)
{
	struct hop_envelope e = { 0 };
	if (get(payload, &envelope_record, 0, NULL, (char *)&e) < 0 || !is_envelope(&e) || !is_transaction(e.transaction))
		return -EPROTO;
	*out = e;
	return 0;
}

int hop_put_rcpt(struct buf *out, const struct hop_rcpt *m)
{
	return write_record(out, &rcpt_record, m);
}

int hop_get_rcpt(struct slice payload, struct hop_rcpt *out)
{
	struct hop_rcpt m = { 0 };
	if (get(payload, &rcpt_record, 0, NULL, (char *)&m) < 0 || !is_transaction(m.transaction) || !is_recipient(&m.recipient))
		return -EPROTO;
	*out = m;
	return 0;
}

int hop_put_rcpt_done(struct buf *out, const struct hop_rcpt_done *m)
{
	return write_record(out, &rcpt_done_record, m);
}

int hop_get_rcpt_done(struct slice payload, struct hop_rcpt_done *out)
{
	struct hop_rcpt_done m = { 0 };
	if (get(payload, &rcpt_done_record, 0, NULL, (char *)&m) < 0)
		return -EPROTO;
	*out = m;
	return 0;
}

int hop_put_content(struct buf *out, const struct hop_content *m)
{
	struct buf head = BUF_INIT(MAX_RECORD);
	int error = write_record(&head, &content_record, m);
	error = error ? error : field_add(out, 1, buf_slice(&head));
	buf_free(&head);
	return error;
}

int hop_send_content(struct ipc *to, uint64_t id, const struct hop_content *m, int fd)
{
	struct buf head = BUF_INIT(MAX_RECORD + 16);
	int error = !m->from_file && m->content.n > HOP_MAX_INLINE ? -EMSGSIZE : hop_put_content(&head, m);
	if (error == 0)
		error = ipc_send2(to, HOP_CONTENT, id, buf_slice(&head), m->from_file ? SLICE_NONE : m->content, fd);
	buf_free(&head);
	return error;
}

int hop_get_content(struct slice payload, struct hop_content *out)
{
	struct hop_content m = { 0 };
	struct slice head;
	uint8_t tag;
	if (!field_next(&payload, &tag, &head) || tag != 1 || get(head, &content_record, 0, NULL, (char *)&m) < 0 || !is_transaction(m.transaction))
		return -EPROTO;
	if (payload.n > HOP_MAX_INLINE || (m.from_file && payload.n) || m.offset > INT64_MAX - m.length)
		return -EPROTO;
	m.content = payload;
	*out = m;
	return 0;
}

int hop_put_content_done(struct buf *out, const struct hop_content_done *m)
{
	return write_record(out, &content_done_record, m);
}

int hop_get_content_done(struct slice payload, struct arena *mem, struct hop_content_done *out)
{
	struct hop_content_done m = { 0 };
	if (get(payload, &content_done_record, 0, mem, (char *)&m) < 0)
		return -EPROTO;
	*out = m;
	return 0;
}

int hop_put_transaction(struct buf *out, struct slice transaction)
{
	return field_add(out, 1, transaction);
}

int hop_get_transaction(struct slice payload, struct slice *out)
{
	struct slice value;
	uint8_t tag;
	if (!field_next(&payload, &tag, &value) || payload.n || tag != 1 || !is_transaction(value))
		return -EPROTO;
	*out = value;
	return 0;
}

int hop_put_late(struct buf *out, const struct hop_late *m)
{
	return write_record(out, &late_record, m);
}

int hop_get_late(struct slice payload, struct arena *mem, struct hop_late *out)
{
	struct hop_late m = { 0 };
	if (get(payload, &late_record, 0, mem, (char *)&m) < 0 || !is_transaction(m.transaction))
		return -EPROTO;
	*out = m;
	return 0;
}
