/* One transaction at one next hop: its life, the questions of its owner, its budget. */
#include "delivery/attempt_inside.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum { DOT_MS = 600000, WORDS_ARENA = 64 << 10 };

/* -- life ------------------------------------------------------------------------------------------------------------------------ */

static void out_of_time(void *arg);

static void begin(void *arg)
{
	struct attempt *a = arg;
	attempt_hold(a);
	attempt_go_on(a);
	attempt_let_go(a);
}

static struct slice copy(struct attempt *a, struct slice s)
{
	return arena_copy(&a->mem, s);
}

struct mail_status attempt_keep(struct attempt *a, struct mail_status s)
{
	return mail_status_copy(&a->mem, s);
}

static void choose(struct attempt *a)
{
	const struct hop_envelope *e = &a->envelope;
	const char *why = hops_choose(a->hops, e->route, &a->mem, &a->choice);
	buf_init(&a->place_key, ATTEMPT_MAX_KEY);
	buf_add(&a->place_key, e->place);
	buf_addf(&a->place_key, " %d%d ", attempt_requires_tls(a), attempt_waives_tls(a));
	buf_add(&a->place_key, e->route);
	if (buf_full(&a->place_key))
		why = "the route is too long";
	if (why) {
		log_event(LOG_WARN, "hop-route", LOG_STR("id", e->transaction), LOG_STR("place", e->place), LOG_CSTR("why", why), LOG_END);
		a->over = a->down = true;
		a->last = MAIL_STATUS(MAIL_LATER, 451, 3, 5, "The next hop is not set up well, try again later");
	}
}

struct attempt *attempt_new(struct hops *h, const struct hop_envelope *e, const struct attempt_handler *handler, void *arg)
{
	struct attempt *a = MEM_NEW(struct attempt);
	*a = (struct attempt){ .hops = h, .handler = handler, .arg = arg, .envelope = *e, .last = MAIL_STATUS_UNSURE("The next hop could not be asked"), .down = true };
	a->mem.max = ATTEMPT_ARENA;
	a->words.max = WORDS_ARENA;
	a->envelope.transaction = copy(a, e->transaction);
	a->envelope.place = copy(a, e->place);
	a->envelope.route = copy(a, e->route);
	a->envelope.reverse_path = copy(a, e->reverse_path);
	a->envelope.envelope_id = copy(a, e->envelope_id);
	buf_init(&a->host, ATTEMPT_MAX_TEXT), buf_init(&a->address, ATTEMPT_MAX_TEXT), buf_init(&a->tls, ATTEMPT_MAX_TEXT);
	a->budget = loop_timer_new(h->loop, out_of_time, a);
	a->soon = loop_timer_new(h->loop, begin, a);
	a->share = loop_timer_new(h->loop, attempt_out_of_share, a);
	choose(a);
	return a;
}

static void release(struct attempt *a)
{
	loop_timer_free(a->budget);
	loop_timer_free(a->soon);
	loop_timer_free(a->share);
	buf_free(&a->place_key), buf_free(&a->host), buf_free(&a->address), buf_free(&a->tls);
	body_free(a->body);
	mem_free(a->rcpts);
	mem_free(a->each);
	attempt_free_policy(a);
	mem_free(a->targets);
	arena_free(&a->mem);
	arena_free(&a->words);
	mem_free(a);
}

/* The link goes to the pool unless content is under way; an unfinished transaction is reset there. */
static void put_back(struct attempt *a)
{
	struct link *l = a->link;
	a->link = NULL;
	if (!l)
		return;
	if (a->ready && client_may_settle(l->client))
		pool_put(a->hops->pool, l, a->talk != TALK_NONE);
	else
		link_free(l);
}

static void hang_up(struct attempt *a)
{
	hosts_cancel(a->query);
	tls_policy_cancel(a->policy_query);
	route_login_cancel(a->login_query);
	dial_cancel(a->dial);
	a->query = NULL;
	a->policy_query = NULL;
	a->login_query = NULL;
	a->dial = NULL;
	put_back(a);
	loop_timer_stop(a->budget);
	loop_timer_stop(a->soon);
	loop_timer_stop(a->share);
}

void attempt_free(struct attempt *a)
{
	if (!a || a->freed)
		return;
	a->freed = a->over = true;
	hang_up(a);
	if (!a->busy)
		release(a);
}

void attempt_hold(struct attempt *a)
{
	a->busy++;
}

