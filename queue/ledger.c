/* The ledger: questions are collected while a worker is busy; what has been collected becomes one transaction and, where somebody waits for its durability, one
 * sync. Between questions the worker looks through a part of the tables for what is too old. */
#include "queue/ledger.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/field.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/ledger_store.h"

enum { MAX_ANSWER = 4 << 20, MAX_BATCH = 1000, WALK = 5000, CLEAN_MS = 10000, TAG_FATE = 1, TAG_CLOSED, TAG_BIT, TAG_ID, TAG_NETWORK, TAG_DOMAIN, TAG_CODE, TAG_ENHANCED,
	TAG_TEXT, TAG_NAME };

struct request {
	uint16_t type;
	char *payload;
	size_t n;
	ledger_done done;
	void *arg;
	struct buf answer;
	struct request *next;
};

struct ledger {
	struct loop *loop;
	struct worker *worker;
	char *folder;
	struct ledger_store *store;
	struct ledger_limits limits;
	void (*alert)(void *arg, struct slice text);
	void *arg;
	struct request *waiting, **waiting_end;  /* collected */
	struct request *batch;                   /* the worker's */
	bool busy, failed, anew, closing;
	struct ledger_hints hints;               /* the loop's */
	uint8_t added_bits[LEDGER_HINT_BYTES];   /* since a pass ended; the loop's */
	struct loop_timer *clean;
	/* the worker's: a walk through the tables for what is too old, and the hints as it finds them */
	bool clean_now, loaded, pass_over;
	unsigned clean_table;
	char clean_at[LEDGER_MAX_KEY];
	size_t clean_at_n;
	uint8_t found_bits[LEDGER_HINT_BYTES];
	struct ledger_counts counts;
	int64_t since_s;
};

/* Values ------------------------------------------------------------------------------------------------------------------------------ */

static void add_time(struct buf *out, int64_t at_s)
{
	for (int shift = 56; shift >= 0; shift -= 8)
		buf_add_byte(out, (char)((uint64_t)at_s >> shift));
}

