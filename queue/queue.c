/* The queue process: its peers, its clock, its disk, and what connects the parts. */
#include "queue/queue.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mail_path.h"
#include "base/mem.h"
#include "maps/resolve.h"
#include "queue/feedback.h"
#include "queue/queue_inside.h"
#include "queue/own_mail.h"
#include "queue/queue_settings.h"

enum { SECOND_MS = 1000, MAX_STATUS = 8 << 10, MAX_RECORD = 2 << 20, READERS = 2, STATE_STEP = 1 << 20, LEAP_MS = 5 * 60 * 1000, DOUBT_MS = 3600 * 1000,
	GATE_MAX = 4 << 20, MAX_TOLD = 1 << 20 };

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

void queue_set_aside(struct queue *q, const char *id, const char *why)
{
	int error = spool_move(q->spool, SPOOL_QUEUE, SPOOL_ASIDE, slice_of(id));
	if (error)
		log_event(LOG_ERROR, "queue-aside-failed", LOG_CSTR("id", id), LOG_CSTR("why", why), LOG_ERRNO(error), LOG_END);
	q->counts.damaged++;
	queue_alert(q, "Message %s was set aside: %s", id, why ? why : "damaged");
}

int64_t queue_expiry(int64_t from_s)
{
	return from_s + (int64_t)queue_settings.lifetime_s;
}

/* Those that hand in have gone, and nothing is on its way. Delivery and mailbox are not waited for: they wait for us. */
static void is_idle(struct queue *q)
{
	const struct peer *p = q->peers;
	while (p && (p->kind != PEER_ASKER || q->stopping))
		p = p->next;
	if (q->draining && q->under_way == 0 && !p && q->setup.on_idle)
		q->setup.on_idle(q->setup.arg);
}

void queue_begin(struct queue *q)
{
	q->under_way++;
}

