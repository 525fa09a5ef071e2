/* Events of queued messages. */
#include "queue/journal.h"

#include <errno.h>

#include "base/field.h"
#include "base/hash.h"

enum { FRAME = 12 };
enum { TAG_KIND = 1, TAG_AT, TAG_NEXT, TAG_RECIPIENT, TAG_FATE, TAG_CODE, TAG_SUBJECT, TAG_DETAIL, TAG_TEXT, TAG_HOST };

uint64_t journal_checksum(struct slice s)
{
	static const struct hash_key fixed = { 0x506f727465722773, 0x6a6f75726e616c21 };
	return hash_bytes(&fixed, s);
}

static void put_big(char *to, int bytes, uint64_t v)
{
	while (bytes--) {
		to[bytes] = (char)v;
		v >>= 8;
	}
}

static uint64_t get_big(const char *from, int bytes)
{
	uint64_t v = 0;
	for (int i = 0; i < bytes; i++)
		v = v << 8 | (unsigned char)from[i];
	return v;
}

int event_put(struct buf *out, const struct event *e)
{
	struct buf one = BUF_INIT(EVENT_MAX);
	field_add_uint(&one, TAG_KIND, e->kind);
	field_add_uint(&one, TAG_AT, (uint64_t)e->at_s);
	field_add_uint(&one, TAG_NEXT, (uint64_t)e->next_s);
	field_add_uint(&one, TAG_RECIPIENT, e->recipient);
	field_add_uint(&one, TAG_FATE, e->status.fate);
	field_add_uint(&one, TAG_CODE, e->status.code);
	field_add_uint(&one, TAG_SUBJECT, e->status.enhanced[0]);
	field_add_uint(&one, TAG_DETAIL, e->status.enhanced[1]);
	field_add(&one, TAG_TEXT, slice_head(e->status.text, 1024));
	field_add(&one, TAG_HOST, slice_head(e->host, 512));
	char frame[FRAME];
	put_big(frame, 4, one.n);
	put_big(frame + 4, 8, journal_checksum(buf_slice(&one)));
	int failed = buf_add(out, slice(frame, FRAME));
	failed = failed ? failed : buf_add(out, buf_slice(&one));
	buf_free(&one);
	return failed;
}

static bool get_number(struct slice *in, uint8_t wanted, uint64_t max, uint64_t *out)
{
	uint8_t tag;
	struct slice value;
	return field_next(in, &tag, &value) && tag == wanted && field_uint(value, max, out);
}

static bool get_bytes(struct slice *in, uint8_t wanted, struct slice *out)
{
	uint8_t tag;
	return field_next(in, &tag, out) && tag == wanted;
}

static bool get_event(struct slice in, struct event *out)
{
	uint64_t kind, at, next, recipient, fate, code, subject, detail;
	struct event e;
	if (!get_number(&in, TAG_KIND, EVENT_KINDS - 1, &kind) || !get_number(&in, TAG_AT, INT64_MAX, &at) ||
	    !get_number(&in, TAG_NEXT, INT64_MAX, &next) || !get_number(&in, TAG_RECIPIENT, UINT32_MAX, &recipient) ||
	    !get_number(&in, TAG_FATE, MAIL_NEVER, &fate) || !get_number(&in, TAG_CODE, 999, &code) ||
	    !get_number(&in, TAG_SUBJECT, 255, &subject) || !get_number(&in, TAG_DETAIL, 255, &detail) ||
	    !get_bytes(&in, TAG_TEXT, &e.status.text) || !get_bytes(&in, TAG_HOST, &e.host) || in.n)
		return false;
	e.kind = (enum event_kind)kind;
	e.at_s = (int64_t)at, e.next_s = (int64_t)next;
	e.recipient = (uint32_t)recipient;
	e.status.fate = (enum mail_fate)fate;
	e.status.code = (uint16_t)code;
	e.status.enhanced[0] = (uint8_t)subject, e.status.enhanced[1] = (uint8_t)detail;
	*out = e;
	return true;
}

