/* The queue process: what connects the parts. */
#include "queue/queue.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mail_path.h"
#include "base/mem.h"
#include "maps/resolve.h"
#include "queue/dead_letter.h"
#include "queue/feedback.h"
#include "queue/queue_inside.h"
#include "queue/queue_settings.h"

enum { READERS = 2 };

/* -- small things for all ----------------------------------------------------------------------------------------------------------------- */

void queue_alert(struct queue *q, const char *format, ...)
{
	char text[512];
	va_list args;
	va_start(args, format);
	int n = vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (q->setup.alert)
		q->setup.alert(q->setup.arg, slice(text, n < 0 ? 0 : n < (int)sizeof text ? (size_t)n : sizeof text - 1));
}

void queue_answer(struct queue *q, uint64_t question, int code, struct slice text)
{
	if (q->setup.answer)
		q->setup.answer(q->setup.arg, question, code, text);
}

struct leaving {
	struct queue *queue;
	const char *why;
	struct spool_gone gone;
};

static void set_aside(struct spool_gone *g)
{
	struct leaving *l = (struct leaving *)((char *)g - offsetof(struct leaving, gone));
	struct queue *q = l->queue;
	if (g->job.error)
		log_event(LOG_ERROR, "queue-aside-failed", LOG_CSTR("id", g->id), LOG_CSTR("why", l->why), LOG_ERRNO(g->job.error), LOG_END);
	q->counts.damaged++;
	queue_alert(q, "Message %s was set aside: %s", g->id, l->why);
	mem_free(l);
	queue_end(q);
}

/* The schedule forgets it at once, so nobody else asks for its file. */
void queue_set_aside(struct queue *q, const char *id, const char *why)
{
	struct leaving *l = MEM_NEW(struct leaving);
	*l = (struct leaving){ .queue = q, .why = why ? why : "damaged", .gone.done = set_aside };
	snprintf(l->gone.id, sizeof l->gone.id, "%s", id);
	queue_begin(q);
	spool_bring(q->spool, &l->gone, SPOOL_QUEUE, SPOOL_ASIDE);
}

int64_t queue_expiry(int64_t from_s)
{
	return from_s + (int64_t)queue_settings.lifetime_s;
}

/* Those that hand in have gone, and nothing is on its way. Delivery and mailbox are not waited for: they wait for us. */
void queue_look_idle(struct queue *q)
{
	const struct peer *p = q->peers;
	while (p && (p->kind != PEER_ASKER || q->stopping))
		p = p->next;
	if (q->draining && q->under_way == 0 && !p && q->setup.on_idle && rolls_end(q))
		q->setup.on_idle(q->setup.arg);
}

void queue_begin(struct queue *q)
{
	q->under_way++;
}

void queue_end(struct queue *q)
{
	q->under_way--;
	queue_look_idle(q);
}

/* -- taking what is due -------------------------------------------------------------------------------------------------------------------- */

static void dispatch(void *arg)
{
	struct queue *q = arg;
	struct item *i;
	struct schedule_counts c;
	int64_t now = clock_wall_s();
	q->dispatching = false;
	if (q->draining || (!queue_channel(q, false, SLICE_NONE) && !queue_channel(q, true, SLICE_NONE)))
		return;
	while ((i = schedule_take(q->schedule, now)))
		attempt_start(q, i);
	schedule_count(q->schedule, &c);
	int64_t next = schedule_next_s(q->schedule), wait = next - now;
	if (wait <= 0 && c.out < queue_settings.jobs)
		queue_wake(q);              /* more is due than one round looks at */
	else
		loop_timer_set(q->timer, (uint64_t)(wait < 1 ? 1 : wait > 60 ? 60 : wait) * 1000);
}

void queue_wake(struct queue *q)
{
	if (q->dispatching)
		return;
	q->dispatching = true;
	loop_timer_set(q->timer, 0);
}

static void on_timer(void *arg)
{
	dispatch(arg);
}

/* -- maps ----------------------------------------------------------------------------------------------------------------------------------------- */

/* "postmaster" of the first mailbox domain, as <postmaster> means it. */
void queue_find_postmaster(struct queue *q)
{
	struct arena mem = ARENA_INIT(1 << 20);
	struct slice domain = q->host, name = q->setup.postmaster;
	struct mail_path path = { .local_part = SLICE("postmaster") };
	struct resolved r = { .count = 0 };
	struct buf address = BUF_INIT(1024);
	if (q->maps)
		resolve_path(q->maps, &path, false, &mem, &r);
	if (r.count)
		domain = r.leaves[0].domain;
	buf_add(&address, name.n ? name : SLICE("postmaster"));
	if (slice_find(name, '@') == name.n)
		buf_addf(&address, "@%.*s", SLICE_FMT(domain));
	mem_free(q->postmaster_text);
	q->postmaster_text = mem_copy(address.p, address.n);
	buf_free(&address);
	arena_free(&mem);
}

