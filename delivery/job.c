/* Jobs of the queue: one attempt for each, and more of them for recipients that one transaction had no room for. Jobs for one place wait in its lane,
 * whose window says how many go at once: it grows with each success and is halved by a host that is down, says 421 or defers everybody for want of room. The house
 * of its mail hosts has a window of its own (delivery/groups.h). */
#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "delivery/groups.h"
#include "delivery/hop_inside.h"
#include "delivery/job_sign.h"
#include "delivery/lane.h"
#include "queue/job_proto.h"

enum { MAX_ROUNDS = 200, ANSWER_MAX = 3 << 20 };

struct lanes {
	struct hop *hop;
	struct lane *lanes;
	struct running *running;
	struct groups *groups;
	struct loop_timer *pace;       /* a house's next one is due */
	uint64_t paced_ms;             /* when; 0: it is not set */
};

/* What the queue asked for, in the words of an attempt. */
struct job_request {
	struct hop_envelope envelope;
	struct hop_recipient *recipients;
	size_t count;
	uint64_t offset, length;
	bool eight_bit, ask_host;
	struct signers signers;        /* who signs it; count 0: nobody */
};

struct running {
	struct running *next;
	struct hop_peer *peer;
	struct lane *lane;
	struct group *group;           /* where it is counted; NULL nowhere */
	uint64_t started_ms;
	struct slice host;             /* that answered last */
	uint64_t id;
	struct arena mem;
	struct job_request is;
	int fd;
	struct job_recipient_result *results;
	bool *done;
	size_t *round;                 /* index in the attempt -> recipient */
	size_t round_count;
	unsigned rounds;
	struct attempt *attempt;
	struct job_signing *signing;   /* under way */
	struct slice fields;           /* signatures, in front of the content */
	bool asked_host;               /* JOB_HOST is open */
	bool unknown;
	bool failed;                   /* the place itself: down, 421, no word */
	bool crowded;                  /* it has no room for anybody just now */
	bool fast, taken;              /* one was refused since they come too fast; one was taken */
	uint64_t rest_ms;
};

static void pace_over(void *arg);

struct lanes *lanes_new(struct hop *h)
{
	struct lanes *l = MEM_NEW(struct lanes);
	l->hop = h;
	l->groups = groups_new(h->setup.window_max, h->setup.rate);
	l->pace = loop_timer_new(h->loop, pace_over, l);
	return l;
}

static void job_free(struct running *j)
{
	attempt_free(j->attempt);
	job_signing_free(j->signing);
	file_close(&j->fd);
	mem_free(j->results), mem_free(j->done), mem_free(j->round);
	arena_free(&j->mem);
	mem_free(j);
}

void lanes_free(struct lanes *all)
{
	while (all->running) {
		struct running *j = all->running;
		all->running = j->next;
		job_free(j);
	}
	while (all->lanes) {
		struct lane *l = all->lanes;
		all->lanes = l->next;
		while (l->first) {
			struct running *j = l->first;
			l->first = j->next;
			job_free(j);
		}
		buf_free(&l->place);
		mem_free(l);
	}
	groups_free(all->groups);
	loop_timer_free(all->pace);
	mem_free(all);
}

/* -- one job -------------------------------------------------------------------------------------------------------------------------- */

static void run(struct running *j);
static void run_lane(struct lanes *all, struct lane *l);

static struct slice host_text(struct running *j, const struct hop_facts *f)
{
	struct buf b = BUF_INIT(500);
	size_t port = slice_rfind(f->address, ':');
	if (f->host.n && !slice_starts(f->address, SLICE("unix:")) && !slice_starts(f->address, f->host))
		buf_addf(&b, "%.*s[%.*s]%.*s", SLICE_FMT(f->host), SLICE_FMT(slice_head(f->address, port)), SLICE_FMT(slice_skip(f->address, port)));
	else
		buf_add(&b, f->address);
	struct slice text = arena_copy(&j->mem, buf_slice(&b));
	buf_free(&b);
	return text;
}

static void set_result(struct running *j, size_t at, struct mail_status s)
{
	const struct hop_facts *f = attempt_facts(j->attempt);
	uint32_t index = j->results[at].index;
	j->unknown |= f->unknown;
	if (f->host.n)
		j->host = arena_copy(&j->mem, f->host);
	j->results[at] = (struct job_recipient_result){ index, mail_status_copy(&j->mem, s), host_text(j, f), f->down, s.fate == MAIL_OK && f->dsn,
		s.fate == MAIL_OK && f->deliver_by };
}

