/* DMARC outcomes in the queue process: gathered, counted, and a day's reports mailed. The store is a file, and a report takes long to write, so a worker has both, one turn
 * after another: it counts what has come meanwhile, makes one report if one is wanted, and syncs if that is. The loop posts what was made. Owned by the queue. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/house.h"
#include "base/log.h"
#include "base/mail_path.h"
#include "base/mem.h"
#include "queue/feedback.h"
#include "queue/queue_inside.h"

enum { DAY_S = 86400, TURN_MS = 20, GATHER_MS = 500, ORGANISATIONS = 4096, MAX_FOR_ORGANISATION = 100, MAX_GATHERED = 16 << 20 };

/* One message's outcome, as it came. */
struct gathered {
	struct gathered *next;
	int64_t day;
	size_t n;
	char record[];
};

/* porterctl waits for an answer. */
struct asked {
	struct asked *next;
	uint64_t question;
	unsigned posted;
	bool over;                               /* all is made; the store is to be synced, and the mails are on their way */
};

struct feedback_reports {
	struct queue *queue;
	struct loop_timer *timer;
	struct gathered *gathered, **gathered_end;
	size_t gathered_bytes, posting;          /* posting: mails on their way into the spool */
	struct asked *asked;
	int64_t done_day;                        /* the round of this day was begun */
	bool busy, stopped, wants_sync, dirty, overflow, told_full;
	bool due;                                /* a day's round is under way */
	unsigned dropped;                        /* in this round */

	struct feedback_store *store;            /* the worker's, from here on, while it is busy. NULL: it can't be opened */
	struct gathered *counting;
	char *name, *postmaster;
	int64_t until_day;                       /* 0: no report is wanted */
	bool for_asked, sync, found;             /* found: there were rows */
	int count_error;
	char failed_domain[256];
	struct feedback_made made;
	uint16_t by_organisation[ORGANISATIONS]; /* reports on this day, by a secret hash */
	struct hash_key key;
};

/* -- in a worker ---------------------------------------------------------------------------------------------------------------- */

static void open_store(struct feedback_reports *r)
{
	char path[4200];
	snprintf(path, sizeof path, "%s/feedback.db", r->queue->setup.spool_path);
	r->store = r->store ? r->store : feedback_store_open(slice_of(path));
}

static void count_all(struct feedback_reports *r)
{
	struct feedback f;
	struct dmarc_report_row row;
	for (struct gathered *o = r->counting, *next; o; o = next) {
		next = o->next;
		int error = feedback_get(slice(o->record, o->n), &row, &f) ? -EPROTO : r->store ? feedback_store_count(r->store, &f, o->day) : -EIO;
		if (error && !r->count_error)
			snprintf(r->failed_domain, sizeof r->failed_domain, "%.*s", SLICE_FMT(f.report.domain));
		r->count_error = r->count_error ? r->count_error : error;
		mem_free(o);
	}
	r->counting = NULL;
}

static bool is_one_too_many(struct feedback_reports *r, struct slice organisation)
{
	uint16_t *n = &r->by_organisation[hash_bytes(&r->key, organisation) % ORGANISATIONS];
	*n += *n <= MAX_FOR_ORGANISATION;
	return *n > MAX_FOR_ORGANISATION;
}

static void make_one(struct feedback_reports *r)
{
	struct feedback_batch b;
	r->found = r->store && feedback_store_take(r->store, r->until_day, &b) == 1;
	if (!r->found)
		return;
	if (!is_one_too_many(r, b.first.organisation))
		feedback_report_make(&(struct feedback_house){ slice_of(r->name), slice_of(r->postmaster) }, &b, &r->made);
	arena_free(&b.mem);
}

static void work(void *arg)
{
	struct feedback_reports *r = arg;
	open_store(r);
	count_all(r);
	if (r->until_day)
		make_one(r);
	if (r->sync && r->store)
		feedback_store_sync(r->store);
}

/* -- what was made --------------------------------------------------------------------------------------------------------------- */

static void answer_asked(struct feedback_reports *r);

static void posted(void *arg, int error)
{
	struct feedback_reports *r = arg;
	(void)error; /* told already */
	r->posting--;
	answer_asked(r);
}

