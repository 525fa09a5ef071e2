/* From a place to a host that listens: a kept connection, else MX and addresses, dialled in their order; and what a host's loss means. */
#include "delivery/attempt_inside.h"

#include <errno.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/tls.h"

static void on_ready(void *arg, struct client *c);
static void on_end(void *arg, struct client *c, enum client_end how, struct mail_status s);
static const struct client_handler client_handler = { on_ready, attempt_on_reply, on_end };

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
	buf_init(out, ATTEMPT_MAX_KEY);
	net_address_print(out, &t->address);
	buf_addf(out, " %.*s %s%d%d ", SLICE_FMT(t->host), attempt_choice(a)->how, attempt_requires_tls(a), a->lmtp);
	buf_add(out, a->envelope.route);
}

static void dialled(void *arg, int fd, size_t index);

/* What is missing here, descriptors or memory or our own source, is no fault of the hop's. */
static bool is_our_own(int error)
{
	return error == EADDRNOTAVAIL || error == EADDRINUSE || error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM || error == EAGAIN;
}

static void dial_failed(void *arg, size_t index, int error)
{
	struct attempt *a = arg;
	const struct hosts_target *t = &a->targets[a->next + index];
	struct buf address = BUF_INIT(ATTEMPT_MAX_TEXT);
	net_address_print(&address, &t->address);
	if (!is_our_own(error))
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

/* Two thirds of what is left of the budget, so that one which takes connections and says nothing does not keep the others from being tried, and a slow one still has its time. */
static void begin_share(struct attempt *a)
{
	uint64_t now = clock_mono_ms(), left = a->budget_end_ms > now ? a->budget_end_ms - now : 0;
	a->host_began_ms = now;
	if (a->next + 1 < a->target_count && left)
		loop_timer_set(a->share, left * 2 / 3);
}

static void dialled(void *arg, int fd, size_t index)
{
	struct attempt *a = arg;
	struct buf peer;
	attempt_hold(a);
	a->dial = NULL;
	a->unheard |= fd < 0 || !slice_eq(a->targets[a->next].host, a->targets[a->next + index].host);
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
		net_local(fd, &l->from);
		const struct tls_choice *choice = attempt_choice(a);
		static const enum client_tls uses[] = { CLIENT_TLS_NEVER, CLIENT_TLS_MAY, CLIENT_TLS_MUST };
		bool plain = a->plain_only && choice->use != TLS_USE_MUST;
		struct client_plan plan = { .fd = fd, .lmtp = a->lmtp, .helo = a->hops->helo, .host = choice->base.n ? choice->base : t->host,
		                            .tls = plain ? CLIENT_TLS_NEVER : uses[choice->use],
			.context = choice->context, .login = a->choice.login, .password = a->choice.password };
		l->client = client_new(a->hops->loop, &plan, &client_handler, a);
		use_link(a, l, true);
		begin_share(a);
	}
	attempt_let_go(a);
}

static bool keeps_host(const struct attempt *a, struct slice host)
{
	for (size_t i = 0; i < a->target_count; i++)
		if (slice_eq(a->targets[i].host, host))
			return true;
	return false;
}

