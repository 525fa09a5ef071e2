/* The records between the ledger and those who ask it. */
#include <errno.h>
#include <string.h>

#include "base/field.h"
#include "queue/queue_proto.h"
#include "queue/record.h"

enum { TAG_LEAF = 60, TAG_ENTRY, TAG_KEY0, TAG_KEY1, TAG_BITS, TAG_BIT, TAG_NOTE, TAG_OWNER, TAG_CONTENT_KEY };
enum { MAX_ADDRESS = 1024, MAX_NAME = 512, MAX_PLACE = 32768 };

/* -- hints -------------------------------------------------------------------------------------------------------------------------- */

uint32_t ledger_hint_bit(const struct hash_key *key, struct slice reverse_path, struct slice leaf)
{
	uint64_t h = hash_bytes(key, reverse_path) * 0x9e3779b97f4a7c15u + hash_bytes(key, leaf);
	return (uint32_t)((h ^ h >> 32) % (LEDGER_HINT_BYTES * 8));
}

bool ledger_hint_hit(const struct ledger_hints *h, struct slice reverse_path, struct slice leaf)
{
	if (!h->known)
		return true;
	uint32_t bit = ledger_hint_bit(&h->key, reverse_path, leaf);
	return h->bits[bit / 8] & 1u << bit % 8;
}

int queue_put_hints(struct buf *out, const struct ledger_hints *m)
{
	int error = field_add_uint(out, TAG_KEY0, m->key.k0);
	error = error ? error : field_add_uint(out, TAG_KEY1, m->key.k1);
	return error ? error : field_add(out, TAG_BITS, slice((const char *)m->bits, LEDGER_HINT_BYTES));
}

static bool get_number(struct slice *in, uint8_t wanted, uint64_t max, uint64_t *out)
{
	uint8_t tag;
	struct slice value;
	return field_next(in, &tag, &value) && tag == wanted && field_uint(value, max, out);
}

int queue_get_hints(struct slice in, struct ledger_hints *into)
{
	struct hash_key key;
	struct slice bits;
	uint8_t tag;
	if (!get_number(&in, TAG_KEY0, UINT64_MAX, &key.k0) || !get_number(&in, TAG_KEY1, UINT64_MAX, &key.k1) || !field_next(&in, &tag, &bits) ||
	    tag != TAG_BITS || bits.n != LEDGER_HINT_BYTES || in.n)
		return -EPROTO;
	into->key = key;
	memcpy(into->bits, bits.p, bits.n);
	into->known = true;
	return 0;
}

int queue_put_hint(struct buf *out, uint32_t bit)
{
	return field_add_uint(out, TAG_BIT, bit);
}

int queue_get_hint(struct slice in, struct ledger_hints *into)
{
	uint64_t bit;
	if (!get_number(&in, TAG_BIT, LEDGER_HINT_BYTES * 8 - 1, &bit) || in.n)
		return -EPROTO;
	into->bits[bit / 8] |= (uint8_t)(1u << bit % 8);
	return 0;
}

int ledger_put_key(struct buf *out, const uint8_t key[CRYPTO_MAC_KEY])
{
	return field_add(out, TAG_CONTENT_KEY, slice((const char *)key, CRYPTO_MAC_KEY));
}

int ledger_get_key(struct slice in, uint8_t key[CRYPTO_MAC_KEY])
{
	struct slice value;
	uint8_t tag;
	if (!field_next(&in, &tag, &value) || tag != TAG_CONTENT_KEY || value.n != CRYPTO_MAC_KEY || in.n)
		return -EPROTO;
	memcpy(key, value.p, value.n);
	return 0;
}

int queue_put_owner(struct buf *out, uint32_t owner)
{
	return field_add_uint(out, TAG_OWNER, owner);
}

int queue_get_owner(struct slice in, uint32_t *owner)
{
	uint64_t n;
	if (!get_number(&in, TAG_OWNER, UINT32_MAX, &n) || in.n || !n)
		return -EPROTO;
	*owner = (uint32_t)n;
	return 0;
}

/* -- look, decide, note ------------------------------------------------------------------------------------------------------------- */

