/* Jobs of the queue: one attempt for each, and more of them for recipients that one transaction had no room for. Jobs for one place wait in its lane,
 * whose window says how many go at once: it grows with each success and is halved by a host that is down, says 421 or defers everybody. */
#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "delivery/hop_inside.h"

enum { WINDOW_FIRST = 10, MAX_ROUNDS = 200, MAX_LANES = 10000, ANSWER_MAX = 3 << 20, REST_FIRST_MS = 5000, REST_MAX_MS = 300000 };

struct lane {
	struct lane *next;
	struct buf place;
	unsigned window, running, failures;
	size_t jobs;                   /* running and waiting */
	uint64_t until_ms;             /* rests */
	struct job *first, **last;     /* waiting */
};

struct lanes {
	struct hop *hop;
	struct lane *lanes;
	struct job *running;
};

struct job {
	struct job *next;
	struct hop_peer *peer;
	struct lane *lane;
	uint64_t id;
	struct arena mem;
	struct hop_job is;
	int fd;
	struct hop_job_result *results;
	bool *done;
	size_t *round;                 /* index in the attempt -> recipient */
	size_t round_count;
	unsigned rounds;
	struct attempt *attempt;
	bool failed;                   /* the place itself: down, 421, all deferred */
	uint64_t rest_ms;
};

struct lanes *lanes_new(struct hop *h)
{
	struct lanes *l = MEM_NEW(struct lanes);
	l->hop = h;
	return l;
}

static void job_free(struct job *j)
{
	attempt_free(j->attempt);
	file_close(&j->fd);
	mem_free(j->results), mem_free(j->done), mem_free(j->round);
	arena_free(&j->mem);
	mem_free(j);
}

void lanes_free(struct lanes *all)
{
	while (all->running) {
		struct job *j = all->running;
		all->running = j->next;
		job_free(j);
	}
	while (all->lanes) {
		struct lane *l = all->lanes;
		all->lanes = l->next;
		while (l->first) {
			struct job *j = l->first;
			l->first = j->next;
			job_free(j);
		}
		buf_free(&l->place);
		mem_free(l);
	}
	mem_free(all);
}

/* -- lanes -------------------------------------------------------------------------------------------------------------------------- */

static struct lane *lane_of(struct lanes *all, struct slice place)
{
	for (struct lane **at = &all->lanes; *at; at = &(*at)->next)
		if (slice_eq(buf_slice(&(*at)->place), place)) {
			struct lane *l = *at; /* to the front: busy places are found first */
			*at = l->next;
			l->next = all->lanes;
			return all->lanes = l;
		}
	struct lane *l = MEM_NEW(struct lane);
	*l = (struct lane){ .next = all->lanes, .window = WINDOW_FIRST, .last = &l->first };
	buf_init(&l->place, place.n);
	buf_add(&l->place, place);
	return all->lanes = l;
}

/* A lane that has nothing to remember is dropped. */
static void drop_idle_lanes(struct lanes *all)
{
	struct lane **at = &all->lanes;
	size_t n = 0;
	while (*at) {
		struct lane *l = *at;
		bool worth = l->jobs || (n < MAX_LANES && l->until_ms > clock_mono_ms());
		if (worth || (n < 64 && l->window > WINDOW_FIRST)) {
			at = &l->next;
			n++;
			continue;
		}
		*at = l->next;
		buf_free(&l->place);
		mem_free(l);
	}
}

static void lane_learn(struct lane *l, const struct job *j, unsigned max)
{
	if (!j->failed) {
		l->failures = 0;
		l->until_ms = 0;
		if (l->window < max)
			l->window++;
		return;
	}
	l->window = l->window > 1 ? l->window / 2 : 1;
	uint64_t rest = REST_FIRST_MS;
	for (unsigned i = 0; i < l->failures && rest < REST_MAX_MS; i++)
		rest *= 2;
	l->failures++;
	rest = rest < REST_MAX_MS ? rest : REST_MAX_MS;
	l->until_ms = clock_mono_ms() + (j->rest_ms > rest ? j->rest_ms : rest);
}