bool event_next(struct slice *in, struct event *out)
{
	if (in->n < FRAME)
		return false;
	uint64_t length = get_big(in->p, 4);
	struct slice body = slice_skip(*in, FRAME);
	if (length > EVENT_MAX || length > body.n)
		return false;
	body = slice_head(body, length);
	if (journal_checksum(body) != get_big(in->p + 4, 8) || !get_event(body, out))
		return false;
	*in = slice_skip(*in, FRAME + length);
	return true;
}

/* -- folding ------------------------------------------------------------------------------------------------------------------------ */

static void settle(struct message_state *m, struct recipient_state *r, const struct event *e, enum recipient_fate fate)
{
	if (r->fate == RECIPIENT_WAITING && fate != RECIPIENT_WAITING)
		m->waiting--;
	if (r->fate != RECIPIENT_DONE) /* what a hop has taken stays done */
		r->fate = fate;
	r->attempts++;
	r->last_s = e->at_s;
	r->next_s = e->next_s;
	r->status = e->status;
	r->host = e->host;
}

static void fold_one(struct message_state *m, struct recipient_state *r, const struct event *e)
{
	switch (e->kind) {
	case EVENT_DONE:
		settle(m, r, e, RECIPIENT_DONE);
		break;
	case EVENT_LATER:
		settle(m, r, e, r->fate);
		break;
	case EVENT_FAILED:
		settle(m, r, e, RECIPIENT_FAILED);
		break;
	case EVENT_REPORTED:
		r->reported = true;
		break;
	case EVENT_DELAYED:
		r->delay_told = true;
		break;
	case EVENT_REROUTE:
		r->place = e->status.text;
		r->next_s = e->at_s;
		break;
	case EVENT_HOLD:
	case EVENT_RELEASE:
		break;
	}
}

/* A dead letter that the postmaster released: tried once more, and what fails then is judged anew. */
static void revive(struct message_state *m, struct recipient_state *r, const struct event *e)
{
	if (r->fate != RECIPIENT_FAILED)
		return;
	r->fate = RECIPIENT_WAITING;
	r->reported = false;
	r->next_s = e->at_s;
	m->waiting++;
}

static void fold(struct message_state *m, size_t count, const struct event *e)
{
	if (e->kind == EVENT_RELEASE && e->recipient < count)
		revive(m, &m->recipients[e->recipient], e);
	else if (e->kind == EVENT_HOLD || e->kind == EVENT_RELEASE)
		m->held = e->kind == EVENT_HOLD;
	if (e->recipient < count)
		fold_one(m, &m->recipients[e->recipient], e);
	else if (e->recipient == EVENT_ALL_RECIPIENTS)
		for (size_t i = 0; i < count; i++)
			if (m->recipients[i].fate == RECIPIENT_WAITING)
				fold_one(m, &m->recipients[i], e);
}

int journal_fold(const struct envelope *e, struct slice journal, struct arena *mem, struct message_state *out, size_t *used)
{
	struct message_state m = { .waiting = e->recipient_count };
	struct slice in = journal;
	struct event event;
	m.recipients = ARENA_ARRAY(mem, struct recipient_state, e->recipient_count);
	if (!m.recipients)
		return -ENOMEM;
	for (size_t i = 0; i < e->recipient_count; i++) {
		m.recipients[i].place = e->recipients[i].place;
		m.recipients[i].next_s = e->hold_until_s > e->arrived_s ? e->hold_until_s : e->arrived_s;
	}
	while (event_next(&in, &event))
		fold(&m, e->recipient_count, &event);
	*used = journal.n - in.n;
	*out = m;
	return 0;
}

struct slice event_name(enum event_kind kind)
{
	static const struct slice names[EVENT_KINDS] = {
		[EVENT_DONE] = SLICE_INIT("done"),         [EVENT_LATER] = SLICE_INIT("later"),     [EVENT_FAILED] = SLICE_INIT("failed"),
		[EVENT_REPORTED] = SLICE_INIT("reported"), [EVENT_DELAYED] = SLICE_INIT("delayed"), [EVENT_HOLD] = SLICE_INIT("hold"),
		[EVENT_RELEASE] = SLICE_INIT("release"),   [EVENT_REROUTE] = SLICE_INIT("reroute"),
	};
	return names[kind];
}
