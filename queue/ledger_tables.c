/* The other tables: a name, and when it was noted. Message-IDs that left, senders who were proven, what next hops said, who got an automatic reply. */
#include <errno.h>

#include "base/clock.h"
#include "base/mem.h"
#include "queue/ledger_inside.h"

void ledger_add_time(struct buf *out, int64_t at_s)
{
	for (int shift = 56; shift >= 0; shift -= 8)
		buf_add_byte(out, (char)((uint64_t)at_s >> shift));
}

int64_t ledger_time_of(struct slice value)
{
	uint64_t at = 0;
	for (size_t i = 0; i < LEDGER_TIME && i < value.n; i++)
		at = at << 8 | (unsigned char)value.p[i];
	return (int64_t)at;
}

static int touch(struct ledger *l, enum ledger_table t, struct slice a, struct slice b, struct slice rest)
{
	unsigned char key[LEDGER_NAME];
	struct buf value = BUF_INIT(LEDGER_MAX_VALUE);
	ledger_store_name(l->store, key, a, b, SLICE("table"));
	ledger_add_time(&value, clock_wall_s());
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
	*age_s = clock_wall_s() - ledger_time_of(slice(value, n));
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

static int do_reply(struct ledger *l, struct slice payload, bool take, struct buf *answer)
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
		if (found == ABSENT && take)
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
			out.accept_all = rest.p[4] == 1;
		}
	} else if (found == UNSURE) {
		out.answer = UNSURE;
	}
	ask_put_looked(answer, &out);
	return found == UNSURE ? -EIO : 0;
}

int ledger_do_table(struct ledger *l, struct ledger_request *r)
{
	struct slice payload = slice(r->payload, r->n);
	switch (r->type) {
	case QUEUE_SEEN:
		return do_seen(l, payload);
	case QUEUE_SENT:
		return do_sent(l, payload);
	case QUEUE_SENT_LOOK:
		return do_sent_look(l, payload, &r->answer);
	case LEDGER_SEEN_LOOK:
		return do_seen_look(l, payload, &r->answer);
	case LEDGER_REPLY_LOOK:
	case LEDGER_REPLY_TAKE:
		return do_reply(l, payload, r->type == LEDGER_REPLY_TAKE, &r->answer);
	case ASK_NOTE:
		return do_ask_note(l, payload);
	case ASK_LOOK:
		return do_ask_look(l, payload, &r->answer);
	}
	return -EPROTO;
}
