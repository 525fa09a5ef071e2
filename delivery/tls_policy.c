/* One decision for each host. TLSA of all hosts and the domain's policy are asked for at once; the decision is made when the last answer is there. */
#include "delivery/tls_policy.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/net.h"
#include "base/text.h"
#include "base/tls.h"

enum { QUERY_MEM = 256 << 10, SMTP_PORT = 25 };

struct tls_policy {
	struct tls_policy_setup setup;
	struct tls_context *any, *verified, *tested; /* made when first wanted */
};

enum tlsa { TLSA_NOT_ASKED, TLSA_ABSENT, TLSA_UNSURE, TLSA_UNUSABLE, TLSA_USABLE };
struct host {
	struct tls_policy_query *owner;
	struct tls_policy_host is;
	struct dns_query *open;
	struct slice bases[2];     /* where its TLSA records may stand, in this order */
	size_t base, base_count;
	enum tlsa tlsa;
	struct slice records[TLS_MAX_TLSA];
	size_t record_count;
	size_t same;               /* index of the first with this name and port */
	struct tls_choice choice;
};

struct tls_policy_query {
	struct tls_policy *policy;
	struct arena mem;
	struct slice domain;
	bool by_mx, mx_secure, require_tls, waived;
	struct slice word;         /* what route or setting say */
	struct host *hosts;
	size_t count, waiting;
	struct sts_query *sts_open;
	struct sts_policy kept;    /* copy of what sts_find said; mode STS_NONE without */
	enum tls_report_result sts_lost; /* the domain has one that can't be had; TLS_REPORT_SUCCESS: not so */
	struct loop_timer *now;
	void (*done)(void *arg, const struct tls_policy_answer *a);
	void *arg;
};

struct tls_policy *tls_policy_new(const struct tls_policy_setup *s)
{
	struct tls_policy *p = MEM_NEW(struct tls_policy);
	p->setup = *s;
	return p;
}

void tls_policy_free(struct tls_policy *p)
{
	if (!p)
		return;
	tls_free(p->any);
	tls_free(p->verified);
	tls_free(p->tested);
	mem_free(p);
}

static void release(struct tls_policy_query *q)
{
	for (size_t i = 0; i < q->count; i++) {
		dns_cancel(q->hosts[i].open);
		tls_free(q->hosts[i].choice.context);
	}
	sts_cancel(q->sts_open);
	loop_timer_free(q->now);
	mem_free(q->hosts);
	arena_free(&q->mem);
	mem_free(q);
}

void tls_policy_cancel(struct tls_policy_query *q)
{
	if (q)
		release(q);
}

/* -- contexts ---------------------------------------------------------------------------------------------------------------------------- */

static struct tls_context *shared(struct tls_context **made, enum tls_check check, bool must)
{
	const char *why;
	struct tls_client_plan plan = { .check = check, .must = must };
	if (!*made)
		*made = tls_client_new(&plan, &why);
	return *made ? tls_hold(*made) : NULL;
}

static struct tls_context *by_tlsa(struct tls_policy_query *q, const struct host *h)
{
	const char *why;
	/* RFC 7672, 3.2.2: usage 2 takes the name of the records, the host's own and the next-hop domain */
	struct slice names[3] = { h->bases[h->base], h->is.name, q->domain };
	struct tls_client_plan plan = { .check = TLS_CHECK_DANE, .must = true, .names = names, .name_count = q->domain.n ? 3 : 2, .tlsa = h->records,
		.tlsa_count = h->record_count };
	return tls_client_new(&plan, &why);
}

/* -- the decision -------------------------------------------------------------------------------------------------------------------------- */

static struct tls_choice no(struct mail_status s, const char *how)
{
	return (struct tls_choice){ .usable = false, .how = how, .status = s };
}

static struct tls_choice yes(enum tls_use use, struct tls_context *context, const char *how)
{
	if (use == TLS_USE_MUST && !context)
		return no(MAIL_STATUS(MAIL_LATER, 451, 4, 7, "TLS can't be set up as it must be, try again later"), how);
	return (struct tls_choice){ .usable = true, .use = context ? use : TLS_USE_NEVER, .context = context, .how = how, .status = MAIL_STATUS_OK };
}

