/* The names of sent mail, on their way to the ledger. */
#include "queue/sent.h"

#include "queue/queue_inside.h"

enum { MAX_NAME = 2048 };

void sent_name(struct buf *out, struct slice message_id, struct slice transaction, struct slice host)
{
	struct slice id = slice_skip(message_id, slice_find(message_id, '<'));
	size_t end = slice_find(id, '>');
	if (end < id.n && end > 1)
		buf_add(out, slice_head(id, end + 1));
	else if (transaction.n)
		buf_addf(out, "<%.*s@%.*s>", SLICE_FMT(transaction), SLICE_FMT(host));
}

void sent_note(struct queue *q, const struct envelope *e)
{
	struct buf payload = BUF_INIT(MAX_NAME + 64), name = BUF_INIT(MAX_NAME);
	sent_name(&name, e->message_id, e->transaction, q->host);
	struct slice id = buf_slice(&name);
	if (id.n && !buf_full(&name) && queue_put_texts(&payload, &id, 1) == 0)
		ledger_ask(q->ledger, QUEUE_SENT, buf_slice(&payload), NULL, NULL);
	buf_free(&payload);
	buf_free(&name);
}