static const struct record_row look_rows[] = {
	RECORD_ROW_MAX(1, RECORD_BYTES, ledger_look, reverse_path, MAX_ADDRESS),
	RECORD_ROW_MAX(2, RECORD_BYTES, ledger_look, leaf, MAX_PLACE),
};

static const struct record_row looked_rows[] = {
	RECORD_ROW_MAX(1, RECORD_ENUM, ledger_looked, answer, UNSURE),
	RECORD_ROW_MAX(2, RECORD_ENUM, ledger_looked, found, LEDGER_LEFT_OUT),
};

static const struct record_row source_rows[] = {
	RECORD_ROW_MAX(1, RECORD_BYTES, ledger_source, reverse_path, MAX_ADDRESS), RECORD_ROW_MAX(2, RECORD_BYTES, ledger_source, digest, QUEUE_DIGEST),
	RECORD_ROW_MAX(3, RECORD_BYTES, ledger_source, message_id, MAX_ADDRESS),   RECORD_ROW_MAX(4, RECORD_BYTES, ledger_source, network, 64),
	RECORD_ROW_MAX(5, RECORD_BYTES, ledger_source, domain, MAX_ADDRESS),
};

static const struct record_row entry_rows[] = {
	RECORD_ROW_MAX(1, RECORD_BYTES, ledger_entry, leaf, MAX_PLACE), RECORD_ROW_MAX(2, RECORD_ENUM, ledger_entry, fate, LEDGER_HELD_UP),
	RECORD_ROW(3, RECORD_STATUS, ledger_entry, status),             RECORD_ROW_MAX(4, RECORD_BYTES, ledger_entry, name, MAX_NAME),
};

static const struct record_row decided_rows[] = { RECORD_ROW_MAX(1, RECORD_ENUM, ledger_decided, answer, UNSURE) };

int ledger_put_look(struct buf *out, const struct ledger_look *m)
{
	return record_put(out, RECORD_TABLE(look_rows), m);
}

int ledger_get_look(struct slice in, struct ledger_look *out)
{
	struct ledger_look m;
	if (!record_get_all(in, RECORD_TABLE(look_rows), &m) || m.leaf.n == 0)
		return -EPROTO;
	*out = m;
	return 0;
}

int ledger_put_looked(struct buf *out, const struct ledger_looked *m)
{
	return record_put(out, RECORD_TABLE(looked_rows), m);
}

int ledger_get_looked(struct slice in, struct ledger_looked *out)
{
	struct ledger_looked m;
	if (!record_get_all(in, RECORD_TABLE(looked_rows), &m))
		return -EPROTO;
	*out = m;
	return 0;
}

int ledger_put_decide(struct buf *out, const struct ledger_decide *m)
{
	int error = record_put(out, RECORD_TABLE(source_rows), &m->source);
	for (size_t i = 0; i < m->leaf_count && !error; i++)
		error = field_add(out, TAG_LEAF, m->leaves[i]);
	return error;
}

static bool get_source(struct slice *in, struct ledger_source *s)
{
	return record_get(in, RECORD_TABLE(source_rows), s) && s->digest.n == QUEUE_DIGEST;
}

int ledger_get_decide(struct slice in, struct arena *mem, struct ledger_decide *out)
{
	struct ledger_decide m = { .leaf_count = 0 };
	struct slice value;
	uint8_t tag;
	if (!get_source(&in, &m.source))
		return -EPROTO;
	size_t count = record_count(in, TAG_LEAF, QUEUE_MAX_ENTRIES);
	if (count == SIZE_MAX || count == 0 || !(m.leaves = ARENA_ARRAY(mem, struct slice, count)))
		return -EPROTO;
	while (field_next(&in, &tag, &value))
		m.leaves[m.leaf_count++] = value;
	*out = m;
	return 0;
}

static int put_entries(struct buf *out, const struct ledger_entry *entries, size_t count)
{
	int error = 0;
	for (size_t i = 0; i < count && !error; i++)
		error = record_put_nested(out, TAG_ENTRY, RECORD_TABLE(entry_rows), &entries[i]);
	return error;
}