static void answer(struct running *j)
{
	struct buf b = BUF_INIT(ANSWER_MAX);
	struct job_result d = { j->lane->window, lane_rest(j->lane), j->results, j->is.count };
	job_put_result(&b, &d);
	hop_answer(j->peer, JOB_RESULT, j->id, &b);
}

static void note_fates(struct running *j)
{
	j->crowded = true;
	for (size_t i = 0; i < j->is.count; i++) {
		j->failed |= j->results[i].status.code == 421 || j->results[i].down;
		j->fast |= lane_is_too_fast(&j->results[i].status);
		j->taken |= j->results[i].status.fate == MAIL_OK;
		j->crowded = j->crowded && lane_is_crowded(&j->results[i].status);
	}
	j->failed |= j->unknown;
}

/* Lanes whose house had no room, or was forgotten since: those behind this one first, so that each has its turn. */
static void run_house(struct lanes *all, struct lane *from, const struct group *x)
{
	for (int turn = 0; x && turn < 2; turn++)
		for (struct lane *l = turn ? all->lanes : from->next; l && !(turn && l == from); l = l->next) {
			const struct group *house = l->first ? groups_of_place(all->groups, buf_slice(&l->place)) : NULL;
			if (l->first && (house == x || !house))
				run_lane(all, l);
		}
}

static void finish(struct running *j)
{
	struct lanes *all = j->peer->hop->lanes;
	struct hop_peer *p = j->peer;
	struct lane *l = j->lane;
	struct running **at = &all->running;
	while (*at != j)
		at = &(*at)->next;
	*at = j->next;
	note_fates(j);
	lane_learn(l, j->failed, j->crowded, j->rest_ms, p->hop->setup.window_max);
	struct group *house = j->group;
	group_leave(all->groups, house, j->failed);
	groups_learn(all->groups, buf_slice(&l->place), j->host);
	if (j->fast || j->taken)        /* what was sent before its house was known tells of it as well */
		group_heard(all->groups, house ? house : groups_of_place(all->groups, buf_slice(&l->place)), j->fast ? GROUP_TOO_FAST : GROUP_TAKEN, j->started_ms, clock_mono_ms());
	answer(j);
	l->running--;
	l->jobs--;
	job_free(j);
	hop_peer_leave(p);
	run_house(all, l, house);
	run_lane(all, l);
}

static void on_rcpt(void *arg, size_t index, const struct mail_status *s, struct slice reply)
{
	struct running *j = arg;
	(void)reply;
	set_result(j, j->round[index], *s);
}

/* Those of this round that have their last word; the others, for whom there was no room beside one that was taken, come in the next. */
static bool end_round(struct running *j, const struct hop_content_done *d)
{
	size_t taken = 0;
	bool more = false;
	for (size_t i = 0; i < j->round_count; i++) {
		size_t at = j->round[i];
		if (j->results[at].status.fate == MAIL_OK) {
			set_result(j, at, d->each[taken++]);
			j->done[at] = true;
		} else if (attempt_over_limit(j->attempt, i) && d->count && d->status.fate == MAIL_OK) {
			more = true;
		} else {
			j->done[at] = true;
		}
	}
	return more && j->rounds < MAX_ROUNDS;
}

static void log_job(struct running *j, const struct hop_content_done *d, struct slice reply)
{
	log_event(LOG_INFO, "job", LOG_STR("id", j->is.envelope.transaction), LOG_STR("place", j->is.envelope.place), LOG_STR("host", d->facts.host),
		LOG_STR("address", d->facts.address), LOG_STR("tls", d->facts.tls), LOG_UINT("recipients", j->round_count), LOG_UINT("taken", d->count),
		LOG_UINT("code", d->status.code), LOG_STR("reply", reply.n ? reply : d->status.text), LOG_END);
}

static void on_content(void *arg, const struct hop_content_done *d, struct slice reply)
{
	struct running *j = arg;
	uint64_t rest = attempt_rest_ms(j->attempt);
	log_job(j, d, reply);
	j->rest_ms = rest > j->rest_ms ? rest : j->rest_ms;
	bool more = end_round(j, d);
	attempt_free(j->attempt);
	j->attempt = NULL;
	if (more)
		run(j);
	else
		finish(j);
}

static void on_late(void *arg, const struct hop_content_done *d)
{
	(void)arg, (void)d;
}

