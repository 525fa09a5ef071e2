/* porterctl's questions to the running queue: what it is doing, and acts on messages by id. Looking at messages is not asked here: porterctl reads the spool itself, so that a
 * million of them never stop the loop. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/house.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "queue/feedback.h"
#include "queue/queue_inside.h"
#include "queue/report_gate.h"

enum { MAX_ACTS = 20000 /* being written: whoever asks for more waits */, MAX_ANSWER = 200 };

/* Status -------------------------------------------------------------------------------------------------------------------------------- */

static bool add_paused(void *arg, struct slice place)
{
	struct buf *out = arg;
	if (out->p[out->n - 1] != '[')
		buf_add_byte(out, ',');
	text_add_json(out, place);
	return true;
}

static int status(struct queue *q, struct buf *out)
{
	struct schedule_counts c;
	struct ledger_counts l;
	uint64_t withheld = 0;
	schedule_count(q->schedule, &c);
	ledger_count(q->ledger, &l);
	for (size_t k = 0; k < REPORT_KINDS; k++)
		withheld += report_gate_counts(q->gate)->withheld[k];
	buf_addf(out, "{\"messages\":%zu,\"recipients\":%zu,\"out\":%zu,\"ready\":%zu,\"held\":%zu,\"places\":%zu,\"senders\":%zu,\"scanned\":%s,", c.messages, c.recipients, c.out,
	         c.ready, c.held, c.places, c.senders, queue_is_scanned(q) ? "true" : "false");
	buf_addf(out, "\"taken\":%llu,\"done\":%llu,\"failed\":%llu,\"later\":%llu,\"reports\":%llu,\"withheld\":%llu,\"dead\":%llu,\"damaged\":%llu,\"dropped_in\":%llu,",
	         (unsigned long long)q->counts.taken, (unsigned long long)q->counts.done, (unsigned long long)q->counts.failed, (unsigned long long)q->counts.later,
	         (unsigned long long)q->counts.reports, (unsigned long long)withheld, (unsigned long long)q->counts.dead, (unsigned long long)q->counts.damaged,
	         (unsigned long long)q->counts.dropped_in);
	buf_addf(out,
	         "\"free_bytes\":%llu,\"read_only\":%s,\"full\":%s,\"clock_doubt_s\":%llu,"
	         "\"ledger\":{\"outcomes\":%llu,\"sent\":%llu,\"seen\":%llu,\"asked\":%llu,\"begun_anew\":%llu,\"since\":%lld},\"paused\":[",
	         (unsigned long long)q->state.free_bytes, q->state.read_only ? "true" : "false", q->state.full ? "true" : "false",
	         queue_believes_clock(q) ? 0 : (unsigned long long)clock_watch_doubt_s(&q->clock), (unsigned long long)l.outcomes,
	         (unsigned long long)l.sent, (unsigned long long)l.seen, (unsigned long long)l.asked, (unsigned long long)l.begun_anew, (long long)l.since_s);
	schedule_each_paused(q->schedule, add_paused, out);
	buf_add_cstr(out, "]}");
	return 0;
}

/* Acts ----------------------------------------------------------------------------------------------------------------------------------- */

enum act { ACT_RETRY, ACT_HOLD, ACT_RELEASE, ACT_REMOVE, ACT_BOUNCE, ACT_REROUTE };

/* One question. */
struct acts {
	struct queue *queue;
	uint64_t question;
	size_t done, left, open;
};

static void print_acts(struct buf *out, const struct acts *all, bool busy)
{
	buf_addf(out, "{\"done\":%zu,\"left\":%zu,\"busy\":%s}\n", all->done, all->left, busy ? "true" : "false");
}

static void act_over(struct acts *all, bool good)
{
	struct buf text = BUF_INIT(MAX_ANSWER);
	*(good ? &all->done : &all->left) += 1;
	if (--all->open)
		return;
	print_acts(&text, all, false);
	queue_answer(all->queue, all->question, 0, buf_slice(&text));
	buf_free(&text);
	mem_free(all);
}

struct acting {
	struct acts *whole;
	char id[SPOOL_ID_MAX + 1];
	struct spool_append append;
};

static void on_written(struct spool_append *s)
{
	struct acting *a = (struct acting *)((char *)s - offsetof(struct acting, append));
	struct queue *q = a->whole->queue;
	if (s->job.error)
		queue_alert(q, "an act on the message %s can't be written: %s", a->id, strerror(-s->job.error));
	q->acts--;
	queue_take_anew(q, a->id); /* also then: it may stand there all the same */
	act_over(a->whole, !s->job.error);
	buf_free(&s->records);
	mem_free(a);
	queue_end(q);
}

static void write_event(struct acts *all, struct slice id, const struct event *e)
{
	struct acting *a = MEM_NEW(struct acting);
	struct queue *q = all->queue;
	a->whole = all;
	all->open++;
	memcpy(a->id, id.p, id.n);
	memcpy(a->append.id, id.p, id.n);
	a->append.done = on_written;
	buf_init(&a->append.records, SPOOL_JOURNAL_MAX);
	event_put(&a->append.records, e);
	q->acts++;
	queue_begin(q);
	spool_append(q->spool, &a->append, true);
}

void queue_retry(struct queue *q, struct message *m)
{
	m->hurry = m->rereading;
	for (struct item *i = message_items(m); i; i = i->next)
		if (i->state == ITEM_WAITING)
			schedule_retry(q->schedule, i, 0);
	queue_wake(q);
}

struct removing {
	struct acts *whole;
	struct message *message;
	struct spool_gone gone;
};

