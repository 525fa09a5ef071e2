/* The way to a host: a kept connection, else MX and addresses, else the next one; and what its loss means. */
#include "delivery/attempt.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/tls.h"
#include "delivery/attempt_inside.h"

enum { DOT_MS = 600000, KEY_MAX = 4096, TEXT_MAX = 512, WORDS_ARENA = 64 << 10 };

static void on_ready(void *arg, struct client *c);
static void on_end(void *arg, struct client *c, enum client_end how, struct mail_status s);
static const struct client_handler client_handler = { on_ready, attempt_on_reply, on_end };

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
	buf_init(&a->place_key, KEY_MAX);
	buf_add(&a->place_key, e->place);
	buf_addf(&a->place_key, " %d ", (e->flags & HOP_REQUIRETLS) != 0);
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
	buf_init(&a->host, TEXT_MAX), buf_init(&a->address, TEXT_MAX), buf_init(&a->tls, TEXT_MAX);
	a->budget = loop_timer_new(h->loop, out_of_time, a);
	a->soon = loop_timer_new(h->loop, begin, a);
	choose(a);
	return a;
}

static void release(struct attempt *a)
{
	loop_timer_free(a->budget);
	loop_timer_free(a->soon);
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

/* The link goes to the pool if its client has nothing open; an unfinished transaction is reset there. */
static void put_back(struct attempt *a)
{
	struct link *l = a->link;
	a->link = NULL;
	if (!l)
		return;
	if (a->ready && client_is_idle(l->client))
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
	link_free(l);
}

/* -- questions ---------------------------------------------------------------------------------------------------------------------- */

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

size_t attempt_rcpt_count(const struct attempt *a)
{
	return a->count;
}

void attempt_content(struct attempt *a, struct body *b, uint64_t budget_ms)
{
	a->body = b;
	a->content = CONTENT_WAITS;
	a->content_ms = budget_ms ? budget_ms : DOT_MS;
	loop_timer_set(a->budget, a->content_ms);
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
		loop_timer_set(a->budget, a->envelope.budget_ms ? a->envelope.budget_ms : HOP_BUDGET_MS);
}

static void out_of_time(void *arg)
{
	struct attempt *a = arg;
	attempt_hold(a);
	if (a->content == CONTENT_GOES && a->link && client_dot_sent(a->link->client)) {
		attempt_content_late(a);
	} else {
		if (!a->ready && a->link)
			dead_note(a->hops->dead, &a->link->address);
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

/* -- hosts -------------------------------------------------------------------------------------------------------------------------- */

static void set_facts(struct attempt *a)
{
	buf_clear(&a->host), buf_clear(&a->address), buf_clear(&a->tls);
	buf_add(&a->host, buf_slice(&a->link->host));
	net_address_print(&a->address, &a->link->address);
}

static void use_link(struct attempt *a, struct link *l, bool fresh)
{
	a->link = l;
	a->fresh = fresh;
	a->ready = !fresh;
	set_facts(a);
	if (fresh)
		return;
	client_own(l->client, &client_handler, a);
	on_ready(a, l->client);
}

static void peer_key(struct attempt *a, const struct hosts_target *t, struct buf *out)
{
	buf_init(out, KEY_MAX);
	net_address_print(out, &t->address);
	buf_addf(out, " %.*s %s%d%d ", SLICE_FMT(t->host), attempt_choice(a)->how, (a->envelope.flags & HOP_REQUIRETLS) != 0, a->lmtp);
	buf_add(out, a->envelope.route);
}

static void dialled(void *arg, int fd, size_t index);

static void dial_failed(void *arg, size_t index, int error)
{
	struct attempt *a = arg;
	const struct hosts_target *t = &a->targets[a->next + index];
	struct buf address = BUF_INIT(TEXT_MAX);
	net_address_print(&address, &t->address);
	dead_note(a->hops->dead, &t->address);
	log_event(LOG_INFO, "hop-unreachable", LOG_STR("id", a->envelope.transaction), LOG_STR("host", t->host), LOG_STR("address", buf_slice(&address)),
		LOG_ERRNO(error), LOG_END);
	buf_free(&address);
}

/* All that are left; or those of one host, where each host needs leave. */
static size_t dial_count(const struct attempt *a)
{
	size_t n = 1, left = a->target_count - a->next;
	while (n < left && (!a->handler->on_host || slice_eq(a->targets[a->next + n].host, a->targets[a->next].host)))
		n++;
	return n;
}

static void dial(struct attempt *a)
{
	struct dial_plan p = {
		.targets = a->targets + a->next, .count = dial_count(a), .timeout_ms = a->hops->connect_ms, .failed = dial_failed, .done = dialled, .arg = a,
		.from4 = a->choice.has_from4 ? &a->choice.from4 : NULL, .from6 = a->choice.has_from6 ? &a->choice.from6 : NULL,
		.open_unix = a->hops->open_unix, .how = a->hops->how
	};
	a->dial = dial_start(a->hops->loop, &p);
}

static void dialled(void *arg, int fd, size_t index)
{
	struct attempt *a = arg;
	struct buf peer;
	attempt_hold(a);
	a->dial = NULL;
	if (fd < 0) {
		a->next += dial_count(a);
		a->allowed = false;
		if (a->down)
			a->last = MAIL_STATUS(MAIL_LATER, 451, 4, 1, "The next hop can't be reached, try again later");
		attempt_look(a);
	} else {
		a->next += index;
		const struct hosts_target *t = &a->targets[a->next];
		peer_key(a, t, &peer);
		struct link *l = link_new(buf_slice(&a->place_key), buf_slice(&peer), t->host, &t->address);
		buf_free(&peer);
		const struct tls_choice *choice = attempt_choice(a);
		static const enum client_tls uses[] = { CLIENT_TLS_NEVER, CLIENT_TLS_MAY, CLIENT_TLS_MUST };
		bool plain = a->plain_only && choice->use != TLS_USE_MUST;
		struct client_plan plan = { .fd = fd, .lmtp = a->lmtp, .helo = a->hops->helo, .host = t->host, .tls = plain ? CLIENT_TLS_NEVER : uses[choice->use],
			.context = choice->context, .login = a->choice.login, .password = a->choice.password };
		l->client = client_new(a->hops->loop, &plan, &client_handler, a);
		use_link(a, l, true);
	}
	attempt_let_go(a);
}

/* Only addresses that were not found dead lately; all dead is an answer, too. */
static void keep_targets(struct attempt *a, const struct hosts_answer *found)
{
	uint64_t least = UINT64_MAX;
	a->targets = mem_new_array(found->count, sizeof *a->targets);
	for (size_t i = 0; i < found->count; i++) {
		uint64_t rest = dead_rest_ms(a->hops->dead, &found->targets[i].address);
		least = rest < least ? rest : least;
		if (rest)
			continue;
		a->targets[a->target_count] = found->targets[i];
		a->targets[a->target_count++].host = copy(a, found->targets[i].host);
	}
	a->rest_ms = a->target_count ? 0 : least;
}

static void resolved(void *arg, const struct hosts_answer *found)
{
	struct attempt *a = arg;
	attempt_hold(a);
	a->query = NULL;
	if (found->status.fate != MAIL_OK) {
		attempt_give_up(a, found->status, found->status.fate == MAIL_LATER);
	} else {
		a->resolved = true;
		a->lmtp = found->lmtp;
		keep_targets(a, found);
		if (a->target_count == 0)
			a->last = MAIL_STATUS(MAIL_LATER, 451, 4, 1, "The next hop could not be reached lately, try again later");
		attempt_ask_policy(a, found);
	}
	attempt_let_go(a);
}

/* A kept connection to the first host, whichever domain it was made for. */
static bool take_peer(struct attempt *a)
{
	struct buf key;
	peer_key(a, &a->targets[a->next], &key);
	struct link *l = a->plain_only ? NULL : pool_take_peer(a->hops->pool, buf_slice(&key));
	buf_free(&key);
	if (l)
		use_link(a, l, false);
	return l != NULL;
}

static void ask_leave(struct attempt *a)
{
	a->asking_host = true;
	a->handler->on_host(a->arg, a->targets[a->next].host);
}

static void got_login(void *arg, enum answer answer, struct slice user, struct slice password)
{
	struct attempt *a = arg;
	attempt_hold(a);
	a->login_query = NULL;
	a->login_known = answer == FOUND;
	a->choice.login = copy(a, user);
	a->choice.password = copy(a, password);
	if (answer == FOUND)
		attempt_look(a);
	else
		attempt_give_up(a, MAIL_STATUS(MAIL_LATER, 451, 3, 5, "Credentials for the next hop are not there, try again later"), true);
	attempt_let_go(a);
}

void attempt_look(struct attempt *a)
{
	if (a->asking_host || a->freed || a->over)
		return;
	if (a->choice.credentials.n && !a->login_known) {
		a->login_query = route_login_find(a->hops->logins, a->choice.credentials, got_login, a);
		return;
	}
	struct link *l = a->rounds || a->plain_only || a->handler->on_host ? NULL : pool_take_place(a->hops->pool, buf_slice(&a->place_key));
	if (l)
		use_link(a, l, false);
	else if (!a->resolved)
		a->query = hosts_find(a->hops->loop, &a->hops->hosts, a->envelope.place, resolved, a);
	else if (a->next >= a->target_count)
		attempt_give_up(a, a->last, a->down);
	else if (a->handler->on_host && !a->allowed)
		ask_leave(a);
	else if (!take_peer(a))
		dial(a);
}

void attempt_allow(struct attempt *a, bool yes)
{
	attempt_hold(a);
	a->asking_host = false;
	a->allowed = yes;
	if (!yes && a->next < a->target_count) {
		a->next += dial_count(a);
		a->last = MAIL_STATUS(MAIL_LATER, 451, 7, 0, "Enough was told to this host today");
	}
	attempt_look(a);
	attempt_let_go(a);
}

/* -- a client's events ------------------------------------------------------------------------------------------------------------------ */

static void on_ready(void *arg, struct client *c)
{
	struct attempt *a = arg;
	const struct tls_info *tls = client_tls_info(c);
	attempt_hold(a);
	a->ready = true;
	a->talk = TALK_NONE;
	a->facts.dsn = client_offer(c)->dsn;
	a->lmtp = client_is_lmtp(c);
	if (tls)
		buf_addf(&a->tls, "%s %s %s", tls->protocol, tls->cipher, tls->verified ? "verified" : "unverified");
	if (a->fresh)
		attempt_note_tls(a, tls);
	if (a->fresh)
		dead_forget(a->hops->dead, &a->link->address);
	if (attempt_may_serve(a))
		attempt_talk(a);
	attempt_let_go(a);
}

void attempt_next_host(struct attempt *a, struct mail_status why)
{
	attempt_drop_link(a);
	a->last = attempt_keep(a, why);
	a->next++;
	a->allowed = a->next < a->target_count && a->next > 0 && a->allowed && slice_eq(a->targets[a->next].host, a->targets[a->next - 1].host);
	for (size_t i = 0; i < a->count; i++)
		if (a->rcpts[i].state != RCPT_NO)
			a->rcpts[i].state = RCPT_NEW;
	if (a->content == CONTENT_ASKED || a->content == CONTENT_GOES)
		a->content = CONTENT_WAITS;
	attempt_look(a);
}

/* The same again: for a kept connection that had gone stale, and for a TLS that fails where none need be. */
void attempt_same_host(struct attempt *a)
{
	if (a->next < a->target_count && a->resolved)
		a->next--; /* attempt_next_host adds one */
	else
		a->next = (size_t)-1;
	attempt_next_host(a, a->last);
}

static void log_end(struct attempt *a, enum client_end how, const struct mail_status *s)
{
	static const char *const words[] = { "closed", "refused", "tls", "auth", "content" };
	log_event(LOG_INFO, "hop-lost", LOG_STR("id", a->envelope.transaction), LOG_STR("host", buf_slice(&a->host)), LOG_STR("address", buf_slice(&a->address)),
		LOG_CSTR("how", words[how]), LOG_STR("why", s->text), LOG_END);
}

static void on_end(void *arg, struct client *c, enum client_end how, struct mail_status s)
{
	struct attempt *a = arg;
	bool stale = a->ready && !a->fresh && a->talk != TALK_OPEN && how != CLIENT_CONTENT;
	bool was_ready = a->ready;
	attempt_hold(a);
	s = attempt_keep(a, s);
	a->dot_sent = client_dot_sent(c);
	if (!stale)
		log_end(a, how, &s);
	if (how == CLIENT_TLS_FAILED)
		attempt_note_tls_failed(a, &s);
	if (a->content == CONTENT_LATE || a->content == CONTENT_TOLD || (a->content == CONTENT_GOES && a->dot_sent) || how == CLIENT_CONTENT) {
		attempt_drop_link(a);
		attempt_content_lost(a, s);
	} else if (stale) {
		attempt_same_host(a);
	} else if (how == CLIENT_TLS_FAILED && attempt_may_go_plain(a)) {
		a->plain_only = true; /* opportunistic: a TLS that does not work is no reason to keep the mail */
		attempt_same_host(a);
	} else {
		if (!was_ready && how != CLIENT_TLS_FAILED) /* another domain may want less of it */
			dead_note(a->hops->dead, &a->link->address);
		if (was_ready && ++a->rounds < ATTEMPT_MAX_ROUNDS && a->next + 1 >= a->target_count)
			a->next = (size_t)-1; /* it served: dialled again, from the first */
		if (s.fate == MAIL_NEVER)
			a->down = false;
		attempt_next_host(a, s);
	}
	attempt_let_go(a);
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

size_t attempt_over_limit(const struct attempt *a, size_t index)
{
	return a->rcpts[index].over_limit;
}
