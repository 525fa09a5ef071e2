/* What those who ask must know of the ledger: which pairs of reverse-path and leaf may have an entry. A bit is told before its entry is written. What an asker still
 * has in hand is told to nobody as long as it lives; when its channel is lost, that may stand open, and what it had in queue/flight (reclaim.c). */
#include <string.h>

#include "base/mem.h"
#include "queue/queue_inside.h"

enum { MAX_RECORD = 2 << 20 };

void hints_spread(struct queue *q, uint32_t bit)
{
	if (!ledger_hint_add(q->ledger, bit))
		return;
	for (struct peer *p = q->peers; p; p = p->next) {
		struct buf record = BUF_INIT(64);
		queue_put_hint(&record, bit);
		if (p->kind == PEER_ASKER)
			peer_send(p, QUEUE_HINT, 0, &record, -1);
		else
			buf_free(&record);
	}
}

void hints_tell(struct queue *q)
{
	struct ledger_hints h;
	ledger_hints(q->ledger, &h);
	if (!h.known || (q->hints.known && memcmp(&h, &q->hints, sizeof h) == 0))
		return;
	q->hints = h;
	for (struct peer *p = q->peers; p; p = p->next)
		if (p->kind == PEER_ASKER) {
			struct buf record = BUF_INIT(2 * LEDGER_HINT_BYTES);
			queue_put_hints(&record, &h);
			peer_send(p, QUEUE_HINTS, 0, &record, -1);
		}
}

static void keep_pending(struct peer *p, uint32_t bit)
{
	if (!p->pending_bits)
		p->pending_bits = mem_new(LEDGER_HINT_BYTES);
	p->pending_bits[bit / 8] |= (uint8_t)(1u << bit % 8);
}

/* Also while the ledger is being read, whose pass may be past it. */
int hints_noted(struct peer *p, struct slice payload, enum ledger_note_kind *kind)
{
	struct arena mem = ARENA_INIT(MAX_RECORD);
	struct ledger_note note;
	struct ledger_hints hints;
	int error = ledger_get_note(payload, &mem, &note);
	ledger_hints(p->queue->ledger, &hints);
	for (size_t i = 0; error == 0 && i < note.count; i++) {
		uint32_t bit = ledger_hint_bit(&hints.key, note.source.reverse_path, note.entries[i].leaf);
		if (note.kind == LEDGER_NOTE_PENDING)
			keep_pending(p, bit);
		else
			hints_spread(p->queue, bit);
	}
	if (!error) {
		p->pending += note.kind == LEDGER_NOTE_PENDING;
		*kind = note.kind;
	}
	arena_free(&mem);
	return error;
}

void hints_cleared(struct peer *p)
{
	if (p->pending && --p->pending == 0)
		memset(p->pending_bits, 0, LEDGER_HINT_BYTES);
}

/* Bits of what was cleared since cost a question each, until the ledger's next pass. */
void hints_peer_gone(struct peer *p)
{
	for (uint32_t bit = 0; p->pending && bit < LEDGER_HINT_BYTES * 8; bit++)
		if (p->pending_bits[bit / 8] & 1u << bit % 8)
			ledger_hint_add(p->queue->ledger, bit);
	if (p->pending)
		hints_tell(p->queue);
	p->pending = 0;
	if (p->owner)
		reclaim_of(p->queue, p->owner);
}