/* A report goes to a host only if the gate has not sent it one today. */
static void on_host(void *arg, struct slice host)
{
	struct running *j = arg;
	struct buf b = BUF_INIT(1024);
	j->asked_host = true;
	job_put_host(&b, host);
	bool gone = !j->peer->ipc;
	hop_answer(j->peer, JOB_HOST, j->id, &b);
	if (gone)
		attempt_allow(j->attempt, false);
}

static struct body *make_body(struct running *j)
{
	int fd = -1;
	if (file_dup(j->fd, &fd) < 0)
		return NULL;
	struct body_plan plan = { .content = j->fields, .fd = fd, .offset = j->is.offset, .length = j->is.length, .eight_bit = j->is.eight_bit };
	return body_new(j->peer->hop->loop, j->peer->hop->setup.hops->worker, &plan);
}

static void run(struct running *j)
{
	static const struct attempt_handler handler = { on_rcpt, on_content, on_late, NULL }, careful = { on_rcpt, on_content, on_late, on_host };
	struct hop_envelope e = j->is.envelope;
	struct body *body = make_body(j);
	j->rounds++;
	j->round_count = 0;
	e.size = j->fields.n + j->is.length;
	j->attempt = attempt_new(j->peer->hop->setup.hops, &e, j->is.ask_host ? &careful : &handler, j);
	for (size_t i = 0; i < j->is.count; i++)
		if (!j->done[i]) {
			j->round[j->round_count++] = i;
			attempt_rcpt(j->attempt, &j->is.recipients[i]);
		}
	attempt_content(j->attempt, body, e.budget_ms);
}

/* Signed once, before the first transaction. Without the signature it does not go: the place is not to blame. */
static void on_signed(void *arg, int error, struct slice fields)
{
	struct running *j = arg;
	if (!error)
		j->fields = arena_copy(&j->mem, fields);
	if (error || !j->fields.p) {
		log_event(LOG_ERROR, "sign", LOG_STR("id", j->is.envelope.transaction), LOG_STR("domain", j->is.signers.domain), LOG_ERRNO(error), LOG_END);
		for (size_t i = 0; i < j->is.count; i++)
			j->results[i].status = MAIL_STATUS(MAIL_LATER, 451, 7, 5, "The message can't be signed just now");
		finish(j);
		return;
	}
	run(j);
}

static void start(struct running *j)
{
	struct hop_setup *s = &j->peer->hop->setup;
	if (j->is.signers.count)
		j->signing = job_signing_new(s->keeper, s->hops->worker, &j->is.signers, j->fd, j->is.offset, j->is.length, on_signed, j);
	else
		run(j);
}

static void run_lane(struct lanes *all, struct lane *l)
{
	while (l->first && l->running < l->window) {
		struct running *j = l->first;
		struct group *house = groups_of_place(all->groups, buf_slice(&l->place));
		uint64_t now = clock_mono_ms(), wait = group_wait_ms(house, now);
		if (wait) {
			if (wait != UINT64_MAX && (!all->paced_ms || now + wait < all->paced_ms)) {
				all->paced_ms = now + wait;
				loop_timer_set(all->pace, wait);
			}
			return;
		}
		group_enter(all->groups, house, now);
		j->group = house;
		j->started_ms = now;
		l->first = j->next;
		if (!l->first)
			l->last = &l->first;
		j->next = all->running;
		all->running = j;
		l->running++;
		start(j);
	}
}

/* Timers are few: the one that ends first tells all. */
static void pace_over(void *arg)
{
	struct lanes *all = arg;
	all->paced_ms = 0;
	for (struct lane *l = all->lanes; l; l = l->next)
		run_lane(all, l);
}

/* -- in ---------------------------------------------------------------------------------------------------------------------------------- */