static struct tls_choice verified(struct tls_policy_query *q, const char *how)
{
	return yes(TLS_USE_MUST, shared(&q->policy->verified, TLS_CHECK_NAME, true), how);
}

static struct tls_choice encrypted(struct tls_policy_query *q, enum tls_use use, const char *how)
{
	return yes(use, shared(&q->policy->any, TLS_CHECK_NONE, false), how);
}

/* RFC 8461, 5: what would fail is reported, and the mail goes all the same. */
static struct tls_choice tested(struct tls_policy_query *q)
{
	struct tls_context *c = shared(&q->policy->tested, TLS_CHECK_NAME, false);
	return c ? yes(TLS_USE_MAY, c, "sts-testing") : encrypted(q, TLS_USE_MAY, "sts-testing");
}

/* What is wrong with the policy, for the domain's report (RFC 8460, 4.3). */
static struct tls_choice told(struct tls_choice c, enum tls_report_result failed)
{
	c.failed = failed;
	return c;
}

static bool is_word(const struct tls_policy_query *q, const char *word)
{
	return slice_eq(q->word, slice_of(word));
}

/* RFC 8689, 4.2.1: where the hosts' names are not proven, neither is what their certificates say. */
static struct tls_choice decide_required(struct tls_policy_query *q, const struct host *h)
{
	if (h->tlsa == TLSA_USABLE)
		return yes(TLS_USE_MUST, by_tlsa(q, h), "dane");
	if (q->kept.mode == STS_ENFORCE && sts_names(&q->kept, h->is.name))
		return verified(q, "sts");
	if (!q->by_mx || q->mx_secure)
		return verified(q, "verify");
	return no(MAIL_STATUS(MAIL_NEVER, 550, 7, 30, "REQUIRETLS was asked for, and the next hop can't be proven"), "require-tls");
}

static struct tls_choice decide(struct tls_policy_query *q, const struct host *h)
{
	if (is_word(q, "none") && !q->require_tls)
		return yes(TLS_USE_NEVER, NULL, "none");
	if (h->tlsa == TLSA_UNSURE)
		return told(no(MAIL_STATUS(MAIL_LATER, 451, 7, 5, "The next hop's TLSA records could not be looked up, try again later"), "dane"), TLS_REPORT_DNSSEC_INVALID);
	if (q->require_tls)
		return decide_required(q, h);
	if (is_word(q, "verify"))
		return h->tlsa == TLSA_USABLE ? yes(TLS_USE_MUST, by_tlsa(q, h), "dane") : verified(q, "verify");
	if (h->tlsa == TLSA_USABLE)
		return yes(TLS_USE_MUST, by_tlsa(q, h), "dane");
	if (is_word(q, "dane"))
		return told(no(MAIL_STATUS(MAIL_LATER, 451, 7, 5, "The next hop has no TLSA records that prove it, try again later"), "dane"), TLS_REPORT_DANE_REQUIRED);
	if (h->tlsa == TLSA_UNUSABLE) /* RFC 7672, 2.2: then TLS at least */
		return told(encrypted(q, TLS_USE_MUST, "dane-unusable"), TLS_REPORT_TLSA_INVALID);
	if (q->kept.mode == STS_ENFORCE && !sts_names(&q->kept, h->is.name))
		return told(no(MAIL_STATUS(MAIL_LATER, 451, 7, 5, "The domain's MTA-STS policy doesn't name this host, try again later"), "sts"), TLS_REPORT_VALIDATION);
	if (q->kept.mode == STS_ENFORCE)
		return verified(q, "sts");
	if (is_word(q, "encrypt"))
		return told(encrypted(q, TLS_USE_MUST, "encrypt"), q->sts_lost);
	if (q->sts_lost != TLS_REPORT_SUCCESS)
		return told(encrypted(q, TLS_USE_MAY, "opportunistic"), q->sts_lost);
	return q->kept.mode == STS_TESTING ? tested(q) : encrypted(q, TLS_USE_MAY, q->waived ? "waived" : "opportunistic");
}

static bool is_about_dane(enum tls_report_result r)
{
	return r == TLS_REPORT_TLSA_INVALID || r == TLS_REPORT_DNSSEC_INVALID || r == TLS_REPORT_DANE_REQUIRED;
}

