/* The check as a walk over the ways: probe, pause, next; then again, at most ROUNDS times in all, with the recipients that were told to come later, as a
 * client does (RFC 5321, 4.5.4.1); then waiting for returns. A return may come at
 * any moment and changes a verdict for the worse only: what was bounced stays bounced. */
#include "ctl/rndr.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/mem.h"
#include "ctl/rndr_plan.h"
#include "ctl/rndr_probe.h"

enum { NOTE_MAX = 2400, TICK_MS = 1000, ROUNDS = 3 };

enum phase { PROBING, AGAIN, WAITING, DONE };

/* A way's recipients, as bits in the order of its plan. */
struct asked {
	uint32_t taken, settled;      /* with a 250 to the dot; with that or a 5xx */
	bool again;
};

struct rndr_check {
	struct loop *loop;
	struct arena mem;             /* setup's strings, marks */
	struct arena plan_mem;        /* of the running probe */
	struct rndr_setup setup;
	struct rndr_marks marks;
	const struct rndr_handler *handler;
	void *arg;
	enum phase phase;
	unsigned round;               /* from 1 */
	struct asked asked[RNDR_WAYS];
	unsigned way;                 /* being probed, or next */
	struct probe *probe;
	struct probe_plan plan;
	struct loop_timer *timer;
	uint64_t probed_at[RNDR_WAYS], wait_until, again_at;
	struct rndr_result results[RNDR_WAYS];
};

static const struct slice VERDICTS[RNDR_VERDICTS] = {
	[RNDR_PENDING] = SLICE_INIT("pending"),
	[RNDR_REFUSED] = SLICE_INIT("refused in session"),
	[RNDR_SILENT] = SLICE_INIT("accepted and silent"),
	[RNDR_BOUNCED] = SLICE_INIT("accepted and bounced"),
	[RNDR_COULD_NOT] = SLICE_INIT("could not test"),
};

struct slice rndr_verdict_name(enum rndr_verdict v)
{
	return VERDICTS[v];
}

/* Of several outcomes with one who exists, what is left silent had a second one taken. */
bool rndr_way_is_lost(enum rndr_way way)
{
	switch (way) {
	case RNDR_UNKNOWN:
	case RNDR_MIXED:
	case RNDR_DEAD_ALIAS:
	case RNDR_FORWARD:
	case RNDR_RELAYED:
	case RNDR_FULL:
	case RNDR_INNER:
	case RNDR_DELAY:
	case RNDR_NULL:
	case RNDR_QUOTED:
	case RNDR_SUBADDRESS:
	case RNDR_OUTCOMES:
		return true;
	case RNDR_OVERSIZE:
	case RNDR_LOOP:
	case RNDR_SUCCESS:
	case RNDR_REPLY:
		return false;
	}
	return false;
}

int rndr_answer(const enum rndr_verdict verdicts[RNDR_WAYS], uint32_t wanted, bool deaf)
{
	bool tried = false, open = false;
	for (unsigned w = 0; w < RNDR_WAYS; w++) {
		if (wanted && !(wanted >> w & 1))
			continue;
		if (verdicts[w] == RNDR_BOUNCED)
			return 1;
		tried |= verdicts[w] == RNDR_REFUSED || verdicts[w] == RNDR_SILENT;
		open |= verdicts[w] == RNDR_SILENT && (deaf || (rndr_way_is_lost((enum rndr_way)w) && w != RNDR_NULL)); /* from a null reverse-path nothing can return */
		open |= w == RNDR_UNKNOWN && verdicts[w] != RNDR_REFUSED;
	}
	return tried && !open ? 0 : 2;
}

bool rndr_check_wants(const struct rndr_check *c, enum rndr_way way)
{
	return c->setup.ways == 0 || (c->setup.ways >> way & 1);
}

const struct rndr_setup *rndr_check_setup(const struct rndr_check *c)
{
	return &c->setup;
}

const struct rndr_result *rndr_check_result(const struct rndr_check *c, enum rndr_way way)
{
	return &c->results[way];
}

static void set_note(struct rndr_result *r, struct slice note)
{
	buf_clear(&r->note);
	buf_add(&r->note, slice_head(note, NOTE_MAX));
}

static void settle(struct rndr_check *c, enum rndr_way way, enum rndr_verdict verdict, struct slice note)
{
	struct rndr_result *r = &c->results[way];
	if (r->verdict == RNDR_BOUNCED)
		return;
	r->verdict = verdict;
	set_note(r, note);
}