static void post(struct feedback_reports *r, struct feedback_mail *m)
{
	struct queue *q = r->queue;
	struct arena mem = ARENA_INIT(1 << 20);
	int64_t now_s = clock_wall_s();
	struct envelope_recipient recipient = queue_address(q, slice_of(m->to), &mem);
	struct envelope e = { .id = unique_slice(&m->id), .arrived_s = now_s, .expires_s = now_s + DAY_S, .evidence = { EVIDENCE_LOCAL, SLICE("porter"), SLICE("a DMARC report of ours") },
		              .reverse_path = SLICE(""), .report = true, .client = SLICE("local"), .transaction = unique_slice(&m->id), .sign = true, .recipients = &recipient,
		              .recipient_count = 1 };
	log_event(LOG_INFO, "dmarc-report", LOG_STR("id", e.id), LOG_CSTR("domain", r->made.domain), LOG_CSTR("to", m->to), LOG_UINT("messages", r->made.messages), LOG_END);
	r->posting++;
	queue_post(q, &e, &m->text, posted, r);
	arena_free(&mem);
}

static void post_made(struct feedback_reports *r)
{
	if (!r->made.domain)
		r->dropped++;
	else if (r->made.error)
		log_event(LOG_ERROR, "dmarc-report-failed", LOG_CSTR("domain", r->made.domain), LOG_UINT("messages", r->made.messages), LOG_ERRNO(r->made.error), LOG_END);
	for (size_t i = 0; i < r->made.count; i++)
		post(r, &r->made.mails[i]);
	if (r->asked)
		r->asked->posted += r->made.count > 0;
	feedback_made_free(&r->made);
}

/* -- turns ----------------------------------------------------------------------------------------------------------------------- */

static bool is_asked(const struct feedback_reports *r)
{
	return r->asked && !r->asked->over;
}

static void end_round(struct feedback_reports *r)
{
	if (r->dropped)
		log_event(LOG_WARN, "dmarc-reports-dropped", LOG_UINT("reports", r->dropped), LOG_UINT("most-for-an-organisation", MAX_FOR_ORGANISATION), LOG_END);
	r->dropped = 0;
	r->due = false;
	r->wants_sync = true;
}

/* Their reports lie in the queue, and the store is without them. */
static void answer_asked(struct feedback_reports *r)
{
	struct buf text = BUF_INIT(100);
	struct asked *a = r->asked;
	if (!a || !a->over || r->busy || r->wants_sync || r->posting)
		return;
	r->asked = a->next;
	buf_addf(&text, "{\"reports\":%u}\n", a->posted);
	queue_answer(r->queue, a->question, 0, buf_slice(&text));
	buf_free(&text);
	mem_free(a);
	if (r->asked)
		loop_timer_set(r->timer, 0);
	queue_end(r->queue);
}

static void tell_errors(struct feedback_reports *r)
{
	int error = r->count_error ? r->count_error : r->overflow ? -ENOBUFS : 0;
	if (error && !r->told_full)
		log_event(LOG_WARN, "dmarc-not-counted", LOG_CSTR("domain", r->failed_domain), LOG_ERRNO(error), LOG_END);
	r->told_full |= error != 0; /* one line a day: what is full, strangers fill */
	r->count_error = 0;
	r->overflow = false;
}

static void done(void *arg)
{
	struct feedback_reports *r = arg;
	bool reported = r->until_day != 0, draining = r->queue->draining, over = (reported && !r->found) || (draining && (r->due || is_asked(r)));
	r->busy = false;
	tell_errors(r);
	if (reported && r->found)
		post_made(r);
	if (is_asked(r)) {
		r->asked->over = (over && (r->for_asked || draining)) || r->asked->posted >= FEEDBACK_MAX_AT_ONCE;
		r->wants_sync |= r->asked->over;
	}
	if (over)
		end_round(r);
	if (is_asked(r) || r->due || r->wants_sync)
		loop_timer_set(r->timer, r->asked ? 0 : TURN_MS);
	else if (r->gathered)
		loop_timer_set(r->timer, GATHER_MS);
	mem_free(r->name);
	mem_free(r->postmaster);
	answer_asked(r);
	queue_end(r->queue);
}

