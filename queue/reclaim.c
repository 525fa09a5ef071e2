/* What askers had in queue/flight when they died, or have left there: it goes into the ledger, where a retry is decided by it. What was for the queue counts once
 * its slot is marked; where an earlier process of ours died between a message's name and the mark, its file is in the spool when we start, before anything leaves
 * it. Until all who live have said who they are, nobody is told that nothing is known of a recipient whom a slot names. */
#include <errno.h>

#include "base/log.h"
#include "base/mem.h"
#include "queue/flight.h"
#include "queue/queue_inside.h"

enum { MAX_RECORD = 2 << 20, TOLD_S = 2 /* by then who lives has told */ };

struct reclaiming {
	struct queue *queue;
	uint32_t owner;                /* FLIGHT_LEFT; 0: all who have not said who they are */
	size_t slots;
};

static uint32_t bit_of(struct queue *q, const struct ledger_note *note, size_t i)
{
	struct ledger_hints h;
	ledger_hints(q->ledger, &h);
	return ledger_hint_bit(&h.key, note->source.reverse_path, note->entries[i].leaf);
}

/* Those entries that count go into the ledger. */
static void note_those(struct queue *q, const struct ledger_note *note, bool (*counts)(struct queue *q, const struct ledger_entry *e))
{
	struct ledger_note kept = { note->source, LEDGER_NOTE_SOON, mem_new_array(note->count, sizeof *kept.entries), 0 };
	struct buf record = BUF_INIT(MAX_RECORD);
	for (size_t i = 0; i < note->count; i++)
		if (counts(q, &note->entries[i])) {
			kept.entries[kept.count] = note->entries[i];
			if (note->entries[i].fate == LEDGER_DONE)
				kept.entries[kept.count].name = SLICE("");
			kept.count++;
		}
	if (kept.count && ledger_put_note(&record, &kept) == 0 && ledger_ask(q->ledger, LEDGER_NOTE, buf_slice(&record), NULL, NULL) == 0) {
		for (size_t i = 0; i < kept.count; i++)
			hints_spread(q, bit_of(q, &kept, i));
		log_event(LOG_INFO, "delivery-reclaimed", LOG_STR("from", note->source.reverse_path), LOG_STR("message-id", note->source.message_id), LOG_END);
	}
	buf_free(&record);
	mem_free(kept.entries);
}

/* -- the start ---------------------------------------------------------------------------------------------------------------------------------- */

static bool is_in_spool(struct queue *q, const struct ledger_entry *e)
{
	int error = e->fate == LEDGER_DONE ? spool_sync_message(q->spool, e->name) : -ENOENT;
	if (error && error != -ENOENT)
		log_event(LOG_ERROR, "queue-sync-failed", LOG_STR("id", e->name), LOG_ERRNO(error), LOG_END);
	return !error;
}

static void look_at_start(void *arg, struct slice record, bool marked)
{
	struct reclaiming *r = arg;
	struct arena mem = ARENA_INIT(MAX_RECORD);
	struct ledger_note note;
	r->slots++;
	if (!marked && ledger_get_note(record, &mem, &note) == 0)
		note_those(r->queue, &note, is_in_spool);
	arena_free(&mem);
}

void reclaim_begin(struct queue *q)
{
	struct reclaiming r = { .queue = q };
	flight_reclaim(q->setup.flight, &(struct flight_search){ NULL, look_at_start, &r });
	q->unclaimed = r.slots > 0;
}

static void spread_all(void *arg, struct slice record, bool marked)
{
	struct queue *q = arg;
	struct arena mem = ARENA_INIT(MAX_RECORD);
	struct ledger_note note;
	(void)marked;
	if (ledger_get_note(record, &mem, &note) == 0)
		for (size_t i = 0; i < note.count; i++)
			hints_spread(q, bit_of(q, &note, i));
	arena_free(&mem);
}

/* They are told of all bits that are set by now, and its own old hints may be without them. */
void reclaim_greet(struct peer *p)
{
	struct queue *q = p->queue;
	struct ledger_hints h;
	if (q->unclaimed)
		flight_reclaim(q->setup.flight, &(struct flight_search){ NULL, spread_all, q });
	ledger_hints(q->ledger, &h);
	for (uint32_t bit = 0; !h.known && bit < LEDGER_HINT_BYTES * 8; bit++)
		if (h.bits[bit / 8] & 1u << bit % 8) {
			struct buf record = BUF_INIT(64);
			queue_put_hint(&record, bit);
			peer_send(p, QUEUE_HINT, 0, &record, -1);
		}
}

/* -- the dead, and what was left ---------------------------------------------------------------------------------------------------------------- */

static bool always(struct queue *q, const struct ledger_entry *e)
{
	(void)q, (void)e;
	return true;
}

static bool is_intent(struct queue *q, const struct ledger_entry *e)
{
	(void)q;
	return e->fate != LEDGER_DONE;
}

static void reclaim_one(void *arg, struct slice record, bool marked)
{
	struct reclaiming *r = arg;
	struct arena mem = ARENA_INIT(MAX_RECORD);
	struct ledger_note note;
	if (ledger_get_note(record, &mem, &note) == 0)
		note_those(r->queue, &note, marked ? always : is_intent);
	arena_free(&mem);
}

/* Every asker says who it is as soon as its channel is up. What is still on its way into the queue is looked at when it has arrived. */
static bool is_gone(void *arg, uint32_t owner, uint64_t ticket)
{
	const struct reclaiming *r = arg;
	if (r->owner && owner != r->owner)
		return false;
	for (const struct peer *p = r->queue->peers; p && !r->owner; p = p->next)
		if (p->ipc && p->owner == owner)
			return false;
	return !intake_is_under_way(r->queue, ticket);
}

void reclaim_of(struct queue *q, uint32_t owner)
{
	struct reclaiming r = { .queue = q, .owner = owner };
	flight_reclaim(q->setup.flight, &(struct flight_search){ is_gone, reclaim_one, &r });
}

void reclaim_on_second(struct queue *q)
{
	if (q->seconds != TOLD_S)
		return;
	reclaim_of(q, 0);
	q->unclaimed = false;
}

void reclaim_arrived(struct peer *p, uint64_t ticket)
{
	if (flight_is_left(p->queue->setup.flight, ticket))
		reclaim_of(p->queue, FLIGHT_LEFT);
	else if (!p->ipc && p->owner)
		reclaim_of(p->queue, p->owner);
}