/* The domain's policy as its report has it (RFC 8460, 4.4). */
static void add_policy(struct tls_policy_query *q, struct host *h)
{
	struct buf text = BUF_INIT(TLS_REPORT_POLICY_TEXT);
	static const char *const modes[] = { "none", "testing", "enforce" };
	if (h->tlsa == TLSA_USABLE) {
		h->choice.policy = TLS_REPORT_TLSA;
		for (size_t i = 0; i < h->record_count; i++) {
			const unsigned char *r = (const unsigned char *)h->records[i].p;
			buf_addf(&text, "%u %u %u ", r[0], r[1], r[2]);
			text_add_hex(&text, slice_skip(h->records[i], 3));
			buf_add_byte(&text, '\n');
		}
	} else if (is_about_dane(h->choice.failed)) {
		h->choice.policy = TLS_REPORT_TLSA;
	} else if (h->choice.failed != TLS_REPORT_SUCCESS && h->choice.failed == q->sts_lost) {
		h->choice.policy = TLS_REPORT_STS;
	} else if (q->kept.mode != STS_NONE) {
		h->choice.policy = TLS_REPORT_STS;
		buf_addf(&text, "version: STSv1\nmode: %s\n", modes[q->kept.mode]);
		for (size_t i = 0; i < q->kept.mx_count; i++)
			buf_addf(&text, "mx: %.*s\n", SLICE_FMT(q->kept.mx[i]));
		buf_addf(&text, "max_age: %llu\n", (unsigned long long)q->kept.max_age_s);
	}
	h->choice.policy_text = arena_copy(&q->mem, buf_slice(&text));
	buf_free(&text);
}

static void take_same(struct host *h, const struct host *first)
{
	h->tlsa = first->tlsa;
	memcpy(h->records, first->records, sizeof h->records);
	h->record_count = first->record_count;
	memcpy(h->bases, first->bases, sizeof h->bases);
	h->base = first->base;
}

static void all_answered(void *arg)
{
	struct tls_policy_query *q = arg;
	struct tls_choice *all = ARENA_ARRAY(&q->mem, struct tls_choice, q->count);
	struct tls_policy_answer answer = { all, q->count };
	for (size_t i = 0; i < q->count; i++) {
		struct host *h = &q->hosts[i], *first = &q->hosts[h->same];
		if (h != first)
			take_same(h, first);
		h->choice = decide(q, h);
		if (h->tlsa == TLSA_USABLE)
			h->choice.base = h->bases[h->base];
		add_policy(q, h);
		all[i] = h->choice;
	}
	q->done(q->arg, &answer);
	release(q);
}

static void one_answered(struct tls_policy_query *q)
{
	if (--q->waiting == 0)
		all_answered(q);
}

/* -- questions -------------------------------------------------------------------------------------------------------------------------------- */

static void got_tlsa(void *arg, const struct dns_answer *a);

static void ask_base(struct host *h)
{
	struct buf name = BUF_INIT(300);
	buf_addf(&name, "_%u._tcp.", h->is.port);
	buf_add(&name, h->bases[h->base]);
	h->open = dns_ask(h->owner->policy->setup.dns, DNS_TLSA, buf_slice(&name), got_tlsa, h);
	buf_free(&name);
}

static void take_records(struct host *h, const struct dns_answer *a)
{
	for (size_t i = 0; i < a->count && h->record_count < TLS_MAX_TLSA; i++)
		if (tls_tlsa_usable(a->records[i].data))
			h->records[h->record_count++] = arena_copy(&h->owner->mem, a->records[i].data);
	h->tlsa = h->record_count ? TLSA_USABLE : TLSA_UNUSABLE;
}

/* What isn't validated says nothing. */
static void got_tlsa(void *arg, const struct dns_answer *a)
{
	struct host *h = arg;
	bool proven = a->answer == FOUND && a->secure;
	h->open = NULL;
	if (!proven && a->answer != UNSURE && h->base + 1 < h->base_count) {
		h->base++;
		ask_base(h);
		return;
	}
	h->tlsa = a->answer == UNSURE ? TLSA_UNSURE : TLSA_ABSENT;
	if (proven)
		take_records(h, a);
	one_answered(h->owner);
}