static void turn(void *arg)
{
	struct feedback_reports *r = arg;
	struct queue *q = r->queue;
	int64_t today = clock_wall_s() / DAY_S;
	if (r->busy || r->stopped)
		return;
	r->busy = true;
	r->dirty |= r->gathered != NULL;
	r->counting = r->gathered;
	r->gathered = NULL;
	r->gathered_end = &r->gathered;
	r->gathered_bytes = 0;
	r->for_asked = is_asked(r);
	r->until_day = q->draining ? 0 : r->for_asked ? today + 1 : r->due ? today : 0;
	r->sync = r->wants_sync;
	r->wants_sync = false;
	r->name = mem_copy(q->host.p, q->host.n);
	r->postmaster = mem_copy(q->postmaster_text, strlen(q->postmaster_text));
	queue_begin(q);
	worker_add(q->scanner, work, done, r);
}

/* -- what comes -------------------------------------------------------------------------------------------------------------------- */

static bool are_paths(const struct feedback *f)
{
	struct arena mem = ARENA_INIT(16 << 10);
	struct mail_path path;
	const char *why;
	bool good = true;
	for (size_t i = 0; i < f->to_count; i++)
		good &= mail_path_parse_address(f->to[i], &mem, &path, &why) == 0;
	arena_free(&mem);
	return good;
}

int feedback_message(struct peer *p, struct ipc_message *m)
{
	struct feedback f;
	struct dmarc_report_row row;
	struct feedback_reports *r = p->queue->feedback;
	if (m->payload.n > FEEDBACK_MAX_RECORD || feedback_get(m->payload, &row, &f) || !are_paths(&f))
		return -EPROTO;
	if (r->gathered_bytes + m->payload.n > MAX_GATHERED) {
		r->overflow = true;
		return 0;
	}
	struct gathered *o = mem_new(sizeof *o + m->payload.n);
	o->day = clock_wall_s() / DAY_S;
	o->n = m->payload.n;
	memcpy(o->record, m->payload.p, m->payload.n);
	*r->gathered_end = o;
	r->gathered_end = &o->next;
	r->gathered_bytes += m->payload.n;
	if (!r->busy && !loop_timer_is_set(r->timer))
		loop_timer_set(r->timer, GATHER_MS);
	return 0;
}

void feedback_on_minute(struct queue *q)
{
	int64_t today = clock_wall_s() / DAY_S;
	struct feedback_reports *r = q->feedback;
	if (q->draining)
		return;
	r->wants_sync |= r->dirty;
	r->dirty = false;
	if (today != r->done_day && !r->busy) {
		r->done_day = today;
		r->told_full = false;
		memset(r->by_organisation, 0, sizeof r->by_organisation);
		r->due = true;
	}
	if (r->due || r->wants_sync)
		loop_timer_set(r->timer, TURN_MS);
}

int feedback_send_now(struct queue *q, uint64_t question)
{
	struct feedback_reports *r = q->feedback;
	struct asked *a = MEM_NEW(struct asked), **at = &r->asked;
	*a = (struct asked){ .question = question };
	while (*at)
		at = &(*at)->next;
	*at = a;
	queue_begin(q);
	loop_timer_set(r->timer, 0);
	return HOUSE_LATER;
}

/* -- begin and end ----------------------------------------------------------------------------------------------------------------- */

void feedback_begin(struct queue *q)
{
	struct feedback_reports *r = q->feedback = MEM_NEW(struct feedback_reports);
	r->queue = q;
	r->timer = loop_timer_new(q->loop, turn, r);
	r->gathered_end = &r->gathered;
	r->key = hash_key_random();
}

void feedback_stop(struct queue *q)
{
	if (q->feedback)
		q->feedback->stopped = true;
}

/* What has come since the last turn is counted; closing the store syncs it. */
void feedback_free(struct queue *q)
{
	struct feedback_reports *r = q->feedback;
	if (!r)
		return;
	r->counting = r->gathered;
	if (r->counting || r->store)
		open_store(r);
	count_all(r);
	feedback_store_close(r->store);
	for (struct asked *a = r->asked, *next; a; a = next) {
		next = a->next;
		mem_free(a);
	}
	loop_timer_free(r->timer);
	mem_free(r);
	q->feedback = NULL;
}