void queue_maps(struct queue *q, uint64_t generation)
{
	struct arena mem = ARENA_INIT(1 << 20);
	struct map_set *set = NULL;
	const char *why = "";
	if (!q->maps_directory || !generation)
		return;
	int error = map_set_open(q->maps_directory, "", generation, &mem, &set, &why);
	if (error) {
		log_event(LOG_ERROR, "maps-refused", LOG_UINT("generation", generation), LOG_CSTR("why", why), LOG_ERRNO(error), LOG_END);
	} else {
		map_set_close(q->maps);
		q->maps = set;
		queue_find_postmaster(q);
	}
	arena_free(&mem);
}

/* -- the whole ------------------------------------------------------------------------------------------------------------------------------------- */

static void on_alert(void *arg, struct slice text)
{
	queue_alert(arg, "%.*s", SLICE_FMT(text));
}

static int open_ledger(struct queue *q, const char *path)
{
	struct ledger_limits limits = {
		.entries = queue_settings.ledger_entries, .outcome_s = queue_settings.ledger_s, .sent_s = queue_settings.sent_s, .seen_s = queue_settings.seen_s,
		.ask_s = 7 * 86400, .ask_refused_s = 600, .lost_s = 6 * 3600
	};
	char folder[4096];
	snprintf(folder, sizeof folder, "%s/ledger", path);
	return ledger_open(q->loop, folder, &limits, on_alert, q, &q->ledger);
}

static int open_spool(struct queue *q, const char *path)
{
	int copy = -1;
	int error = file_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0, &q->setup.spool);
	error = error ? error : file_dup(q->setup.spool, &copy);
	error = error ? error : spool_open(q->loop, copy, &q->spool);
	return error ? error : open_ledger(q, path);
}

int queue_new(struct loop *l, const struct queue_setup *setup, struct queue **out)
{
	struct queue *q = MEM_NEW(struct queue);
	q->loop = l;
	q->setup = *setup;
	q->setup.spool = -1;
	int error = open_spool(q, setup->spool_path);
	if (error) {
		queue_free(q);
		return error;
	}
	q->host_text = mem_copy(setup->host.p, setup->host.n);
	q->host = slice_of(q->host_text);
	q->maps_directory = setup->maps_directory ? mem_copy(setup->maps_directory, strlen(setup->maps_directory)) : NULL;
	q->key = hash_key_random();
	q->schedule = schedule_new(&(struct schedule_limits){ (uint32_t)queue_settings.jobs, (uint16_t)queue_settings.place_jobs });
	q->gate = report_gate_new(queue_settings.report_rate);
	q->attacks = setup->attacks;
	report_gate_account(q->gate, setup->attacks);
	queue_load_gate(q);
	paused_load(q);
	q->files = worker_new(l, READERS, "queue-files");
	q->timer = loop_timer_new(l, on_timer, q);
	q->second = loop_timer_new(l, queue_on_second, q);
	clock_watch_begin(&q->clock);
	queue_read_clock(q);
	dead_letter_start(q);
	queue_find_postmaster(q);
	drop_prepare(q);
	feedback_begin(q);
	queue_look_at_disk(q);
	q->looked.clock_doubt = !clock_watch_believes(&q->clock);
	q->state = q->told_state = q->looked;
	loop_timer_set(q->second, 1);
	rolls_open(q);
	reclaim_begin(q);
	scan_start(q);
	*out = q;
	return 0;
}

void queue_drain(struct queue *q)
{
	q->draining = true;
	queue_look_idle(q);
}

void queue_stop(struct queue *q)
{
	q->stopping = true;
	queue_drain(q);
}

void queue_free(struct queue *q)
{
	if (!q)
		return;
	q->draining = true;
	q->setup.on_idle = NULL;
	rolls_stop(q);
	feedback_stop(q);
	atomic_store(&q->scan_ends, true);
	worker_free(q->scanner);
	worker_free(q->files);
	queue_save_gate(q);
	if (q->ledger)
		ledger_close(q->ledger);
	if (q->spool)
		spool_close(q->spool);
	feedback_free(q);
	loop_timer_free(q->timer);
	loop_timer_free(q->second);
	attempt_forget_all(q);
	for (struct peer *p = q->peers, *next; p; p = next) {
		next = p->next;
		queue_peer_free(p);
	}
	scan_free(q);
	rolls_free(q);
	if (q->schedule)
		schedule_free(q->schedule);
	if (q->gate)
		report_gate_free(q->gate);
	vacation_free(q);
	drop_free(q);
	paused_free(q);
	map_set_close(q->maps);
	file_close(&q->setup.spool);
	mem_free(q->host_text);
	mem_free(q->postmaster_text);
	mem_free(q->maps_directory);
	mem_free(q);
}