static uint64_t lane_rest(const struct lane *l)
{
	uint64_t now = clock_mono_ms();
	return l->until_ms > now ? l->until_ms - now : 0;
}

/* -- one job -------------------------------------------------------------------------------------------------------------------------- */

static void run(struct job *j);
static void run_lane(struct lanes *all, struct lane *l);

static struct hop_facts copy_facts(struct job *j, const struct hop_facts *f)
{
	struct hop_facts c = *f;
	c.host = arena_copy(&j->mem, f->host);
	c.address = arena_copy(&j->mem, f->address);
	c.tls = arena_copy(&j->mem, f->tls);
	return c;
}

static void set_result(struct job *j, size_t at, struct mail_status s, struct slice reply)
{
	j->results[at] = (struct hop_job_result){ mail_status_copy(&j->mem, s), arena_copy(&j->mem, reply), copy_facts(j, attempt_facts(j->attempt)) };
}

static void answer(struct job *j)
{
	struct buf b = BUF_INIT(ANSWER_MAX);
	struct hop_job_done d = { j->results, j->is.count, j->lane->window, lane_rest(j->lane) };
	hop_put_job_done(&b, &d);
	hop_answer(j->peer, HOP_JOB_DONE, j->id, &b);
}

static void note_fates(struct job *j)
{
	bool all_later = true;
	for (size_t i = 0; i < j->is.count; i++) {
		all_later &= j->results[i].status.fate == MAIL_LATER;
		j->failed |= j->results[i].status.code == 421 || j->results[i].facts.down;
	}
	j->failed |= all_later && j->results[0].facts.unknown;
}

static void finish(struct job *j)
{
	struct lanes *all = j->peer->hop->lanes;
	struct hop_peer *p = j->peer;
	struct lane *l = j->lane;
	struct job **at = &all->running;
	while (*at != j)
		at = &(*at)->next;
	*at = j->next;
	note_fates(j);
	lane_learn(l, j, p->hop->setup.window_max);
	answer(j);
	l->running--;
	l->jobs--;
	job_free(j);
	hop_peer_leave(p);
	run_lane(all, l);
}

static void on_rcpt(void *arg, size_t index, const struct mail_status *s, struct slice reply)
{
	struct job *j = arg;
	set_result(j, j->round[index], *s, reply);
}

/* Those of this round that have their last word; the others, for whom there was no room beside one that was taken, come in the next. */
static bool end_round(struct job *j, const struct hop_content_done *d, struct slice reply)
{
	size_t taken = 0;
	bool more = false;
	for (size_t i = 0; i < j->round_count; i++) {
		size_t at = j->round[i];
		if (j->results[at].status.fate == MAIL_OK) {
			set_result(j, at, d->each[taken++], reply);
			j->done[at] = true;
		} else if (attempt_over_limit(j->attempt, i) && d->count && d->status.fate == MAIL_OK) {
			more = true;
		} else {
			j->done[at] = true;
		}
	}
	return more && j->rounds < MAX_ROUNDS;
}

static void log_job(struct job *j, const struct hop_content_done *d, struct slice reply)
{
	log_event(LOG_INFO, "job", LOG_STR("id", j->is.envelope.transaction), LOG_STR("place", j->is.envelope.place), LOG_STR("host", d->facts.host),
		LOG_STR("address", d->facts.address), LOG_STR("tls", d->facts.tls), LOG_UINT("recipients", j->round_count), LOG_UINT("taken", d->count),
		LOG_UINT("code", d->status.code), LOG_STR("reply", reply.n ? reply : d->status.text), LOG_END);
}