static int64_t time_of(struct slice value)
{
	uint64_t at = 0;
	for (size_t i = 0; i < LEDGER_TIME && i < value.n; i++)
		at = at << 8 | (unsigned char)value.p[i];
	return (int64_t)at;
}

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
	o->at_s = time_of(value);
	value = slice_skip(value, LEDGER_TIME);
	while (field_next(&value, &tag, &v)) {
		bool good = true;
		switch (tag) {
		case TAG_FATE: good = field_uint(v, LEDGER_LOST, &o->fate); break;
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
	add_time(out, o->at_s);
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
	(void)drop;
	if (!slice_starts(key, k->prefix))
		return false;
	if (!get_outcome(value, &o) || k->now_s - o.at_s > (int64_t)k->limits->outcome_s)
		return true;
	bool maybe = o.fate == LEDGER_LOST || o.closed;
	if (!maybe)
		k->found = LEDGER_OPEN;
	else if (k->found == LEDGER_NOTHING)
		k->found = LEDGER_MAYBE;
	return k->found != LEDGER_OPEN;
}

static int do_look(struct ledger *l, struct slice payload, struct buf *answer)
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

/* What is told is closed: the client has its answer, so the next message of this sender need not travel alone. */
static int close_outcome(struct ledger *l, struct slice key, struct outcome *o)
{
	struct buf value = BUF_INIT(LEDGER_MAX_VALUE);
	if (o->closed || (o->fate != LEDGER_DONE && o->fate != LEDGER_REFUSED))
		return 0;
	o->closed = 1;
	put_outcome(&value, o);
	int error = ledger_store_put(l->store, TABLE_OUTCOME, key, buf_slice(&value));
	buf_free(&value);
	return error;
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
	if (o.fate == LEDGER_LOST) {
		out->fate = is_repeat(l, &m->source, &o, now) ? LEDGER_DONE : LEDGER_UNKNOWN;
		return 0;
	}
	out->fate = (enum ledger_fate)o.fate;
	out->name = arena_copy(mem, o.name);
	if (o.fate == LEDGER_REFUSED && o.code >= 400 && o.enhanced.n == 2) {
		out->status = (struct mail_status){ o.code >= 500 ? MAIL_NEVER : MAIL_LATER, (uint16_t)o.code, { (uint8_t)o.enhanced.p[0], (uint8_t)o.enhanced.p[1] }, arena_copy(mem, o.text) };
	}
	return close_outcome(l, k, &o);
}

static int do_decide(struct ledger *l, struct slice payload, struct buf *answer)
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

static int note_one(struct ledger *l, const struct ledger_source *s, const struct ledger_entry *e)
{
	char key[LEDGER_MAX_KEY], old[LEDGER_MAX_VALUE];
	unsigned char id[LEDGER_NAME], network[LEDGER_NAME], domain[LEDGER_NAME];
	char enhanced[2] = { (char)e->status.enhanced[0], (char)e->status.enhanced[1] };
	size_t n;
	struct slice k = outcome_key(l, key, s->reverse_path, e->leaf, s->digest);
	if (e->fate == LEDGER_LOST && ledger_store_get(l->store, TABLE_OUTCOME, k, old, &n) == 0)
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

static int do_note(struct ledger *l, struct slice payload, struct buf *answer)
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

/* The other tables: a name, and when it was noted. */

static int touch(struct ledger *l, enum ledger_table t, struct slice a, struct slice b, struct slice rest)
{
	unsigned char key[LEDGER_NAME];
	struct buf value = BUF_INIT(LEDGER_MAX_VALUE);
	ledger_store_name(l->store, key, a, b, SLICE("table"));
	add_time(&value, clock_wall_s());
	buf_add(&value, rest);
	int error = ledger_store_put(l->store, t, slice((const char *)key, sizeof key), buf_slice(&value));
	buf_free(&value);
	return error;
}

/* FOUND: *age_s and the rest of the value. */
static enum answer look_up(struct ledger *l, enum ledger_table t, struct slice a, struct slice b, uint64_t life_s, char value[LEDGER_MAX_VALUE], struct slice *rest, int64_t *age_s)
{
	unsigned char key[LEDGER_NAME];
	size_t n;
	ledger_store_name(l->store, key, a, b, SLICE("table"));
	int error = ledger_store_get(l->store, t, slice((const char *)key, sizeof key), value, &n);
	if (error)
		return error == -ENOENT ? ABSENT : UNSURE;
	*age_s = clock_wall_s() - time_of(slice(value, n));
	*rest = slice_skip(slice(value, n), LEDGER_TIME);
	return *age_s > (int64_t)life_s ? ABSENT : FOUND;
}

static int do_seen(struct ledger *l, struct slice payload)
{
	struct arena mem = ARENA_INIT(4 << 20);
	struct queue_seen *seen;
	size_t count;
	int error = queue_get_seen(payload, &mem, &seen, &count);
	for (size_t i = 0; !error && i < count; i++)
		error = touch(l, TABLE_SEEN, seen[i].reverse_path, SLICE(""), slice((const char *)&seen[i].grade, 1));
	arena_free(&mem);
	return error;
}

static int do_sent(struct ledger *l, struct slice payload)
{
	struct arena mem = ARENA_INIT(4 << 20);
	struct slice *ids;
	size_t count;
	int error = queue_get_texts(payload, QUEUE_MAX_BATCH, &mem, &ids, &count);
	for (size_t i = 0; !error && i < count; i++)
		error = touch(l, TABLE_SENT, ids[i], SLICE(""), SLICE(""));
	arena_free(&mem);
	return error;
}

/* Any of the Message-IDs is ours: FOUND. None, but the table does not reach back far enough to know: UNSURE (rule.md: accept and tag). */
static int do_sent_look(struct ledger *l, struct slice payload, struct buf *answer)
{
	struct arena mem = ARENA_INIT(4 << 20);
	struct slice *ids, rest;
	size_t count;
	char value[LEDGER_MAX_VALUE];
	int64_t age;
	enum answer found = ABSENT;
	int error = queue_get_texts(payload, QUEUE_MAX_BATCH, &mem, &ids, &count);
	for (size_t i = 0; !error && found == ABSENT && i < count; i++)
		found = look_up(l, TABLE_SENT, ids[i], SLICE(""), l->limits.sent_s, value, &rest, &age);
	if (found == ABSENT && clock_wall_s() - l->since_s < (int64_t)l->limits.sent_s)
		found = UNSURE;
	arena_free(&mem);
	if (!error)
		queue_put_answer(answer, found);
	return error;
}

static int do_seen_look(struct ledger *l, struct slice payload, struct buf *answer)
{
	struct arena mem = ARENA_INIT(1 << 20);
	struct slice *texts, rest;
	size_t count;
	char value[LEDGER_MAX_VALUE];
	int64_t age;
	int error = queue_get_texts(payload, 1, &mem, &texts, &count);
	if (!error && count == 1)
		queue_put_answer(answer, look_up(l, TABLE_SEEN, texts[0], SLICE(""), l->limits.seen_s, value, &rest, &age));
	arena_free(&mem);
	return error ? error : count == 1 ? 0 : -EPROTO;
}

static int do_reply_take(struct ledger *l, struct slice payload, struct buf *answer)
{
	struct arena mem = ARENA_INIT(1 << 20);
	struct slice *texts, rest;
	size_t count;
	char value[LEDGER_MAX_VALUE];
	int64_t age;
	uint64_t days = 7;
	int error = queue_get_texts(payload, 3, &mem, &texts, &count);
	error = error ? error : count == 3 ? 0 : -EPROTO;
	if (!error) {
		for (size_t i = 0, n = 0; i < texts[2].n; i++)
			days = n = n * 10 + (uint64_t)(texts[2].p[i] - '0');
		enum answer found = look_up(l, TABLE_REPLIED, texts[0], texts[1], days * 86400, value, &rest, &age);
		if (found == ABSENT)
			error = touch(l, TABLE_REPLIED, texts[0], texts[1], SLICE(""));
		queue_put_answer(answer, error ? UNSURE : found);
	}
	arena_free(&mem);
	return error;
}

/* What hops said: code, enhanced code, accept-all, text. */
static int do_ask_note(struct ledger *l, struct slice payload)
{
	struct ask_note m;
	if (ask_get_note(payload, &m))
		return -EPROTO;
	bool unknown = m.status.fate == MAIL_NEVER && m.status.enhanced[0] == 1;
	if (m.status.fate != MAIL_OK && !unknown)
		return 0;
	struct buf rest = BUF_INIT(1024);
	buf_add_byte(&rest, (char)(m.status.code >> 8));
	buf_add_byte(&rest, (char)m.status.code);
	buf_add_byte(&rest, (char)m.status.enhanced[0]);
	buf_add_byte(&rest, (char)m.status.enhanced[1]);
	buf_add_byte(&rest, m.accept_all ? 1 : 0);
	buf_add(&rest, slice_head(m.status.text, 500));
	int error = touch(l, TABLE_ASK, m.address, m.place, buf_slice(&rest));
	buf_free(&rest);
	return error;
}

static int do_ask_look(struct ledger *l, struct slice payload, struct buf *answer)
{
	struct slice address, place, rest;
	char value[LEDGER_MAX_VALUE];
	int64_t age = 0;
	if (ask_get_look(payload, &address, &place))
		return -EPROTO;
	struct ask_looked out = { .answer = ABSENT, .status = MAIL_STATUS_OK };
	enum answer found = look_up(l, TABLE_ASK, address, place, l->limits.ask_s, value, &rest, &age);
	if (found == FOUND && rest.n >= 5) {
		unsigned code = (unsigned)(unsigned char)rest.p[0] << 8 | (unsigned char)rest.p[1];
		uint64_t life = code >= 500 ? l->limits.ask_refused_s : l->limits.ask_s;
		if (age <= (int64_t)life && code >= 200 && code < 600) {
			out.answer = FOUND;
			out.status = code < 300 ? MAIL_STATUS_OK : (struct mail_status){ MAIL_NEVER, (uint16_t)code, { (uint8_t)rest.p[2], (uint8_t)rest.p[3] }, slice_skip(rest, 5) };
			out.age_s = (uint32_t)age;
			out.refresh = age * 2 > (int64_t)life;
			out.accept_all = rest.p[4] == 1;
		}
	} else if (found == UNSURE) {
		out.answer = UNSURE;
	}
	ask_put_looked(answer, &out);
	return found == UNSURE ? -EIO : 0;
}

static int do_request(struct ledger *l, struct request *r)
{
	struct slice payload = slice(r->payload, r->n);
	switch (r->type) {
	case LEDGER_LOOK:
		return do_look(l, payload, &r->answer);
	case LEDGER_DECIDE:
		return do_decide(l, payload, &r->answer);
	case LEDGER_NOTE:
		return do_note(l, payload, &r->answer);
	case QUEUE_SEEN:
		return do_seen(l, payload);
	case QUEUE_SENT:
		return do_sent(l, payload);
	case QUEUE_SENT_LOOK:
		return do_sent_look(l, payload, &r->answer);
	case LEDGER_SEEN_LOOK:
		return do_seen_look(l, payload, &r->answer);
	case LEDGER_REPLY_TAKE:
		return do_reply_take(l, payload, &r->answer);
	case ASK_NOTE:
		return do_ask_note(l, payload);
	case ASK_LOOK:
		return do_ask_look(l, payload, &r->answer);
	}
	return -EPROTO;
}

/* Doubt, in the words of each question. */
static void answer_unsure(struct request *r)
{
	struct mail_status later = MAIL_STATUS_UNSURE("The outcome can't be noted just now, try again later");
	buf_clear(&r->answer);
	switch (r->type) {
	case LEDGER_LOOK:
		ledger_put_looked(&r->answer, &(struct ledger_looked){ UNSURE, LEDGER_NOTHING });
		return;
	case LEDGER_DECIDE:
		ledger_put_decided(&r->answer, &(struct ledger_decided){ .answer = UNSURE });
		return;
	case LEDGER_NOTE:
		queue_put_status(&r->answer, &later);
		return;
	case ASK_LOOK:
		ask_put_looked(&r->answer, &(struct ask_looked){ .answer = UNSURE, .status = MAIL_STATUS_OK });
		return;
	case QUEUE_SENT_LOOK:
	case LEDGER_SEEN_LOOK:
	case LEDGER_REPLY_TAKE:
		queue_put_answer(&r->answer, UNSURE);
		return;
	}
}

/* Cleaning, in the worker --------------------------------------------------------------------------------------------------------------- */

struct cleaning {
	struct ledger *ledger;
	int64_t oldest_s;
};

static bool clean_one(void *arg, struct slice key, struct slice value, bool *drop)
{
	struct cleaning *c = arg;
	struct outcome o;
	(void)key;
	if (c->ledger->clean_table == TABLE_OUTCOME) {
		*drop = !get_outcome(value, &o) || o.at_s < c->oldest_s;
		if (!*drop)
			c->ledger->found_bits[o.bit / 8] |= (uint8_t)(1u << o.bit % 8);
	} else {
		*drop = value.n < LEDGER_TIME || time_of(value) < c->oldest_s;
	}
	return true;
}

/* Past the number of entries that a table may have, its life gets as much shorter as it has too many. */
static int64_t oldest_of(struct ledger *l, enum ledger_table t)
{
	const uint64_t lives[LEDGER_TABLES] = { l->limits.outcome_s, l->limits.sent_s, l->limits.seen_s, l->limits.ask_s, (uint64_t)60 * 86400 };
	uint64_t count = ledger_store_count(l->store, t), life = lives[t];
	if (count > l->limits.entries)
		life = (uint64_t)((double)life * (double)l->limits.entries / (double)count);
	return clock_wall_s() - (int64_t)life;
}

static void count_tables(struct ledger *l)
{
	l->counts.outcomes = ledger_store_count(l->store, TABLE_OUTCOME);
	l->counts.sent = ledger_store_count(l->store, TABLE_SENT);
	l->counts.seen = ledger_store_count(l->store, TABLE_SEEN);
	l->counts.asked = ledger_store_count(l->store, TABLE_ASK);
	l->counts.replied = ledger_store_count(l->store, TABLE_REPLIED);
}

static int clean_part(struct ledger *l)
{
	struct cleaning c = { l, oldest_of(l, (enum ledger_table)l->clean_table) };
	struct ledger_walk w = { clean_one, &c, WALK };
	if (l->clean_table == TABLE_OUTCOME && !l->clean_at_n)
		memset(l->found_bits, 0, sizeof l->found_bits);
	int error = ledger_store_walk(l->store, (enum ledger_table)l->clean_table, slice(l->clean_at, l->clean_at_n), &w, l->clean_at, &l->clean_at_n);
	if (error || l->clean_at_n)
		return error;
	l->pass_over = l->clean_table == TABLE_OUTCOME;
	l->clean_table = (l->clean_table + 1) % LEDGER_TABLES;
	count_tables(l);
	return 0;
}

enum { CHECK_MEMORY = 8 << 20 };

/* Batches ------------------------------------------------------------------------------------------------------------------------------- */

static int begin_anew(struct ledger *l)
{
	bool anew;
	ledger_store_close(l->store);
	l->store = NULL;
	int error = ledger_store_open(l->folder, &l->store, &anew);
	l->anew = true;
	return error;
}

static bool wants_sync(const struct request *r)
{
	for (; r; r = r->next)
		if (r->type == LEDGER_NOTE)
			return true;
	return false;
}

static void work(void *arg)
{
	struct ledger *l = arg;
	int error = l->store ? ledger_store_begin(l->store) : -EIO;
	for (struct request *r = l->batch; r; r = r->next) {
		int one = error ? error : do_request(l, r);
		if (one == -EPROTO)
			answer_unsure(r);
		else if (one)
			error = one;
	}
	if (!error && l->clean_now)
		error = clean_part(l);
	if (!error)
		error = ledger_store_end(l->store, wants_sync(l->batch));
	l->failed = error != 0;
	if (!error)
		return;
	if (l->store)
		ledger_store_undo(l->store);
	for (struct request *r = l->batch; r; r = r->next)
		answer_unsure(r);
	if (error != -ENOSPC)
		begin_anew(l);
}

static void start(struct ledger *l);

static void finish_requests(struct ledger *l)
{
	struct request *r = l->batch;
	l->batch = NULL;
	while (r) {
		struct request *next = r->next;
		if (r->done)
			r->done(r->arg, &r->answer);
		buf_free(&r->answer);
		mem_free(r->payload);
		mem_free(r);
		r = next;
	}
}

static void done(void *arg)
{
	struct ledger *l = arg;
	l->busy = false;
	l->clean_now = false;
	if (l->failed && l->alert)
		l->alert(l->arg, l->anew ? SLICE("the ledger was damaged and is begun anew: duplicates are possible, nothing is lost") : SLICE("the ledger can't be written just now"));
	if (l->anew) {
		l->anew = false;
		l->counts.begun_anew++;
		l->since_s = clock_wall_s();
	}
	if (l->pass_over) {
		/* Bits of what was noted since the last pass ended stay: a pass of many parts may have gone by before it was written. */
		for (size_t i = 0; i < LEDGER_HINT_BYTES; i++)
			l->hints.bits[i] = (uint8_t)(l->found_bits[i] | (l->loaded ? l->added_bits[i] : l->hints.bits[i]));
		memset(l->added_bits, 0, sizeof l->added_bits);
		l->hints.known = l->loaded = true;
		l->pass_over = false;
	}
	finish_requests(l);
	if (l->waiting || !l->loaded)
		start(l);
}

static void start(struct ledger *l)
{
	if (l->busy || l->closing)
		return;
	l->batch = l->waiting;
	l->waiting = NULL;
	l->waiting_end = &l->waiting;
	l->clean_now = l->clean_now || !l->loaded;
	l->busy = true;
	worker_add(l->worker, work, done, l);
}

/* A payload that no writer would write is its sender's fault, and told at once: the sender is cut off. */
static int check(uint16_t type, struct slice payload)
{
	struct arena mem = ARENA_INIT(CHECK_MEMORY);
	struct ledger_look look;
	struct ledger_decide decide;
	struct ledger_note note;
	struct ask_note asked;
	struct queue_seen *seen;
	struct slice *texts, address, place;
	size_t count;
	int error;
	switch (type) {
	case LEDGER_LOOK: error = ledger_get_look(payload, &look); break;
	case LEDGER_DECIDE: error = ledger_get_decide(payload, &mem, &decide); break;
	case LEDGER_NOTE: error = ledger_get_note(payload, &mem, &note); break;
	case ASK_LOOK: error = ask_get_look(payload, &address, &place); break;
	case ASK_NOTE: error = ask_get_note(payload, &asked); break;
	case QUEUE_SEEN: error = queue_get_seen(payload, &mem, &seen, &count); break;
	default: error = queue_get_texts(payload, QUEUE_MAX_BATCH, &mem, &texts, &count);
	}
	arena_free(&mem);
	return error;
}

int ledger_ask(struct ledger *l, uint16_t type, struct slice payload, ledger_done on_done, void *arg)
{
	int error = check(type, payload);
	if (error)
		return error;
	struct request *r = MEM_NEW(struct request);
	*r = (struct request){ .type = type, .payload = mem_copy(payload.n ? payload.p : "", payload.n), .n = payload.n, .done = on_done, .arg = arg, .answer = BUF_INIT(MAX_ANSWER) };
	*l->waiting_end = r;
	l->waiting_end = &r->next;
	start(l);
	return 0;
}

static void on_clean(void *arg)
{
	struct ledger *l = arg;
	l->clean_now = true;
	start(l);
	loop_timer_set(l->clean, CLEAN_MS);
}

void ledger_hints(struct ledger *l, struct ledger_hints *out)
{
	*out = l->hints;
}

bool ledger_hint_add(struct ledger *l, uint32_t bit)
{
	uint8_t mask = (uint8_t)(1u << bit % 8);
	bool set = l->hints.bits[bit / 8] & mask;
	l->hints.bits[bit / 8] |= mask;
	l->added_bits[bit / 8] |= mask;
	return !set;
}

void ledger_count(struct ledger *l, struct ledger_counts *out)
{
	*out = l->counts;
	out->since_s = l->since_s;
}

/* "since", from when on the tables are complete, is the age of the key: it is made with the folder. */
static int64_t since_of(struct ledger *l)
{
	char value[LEDGER_MAX_VALUE];
	size_t n;
	static const struct slice key = SLICE_INIT("since");
	if (ledger_store_get(l->store, TABLE_SENT, key, value, &n) == 0 && n >= LEDGER_TIME + 1)
		return time_of(slice(value + 1, n - 1));
	struct buf made = BUF_INIT(64);
	buf_add_byte(&made, 0x7f);                         /* read as a time far ahead, so that cleaning leaves it */
	add_time(&made, clock_wall_s());
	if (ledger_store_begin(l->store) == 0) {
		ledger_store_put(l->store, TABLE_SENT, key, buf_slice(&made));
		ledger_store_end(l->store, true);
	}
	buf_free(&made);
	return clock_wall_s();
}

int ledger_open(struct loop *loop, const char *path, const struct ledger_limits *limits, void (*alert)(void *arg, struct slice text), void *arg, struct ledger **out)
{
	struct ledger *l = MEM_NEW(struct ledger);
	bool anew;
	l->loop = loop;
	l->folder = mem_copy(path, strlen(path));
	l->limits = *limits;
	l->alert = alert;
	l->arg = arg;
	l->waiting_end = &l->waiting;
	int error = ledger_store_open(path, &l->store, &anew);
	if (error) {
		mem_free(l->folder);
		mem_free(l);
		return error;
	}
	if (anew) {
		l->counts.begun_anew++;
		alert(arg, SLICE("the ledger was damaged and is begun anew: duplicates are possible, nothing is lost"));
	}
	l->hints.key = ledger_store_keys(l->store)->hints;
	l->since_s = since_of(l);
	l->worker = worker_new(loop, 1, "ledger");
	l->clean = loop_timer_new(loop, on_clean, l);
	loop_timer_set(l->clean, 1);
	*out = l;
	return 0;
}

void ledger_close(struct ledger *l)
{
	l->closing = true;
	worker_free(l->worker);          /* waits for the batch that is under way; its done may not have come */
	if (l->busy)
		finish_requests(l);
	while (l->waiting) {
		l->batch = l->waiting;
		l->waiting = NULL;
		l->waiting_end = &l->waiting;
		l->clean_now = false;
		l->loaded = true;
		work(l);
		finish_requests(l);
	}
	loop_timer_free(l->clean);
	ledger_store_close(l->store);
	mem_free(l->folder);
	mem_free(l);
}