static void progress(struct rndr_check *c)
{
	c->handler->on_progress(c->arg, c);
}

/* The ways one by one --------------------------------------------------------------------------------------------------------------- */

static void probe_next(struct rndr_check *c);

static bool is_next(const struct rndr_check *c, unsigned way)
{
	return rndr_check_wants(c, (enum rndr_way)way) && (c->phase == PROBING ? c->results[way].verdict == RNDR_PENDING : c->asked[way].again);
}

/* What one probe has settled, and whether the rest is to come again. */
static void count_recipients(struct rndr_check *c, struct asked *a, const struct probe_result *result)
{
	bool taken = result->end == PROBE_ACCEPTED, later = result->end == PROBE_LATER || (taken && result->later);
	a->again = later && c->round < ROUNDS && c->setup.again_ms;
	a->settled |= result->refused;
	if (!taken)
		return;
	a->taken |= result->accepted;
	a->settled |= result->accepted;
}

/* Whoever was taken, in this round or an earlier one, may still be bounced: what stands against that is only a return. */
static void judge(struct rndr_check *c, enum rndr_way way, const struct probe_result *result)
{
	struct asked *a = &c->asked[way];
	struct slice note = buf_slice(&result->note);
	count_recipients(c, a, result);
	if (a->taken)
		settle(c, way, RNDR_SILENT, note);
	else if (a->again)
		set_note(&c->results[way], note);
	else if (result->end == PROBE_NO_SERVER || result->end == PROBE_UNFIT)
		settle(c, way, RNDR_COULD_NOT, note);
	else
		settle(c, way, RNDR_REFUSED, note); /* after a 4xx the client still owns the message */
	c->results[way].deferred |= a->again;
}

static void on_probed(void *arg, const struct probe_result *result)
{
	struct rndr_check *c = arg;
	c->probed_at[c->way] = clock_mono_ms();
	c->results[c->way].sent_bytes = result->sent_bytes;
	judge(c, (enum rndr_way)c->way, result);
	probe_free(c->probe);
	c->probe = NULL;
	c->way++;
	loop_timer_set(c->timer, c->setup.pause_ms);
	progress(c);
}

/* Of several recipients only the one who exists, who is the first, was taken: he has his mail. */
static bool rest_refused(const struct rndr_check *c, enum rndr_way way)
{
	const struct asked *a = &c->asked[way];
	return (way == RNDR_MIXED || way == RNDR_OUTCOMES) && a->taken == 1;
}

static void finish(struct rndr_check *c)
{
	c->phase = DONE;
	for (unsigned w = 0; w < RNDR_WAYS; w++)
		if (c->results[w].verdict == RNDR_SILENT && rest_refused(c, (enum rndr_way)w))
			c->results[w].verdict = RNDR_REFUSED;
	loop_timer_stop(c->timer);
	c->handler->on_done(c->arg, c);
}

static bool something_may_return(const struct rndr_check *c)
{
	for (unsigned w = 0; w < RNDR_WAYS; w++)
		if (c->results[w].verdict == RNDR_SILENT)
			return true;
	return false;
}

static void wait_for_returns(struct rndr_check *c)
{
	uint64_t now = clock_mono_ms();
	if (c->phase != WAITING) {
		c->phase = WAITING;
		c->wait_until = now + c->setup.wait_ms;
	}
	if (!something_may_return(c) || now >= c->wait_until)
		return finish(c);
	loop_timer_set(c->timer, TICK_MS);
	progress(c);
}

static bool any_deferred(const struct rndr_check *c)
{
	for (unsigned w = 0; w < RNDR_WAYS; w++)
		if (c->asked[w].again)
			return true;
	return false;
}

static void start_probe(struct rndr_check *c)
{
	arena_reset(&c->plan_mem);
	const char *why = rndr_plan_make(&c->setup, &c->marks, (enum rndr_way)c->way, &c->plan_mem, &c->plan);
	if (why) {
		settle(c, (enum rndr_way)c->way, RNDR_COULD_NOT, slice_of(why));
		c->way++;
		return probe_next(c);
	}
	c->plan.settled = c->asked[c->way].settled;
	c->asked[c->way].again = false;
	c->probe = probe_new(c->loop, &c->plan, on_probed, c);
}