static void on_content(void *arg, const struct hop_content_done *d, struct slice reply)
{
	struct job *j = arg;
	uint64_t rest = attempt_rest_ms(j->attempt);
	log_job(j, d, reply);
	j->rest_ms = rest > j->rest_ms ? rest : j->rest_ms;
	bool more = end_round(j, d, reply);
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

static struct body *make_body(struct job *j)
{
	int fd = -1;
	if (file_dup(j->fd, &fd) < 0)
		return NULL;
	struct body_plan plan = { .fd = fd, .offset = j->is.offset, .length = j->is.length, .eight_bit = j->is.eight_bit };
	return body_new(j->peer->hop->loop, j->peer->hop->setup.hops->worker, &plan);
}

static void run(struct job *j)
{
	static const struct attempt_handler handler = { on_rcpt, on_content, on_late };
	struct hop_envelope e = j->is.envelope;
	struct body *body = make_body(j);
	j->rounds++;
	j->round_count = 0;
	e.size = j->is.length;
	j->attempt = attempt_new(j->peer->hop->setup.hops, &e, &handler, j);
	for (size_t i = 0; i < j->is.count; i++)
		if (!j->done[i]) {
			j->round[j->round_count++] = i;
			attempt_rcpt(j->attempt, &j->is.recipients[i]);
		}
	attempt_content(j->attempt, body, e.budget_ms);
}

static void run_lane(struct lanes *all, struct lane *l)
{
	while (l->first && l->running < l->window) {
		struct job *j = l->first;
		l->first = j->next;
		if (!l->first)
			l->last = &l->first;
		j->next = all->running;
		all->running = j;
		l->running++;
		run(j);
	}
}

/* -- in ---------------------------------------------------------------------------------------------------------------------------------- */

static void copy_job(struct job *j, const struct hop_job *from)
{
	struct hop_envelope *e = &j->is.envelope;
	j->is = *from;
	e->transaction = arena_copy(&j->mem, e->transaction);
	e->place = arena_copy(&j->mem, e->place);
	e->route = arena_copy(&j->mem, e->route);
	e->reverse_path = arena_copy(&j->mem, e->reverse_path);
	e->envelope_id = arena_copy(&j->mem, e->envelope_id);
	j->is.recipients = ARENA_ARRAY(&j->mem, struct hop_recipient, from->count);
	for (size_t i = 0; i < from->count; i++) {
		const struct hop_recipient *r = &from->recipients[i];
		j->is.recipients[i] = (struct hop_recipient){ arena_copy(&j->mem, r->address), arena_copy(&j->mem, r->original), r->notify };
	}
	j->results = mem_new_array(from->count, sizeof *j->results);
	j->done = mem_new_array(from->count, sizeof *j->done);
	j->round = mem_new_array(from->count, sizeof *j->round);
}

int job_take(struct hop_peer *p, struct ipc_message *m)
{
	struct arena mem = ARENA_INIT(0);
	struct hop_job in;
	if (m->fd < 0 || hop_get_job(m->payload, &mem, &in) < 0) {
		arena_free(&mem);
		return -EPROTO;
	}
	struct job *j = MEM_NEW(struct job);
	*j = (struct job){ .peer = p, .id = m->id, .fd = m->fd };
	m->fd = -1;
	copy_job(j, &in);
	arena_free(&mem);
	drop_idle_lanes(p->hop->lanes);
	j->lane = lane_of(p->hop->lanes, j->is.envelope.place);
	j->lane->jobs++;
	*j->lane->last = j;
	j->lane->last = &j->next;
	hop_peer_use(p);
	run_lane(p->hop->lanes, j->lane);
	return 0;
}

void lanes_report(const struct lanes *all, struct buf *json)
{
	const char *before = "";
	buf_add(json, SLICE(",\"places\":["));
	for (const struct lane *l = all->lanes; l; l = l->next) {
		if (!l->jobs && !lane_rest(l))
			continue;
		buf_addf(json, "%s{\"place\":", before);
		text_add_json(json, buf_slice(&l->place));
		buf_addf(json, ",\"window\":%u,\"running\":%u,\"jobs\":%zu,\"rest_ms\":%llu}", l->window, l->running, l->jobs, (unsigned long long)lane_rest(l));
		before = ",";
	}
	buf_add_byte(json, ']');
}
