/* Outcomes: what became of one content for one leaf of one sender. An open entry is one that nobody was told of: its recipient travels alone, and the digest decides. What was told
 * is as a lost 250 is: it counts only for who shows the same Message-ID from the same source, within hours. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/field.h"
#include "queue/ledger_inside.h"

enum { TAG_FATE = 1, TAG_CLOSED, TAG_BIT, TAG_ID, TAG_NETWORK, TAG_DOMAIN, TAG_CODE, TAG_ENHANCED, TAG_TEXT, TAG_NAME };

/* Values ------------------------------------------------------------------------------------------------------------------------------ */

struct outcome {
	int64_t at_s;
	uint64_t fate, closed, bit, code;
	struct slice id, network, domain, enhanced, text, name;
};

static bool get_outcome(struct slice value, struct outcome *o)
{
	uint8_t tag;
	struct slice v;
	memset(o, 0, sizeof *o);
	if (value.n < LEDGER_TIME)
		return false;
	o->at_s = ledger_time_of(value);
	value = slice_skip(value, LEDGER_TIME);
	while (field_next(&value, &tag, &v)) {
		bool good = true;
		switch (tag) {
		case TAG_FATE: good = field_uint(v, LEDGER_HELD_UP, &o->fate); break;
		case TAG_CLOSED: good = field_uint(v, 1, &o->closed); break;
		case TAG_BIT: good = field_uint(v, LEDGER_HINT_BYTES * 8 - 1, &o->bit); break;
		case TAG_CODE: good = field_uint(v, 599, &o->code); break;
		case TAG_ID: o->id = v; break;
		case TAG_NETWORK: o->network = v; break;
		case TAG_DOMAIN: o->domain = v; break;
		case TAG_ENHANCED: good = v.n == 2; o->enhanced = v; break;
		case TAG_TEXT: o->text = v; break;
		case TAG_NAME: o->name = v; break;
		default: good = false;
		}
		if (!good)
			return false;
	}
	return value.n == 0;
}

static void put_outcome(struct buf *out, const struct outcome *o)
{
	ledger_add_time(out, o->at_s);
	field_add_uint(out, TAG_FATE, o->fate);
	field_add_uint(out, TAG_CLOSED, o->closed);
	field_add_uint(out, TAG_BIT, o->bit);
	field_add_uint(out, TAG_CODE, o->code);
	field_add(out, TAG_ID, o->id);
	field_add(out, TAG_NETWORK, o->network);
	field_add(out, TAG_DOMAIN, o->domain);
	if (o->enhanced.n == 2)
		field_add(out, TAG_ENHANCED, o->enhanced);
	field_add(out, TAG_TEXT, o->text);
	field_add(out, TAG_NAME, o->name);
}

static struct slice name_of(struct ledger *l, unsigned char room[LEDGER_NAME], struct slice s)
{
	if (!s.n)
		return SLICE("");
	ledger_store_name(l->store, room, s, SLICE(""), SLICE("part"));
	return slice((const char *)room, LEDGER_NAME);
}

/* Outcomes: key = name of (reverse-path, leaf), then the content's digest. */
static struct slice outcome_key(struct ledger *l, char room[LEDGER_MAX_KEY], struct slice reverse_path, struct slice leaf, struct slice digest)
{
	ledger_store_name(l->store, (unsigned char *)room, reverse_path, leaf, SLICE("outcome"));
	size_t n = digest.n < QUEUE_DIGEST ? digest.n : QUEUE_DIGEST;
	memcpy(room + LEDGER_NAME, n ? digest.p : "", n);
	return slice(room, LEDGER_NAME + n);
}

bool ledger_outcome_age(struct slice value, int64_t *at_s, uint64_t *bit)
{
	struct outcome o;
	if (!get_outcome(value, &o))
		return false;
	*at_s = o.at_s;
	*bit = o.bit;
	return true;
}

/* Questions, in the worker ------------------------------------------------------------------------------------------------------------ */

struct looking {
	struct slice prefix;
	int64_t now_s;
	const struct ledger_limits *limits;
	enum ledger_found found;
};