/* Addresses that aren't validated, behind an alias that is: its own name may have records. */
static void got_alias(void *arg, const struct dns_answer *a)
{
	struct host *h = arg;
	h->open = NULL;
	if (a->answer == FOUND && a->secure) {
		ask_base(h);
		return;
	}
	h->tlsa = a->answer == UNSURE ? TLSA_UNSURE : TLSA_ABSENT;
	one_answered(h->owner);
}

static void got_sts(void *arg, enum answer a, const struct sts_policy *p, enum tls_report_result why)
{
	struct tls_policy_query *q = arg;
	q->sts_open = NULL;
	q->sts_lost = why;
	if (a == FOUND) {
		q->kept = *p;
		for (size_t i = 0; i < p->mx_count; i++)
			q->kept.mx[i] = arena_copy(&q->mem, p->mx[i]);
	}
	one_answered(q);
}

/* RFC 7672, 2.2.2: the name behind the aliases, then the host's own. */
static void ask_tlsa(struct tls_policy_query *q, struct host *h)
{
	if (h->is.secure && h->is.canonical.n)
		h->bases[h->base_count++] = h->is.canonical;
	h->bases[h->base_count++] = h->is.name;
	q->waiting++;
	if (h->is.secure)
		ask_base(h);
	else
		h->open = dns_ask(q->policy->setup.dns, DNS_CNAME, h->is.name, got_alias, h);
}

/* 2.2.1: without proven names or addresses there is no DANE. */
static bool wants_tlsa(const struct tls_policy_query *q, const struct host *h)
{
	struct net_ip ip;
	if (q->waived)
		return false;
	bool named = h->is.name.n && !net_ip_parse(h->is.name, &ip) && h->is.name.p[0] != '[';
	return q->policy->setup.dane && named && (h->is.secure || h->is.canonical.n) && (!q->by_mx || q->mx_secure) && (q->require_tls || !is_word(q, "none"));
}

static size_t first_same(const struct tls_policy_query *q, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (slice_eq_nocase(q->hosts[k].is.name, q->hosts[i].is.name) && q->hosts[k].is.port == q->hosts[i].is.port)
			return k;
	return i;
}

static void ask(struct tls_policy_query *q)
{
	bool sts = q->policy->setup.sts && q->domain.n && !q->waived && (q->require_tls || !is_word(q, "none"));
	q->waiting = 1; /* ourselves, so that no answer ends it early */
	for (size_t i = 0; i < q->count; i++) {
		q->hosts[i].same = first_same(q, i);
		if (q->hosts[i].same == i && wants_tlsa(q, &q->hosts[i]))
			ask_tlsa(q, &q->hosts[i]);
	}
	if (sts) {
		q->waiting++;
		q->sts_open = sts_find(q->policy->setup.sts, q->domain, got_sts, q);
	}
	if (--q->waiting)
		return;
	q->now = loop_timer_new(q->policy->setup.loop, all_answered, q);
	loop_timer_set(q->now, 0);
}

struct tls_policy_query *tls_policy_find(struct tls_policy *p, const struct tls_policy_question *asked,
                                         void (*done)(void *arg, const struct tls_policy_answer *a), void *arg)
{
	struct tls_policy_query *q = MEM_NEW(struct tls_policy_query);
	*q = (struct tls_policy_query){ .policy = p, .by_mx = asked->by_mx, .mx_secure = asked->mx_secure, .require_tls = asked->require_tls, .done = done,
		.arg = arg, .mem = ARENA_INIT(QUERY_MEM) };
	q->count = asked->count < TLS_POLICY_MAX_HOSTS ? asked->count : TLS_POLICY_MAX_HOSTS;
	q->domain = arena_copy(&q->mem, asked->domain);
	q->word = arena_copy(&q->mem, asked->route_tls.n ? asked->route_tls : p->setup.standard);
	q->waived = asked->waived && (is_word(q, "may") || is_word(q, "encrypt"));
	q->hosts = mem_new_array(q->count ? q->count : 1, sizeof *q->hosts);
	for (size_t i = 0; i < q->count; i++) {
		q->hosts[i].owner = q;
		q->hosts[i].is = asked->hosts[i];
		q->hosts[i].is.name = arena_copy(&q->mem, asked->hosts[i].name);
		q->hosts[i].is.canonical = arena_copy(&q->mem, asked->hosts[i].canonical);
	}
	ask(q);
	return q;
}