static void copy_job(struct running *j, const struct job *from)
{
	struct arena *mem = &j->mem;
	j->is = (struct job_request){
		.envelope = { .transaction = arena_copy(mem, from->id), .place = arena_copy(mem, from->place), .route = arena_copy(mem, from->route),
			.reverse_path = arena_copy(mem, from->reverse_path), .envelope_id = arena_copy(mem, from->envelope_id),
			.flags = (from->eight_bit ? HOP_8BIT : 0u) | (from->utf8 ? HOP_UTF8 : 0u) | (from->require_tls ? HOP_REQUIRETLS : 0u) | (from->waive_tls ? HOP_WAIVE_TLS : 0u) |
				(from->return_full ? HOP_RETURN_FULL : 0u) | (from->return_headers ? HOP_RETURN_HEADERS : 0u) |
				(from->deliver_by_return ? HOP_BY_RETURN : 0u) | (from->deliver_by_trace ? HOP_BY_TRACE : 0u),
			.deliver_by_s = (uint64_t)from->deliver_by_s, .priority = from->priority ? (uint8_t)(from->priority + HOP_PRIORITY_BASE) : 0 },
		.recipients = ARENA_ARRAY(mem, struct hop_recipient, from->recipient_count), .count = from->recipient_count,
		.offset = from->content_offset, .length = from->content_length, .eight_bit = from->eight_bit, .ask_host = from->ask_host
	};
	if (from->sign_domain.n && !signers_parse(arena_copy(mem, from->sign_keys), mem, &j->is.signers))
		j->is.signers.domain = arena_copy(mem, from->sign_domain);
	j->results = mem_new_array(from->recipient_count, sizeof *j->results);
	j->done = mem_new_array(from->recipient_count, sizeof *j->done);
	j->round = mem_new_array(from->recipient_count, sizeof *j->round);
	for (size_t i = 0; i < from->recipient_count; i++) {
		const struct job_recipient *r = &from->recipients[i];
		j->is.recipients[i] = (struct hop_recipient){ arena_copy(mem, r->address), arena_copy(mem, r->original), r->notify };
		j->results[i] = (struct job_recipient_result){ .index = r->index, .status = MAIL_STATUS_UNSURE("Not tried") };
	}
}

static bool is_line(struct slice s)
{
	return slice_find(s, '\r') == s.n && slice_find(s, '\n') == s.n && slice_find(s, '\0') == s.n;
}

/* Addresses go out on lines of their own. */
static bool is_fit(const struct job *j)
{
	bool good = is_line(j->place) && is_line(j->route) && is_line(j->reverse_path) && is_line(j->envelope_id);
	for (size_t i = 0; good && i < j->recipient_count; i++)
		good = j->recipients[i].address.n && is_line(j->recipients[i].address) && is_line(j->recipients[i].original);
	return good;
}

int job_take(struct hop_peer *p, struct ipc_message *m)
{
	struct arena mem = ARENA_INIT(0);
	struct job in;
	if (m->fd < 0 || job_get(m->payload, &mem, &in) < 0 || !is_fit(&in)) {
		arena_free(&mem);
		return -EPROTO;
	}
	struct running *j = MEM_NEW(struct running);
	*j = (struct running){ .peer = p, .id = m->id, .fd = m->fd };
	m->fd = -1;
	copy_job(j, &in);
	arena_free(&mem);
	lane_drop_idle(&p->hop->lanes->lanes);
	j->lane = lane_of(&p->hop->lanes->lanes, j->is.envelope.place);
	j->lane->jobs++;
	*j->lane->last = j;
	j->lane->last = &j->next;
	hop_peer_use(p);
	run_lane(p->hop->lanes, j->lane);
	return 0;
}

/* Only what waits can still be left alone. */
int job_cancel(struct hop_peer *p, struct ipc_message *m)
{
	for (struct lane *l = p->hop->lanes->lanes; l; l = l->next)
		for (struct running **at = &l->first; *at; at = &(*at)->next) {
			struct running *j = *at;
			if (j->peer != p || j->id != m->id)
				continue;
			*at = j->next;
			if (!*at)
				l->last = at;
			answer(j);
			l->jobs--;
			job_free(j);
			hop_peer_leave(p);
			return 0;
		}
	return 0;
}

int job_host_ok(struct hop_peer *p, struct ipc_message *m)
{
	bool yes;
	if (job_get_host_ok(m->payload, &yes) < 0)
		return -EPROTO;
	for (struct running *j = p->hop->lanes->running; j; j = j->next)
		if (j->peer == p && j->id == m->id && j->asked_host) {
			j->asked_host = false;
			attempt_allow(j->attempt, yes);
			return 0;
		}
	return 0;
}

void job_peer_gone(struct hop_peer *p)
{
	struct lanes *all = p->hop->lanes;
	for (struct running *j = all->running, *next; j; j = next) {
		next = j->next;
		if (j->peer == p && j->asked_host) {
			j->asked_host = false;
			attempt_free(j->attempt);
			j->attempt = NULL;
			finish(j);
			next = all->running; /* others of the lane may have begun */
		}
	}
}

void lanes_report(const struct lanes *all, struct buf *json)
{
	lane_report(all->lanes, json);
	groups_report(all->groups, json);
}
