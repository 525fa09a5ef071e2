/* What is known of domains' MTA-STS policies, and the questions that wait for one. */
#include "delivery/sts.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

enum { BUCKETS = 4096, MAX_DOMAIN = 253, REFRESH_S = 86400, RETRY_S = 300, PATIENCE_MS = 25000, MAX_WAITING = 10000 };

struct domain {
	struct domain *next;
	char *name;
	struct arena mem;             /* of policy */
	struct sts_policy *policy;    /* NULL: none known */
	char *id;                     /* of policy */
	int64_t until_s;              /* policy is believed */
	int64_t retry_s;              /* no sooner is it fetched again */
	enum tls_report_result why;   /* none is known, though there is one */
	bool fetching;
};

struct sts_query {
	struct sts_query *next, **link;
	struct sts *sts;
	char *name;
	struct dns_query *txt;
	struct loop_timer *timer;     /* patience with the fetch, then the end */
	struct domain *waits;         /* for its fetch */
	sts_done done;
	void *arg;
	bool announced;              /* the domain says that there is a policy */
};

struct sts {
	struct loop *loop;
	struct dns *dns;
	sts_fetch fetch;
	void *how;
	struct hash_key key;
	struct domain *buckets[BUCKETS];
	size_t count, waiting;
	struct sts_query *queries;
	bool loading;                 /* of what lies on disk: no question is asked yet */
};

struct sts *sts_new(struct loop *l, struct dns *d, sts_fetch fetch, void *how)
{
	struct sts *s = MEM_NEW(struct sts);
	s->loop = l;
	s->dns = d;
	s->fetch = fetch;
	s->how = how;
	s->key = hash_key_random();
	return s;
}

static void query_free(struct sts_query *q)
{
	dns_cancel(q->txt);
	loop_timer_free(q->timer);
	*q->link = q->next;
	if (q->next)
		q->next->link = q->link;
	q->sts->waiting--;
	mem_free(q->name);
	mem_free(q);
}

void sts_cancel(struct sts_query *q)
{
	if (q)
		query_free(q);
}

static void domain_free(struct domain *d)
{
	arena_free(&d->mem);
	mem_free(d->policy);
	mem_free(d->id);
	mem_free(d->name);
	mem_free(d);
}

void sts_free(struct sts *s)
{
	if (!s)
		return;
	while (s->queries)
		query_free(s->queries);
	for (size_t i = 0; i < BUCKETS; i++)
		while (s->buckets[i]) {
			struct domain *next = s->buckets[i]->next;
			domain_free(s->buckets[i]);
			s->buckets[i] = next;
		}
	mem_free(s);
}

/* -- domains ------------------------------------------------------------------------------------------------------------------------------- */

static struct domain **find(struct sts *s, struct slice name)
{
	struct domain **at = &s->buckets[hash_bytes(&s->key, name) % BUCKETS];
	while (*at && !slice_eq(slice_of((*at)->name), name))
		at = &(*at)->next;
	return at;
}

static void set_id(struct domain *d, struct slice id)
{
	mem_free(d->id);
	d->id = mem_copy(id.n ? id.p : "", id.n);
}

static const struct sts_policy *known(const struct domain *d)
{
	return d && d->policy && clock_wall_s() < d->until_s ? d->policy : NULL;
}

/* Those without a policy that is believed make room; nobody waits for one that isn't being fetched. */
static void forget_unknown(struct sts *s)
{
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct domain **at = &s->buckets[i]; *at;) {
			struct domain *d = *at;
			if (known(d) || d->fetching) {
				at = &d->next;
				continue;
			}
			*at = d->next;
			domain_free(d);
			s->count--;
		}
}

/* The domain's place; NULL when there are too many. */
static struct domain *place(struct sts *s, struct slice name)
{
	struct domain **at = find(s, name);
	if (!*at && s->count == STS_MAX_DOMAINS) {
		forget_unknown(s);
		at = find(s, name);
	}
	if (*at || s->count == STS_MAX_DOMAINS)
		return *at;
	*at = MEM_NEW(struct domain);
	**at = (struct domain){ .name = mem_copy(name.p, name.n), .mem = ARENA_INIT(STS_MAX_TEXT), .why = TLS_REPORT_STS_FETCH };
	set_id(*at, SLICE_NONE);
	s->count++;
	return *at;
}

/* d: NULL, nothing is known of it. */
static void finish(struct sts_query *q, const struct domain *d)
{
	const struct sts_policy *p = known(d);
	sts_done done = q->done;
	void *arg = q->arg;
	enum answer a = p ? FOUND : q->announced ? UNSURE : ABSENT;
	query_free(q);
	done(arg, a, p, a != UNSURE ? TLS_REPORT_SUCCESS : d ? d->why : TLS_REPORT_STS_FETCH);
}

/* -- fetching --------------------------------------------------------------------------------------------------------------------------------- */

/* A time that lies further ahead was set before the clock was set back. */
static bool was_just_fetched(const struct domain *d, int64_t now)
{
	return d->fetching || (now < d->retry_s && d->retry_s - now <= RETRY_S);
}

static void fetch(struct sts *s, struct domain *d, struct slice id)
{
	if (was_just_fetched(d, clock_wall_s()))
		return;
	d->retry_s = clock_wall_s() + RETRY_S; /* RFC 8461, 3.3 */
	d->fetching = s->fetch && s->fetch(s->how, slice_of(d->name), id) == 0;
}

