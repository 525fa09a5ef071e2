/* The records between smtpd and the mailbox process. Each message is a run of fields in any order; a reader goes through them once and
 * refuses tags it does not know, numbers past their range and what a writer would never leave out. DELIVER is one field that holds
 * the head, and behind it, raw, the content: so a writer need not copy it. */
#include "delivery/mailbox_proto.h"

#include <errno.h>

#include "base/field.h"
#include "base/ipc.h"
#include "base/text.h"

enum tag {
	TAG_KIND = 1, TAG_PLACE, TAG_ADDRESS, TAG_QUOTA_BYTES, TAG_QUOTA_MESSAGES,
	TAG_FATE, TAG_CODE, TAG_SUBJECT, TAG_DETAIL, TAG_TEXT,
	TAG_LEAF, TAG_SIZE, TAG_STATUS, TAG_FORWARD, TAG_TRANSACTION, TAG_REVERSE_PATH, TAG_HOLD, TAG_FROM_PEN, TAG_HEAD, TAG_NAME,
	TAG_FREE_BYTES, TAG_FREE_INODES, TAG_READ_ONLY, TAG_FIND, TAG_FOUND
};

enum { MAX_RECORD = 8192, MAX_HEAD = 3 << 20 /* and content: below IPC_MAX_PAYLOAD */ };

/* One record inside another: *inner is written, wrapped and freed. */
static int put_nested(struct buf *out, uint8_t tag, struct buf *inner)
{
	int error = buf_full(inner) ? -EMSGSIZE : field_add(out, tag, buf_slice(inner));
	buf_free(inner);
	return error;
}

static int put_leaf(struct buf *out, const struct mailbox_leaf *l)
{
	struct buf inner = BUF_INIT(MAX_RECORD);
	field_add_uint(&inner, TAG_KIND, (uint64_t)l->kind);
	field_add(&inner, TAG_PLACE, l->place);
	field_add(&inner, TAG_ADDRESS, l->address);
	field_add_uint(&inner, TAG_QUOTA_BYTES, l->quota_bytes);
	field_add_uint(&inner, TAG_QUOTA_MESSAGES, l->quota_messages);
	return put_nested(out, TAG_LEAF, &inner);
}

static int get_kind(struct slice value, enum leaf_kind *out)
{
	uint64_t n;
	if (!field_uint(value, LEAF_HOP, &n) || n == LEAF_HOP || n == LEAF_LMTP)
		return -EPROTO;
	*out = (enum leaf_kind)n;
	return 0;
}

static int get_leaf(struct slice in, struct mailbox_leaf *out)
{
	struct mailbox_leaf l = { 0 };
	struct slice value;
	uint8_t tag;
	bool kind = false, ok = true;
	while (ok && field_next(&in, &tag, &value)) {
		switch (tag) {
		case TAG_KIND: ok = kind = get_kind(value, &l.kind) == 0; break;
		case TAG_PLACE: l.place = value; break;
		case TAG_ADDRESS: l.address = value; break;
		case TAG_QUOTA_BYTES: ok = field_uint(value, UINT64_MAX, &l.quota_bytes); break;
		case TAG_QUOTA_MESSAGES: ok = field_uint(value, UINT64_MAX, &l.quota_messages); break;
		default: ok = false;
		}
	}
	if (!ok || in.n || !kind || l.place.n == 0)
		return -EPROTO;
	*out = l;
	return 0;
}

int mailbox_put_status(struct buf *out, const struct mail_status *s)
{
	field_add_uint(out, TAG_FATE, (uint64_t)s->fate);
	field_add_uint(out, TAG_CODE, s->code);
	field_add_uint(out, TAG_SUBJECT, s->enhanced[0]);
	field_add_uint(out, TAG_DETAIL, s->enhanced[1]);
	field_add(out, TAG_TEXT, s->text);
	return buf_full(out) ? -EMSGSIZE : 0;
}

