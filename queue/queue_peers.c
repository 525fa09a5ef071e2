/* Who talks with the queue: peers come and go, hand in, ask the ledger and the gate, and are told what they must know. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/feedback.h"
#include "queue/flight.h"
#include "queue/own_mail.h"
#include "queue/queue_inside.h"
#include "queue/queue_settings.h"

enum { MAX_STATUS = 8 << 10, MAX_RECORD = 2 << 20 };

/* -- peers --------------------------------------------------------------------------------------------------------------------------------- */

void peer_send(struct peer *p, uint16_t type, uint64_t id, struct buf *record, int fd)
{
	if (p->ipc)
		ipc_send(p->ipc, type, id, buf_slice(record), fd);
	buf_free(record);
}

void peer_send_status(struct peer *p, uint16_t type, uint64_t id, struct mail_status s)
{
	struct buf record = BUF_INIT(MAX_STATUS);
	queue_put_status(&record, &s);
	peer_send(p, type, id, &record, -1);
}

void queue_peer_free(struct peer *p)
{
	ipc_free(p->ipc);
	index_free(&p->transactions);
	mem_free(p->pending_bits);
	mem_free(p);
}

void peer_release(struct peer *p)
{
	struct queue *q = p->queue;
	p->open--;
	if (p->open || p->ipc)
		return;
	struct peer **at = &q->peers;
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	queue_peer_free(p);
	queue_look_idle(q);
}

/* Jobs of one place go to the same process, where its connections are. */
struct ipc *queue_channel(struct queue *q, bool mailbox, struct slice place)
{
	struct ipc *all[64];
	size_t count = 0;
	for (struct peer *p = q->peers; p && count < 64; p = p->next)
		if (p->ipc && p->kind == (mailbox ? PEER_MAILBOX : PEER_DELIVERY))
			all[count++] = p->ipc;
	return count ? all[hash_bytes(&q->key, place) % count] : NULL;
}

static void on_close(void *arg, struct ipc *which)
{
	struct peer *p = arg;
	p->open++;
	attempt_channel_gone(p->queue, which);
	p->ipc = NULL;
	ipc_free(which);
	hints_peer_gone(p);
	intake_peer_gone(p);
	peer_release(p);
}

/* -- questions for the ledger, and the gate ---------------------------------------------------------------------------------------------------- */

struct asking {
	struct peer *peer;
	uint64_t id;
	uint16_t answer;
	bool to_ours;
	char *to;
};

static void asking_free(struct asking *a)
{
	struct peer *p = a->peer;
	mem_free(a->to);
	mem_free(a);
	peer_release(p);
}

static void on_answer(void *arg, struct buf *answer)
{
	struct asking *a = arg;
	if (a->peer->ipc)
		ipc_send(a->peer->ipc, a->answer, a->id, buf_slice(answer), -1);
	asking_free(a);
}

static struct asking *asking_new(struct peer *p, uint64_t id, uint16_t answer)
{
	struct asking *a = MEM_NEW(struct asking);
	*a = (struct asking){ .peer = p, .id = id, .answer = answer };
	p->open++;
	return a;
}

static int pass_on(struct peer *p, const struct ipc_message *m, uint16_t answer)
{
	if (!answer)
		return ledger_ask(p->queue->ledger, m->type, m->payload, NULL, NULL);
	struct asking *a = asking_new(p, m->id, answer);
	int error = ledger_ask(p->queue->ledger, m->type, m->payload, on_answer, a);
	if (error)
		asking_free(a);
	return error;
}

static int on_note(struct peer *p, const struct ipc_message *m)
{
	enum ledger_note_kind kind;
	int error = hints_noted(p, m->payload, &kind);
	return error ? error : pass_on(p, m, kind == LEDGER_NOTE_SOON ? 0 : LEDGER_NOTED);
}

/* What the dead had under way is not in the ledger yet: in doubt it is said to come again. */
static int on_look(struct peer *p, const struct ipc_message *m)
{
	if (!p->queue->unclaimed)
		return pass_on(p, m, LEDGER_LOOKED);
	struct buf record = BUF_INIT(MAX_STATUS);
	ledger_put_looked(&record, &(struct ledger_looked){ UNSURE, LEDGER_NOTHING });
	peer_send(p, LEDGER_LOOKED, m->id, &record, -1);
	return 0;
}

/* What it has left in queue/flight, since the process before us died on it, is known before it asks. */
static int on_owner(struct peer *p, const struct ipc_message *m)
{
	int error = queue_get_owner(m->payload, &p->owner);
	if (!error)
		reclaim_of(p->queue, FLIGHT_LEFT);
	return error;
}

static void gated(struct peer *p, uint64_t id, struct slice to, bool to_ours, enum answer seen)
{
	struct queue *q = p->queue;
	struct report_facts f = {
		.kind = REPORT_INNER, .evidence = { .grade = seen == FOUND ? EVIDENCE_SPF : EVIDENCE_NONE }, .to = to, .to_ours = to_ours,
		.mode_none = slice_eq(queue_settings.reports, SLICE("none"))
	};
	if (seen == UNSURE) {
		peer_send_status(p, QUEUE_GATED, id, MAIL_STATUS_UNSURE("It is not known just now whether this may go out, please try again later"));
		return;
	}
	struct report_verdict v = may_report(q->gate, &f, clock_wall_s());
	q->gate_dirty = true;
	if (!v.allowed)
		log_event(LOG_INFO, "report-withheld", LOG_CSTR("kind", "inner"), LOG_STR("to", to), LOG_CSTR("reason", v.reason), LOG_END);
	peer_send_status(p, QUEUE_GATED, id, v.allowed ? MAIL_STATUS_OK : MAIL_STATUS(MAIL_NEVER, 550, 7, 1, "A report may go only to somebody who wrote to us"));
}

