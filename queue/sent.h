#ifndef QUEUE_SENT_H
#define QUEUE_SENT_H
#include "base/buf.h"
#include "base/slice.h"

/* What leaves is noted in the ledger of sent mail, by the name that a report on it will have: its Message-ID, without what may stand beside that; else our own trace field's
 * (smtpd/returns_ids). smtpd tells what it passes through (QUEUE_SENT), the queue notes what it takes in. */
void sent_name(struct buf *out, struct slice message_id, struct slice transaction, struct slice host); /* nothing: it has none */

struct queue;
struct envelope;
void sent_note(struct queue *q, const struct envelope *e);
#endif