int mailbox_get_status(struct slice in, struct mail_status *out)
{
	uint64_t fate = UINT64_MAX, code = 0, subject = 0, detail = 0;
	struct slice text = SLICE_NONE, value;
	uint8_t tag;
	bool ok = true;
	while (ok && field_next(&in, &tag, &value)) {
		switch (tag) {
		case TAG_FATE: ok = field_uint(value, MAIL_NEVER, &fate); break;
		case TAG_CODE: ok = field_uint(value, 599, &code); break;
		case TAG_SUBJECT: ok = field_uint(value, UINT8_MAX, &subject); break;
		case TAG_DETAIL: ok = field_uint(value, UINT8_MAX, &detail); break;
		case TAG_TEXT: text = value; break;
		default: ok = false;
		}
	}
	static const unsigned first_digit[] = { [MAIL_OK] = 2, [MAIL_LATER] = 4, [MAIL_NEVER] = 5 };
	if (!ok || in.n || fate > MAIL_NEVER || code / 100 != first_digit[fate])
		return -EPROTO;
	*out = (struct mail_status){ (enum mail_fate)fate, (uint16_t)code, { (uint8_t)subject, (uint8_t)detail }, text };
	return 0;
}

static int put_status(struct buf *out, const struct mail_status *s)
{
	struct buf inner = BUF_INIT(MAX_RECORD);
	mailbox_put_status(&inner, s);
	return put_nested(out, TAG_STATUS, &inner);
}

static bool get_flag(struct slice value, bool *out)
{
	uint64_t n;
	if (!field_uint(value, 1, &n))
		return false;
	*out = n == 1;
	return true;
}

/* It becomes part of file names: nothing in it may lead elsewhere or end a name early. */
static bool is_transaction(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!text_is_alnum((unsigned char)s.p[i]) && s.p[i] != '-' && s.p[i] != '_')
			return false;
	return s.n > 0 && s.n <= MAILBOX_MAX_TRANSACTION;
}

int mailbox_put_ask(struct buf *out, const struct mailbox_ask *m)
{
	put_leaf(out, &m->leaf);
	if (m->find.n)
		field_add(out, TAG_FIND, m->find);
	return field_add_uint(out, TAG_SIZE, m->size);
}

int mailbox_get_ask(struct slice in, struct mailbox_ask *out)
{
	struct mailbox_ask m = { 0 };
	struct slice value;
	uint8_t tag;
	bool leaf = false, ok = true;
	while (ok && field_next(&in, &tag, &value)) {
		switch (tag) {
		case TAG_LEAF: ok = leaf = get_leaf(value, &m.leaf) == 0; break;
		case TAG_SIZE: ok = field_uint(value, UINT64_MAX, &m.size); break;
		case TAG_FIND: ok = is_transaction(m.find = value); break;
		default: ok = false;
		}
	}
	if (!ok || in.n || !leaf)
		return -EPROTO;
	*out = m;
	return 0;
}

int mailbox_put_asked(struct buf *out, const struct mailbox_asked *m)
{
	put_status(out, &m->status);
	for (size_t i = 0; i < m->forward_count; i++)
		field_add(out, TAG_FORWARD, m->forward[i]);
	if (m->found)
		field_add_uint(out, TAG_FOUND, 1);
	return buf_full(out) ? -EMSGSIZE : 0;
}

int mailbox_get_asked(struct slice in, struct arena *mem, struct mailbox_asked *out)
{
	struct mailbox_asked m = { .forward = ARENA_ARRAY(mem, struct slice, MAILBOX_MAX_FORWARD) };
	struct slice value;
	uint8_t tag;
	bool status = false, ok = m.forward != NULL;
	while (ok && field_next(&in, &tag, &value)) {
		if (tag == TAG_STATUS)
			ok = status = mailbox_get_status(value, &m.status) == 0;
		else if (tag == TAG_FOUND)
			ok = get_flag(value, &m.found);
		else if ((ok = tag == TAG_FORWARD && m.forward_count < MAILBOX_MAX_FORWARD))
			m.forward[m.forward_count++] = value;
	}
	if (!ok || in.n || !status)
		return -EPROTO;
	*out = m;
	return 0;
}