static void probe_next(struct rndr_check *c)
{
	while (c->way < RNDR_WAYS && !is_next(c, c->way))
		c->way++;
	if (c->way < RNDR_WAYS)
		return start_probe(c);
	if (any_deferred(c)) {
		c->phase = AGAIN;
		c->round++;
		c->way = 0;
		c->again_at = clock_mono_ms() + c->setup.again_ms;
		loop_timer_set(c->timer, c->setup.again_ms);
		return progress(c);
	}
	wait_for_returns(c);
}

static void on_timer(void *arg)
{
	struct rndr_check *c = arg;
	if (c->phase == WAITING)
		wait_for_returns(c);
	else
		probe_next(c);
}

/* Returns --------------------------------------------------------------------------------------------------------------------------- */

struct slice rndr_check_mark(const struct rndr_check *c, enum rndr_way way, struct arena *mem)
{
	return rndr_mark(&c->marks, way, mem);
}

bool rndr_check_knows(const struct rndr_check *c, struct slice recipient)
{
	enum rndr_way way;
	return rndr_mark_read(&c->marks, c->setup.probe_domain, recipient, &way) && (c->probed_at[way] || c->way == way);
}

bool rndr_check_return(struct rndr_check *c, struct slice recipient, uint64_t bytes, bool body)
{
	enum rndr_way way;
	if (c->phase == DONE || !rndr_mark_read(&c->marks, c->setup.probe_domain, recipient, &way))
		return false;
	struct rndr_result *r = &c->results[way];
	if (!r->returns++) {
		r->back_ms = c->probed_at[way] ? clock_mono_ms() - c->probed_at[way] : 0;
		r->verdict = RNDR_BOUNCED;
	}
	r->back_bytes += bytes;
	r->body_back |= body;
	progress(c);
	return true;
}

/* Life ------------------------------------------------------------------------------------------------------------------------------ */

static void keep(struct rndr_check *c, struct slice *s)
{
	*s = arena_copy(&c->mem, *s);
}

static void keep_setup(struct rndr_check *c, const struct rndr_setup *setup)
{
	c->setup = *setup;
	struct rndr_addresses *a = &c->setup.addresses;
	struct slice *const all[] = { &c->setup.host, &c->setup.domain, &c->setup.probe_domain, &c->setup.helo, &a->known, &a->dead_alias, &a->forward,
		                      &a->full, &a->vacation, &a->deferred, &a->relayed };
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		keep(c, all[i]);
}

struct rndr_check *rndr_check_new(struct loop *l, const struct rndr_setup *setup, const struct rndr_handler *handler, void *arg)
{
	struct rndr_check *c = MEM_NEW(struct rndr_check);
	c->loop = l;
	c->mem = c->plan_mem = (struct arena)ARENA_INIT(1 << 20);
	keep_setup(c, setup);
	c->marks = rndr_marks_new();
	c->handler = handler;
	c->arg = arg;
	c->round = 1;
	for (size_t w = 0; w < RNDR_WAYS; w++)
		buf_init(&c->results[w].note, NOTE_MAX);
	c->timer = loop_timer_new(l, on_timer, c);
	loop_timer_set(c->timer, 0);
	return c;
}

void rndr_check_free(struct rndr_check *c)
{
	if (!c)
		return;
	probe_free(c->probe);
	loop_timer_free(c->timer);
	for (size_t w = 0; w < RNDR_WAYS; w++)
		buf_free(&c->results[w].note);
	arena_free(&c->mem);
	arena_free(&c->plan_mem);
	mem_free(c);
}

static int exit_code(const struct rndr_check *c)
{
	enum rndr_verdict verdicts[RNDR_WAYS];
	for (size_t w = 0; w < RNDR_WAYS; w++)
		verdicts[w] = c->results[w].verdict;
	return rndr_answer(verdicts, c->setup.ways, c->setup.deaf);
}

struct rndr_sum rndr_check_sum(const struct rndr_check *c)
{
	struct rndr_sum s = { .done = c->phase == DONE };
	for (unsigned w = 0; w < RNDR_WAYS; w++) {
		if (!rndr_check_wants(c, (enum rndr_way)w))
			continue;
		s.total++;
		s.count[c->results[w].verdict]++;
		s.decided += c->results[w].verdict != RNDR_PENDING;
		s.deferred += c->asked[w].again;
	}
	uint64_t now = clock_mono_ms();
	if (c->phase == WAITING && c->wait_until > now)
		s.wait_left_ms = c->wait_until - now;
	if (c->phase == AGAIN && s.deferred && c->again_at > now)
		s.again_left_ms = c->again_at - now;
	s.exit_code = exit_code(c);
	return s;
}