bool sts_refresh(struct sts *s)
{
	bool more = false;
	int64_t now = clock_wall_s();
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct domain *d = s->buckets[i]; d; d = d->next) {
			if (!known(d) || d->policy->mode == STS_NONE || d->until_s - now >= REFRESH_S || was_just_fetched(d, now))
				continue;
			fetch(s, d, slice_of(d->id));
			if (d->fetching)
				continue;
			d->retry_s = 0; /* no fault of its server's */
			more = true;
		}
	return more;
}

/* Those that waited: done may cancel others of them, so the search begins anew each time. */
static void wake(struct sts *s, struct domain *d)
{
	for (struct sts_query *q = s->queries; q;) {
		if (q->waits != d) {
			q = q->next;
			continue;
		}
		finish(q, d);
		q = s->queries;
	}
}

static void take_policy(struct domain *d, struct slice id, struct slice text, int64_t fetched_s)
{
	struct sts_policy *p = MEM_NEW(struct sts_policy);
	struct arena mem = ARENA_INIT(STS_MAX_TEXT);
	if (text.n > STS_MAX_TEXT || !sts_parse(text, &mem, p)) {
		d->why = TLS_REPORT_STS_INVALID;
		arena_free(&mem);
		mem_free(p);
		return;
	}
	arena_free(&d->mem);
	mem_free(d->policy);
	d->mem = mem;
	d->policy = p;
	d->until_s = fetched_s + (int64_t)p->max_age_s;
	set_id(d, id);
}

static struct domain *answered(struct sts *s, struct slice domain)
{
	struct domain *d = domain.n && domain.n <= MAX_DOMAIN ? place(s, domain) : NULL;
	if (d)
		d->fetching = false;
	return d;
}

static void go_on(struct sts *s, struct domain *d, struct slice id)
{
	const char *failed = known(d) ? NULL : tls_report_result_name(d->why);
	log_event(LOG_INFO, "sts-policy", LOG_CSTR("domain", d->name), LOG_STR("policy-id", id), LOG_CSTR("known", failed ? "no" : "yes"),
	          LOG_CSTR("reason", failed ? failed : ""), LOG_END);
	wake(s, d);
}

void sts_fetched(struct sts *s, struct slice domain, struct slice id, struct slice text, int64_t fetched_s)
{
	struct domain *d = answered(s, domain);
	if (!d)
		return;
	take_policy(d, id, text, fetched_s);
	go_on(s, d, id);
}

void sts_lost(struct sts *s, struct slice domain, struct slice id, enum https_end why)
{
	struct domain *d = answered(s, domain);
	if (!d)
		return;
	d->why = why == HTTPS_UNTRUSTED ? TLS_REPORT_WEBPKI : TLS_REPORT_STS_FETCH;
	go_on(s, d, id);
}

/* -- questions -------------------------------------------------------------------------------------------------------------------------------- */

static void timed_out(void *arg)
{
	struct sts_query *q = arg;
	finish(q, *find(q->sts, slice_of(q->name)));
}

/* More than one record is none (3.1). */
static bool one_record(const struct dns_answer *a, struct slice *id)
{
	size_t found = 0;
	for (size_t i = 0; a->answer == FOUND && i < a->count; i++)
		if (slice_starts(a->records[i].data, SLICE("v=STSv1")) && ++found && !sts_record(a->records[i].data, id))
			return false;
	return found == 1;
}

static void got_txt(void *arg, const struct dns_answer *a)
{
	struct sts_query *q = arg;
	struct sts *s = q->sts;
	struct slice id;
	q->txt = NULL;
	struct domain *d = one_record(a, &id) ? place(s, slice_of(q->name)) : NULL;
	if (!d) {
		finish(q, *find(s, slice_of(q->name)));
		return;
	}
	bool same = slice_eq(slice_of(d->id), id);
	q->announced = true;
	if (!known(d) || !same || d->until_s - clock_wall_s() < REFRESH_S)
		fetch(s, d, id);
	if ((known(d) && same) || !d->fetching) {
		finish(q, d);
		return;
	}
	q->waits = d;
	loop_timer_set(q->timer, PATIENCE_MS);
}

static void ask(struct sts_query *q)
{
	struct buf name = BUF_INIT(MAX_DOMAIN + 16);
	buf_add_cstr(&name, "_mta-sts.");
	buf_add_cstr(&name, q->name);
	if (!buf_full(&name) && q->sts->waiting <= MAX_WAITING)
		q->txt = dns_ask(q->sts->dns, DNS_TXT, buf_slice(&name), got_txt, q);
	else
		loop_timer_set(q->timer, 0);
	buf_free(&name);
}

void sts_loading(struct sts *s, bool loading)
{
	bool ended = s->loading && !loading;
	s->loading = loading;
	for (struct sts_query *q = s->queries; ended && q; q = q->next)
		if (!q->txt && !q->waits)
			ask(q);
}

struct sts_query *sts_find(struct sts *s, struct slice domain, sts_done done, void *arg)
{
	struct sts_query *q = MEM_NEW(struct sts_query);
	*q = (struct sts_query){ .next = s->queries, .link = &s->queries, .sts = s, .name = mem_copy(domain.p, domain.n), .done = done, .arg = arg };
	for (char *c = q->name; *c; c++)
		*c = text_lower_byte(*c);
	if (q->next)
		q->next->link = &q->next;
	s->queries = q;
	s->waiting++;
	q->timer = loop_timer_new(s->loop, timed_out, q);
	if (s->loading)
		loop_timer_set(q->timer, PATIENCE_MS);
	else
		ask(q);
	return q;
}