int mailbox_put_transaction(struct buf *out, struct slice transaction)
{
	return field_add(out, TAG_TRANSACTION, transaction);
}

int mailbox_get_transaction(struct slice in, struct slice *out)
{
	struct slice value;
	uint8_t tag;
	if (!field_next(&in, &tag, &value) || in.n || tag != TAG_TRANSACTION || !is_transaction(value))
		return -EPROTO;
	*out = value;
	return 0;
}

int mailbox_put_pen(struct buf *out, const struct mailbox_pen *m)
{
	field_add(out, TAG_TRANSACTION, m->transaction);
	put_leaf(out, &m->leaf);
	return field_add_uint(out, TAG_SIZE, m->size);
}

int mailbox_get_pen(struct slice in, struct mailbox_pen *out)
{
	struct mailbox_pen m = { 0 };
	struct slice value;
	uint8_t tag;
	bool leaf = false, ok = true;
	while (ok && field_next(&in, &tag, &value)) {
		switch (tag) {
		case TAG_TRANSACTION: m.transaction = value; break;
		case TAG_LEAF: ok = leaf = get_leaf(value, &m.leaf) == 0; break;
		case TAG_SIZE: ok = field_uint(value, UINT64_MAX, &m.size); break;
		default: ok = false;
		}
	}
	if (!ok || in.n || !leaf || !is_transaction(m.transaction))
		return -EPROTO;
	*out = m;
	return 0;
}

int mailbox_put_deliver(struct buf *out, const struct mailbox_deliver *m)
{
	struct buf head = BUF_INIT(MAX_HEAD);
	field_add(&head, TAG_TRANSACTION, m->transaction);
	field_add(&head, TAG_REVERSE_PATH, m->reverse_path);
	field_add_uint(&head, TAG_HOLD, m->hold);
	if (m->from_pen)
		field_add_uint(&head, TAG_FROM_PEN, m->pen_length);
	for (size_t i = 0; i < m->leaf_count; i++)
		put_leaf(&head, &m->leaves[i]);
	return put_nested(out, TAG_HEAD, &head);
}

int mailbox_send_deliver(struct ipc *to, uint64_t id, const struct mailbox_deliver *m)
{
	struct buf head = BUF_INIT(MAX_HEAD + 16);
	int error = mailbox_put_deliver(&head, m);
	if (error == 0)
		error = ipc_send2(to, MAILBOX_DELIVER, id, buf_slice(&head), m->from_pen ? SLICE_NONE : m->content, -1);
	buf_free(&head);
	return error;
}

static size_t count_tag(struct slice in, uint8_t wanted)
{
	struct slice value;
	uint8_t tag;
	size_t n = 0;
	while (field_next(&in, &tag, &value))
		n += tag == wanted;
	return n;
}

static int get_deliver_head(struct slice in, struct arena *mem, struct mailbox_deliver *m)
{
	size_t leaves = count_tag(in, TAG_LEAF);
	struct slice value;
	uint8_t tag;
	bool ok = leaves > 0 && leaves <= MAILBOX_MAX_LEAVES && (m->leaves = ARENA_ARRAY(mem, struct mailbox_leaf, leaves)) != NULL;
	while (ok && field_next(&in, &tag, &value)) {
		switch (tag) {
		case TAG_TRANSACTION: m->transaction = value; break;
		case TAG_REVERSE_PATH: m->reverse_path = value; break;
		case TAG_HOLD: ok = get_flag(value, &m->hold); break;
		case TAG_FROM_PEN: ok = m->from_pen = field_uint(value, INT64_MAX, &m->pen_length); break;
		case TAG_LEAF: ok = get_leaf(value, &m->leaves[m->leaf_count++]) == 0; break;
		default: ok = false;
		}
	}
	return ok && in.n == 0 && is_transaction(m->transaction) ? 0 : -EPROTO;
}

