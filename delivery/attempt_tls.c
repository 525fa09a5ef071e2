/* How a target is to be protected: the policy's answer for each of them, what came of it in the log and in the domain's report. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/tls.h"
#include "delivery/attempt_inside.h"

/* The target is one of ours, or was: from is known of the one that is connected. */
static void note(struct attempt *a, const struct hosts_target *t, const struct tls_choice *c, enum tls_report_result result)
{
	struct buf ip = BUF_INIT(64), from = BUF_INIT(64);
	if (attempt_waives_tls(a)) /* RFC 8460, 3: no reports on reports */
		return;
	struct net_ip to = net_ip_of(&t->address);
	net_ip_print(&ip, &to);
	if (a->link && a->link->from.length) {
		struct net_ip own = net_ip_of(&a->link->from);
		net_ip_print(&from, &own);
	}
	struct tls_report_event e = { .domain = a->policy_domain, .policy = c->policy, .policy_text = c->policy_text, .host = t->host, .ip = buf_slice(&ip), .from = buf_slice(&from),
		.result = c->failed ? c->failed : result };
	tls_report_note(a->hops->report, &e, clock_wall_s());
	buf_free(&ip);
	buf_free(&from);
}

/* Those that must not be used now are no targets. */
static void take_choices(struct attempt *a, const struct tls_policy_answer *answer)
{
	size_t kept = 0;
	a->choices = mem_new_array(a->target_count, sizeof *a->choices);
	for (size_t i = 0; i < a->target_count && i < answer->count; i++) {
		const struct tls_choice *c = &answer->choices[i];
		if (!c->usable) {
			log_event(LOG_INFO, "hop-tls", LOG_STR("id", a->envelope.transaction), LOG_STR("host", a->targets[i].host), LOG_CSTR("policy", c->how),
			          LOG_STR("why", c->status.text), LOG_END);
			if (c->failed)
				note(a, &a->targets[i], c, c->failed);
			a->last = attempt_keep(a, c->status);
			a->down = c->status.fate != MAIL_NEVER;
			a->unheard |= a->down;
			continue;
		}
		a->targets[kept] = a->targets[i];
		a->choices[kept] = *c;
		a->choices[kept].context = c->context ? tls_hold(c->context) : NULL;
		a->choices[kept].base = arena_copy(&a->mem, c->base);
		a->choices[kept++].policy_text = arena_copy(&a->mem, c->policy_text);
	}
	a->target_count = kept;
}

static void got_policy(void *arg, const struct tls_policy_answer *answer)
{
	struct attempt *a = arg;
	attempt_hold(a);
	a->policy_query = NULL;
	take_choices(a, answer);
	attempt_look(a);
	attempt_let_go(a);
}

/* RFC 8689, 5: what comes back to a sender says REQUIRETLS where it can, and goes all the same where it can't. */
bool attempt_requires_tls(const struct attempt *a)
{
	return a->envelope.flags & HOP_REQUIRETLS && a->envelope.reverse_path.n;
}

/* RFC 8689, 5.1: not where REQUIRETLS is asked for. */
bool attempt_waives_tls(const struct attempt *a)
{
	return a->envelope.flags & HOP_WAIVE_TLS && !(a->envelope.flags & HOP_REQUIRETLS);
}

/* An MTA-STS policy is a domain's, whether it has MX records or (so an attacker may say) none. */
void attempt_ask_policy(struct attempt *a, const struct hosts_answer *found)
{
	struct tls_policy_host *hosts = mem_new_array(a->target_count + 1, sizeof *hosts);
	struct hosts_place place;
	bool of_domain = hosts_parse(a->envelope.place, &place) && place.kind == PLACE_MX;
	for (size_t i = 0; i < a->target_count; i++)
		hosts[i] = (struct tls_policy_host){ a->targets[i].host, a->targets[i].canonical, net_address_port(&a->targets[i].address), a->targets[i].secure };
	a->policy_domain = of_domain ? arena_copy(&a->mem, found->domain) : SLICE_NONE;
	struct tls_policy_question q = { .domain = a->policy_domain, .by_mx = found->by_mx, .mx_secure = found->secure, .hosts = hosts, .count = a->target_count,
		.route_tls = a->choice.tls.n ? a->choice.tls : a->hops->tls, .require_tls = attempt_requires_tls(a), .waived = attempt_waives_tls(a) };
	a->policy_query = tls_policy_find(hops_policy(a->hops), &q, got_policy, a);
	mem_free(hosts);
}

void attempt_free_policy(struct attempt *a)
{
	for (size_t i = 0; a->choices && i < a->target_count; i++)
		tls_free(a->choices[i].context);
	mem_free(a->choices);
	a->choices = NULL;
}

const struct tls_choice *attempt_choice(const struct attempt *a)
{
	return a->choices && a->next < a->target_count ? &a->choices[a->next] : NULL;
}

bool attempt_may_go_plain(const struct attempt *a)
{
	const struct tls_choice *c = attempt_choice(a);
	return c && c->use == TLS_USE_MAY && !a->plain_only;
}

static bool is_testing(const struct tls_choice *c)
{
	return c->policy == TLS_REPORT_STS && c->use == TLS_USE_MAY;
}

void attempt_note_tls(struct attempt *a, const struct tls_info *tls)
{
	const struct tls_choice *c = attempt_choice(a);
	if (!c)
		return;
	log_event(LOG_INFO, "hop-tls", LOG_STR("id", a->envelope.transaction), LOG_STR("host", a->targets[a->next].host), LOG_CSTR("policy", c->how),
	          LOG_STR("tls", buf_slice(&a->tls)), LOG_CSTR("untrusted", tls && !tls->verified ? tls->why : ""), LOG_END);
	if (tls)
		note(a, &a->targets[a->next], c, is_testing(c) && !tls->verified ? tls_report_result_of(slice_of(tls->why)) : TLS_REPORT_SUCCESS);
	else if (!a->plain_only && c->use != TLS_USE_NEVER)
		note(a, &a->targets[a->next], c, TLS_REPORT_NO_STARTTLS);
}

/* 7.10 is the client's word for "none was offered". */
void attempt_note_tls_failed(struct attempt *a, const struct mail_status *s)
{
	const struct tls_choice *c = attempt_choice(a);
	bool missing = s->enhanced[0] == 7 && s->enhanced[1] == 10;
	if (c)
		note(a, &a->targets[a->next], c, missing ? TLS_REPORT_NO_STARTTLS : tls_report_result_of(s->text));
}