void attempt_let_go(struct attempt *a)
{
	if (--a->busy == 0 && a->freed)
		release(a);
}

void attempt_drop_link(struct attempt *a)
{
	struct link *l = a->link;
	a->link = NULL;
	a->ready = false;
	a->talk = TALK_NONE;
	loop_timer_stop(a->share);
	link_free(l);
}

/* -- questions ---------------------------------------------------------------------------------------------------------------------- */

static void begin_budget(struct attempt *a, uint64_t ms)
{
	a->budget_ms = ms;
	a->budget_end_ms = clock_mono_ms() + ms;
	loop_timer_set(a->budget, ms);
}

size_t attempt_rcpt(struct attempt *a, const struct hop_recipient *r)
{
	if (a->count == a->room) {
		a->room = a->room ? a->room * 2 : 4;
		a->rcpts = mem_grow(a->rcpts, a->room, sizeof *a->rcpts);
	}
	a->rcpts[a->count] = (struct attempt_recipient){ .is = { copy(a, r->address), copy(a, r->original), r->notify } };
	a->untold++;
	attempt_set_budget(a);
	loop_timer_set(a->soon, 0);
	return a->count++;
}

void attempt_content(struct attempt *a, struct body *b, uint64_t budget_ms)
{
	a->body = b;
	a->content = CONTENT_WAITS;
	a->content_ms = budget_ms ? budget_ms : DOT_MS;
	begin_budget(a, a->content_ms);
	loop_timer_set(a->soon, 0);
}

/* Recipients have a budget of their own, until all are answered; content has one from its question on. */
void attempt_set_budget(struct attempt *a)
{
	if (a->content != CONTENT_NONE)
		return;
	if (a->untold == 0)
		loop_timer_stop(a->budget);
	else if (!loop_timer_is_set(a->budget))
		begin_budget(a, a->envelope.budget_ms ? a->envelope.budget_ms : HOP_BUDGET_MS);
}

void attempt_note_silent(struct attempt *a)
{
	if (a->link && (clock_mono_ms() - a->host_began_ms) * 2 >= a->budget_ms)
		dead_note(a->hops->dead, &a->link->address);
}

static void out_of_time(void *arg)
{
	struct attempt *a = arg;
	attempt_hold(a);
	if (a->content == CONTENT_GOES && a->link && client_dot_sent(a->link->client)) {
		attempt_content_late(a);
	} else {
		if (!a->ready)
			attempt_note_silent(a);
		attempt_drop_link(a);
		attempt_give_up(a, MAIL_STATUS(MAIL_LATER, 451, 4, 1, "The next hop did not answer in time, try again later"), true);
	}
	attempt_let_go(a);
}

/* Everything that is open gets s, and so does all that will be asked. */
void attempt_give_up(struct attempt *a, struct mail_status s, bool down)
{
	a->over = true;
	a->down = down;
	a->last = attempt_keep(a, s);
	hosts_cancel(a->query);
	tls_policy_cancel(a->policy_query);
	route_login_cancel(a->login_query);
	dial_cancel(a->dial);
	a->query = NULL;
	a->policy_query = NULL;
	a->login_query = NULL;
	a->dial = NULL;
	attempt_refuse_all(a, a->last, SLICE_NONE);
}

void attempt_go_on(struct attempt *a)
{
	if (a->freed || a->content >= CONTENT_TOLD)
		return;
	if (a->over)
		attempt_refuse_all(a, a->last, SLICE_NONE);
	else if (a->ready)
		attempt_talk(a);
	else if (!a->link && !a->query && !a->policy_query && !a->login_query && !a->dial)
		attempt_look(a);
}

/* -- facts ------------------------------------------------------------------------------------------------------------------------------- */

const struct hop_facts *attempt_facts(struct attempt *a)
{
	a->facts.host = buf_slice(&a->host);
	a->facts.address = buf_slice(&a->address);
	a->facts.tls = buf_slice(&a->tls);
	a->facts.down = a->over && a->down;
	a->facts.dot_sent = a->dot_sent;
	a->facts.unknown = a->unknown;
	return &a->facts;
}

uint64_t attempt_rest_ms(const struct attempt *a)
{
	return a->rest_ms;
}

bool attempt_heard(const struct attempt *a, size_t index)
{
	return a->rcpts[index].heard;
}

size_t attempt_over_limit(const struct attempt *a, size_t index)
{
	return a->rcpts[index].over_limit;
}