static void on_removed(struct spool_gone *g)
{
	struct removing *r = (struct removing *)((char *)g - offsetof(struct removing, gone));
	struct queue *q = r->whole->queue;
	if (g->job.error) {
		queue_alert(q, "the message %s can't be removed: %s", g->id, strerror(-g->job.error));
		r->message->gone = false;
		queue_take_anew(q, g->id);
	} else {
		log_event(LOG_INFO, "removed", LOG_CSTR("id", g->id), LOG_CSTR("by", "postmaster"), LOG_END);
		scan_forget(q, r->message);
	}
	q->acts--;
	act_over(r->whole, !g->job.error);
	mem_free(r);
	queue_end(q);
}

/* Nobody tries it from here on; its name goes with the next sync, so that a power cut doesn't bring it back. */
static void remove_now(struct acts *all, struct message *m, struct slice id)
{
	struct removing *r = MEM_NEW(struct removing);
	struct queue *q = all->queue;
	r->whole = all;
	all->open++;
	r->message = m;
	memcpy(r->gone.id, id.p, id.n);
	r->gone.done = on_removed;
	m->gone = true;
	while (message_items(m))
		schedule_remove_item(q->schedule, message_items(m));
	q->acts++;
	queue_begin(q);
	spool_forget(q->spool, &r->gone, SPOOL_QUEUE);
}

/* False: not there, or out just now. True: it is done, or counts as open. */
static bool act_on(struct acts *all, enum act act, struct slice id, struct slice place)
{
	struct queue *q = all->queue;
	struct message *m = id.n == SCHEDULE_ID ? schedule_find(q->schedule, id) : NULL;
	struct event e = { .at_s = clock_wall_s(), .recipient = EVENT_ALL_RECIPIENTS, .status = MAIL_STATUS_OK };
	if (!m || m->gone || m->settling)
		return false;
	if (act == ACT_RETRY) {
		queue_retry(q, m);
		all->done++;
		return true;
	}
	if (m->out)
		return false;
	switch (act) {
	case ACT_REMOVE:
		remove_now(all, m, id);
		return true;
	case ACT_HOLD:
	case ACT_RELEASE:
		e.kind = act == ACT_HOLD ? EVENT_HOLD : EVENT_RELEASE;
		break;
	case ACT_BOUNCE:
		e.kind = EVENT_FAILED;
		e.status = MAIL_STATUS(MAIL_NEVER, 550, 7, 0, "Given up by the postmaster");
		break;
	case ACT_REROUTE:
		e.kind = EVENT_REROUTE;
		e.status.text = place;
		break;
	case ACT_RETRY:
		return false;
	}
	if (act == ACT_HOLD)
		schedule_hold(q->schedule, m, true); /* nothing is tried while it is being written */
	write_event(all, id, &e);
	return true;
}

/* A word holds many ids, with spaces between them. Answered when what was done is on disk. */
static int acts(struct queue *q, uint64_t question, enum act act, const struct slice *words, size_t count, struct buf *answer)
{
	struct slice place = act == ACT_REROUTE && count ? words[0] : SLICE("");
	struct acts *all = MEM_NEW(struct acts);
	bool busy = act != ACT_RETRY && q->acts >= MAX_ACTS;
	*all = (struct acts){ .queue = q, .question = question };
	for (size_t i = act == ACT_REROUTE; i < count && !busy; i++)
		for (struct slice rest = words[i]; rest.n;)
			all->left += !act_on(all, act, slice_cut(rest, ' ', &rest), place);
	if (all->open)
		return HOUSE_LATER;
	print_acts(answer, all, busy);
	mem_free(all);
	return 0;
}

int queue_question(struct queue *q, uint64_t question, const struct slice *words, size_t count, struct buf *answer)
{
	static const struct {
		struct slice word;
		enum act act;
	} all[] = { { SLICE_INIT("retry"), ACT_RETRY }, { SLICE_INIT("hold"), ACT_HOLD }, { SLICE_INIT("release"), ACT_RELEASE }, { SLICE_INIT("remove"), ACT_REMOVE },
		    { SLICE_INIT("bounce"), ACT_BOUNCE }, { SLICE_INIT("reroute"), ACT_REROUTE } };
	if (count == 1 && slice_eq(words[0], SLICE("status")))
		return status(q, answer);
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (slice_eq(words[0], all[i].word))
			return acts(q, question, all[i].act, words + 1, count - 1, answer);
	if (slice_eq(words[0], SLICE("dead-release")) || slice_eq(words[0], SLICE("dead-drop")))
		return dead_act(q, question, slice_eq(words[0], SLICE("dead-release")), words + 1, count - 1, answer);
	if (count == 2 && (slice_eq(words[0], SLICE("pause")) || slice_eq(words[0], SLICE("resume"))))
		return paused_set(q, question, slice_eq(words[0], SLICE("pause")), words[1]);
	if (count == 1 && slice_eq(words[0], SLICE("paused"))) {
		paused_list(q, answer);
		return 0;
	}
	if (slice_eq(words[0], SLICE("survey")))
		return queue_survey(q, words + 1, count - 1, answer);
	if (count == 1 && slice_eq(words[0], SLICE("drop"))) {
		drop_scan(q);
		return 0;
	}
	if (count == 1 && slice_eq(words[0], SLICE("digest"))) {
		dead_letter_digest(q);
		return 0;
	}
	if (count == 1 && slice_eq(words[0], SLICE("send-reports")))
		return feedback_send_now(q, question);
	return -ENOSYS;
}