int mailbox_get_deliver(struct slice in, struct arena *mem, struct mailbox_deliver *out)
{
	struct mailbox_deliver m = { 0 };
	struct slice head;
	uint8_t tag;
	if (!field_next(&in, &tag, &head) || tag != TAG_HEAD || get_deliver_head(head, mem, &m) < 0)
		return -EPROTO;
	if (in.n > MAILBOX_MAX_INLINE || (m.from_pen && in.n))
		return -EPROTO;
	m.content = in;
	*out = m;
	return 0;
}

static int put_result(struct buf *out, const struct mailbox_leaf_result *r)
{
	struct buf inner = BUF_INIT(MAX_RECORD);
	put_status(&inner, &r->status);
	field_add(&inner, TAG_NAME, r->name);
	return put_nested(out, TAG_LEAF, &inner);
}

static int get_result(struct slice in, struct mailbox_leaf_result *out)
{
	struct mailbox_leaf_result r = { 0 };
	struct slice value;
	uint8_t tag;
	bool status = false, ok = true;
	while (ok && field_next(&in, &tag, &value)) {
		if (tag == TAG_STATUS)
			ok = status = mailbox_get_status(value, &r.status) == 0;
		else if ((ok = tag == TAG_NAME))
			r.name = value;
	}
	if (!ok || in.n || !status)
		return -EPROTO;
	*out = r;
	return 0;
}

int mailbox_put_delivered(struct buf *out, const struct mailbox_delivered *m)
{
	put_status(out, &m->status);
	for (size_t i = 0; i < m->leaf_count; i++)
		put_result(out, &m->leaves[i]);
	return buf_full(out) ? -EMSGSIZE : 0;
}

int mailbox_get_delivered(struct slice in, struct arena *mem, struct mailbox_delivered *out)
{
	struct mailbox_delivered m = { 0 };
	size_t leaves = count_tag(in, TAG_LEAF);
	struct slice value;
	uint8_t tag;
	bool status = false, ok = leaves <= MAILBOX_MAX_LEAVES && (m.leaves = ARENA_ARRAY(mem, struct mailbox_leaf_result, leaves)) != NULL;
	while (ok && field_next(&in, &tag, &value)) {
		if (tag == TAG_STATUS)
			ok = status = mailbox_get_status(value, &m.status) == 0;
		else
			ok = tag == TAG_LEAF && get_result(value, &m.leaves[m.leaf_count++]) == 0;
	}
	if (!ok || in.n || !status)
		return -EPROTO;
	*out = m;
	return 0;
}

int mailbox_put_state(struct buf *out, const struct mailbox_state *m)
{
	field_add_uint(out, TAG_FREE_BYTES, m->free_bytes);
	field_add_uint(out, TAG_FREE_INODES, m->free_inodes);
	return field_add_uint(out, TAG_READ_ONLY, m->read_only);
}

int mailbox_get_state(struct slice in, struct mailbox_state *out)
{
	struct mailbox_state m = { 0 };
	struct slice value;
	uint8_t tag;
	bool ok = true;
	while (ok && field_next(&in, &tag, &value)) {
		switch (tag) {
		case TAG_FREE_BYTES: ok = field_uint(value, UINT64_MAX, &m.free_bytes); break;
		case TAG_FREE_INODES: ok = field_uint(value, UINT64_MAX, &m.free_inodes); break;
		case TAG_READ_ONLY: ok = get_flag(value, &m.read_only); break;
		default: ok = false;
		}
	}
	if (!ok || in.n)
		return -EPROTO;
	*out = m;
	return 0;
}