/* Only addresses that the route's sources can reach, and that were not found dead lately; none is an answer, too. */
static void keep_targets(struct attempt *a, const struct hosts_answer *found)
{
	uint64_t least = UINT64_MAX;
	a->targets = mem_new_array(found->count, sizeof *a->targets);
	for (size_t i = 0; i < found->count; i++) {
		if (!hops_may_leave_for(&a->choice, &found->targets[i].address))
			continue;
		uint64_t rest = dead_rest_ms(a->hops->dead, &found->targets[i].address);
		least = rest < least ? rest : least;
		if (rest)
			continue;
		a->targets[a->target_count] = found->targets[i];
		a->targets[a->target_count].canonical = arena_copy(&a->mem, found->targets[i].canonical);
		a->targets[a->target_count++].host = arena_copy(&a->mem, found->targets[i].host);
	}
	for (size_t i = 0; i < found->count; i++) /* of one with another address that one is asked */
		a->unheard |= hops_may_leave_for(&a->choice, &found->targets[i].address) && !keeps_host(a, found->targets[i].host);
	a->rest_ms = a->target_count || least == UINT64_MAX ? 0 : least;
	if (a->target_count)
		return;
	if (least == UINT64_MAX)
		a->last = MAIL_STATUS(MAIL_LATER, 451, 4, 4, "The next hop has no address of a family that its route connects from, try again later");
	else
		a->last = MAIL_STATUS(MAIL_LATER, 451, 4, 1, "The next hop could not be reached lately, try again later");
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
		a->unheard |= found->unsure;
		keep_targets(a, found);
		attempt_ask_policy(a, found);
	}
	attempt_let_go(a);
}

/* A kept connection to the first host, whichever domain it was made for. */
static bool take_peer(struct attempt *a)
{
	struct buf key;
	peer_key(a, &a->targets[a->next], &key);
	struct link *l = a->plain_only || a->dials ? NULL : pool_take_peer(a->hops->pool, buf_slice(&key));
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
	a->choice.login = arena_copy(&a->mem, user);
	a->choice.password = arena_copy(&a->mem, password);
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
	struct link *l = a->rounds || a->dials || a->plain_only || a->handler->on_host ? NULL : pool_take_place(a->hops->pool, buf_slice(&a->place_key));
	if (l)
		use_link(a, l, false);
	else if (!a->resolved)
		a->query = hosts_find(a->hops->loop, &a->hops->hosts, a->envelope.place, resolved, a);
	else if (a->next >= a->target_count)
		attempt_give_up(a, attempt_of_place(a, a->last), a->down);
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
	loop_timer_stop(a->share);
	a->ready = true;
	a->talk = TALK_NONE;
	a->facts.dsn = client_offer(c)->dsn;
	a->facts.deliver_by = client_offer(c)->deliver_by;
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

static void leave_link(struct attempt *a)
{
	loop_timer_stop(a->share);
	link_quit(a->link);
	a->link = NULL;
	attempt_drop_link(a);
}

static void go_to_next(struct attempt *a, struct mail_status why)
{
	leave_link(a);
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

void attempt_next_host(struct attempt *a, struct mail_status why)
{
	a->unheard |= why.fate == MAIL_LATER;
	go_to_next(a, why);
}

struct mail_status attempt_of_place(const struct attempt *a, struct mail_status s)
{
	if (s.fate == MAIL_NEVER && a->unheard) {
		s.fate = MAIL_LATER;
		s.code = 451;
	}
	return s;
}

/* The same again: for a kept connection that had gone stale, and for a TLS that fails where none need be. */
void attempt_same_host(struct attempt *a)
{
	if (a->next < a->target_count && a->resolved)
		a->next--; /* go_to_next adds one */
	else
		a->next = (size_t)-1;
	go_to_next(a, a->last);
}

static void log_end(struct attempt *a, enum client_end how, const struct mail_status *s)
{
	static const char *const words[] = { "closed", "refused", "tls", "auth", "content" };
	log_event(LOG_INFO, "hop-lost", LOG_STR("id", a->envelope.transaction), LOG_STR("host", buf_slice(&a->host)), LOG_STR("address", buf_slice(&a->address)),
		LOG_CSTR("how", words[how]), LOG_STR("why", s->text), LOG_END);
}

void attempt_out_of_share(void *arg)
{
	struct attempt *a = arg;
	struct mail_status silent = MAIL_STATUS(MAIL_LATER, 451, 4, 1, "The next hop did not answer in time, try again later");
	if (a->ready || !a->link)
		return;
	attempt_hold(a);
	log_end(a, CLIENT_CLOSED, &silent);
	attempt_note_silent(a);
	attempt_next_host(a, silent);
	attempt_let_go(a);
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