static bool get_entries(struct slice in, struct arena *mem, struct ledger_entry **entries, size_t *count)
{
	size_t n = record_count(in, TAG_ENTRY, QUEUE_MAX_ENTRIES), i = 0;
	struct slice value;
	uint8_t tag;
	if (n == SIZE_MAX || !(*entries = ARENA_ARRAY(mem, struct ledger_entry, n ? n : 1)))
		return false;
	while (field_next(&in, &tag, &value))
		if (!record_get_all(value, RECORD_TABLE(entry_rows), &(*entries)[i++]))
			return false;
	*count = n;
	return true;
}

int ledger_put_decided(struct buf *out, const struct ledger_decided *m)
{
	int error = record_put(out, RECORD_TABLE(decided_rows), m);
	return error ? error : put_entries(out, m->entries, m->count);
}

int ledger_get_decided(struct slice in, struct arena *mem, struct ledger_decided *out)
{
	struct ledger_decided m;
	if (!record_get(&in, RECORD_TABLE(decided_rows), &m) || !get_entries(in, mem, &m.entries, &m.count))
		return -EPROTO;
	*out = m;
	return 0;
}

int ledger_put_note(struct buf *out, const struct ledger_note *m)
{
	int error = record_put(out, RECORD_TABLE(source_rows), &m->source);
	error = error ? error : field_add_uint(out, TAG_NOTE, (uint64_t)m->kind);
	return error ? error : put_entries(out, m->entries, m->count);
}

int ledger_get_note(struct slice in, struct arena *mem, struct ledger_note *out)
{
	struct ledger_note m;
	uint64_t kind;
	if (!get_source(&in, &m.source) || !get_number(&in, TAG_NOTE, LEDGER_NOTE_SOON, &kind) || !get_entries(in, mem, &m.entries, &m.count) || m.count == 0)
		return -EPROTO;
	m.kind = (enum ledger_note_kind)kind;
	*out = m;
	return 0;
}

/* -- what next hops said ------------------------------------------------------------------------------------------------------------- */

static const struct record_row ask_look_rows[] = {
	RECORD_ROW_MAX(1, RECORD_BYTES, ask_note, address, MAX_ADDRESS),
	RECORD_ROW_MAX(2, RECORD_BYTES, ask_note, place, MAX_PLACE),
};

static const struct record_row ask_note_rows[] = {
	RECORD_ROW_MAX(1, RECORD_BYTES, ask_note, address, MAX_ADDRESS), RECORD_ROW_MAX(2, RECORD_BYTES, ask_note, place, MAX_PLACE),
	RECORD_ROW(3, RECORD_STATUS, ask_note, status),                  RECORD_ROW(4, RECORD_FLAG, ask_note, accept_all),
};

static const struct record_row ask_looked_rows[] = {
	RECORD_ROW_MAX(1, RECORD_ENUM, ask_looked, answer, UNSURE), RECORD_ROW(2, RECORD_STATUS, ask_looked, status),
	RECORD_ROW(3, RECORD_FLAG, ask_looked, accept_all),
};

int ask_put_look(struct buf *out, struct slice address, struct slice place)
{
	struct ask_note m = { .address = address, .place = place };
	return record_put(out, RECORD_TABLE(ask_look_rows), &m);
}

int ask_get_look(struct slice in, struct slice *address, struct slice *place)
{
	struct ask_note m;
	if (!record_get_all(in, RECORD_TABLE(ask_look_rows), &m) || m.address.n == 0)
		return -EPROTO;
	*address = m.address;
	*place = m.place;
	return 0;
}

int ask_put_looked(struct buf *out, const struct ask_looked *m)
{
	return record_put(out, RECORD_TABLE(ask_looked_rows), m);
}

int ask_get_looked(struct slice in, struct ask_looked *out)
{
	struct ask_looked m;
	if (!record_get_all(in, RECORD_TABLE(ask_looked_rows), &m))
		return -EPROTO;
	*out = m;
	return 0;
}

int ask_put_note(struct buf *out, const struct ask_note *m)
{
	return record_put(out, RECORD_TABLE(ask_note_rows), m);
}

int ask_get_note(struct slice in, struct ask_note *out)
{
	struct ask_note m;
	if (!record_get_all(in, RECORD_TABLE(ask_note_rows), &m) || m.address.n == 0)
		return -EPROTO;
	*out = m;
	return 0;
}