static void on_seen(void *arg, struct buf *answer)
{
	struct asking *a = arg;
	enum answer seen = UNSURE;
	queue_get_answer(buf_slice(answer), &seen);
	gated(a->peer, a->id, slice_of(a->to), a->to_ours, seen);
	asking_free(a);
}

static int on_gate(struct peer *p, const struct ipc_message *m)
{
	struct queue_gate g;
	struct buf payload = BUF_INIT(MAX_STATUS);
	if (queue_get_gate(m->payload, &g))
		return -EPROTO;
	if (g.to_ours) {
		gated(p, m->id, g.to, true, ABSENT);
		return 0;
	}
	struct asking *a = asking_new(p, m->id, QUEUE_GATED);
	a->to = mem_copy(g.to.p, g.to.n);
	queue_put_texts(&payload, &g.to, 1);
	int error = ledger_ask(p->queue->ledger, LEDGER_SEEN_LOOK, buf_slice(&payload), on_seen, a);
	buf_free(&payload);
	if (error)
		asking_free(a);
	return error;
}

static int from_asker(struct peer *p, struct ipc_message *m)
{
	switch (m->type) {
	case QUEUE_GATE:
		return on_gate(p, m);
	case QUEUE_SUCCESS:
	case QUEUE_REPLY:
		return told_message(p, m);
	case QUEUE_SEEN:
	case QUEUE_SENT:
	case ASK_NOTE:
		return pass_on(p, m, 0);
	case LEDGER_CLEAR:
		hints_cleared(p);
		return pass_on(p, m, 0);
	case QUEUE_OWNER:
		return on_owner(p, m);
	case QUEUE_FEEDBACK:
		return feedback_message(p, m);
	case QUEUE_SENT_LOOK:
		return pass_on(p, m, QUEUE_SENT_LOOKED);
	case LEDGER_LOOK:
		return on_look(p, m);
	case LEDGER_DECIDE:
		return pass_on(p, m, LEDGER_DECIDED);
	case LEDGER_NOTE:
		return on_note(p, m);
	case ASK_LOOK:
		return pass_on(p, m, ASK_LOOKED);
	default:
		return intake_message(p, m);
	}
}

static int on_message(void *arg, struct ipc *from, struct ipc_message *m)
{
	struct peer *p = arg;
	if (p->kind == PEER_ASKER)
		return from_asker(p, m);
	if (p->kind == PEER_PAGE)
		return m->type == QUEUE_LETTER ? own_mail_letter(p, m) : -EPROTO;
	switch (m->type) {
	case JOB_RESULT:
		return attempt_result(p->queue, from, m);
	case JOB_HOST:
		return attempt_host(p->queue, from, m);
	default: /* delivery asks, too: what next hops said, what it knows late */
		return p->kind == PEER_DELIVERY ? from_asker(p, m) : -EPROTO;
	}
}

static const struct ipc_handler handler = { on_message, on_close };

static void greet(struct peer *p)
{
	struct buf key = BUF_INIT(256), state = BUF_INIT(256), hints = BUF_INIT(2 * LEDGER_HINT_BYTES), vacations = BUF_INIT(MAX_RECORD);
	uint8_t content_key[CRYPTO_MAC_KEY];
	struct ledger_hints h;
	ledger_content_key(p->queue->ledger, content_key);
	ledger_put_key(&key, content_key);
	mem_wipe(content_key, sizeof content_key);
	peer_send(p, LEDGER_KEY, 0, &key, -1);
	queue_put_state(&state, &p->queue->state);
	peer_send(p, QUEUE_STATE, 0, &state, -1);
	ledger_hints(p->queue->ledger, &h);
	if (h.known) {
		queue_put_hints(&hints, &h);
		peer_send(p, QUEUE_HINTS, 0, &hints, -1);
	}
	reclaim_greet(p);
	vacation_put_list(p->queue, &vacations);
	peer_send(p, QUEUE_VACATIONS, 0, &vacations, -1);
}

void queue_add_peer(struct queue *q, struct slice role, int fd)
{
	struct peer *p = MEM_NEW(struct peer);
	p->queue = q;
	p->kind = slice_eq(role, SLICE("delivery")) ? PEER_DELIVERY : slice_eq(role, SLICE("mailbox")) ? PEER_MAILBOX : slice_eq(role, SLICE("web")) ? PEER_PAGE : PEER_ASKER;
	p->next = q->peers;
	q->peers = p;
	p->ipc = ipc_new(q->loop, fd, &handler, p);
	if (p->kind == PEER_ASKER)
		greet(p);
	queue_wake(q);
}

void queue_tell_vacations(struct queue *q)
{
	for (struct peer *p = q->peers; p; p = p->next)
		if (p->kind == PEER_ASKER) {
			struct buf record = BUF_INIT(MAX_RECORD);
			vacation_put_list(q, &record);
			peer_send(p, QUEUE_VACATIONS, 0, &record, -1);
		}
}