static bool look_one(void *arg, struct slice key, struct slice value, bool *drop)
{
	struct looking *k = arg;
	struct outcome o;
	if (!slice_starts(key, k->prefix))
		return false;
	if (!get_outcome(value, &o) || k->now_s - o.at_s > (int64_t)k->limits->outcome_s)
		return true;
	if (o.fate == LEDGER_HELD_UP) { /* once: in the transaction after this one it is asked again */
		k->found = LEDGER_LEFT_OUT;
		*drop = true;
		return false;
	}
	bool maybe = o.fate == LEDGER_LOST || o.closed;
	if (!maybe)
		k->found = LEDGER_OPEN;
	else if (k->found == LEDGER_NOTHING)
		k->found = LEDGER_MAYBE;
	return true;
}

int ledger_do_look(struct ledger *l, struct slice payload, struct buf *answer)
{
	struct ledger_look m;
	char key[LEDGER_MAX_KEY], last[LEDGER_MAX_KEY];
	size_t last_n;
	if (ledger_get_look(payload, &m))
		return -EPROTO;
	struct looking k = { outcome_key(l, key, m.reverse_path, m.leaf, SLICE("")), clock_wall_s(), &l->limits, LEDGER_NOTHING };
	struct ledger_walk w = { look_one, &k, 100 };
	int error = ledger_store_walk(l->store, TABLE_OUTCOME, k.prefix, &w, last, &last_n);
	struct ledger_looked out = { error ? UNSURE : FOUND, k.found };
	ledger_put_looked(answer, &out);
	return error;
}

static bool is_repeat(struct ledger *l, const struct ledger_source *s, const struct outcome *o, int64_t now_s)
{
	unsigned char id[LEDGER_NAME], network[LEDGER_NAME], domain[LEDGER_NAME];
	if (!s->message_id.n || now_s - o->at_s > (int64_t)l->limits.lost_s || !slice_eq(name_of(l, id, s->message_id), o->id))
		return false;
	return (s->network.n && slice_eq(name_of(l, network, s->network), o->network)) || (s->domain.n && slice_eq(name_of(l, domain, s->domain), o->domain));
}

static int put_back(struct ledger *l, struct slice key, const struct outcome *o)
{
	struct buf value = BUF_INIT(LEDGER_MAX_VALUE);
	put_outcome(&value, o);
	int error = ledger_store_put(l->store, TABLE_OUTCOME, key, buf_slice(&value));
	buf_free(&value);
	return error;
}

/* What is told is closed: the client has its answer, so the next message of this sender need not travel alone. A refusal is forgotten: who comes again hears it from
 * the hop. Who has it is told so once more if this answer is lost on its way, too; without a Message-ID a repeat can't be told from an alarm that says the same
 * every day. */
static int close_outcome(struct ledger *l, struct slice key, struct outcome *o)
{
	if (o->fate == LEDGER_REFUSED || o->id.n == 0)
		return ledger_store_remove(l->store, TABLE_OUTCOME, key);
	if (o->closed)
		return 0;
	o->closed = 1;
	o->at_s = clock_wall_s();
	if (o->fate == LEDGER_DONE)
		o->fate = LEDGER_LOST;
	return put_back(l, key, o);
}

static int decide_one(struct ledger *l, const struct ledger_decide *m, struct slice leaf, struct arena *mem, struct ledger_entry *out)
{
	char key[LEDGER_MAX_KEY], value[LEDGER_MAX_VALUE];
	size_t n;
	struct outcome o;
	*out = (struct ledger_entry){ leaf, LEDGER_UNKNOWN, MAIL_STATUS_OK, SLICE("") };
	struct slice k = outcome_key(l, key, m->source.reverse_path, leaf, m->source.digest);
	int error = ledger_store_get(l->store, TABLE_OUTCOME, k, value, &n);
	if (error)
		return error == -ENOENT ? 0 : error;
	int64_t now = clock_wall_s();
	if (!get_outcome(slice(value, n), &o) || now - o.at_s > (int64_t)l->limits.outcome_s)
		return 0;
	if (o.fate == LEDGER_HELD_UP)
		return 0;
	if ((o.fate == LEDGER_LOST || o.closed) && !is_repeat(l, &m->source, &o, now))
		return 0;
	out->fate = o.fate == LEDGER_LOST ? LEDGER_DONE : (enum ledger_fate)o.fate;
	out->name = arena_copy(mem, o.name);
	if (o.fate == LEDGER_REFUSED && o.code >= 400 && o.enhanced.n == 2) {
		out->status = (struct mail_status){ o.code >= 500 ? MAIL_NEVER : MAIL_LATER, (uint16_t)o.code, { (uint8_t)o.enhanced.p[0], (uint8_t)o.enhanced.p[1] },
		                                    arena_copy(mem, o.text) };
	}
	return o.fate == LEDGER_LOST ? 0 : close_outcome(l, k, &o);
}

