/* The check `client-name`: one PTR question, then each of the names that it gives is asked for its addresses, until one of them is the client's. */
#include "smtpd/client_name.h"

#include <stdio.h>
#include <string.h>

#include "base/dns.h"
#include "base/mem.h"
#include "base/net.h"
#include "base/text.h"
#include "maps/map.h"
#include "smtpd/filter_settings.h"
#include "smtpd/smtpd.h"

enum { PATIENCE_MS = 5000, MAX_NAMES = 5, MAX_NAME = 253 };

struct asker {
	struct check *check;
	struct loop_timer *timer;
	struct dns_query *query;         /* NULL: none is open */
	char names[MAX_NAMES][MAX_NAME + 1];
	size_t count, at;
	bool unsure;                     /* something was not answered */
};

static void forget_question(struct asker *a)
{
	dns_cancel(a->query);
	a->query = NULL;
	loop_timer_stop(a->timer);
}

/* name "": none. */
static void over(struct asker *a, struct slice name)
{
	struct mail_status s = MAIL_STATUS_OK;
	forget_question(a);
	if (name.n || !a->unsure)
		s = check_client_name(a->check, name);
	if (s.fate != MAIL_OK)
		check_refuse(a->check, s);
	check_answer(a->check, s.fate == MAIL_OK ? CHECK_GO_ON : CHECK_REFUSE);
}

static void out_of_time(void *arg)
{
	struct asker *a = arg;
	a->unsure = true;
	over(a, SLICE(""));
}

static bool is_among(const struct net_ip *ip, const struct dns_answer *found)
{
	size_t n = ip->is_v4 ? 4 : 16;
	for (size_t i = 0; found->answer == FOUND && i < found->count; i++)
		if (slice_eq(found->records[i].data, slice((const char *)ip->bytes + sizeof ip->bytes - n, n)))
			return true;
	return false;
}

static void ask_next(struct asker *a);

static void on_addresses(void *arg, const struct dns_answer *found)
{
	struct asker *a = arg;
	struct slice name = slice_of(a->names[a->at++]);
	a->query = NULL;
	a->unsure |= found->answer == UNSURE;
	if (is_among(&check_facts(a->check)->ip, found))
		over(a, name);
	else
		ask_next(a);
}

static void ask_next(struct asker *a)
{
	struct smtpd *d = check_smtpd(a->check);
	if (a->at == a->count)
		over(a, SLICE(""));
	else
		a->query = dns_ask(d->dns, check_facts(a->check)->ip.is_v4 ? DNS_A : DNS_AAAA, slice_of(a->names[a->at]), on_addresses, a);
}

/* It goes into header fields, logs, and to filters. */
static bool is_host_name(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!text_is_alnum((unsigned char)s.p[i]) && !strchr("-_.", s.p[i] ? s.p[i] : '/'))
			return false;
	return s.n > 0 && s.n <= MAX_NAME;
}

static void on_names(void *arg, const struct dns_answer *found)
{
	struct asker *a = arg;
	a->query = NULL;
	a->unsure = found->answer == UNSURE;
	for (size_t i = 0; found->answer == FOUND && i < found->count && a->count < MAX_NAMES; i++)
		if (is_host_name(found->records[i].data))
			snprintf(a->names[a->count++], sizeof a->names[0], "%.*s", SLICE_FMT(found->records[i].data));
	ask_next(a);
}

static bool is_wanted(const struct smtpd *d)
{
	return filter_settings.score_no_name || filter_settings.milters.n || filter_settings.policy_services.n || (d->maps && map_size(d->maps, MAP_ACCESS));
}

static void *begin(struct check *c)
{
	const struct session_facts *f = check_facts(c);
	struct smtpd *d = check_smtpd(c);
	if (f->exempt || f->listener != LISTENER_MX || !d->dns || !is_wanted(d))
		return NULL;
	struct asker *a = MEM_NEW(struct asker);
	a->check = c;
	a->timer = loop_timer_new(d->loop, out_of_time, a);
	return a;
}

static enum check_step run(void *state, struct check *c, enum check_stage stage)
{
	struct asker *a = state;
	if (stage != CHECK_CONNECT)
		return CHECK_GO_ON;
	struct buf name = BUF_INIT(128);
	net_ip_add_reverse_name(&name, &check_facts(c)->ip);
	a->query = dns_ask(check_smtpd(c)->dns, DNS_PTR, buf_slice(&name), on_names, a);
	buf_free(&name);
	loop_timer_set(a->timer, PATIENCE_MS);
	return CHECK_WAIT;
}

static void cancel(void *state, struct check *c)
{
	(void)c;
	forget_question(state);
}

static void end(void *state)
{
	struct asker *a = state;
	forget_question(a);
	loop_timer_free(a->timer);
	mem_free(a);
}

const struct check_kind client_name_check = { .name = "client-name", .begin = begin, .run = run, .cancel = cancel, .end = end };