void queue_end(struct queue *q)
{
	q->under_way--;
	is_idle(q);
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
	index_free(&p->transactions);
	mem_free(p->pending_bits);
	mem_free(p);
	is_idle(q);
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
		return queue_get_owner(m->payload, &p->owner);
	case QUEUE_FEEDBACK:
		return feedback_message(p, m);
	case QUEUE_SENT_LOOK:
		return pass_on(p, m, QUEUE_SENT_LOOKED);
	case LEDGER_LOOK:
		return pass_on(p, m, LEDGER_LOOKED);
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
	struct buf state = BUF_INIT(256), hints = BUF_INIT(2 * LEDGER_HINT_BYTES), vacations = BUF_INIT(MAX_RECORD);
	struct ledger_hints h;
	queue_put_state(&state, &p->queue->state);
	peer_send(p, QUEUE_STATE, 0, &state, -1);
	ledger_hints(p->queue->ledger, &h);
	if (h.known) {
		queue_put_hints(&hints, &h);
		peer_send(p, QUEUE_HINTS, 0, &hints, -1);
	}
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

/* -- once a second ---------------------------------------------------------------------------------------------------------------------------- */

static void look_at_disk(void *arg)
{
	struct queue *q = arg;
	struct statvfs v;
	if (file_stat_store(q->setup.spool, &v))
		return;
	uint64_t free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
	q->looked = (struct queue_state){
		.free_bytes = free_bytes > queue_settings.reserve ? free_bytes - queue_settings.reserve : 0,
		.read_only = (v.f_flag & ST_RDONLY) != 0, .full = v.f_favail < 16 && v.f_files
	};
}

static void looked_at_disk(void *arg)
{
	struct queue *q = arg;
	struct queue_state *s = &q->looked, *told = &q->told_state;
	struct schedule_counts c;
	schedule_count(q->schedule, &c);
	q->looking = false;
	s->full = s->full || (queue_settings.most_messages && c.messages >= queue_settings.most_messages);
	q->state = *s;
	uint64_t step = s->free_bytes > told->free_bytes ? s->free_bytes - told->free_bytes : told->free_bytes - s->free_bytes;
	if (step < STATE_STEP && s->read_only == told->read_only && s->full == told->full)
		return;
	*told = *s;
	for (struct peer *p = q->peers; p; p = p->next)
		if (p->kind == PEER_ASKER) {
			struct buf record = BUF_INIT(256);
			queue_put_state(&record, s);
			peer_send(p, QUEUE_STATE, 0, &record, -1);
		}
}

static bool bring_near(void *arg, struct message *m)
{
	struct queue *q = arg;
	int64_t latest = clock_wall_s() + (int64_t)queue_settings.retry_most_s;
	for (struct item *i = message_items(m); i; i = i->next)
		if (i->state == ITEM_WAITING && (int64_t)i->node.key > latest)
			schedule_retry(q->schedule, i, latest);
	return true;
}

/* Set back: nothing may wait for a time that will not come soon. Set forward: nothing expires by it until it has stood for an hour. */
static void watch_clock(struct queue *q)
{
	int64_t offset = clock_wall_us() / 1000 - (int64_t)clock_mono_ms(), leap = offset - q->clock_offset_ms;
	if (leap > -LEAP_MS && leap < LEAP_MS) {
		q->clock_offset_ms += leap / 16; /* slewing is no leap */
		return;
	}
	q->clock_offset_ms = offset;
	queue_alert(q, "The clock was set %s by %lld s", leap < 0 ? "back" : "forward", (long long)(leap < 0 ? -leap : leap) / 1000);
	if (leap < 0)
		schedule_each(q->schedule, bring_near, q);
	else
		q->believe_ms = clock_mono_ms() + DOUBT_MS;
	queue_wake(q);
}

/* A second may pass before it is looked at, so whoever is about to act by it looks. */
bool queue_believes_clock(struct queue *q)
{
	watch_clock(q);
	return clock_mono_ms() >= q->believe_ms;
}

static void save_gate(struct queue *q)
{
	struct buf record = BUF_INIT(GATE_MAX);
	int fd = -1;
	q->gate_dirty = false;
	if (report_gate_save(q->gate, &record) == 0 && file_open(q->setup.spool, "gate.new", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600, &fd) == 0) {
		if (file_write(fd, buf_slice(&record)) == 0)
			file_rename(q->setup.spool, "gate.new", q->setup.spool, "gate");
		file_close(&fd);
	}
	buf_free(&record);
}

static void load_gate(struct queue *q)
{
	struct buf record = BUF_INIT(GATE_MAX);
	int fd = -1;
	if (file_open(q->setup.spool, "gate", O_RDONLY | O_NOFOLLOW, 0, &fd))
		return; /* the first start */
	char *to = buf_room(&record, GATE_MAX - 1);
	ssize_t n = read(fd, to, GATE_MAX - 1);
	buf_used(&record, n > 0 ? (size_t)n : 0);
	file_close(&fd);
	if (report_gate_load(q->gate, buf_slice(&record), clock_wall_s()))
		queue_alert(q, "The gate's memory was damaged: for a day senders with evidence spf get no reports");
	buf_free(&record);
}

static void on_second(void *arg)
{
	struct queue *q = arg;
	loop_timer_set(q->second, SECOND_MS);
	watch_clock(q);
	hints_tell(q);
	if (q->gate_dirty)
		save_gate(q);
	if (++q->seconds % 60 == 1) {
		drop_scan(q);
		vacation_look(q);
		dead_letter_daily(q);
		feedback_send(q, false);
	}
	if (q->looking)
		return;
	q->looking = true;
	worker_add(q->files, look_at_disk, looked_at_disk, q);
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

int queue_new(struct loop *l, const struct queue_setup *setup, struct queue **out)
{
	struct queue *q = MEM_NEW(struct queue);
	q->loop = l;
	q->setup = *setup;
	q->setup.spool = -1;
	int error = file_open(AT_FDCWD, setup->spool_path, O_RDONLY | O_DIRECTORY, 0, &q->setup.spool);
	int copy = -1;
	error = error ? error : file_dup(q->setup.spool, &copy);
	error = error ? error : spool_open(l, copy, &q->spool);
	error = error ? error : open_ledger(q, setup->spool_path);
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
	load_gate(q);
	q->files = worker_new(l, READERS, "queue-files");
	q->timer = loop_timer_new(l, on_timer, q);
	q->second = loop_timer_new(l, on_second, q);
	q->clock_offset_ms = clock_wall_us() / 1000 - (int64_t)clock_mono_ms();
	q->digest_day = clock_wall_s() / 86400;
	queue_find_postmaster(q);
	drop_prepare(q);
	look_at_disk(q);
	q->state = q->told_state = q->looked;
	loop_timer_set(q->second, 1);
	hints_reclaim(q, 0);
	scan_start(q);
	*out = q;
	return 0;
}

void queue_drain(struct queue *q)
{
	q->draining = true;
	is_idle(q);
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
	if (q->gate_dirty)
		save_gate(q);
	worker_free(q->scanner);
	worker_free(q->files);
	feedback_close();
	if (q->ledger)
		ledger_close(q->ledger);
	if (q->spool)
		spool_close(q->spool);
	loop_timer_free(q->timer);
	loop_timer_free(q->second);
	for (struct peer *p = q->peers, *next; p; p = next) {
		next = p->next;
		ipc_free(p->ipc);
		index_free(&p->transactions);
		mem_free(p);
	}
	scan_free(q);
	index_free(&q->attempts);
	if (q->schedule)
		schedule_free(q->schedule);
	if (q->gate)
		report_gate_free(q->gate);
	vacation_free(q);
	map_set_close(q->maps);
	file_close(&q->setup.spool);
	mem_free(q->host_text);
	mem_free(q->postmaster_text);
	mem_free(q->maps_directory);
	mem_free(q);
}