int ledger_do_decide(struct ledger *l, struct slice payload, struct buf *answer)
{
	struct arena mem = ARENA_INIT(4 << 20);
	struct ledger_decide m;
	struct ledger_decided out = { .answer = FOUND };
	int error = ledger_get_decide(payload, &mem, &m);
	if (!error) {
		out.entries = ARENA_ARRAY(&mem, struct ledger_entry, m.leaf_count ? m.leaf_count : 1);
		for (size_t i = 0; !error && i < m.leaf_count; i++)
			error = decide_one(l, &m, m.leaves[i], &mem, &out.entries[out.count++]);
		if (error)
			out = (struct ledger_decided){ .answer = UNSURE };
		ledger_put_decided(answer, &out);
	}
	arena_free(&mem);
	return error;
}

/* Something that counts for more than a lost 250, or than having held others up. */
static bool is_known(struct ledger *l, struct slice key)
{
	char value[LEDGER_MAX_VALUE];
	size_t n;
	struct outcome o;
	return ledger_store_get(l->store, TABLE_OUTCOME, key, value, &n) == 0 && get_outcome(slice(value, n), &o) && o.fate != LEDGER_HELD_UP;
}

static int note_one(struct ledger *l, const struct ledger_source *s, const struct ledger_entry *e)
{
	char key[LEDGER_MAX_KEY];
	unsigned char id[LEDGER_NAME], network[LEDGER_NAME], domain[LEDGER_NAME];
	char enhanced[2] = { (char)e->status.enhanced[0], (char)e->status.enhanced[1] };
	struct slice k = outcome_key(l, key, s->reverse_path, e->leaf, s->digest);
	if ((e->fate == LEDGER_LOST || e->fate == LEDGER_HELD_UP) && is_known(l, k))
		return 0;               /* what is known for sure stays */
	struct outcome o = { .at_s = clock_wall_s(), .fate = (uint64_t)e->fate, .bit = ledger_hint_bit(&ledger_store_keys(l->store)->hints, s->reverse_path, e->leaf),
		             .code = e->status.code, .id = name_of(l, id, s->message_id), .network = name_of(l, network, s->network), .domain = name_of(l, domain, s->domain),
		             .enhanced = slice(enhanced, 2), .text = e->fate == LEDGER_REFUSED ? slice_head(e->status.text, 500) : SLICE(""), .name = e->name };
	struct buf value = BUF_INIT(LEDGER_MAX_VALUE);
	put_outcome(&value, &o);
	int error = buf_full(&value) ? 0 : ledger_store_put(l->store, TABLE_OUTCOME, k, buf_slice(&value));
	buf_free(&value);
	return error;
}

int ledger_do_note(struct ledger *l, struct slice payload, struct buf *answer)
{
	struct arena mem = ARENA_INIT(4 << 20);
	struct ledger_note m;
	int error = ledger_get_note(payload, &mem, &m);
	for (size_t i = 0; !error && i < m.count; i++)
		error = m.entries[i].fate == LEDGER_UNKNOWN ? 0 : note_one(l, &m.source, &m.entries[i]);
	arena_free(&mem);
	if (error == -EPROTO)
		return error;
	struct mail_status status = error ? MAIL_STATUS_UNSURE("The outcome can't be noted just now, try again later") : MAIL_STATUS_OK;
	queue_put_status(answer, &status);
	return error;
}

/* Pending entries whose end the client has heard. */
int ledger_do_clear(struct ledger *l, struct slice payload)
{
	struct arena mem = ARENA_INIT(4 << 20);
	struct ledger_decide m;
	char key[LEDGER_MAX_KEY];
	int error = ledger_get_decide(payload, &mem, &m);
	for (size_t i = 0; !error && i < m.leaf_count; i++) {
		error = ledger_store_remove(l->store, TABLE_OUTCOME, outcome_key(l, key, m.source.reverse_path, m.leaves[i], m.source.digest));
		if (error == -ENOENT)
			error = 0;
	}
	arena_free(&mem);
	return error;
}
