/* A budget and a witness around base/dns. A question past the budget is answered by a timer, so that askers see one way only. */
#include "base/mail_dns.h"

#include <assert.h>

#include "base/mem.h"

struct mail_dns {
	struct loop *loop;
	struct dns *dns;
	unsigned budget, asked, open;
	void (*seen)(void *arg, enum dns_type type, struct slice name, const struct dns_answer *a);
	void *seen_arg;
};

struct mail_dns_query {
	struct mail_dns *owner;
	struct dns_query *query;      /* NULL: refused, the timer answers */
	struct loop_timer *refusal;
	enum dns_type type;
	struct slice name;            /* owned */
	void (*done)(void *arg, const struct dns_answer *a);
	void *arg;
};

struct mail_dns *mail_dns_new(struct loop *l, struct dns *d, unsigned budget)
{
	struct mail_dns *m = MEM_NEW(struct mail_dns);
	m->loop = l;
	m->dns = d;
	m->budget = budget;
	return m;
}

void mail_dns_free(struct mail_dns *m)
{
	if (!m)
		return;
	assert(m->open == 0);
	mem_free(m);
}

struct loop *mail_dns_loop(const struct mail_dns *m)
{
	return m->loop;
}

unsigned mail_dns_asked(const struct mail_dns *m)
{
	return m->asked;
}

void mail_dns_watch(struct mail_dns *m, void (*seen)(void *arg, enum dns_type type, struct slice name, const struct dns_answer *a), void *arg)
{
	m->seen = seen;
	m->seen_arg = arg;
}

static void query_free(struct mail_dns_query *q)
{
	q->owner->open--;
	loop_timer_free(q->refusal);
	mem_free((char *)q->name.p);
	mem_free(q);
}

static void answered(void *arg, const struct dns_answer *a)
{
	struct mail_dns_query *q = arg;
	q->query = NULL;
	if (q->owner->seen)
		q->owner->seen(q->owner->seen_arg, q->type, q->name, a);
	void (*done)(void *, const struct dns_answer *) = q->done;
	void *done_arg = q->arg;
	query_free(q);
	done(done_arg, a);
}

static void refused(void *arg)
{
	static const struct dns_answer none = { .answer = UNSURE, .why = "too many questions" };
	answered(arg, &none);
}

struct mail_dns_query *mail_dns_ask(struct mail_dns *m, enum dns_type type, struct slice name,
                                    void (*done)(void *arg, const struct dns_answer *a), void *arg)
{
	struct mail_dns_query *q = MEM_NEW(struct mail_dns_query);
	*q = (struct mail_dns_query){ .owner = m, .type = type, .done = done, .arg = arg };
	q->name = slice(mem_copy(name.n ? name.p : "", name.n), name.n);
	m->open++;
	if (m->asked >= m->budget) {
		q->refusal = loop_timer_new(m->loop, refused, q);
		loop_timer_set(q->refusal, 0);
		return q;
	}
	m->asked++;
	q->query = dns_ask(m->dns, type, q->name, answered, q);
	return q;
}

void mail_dns_cancel(struct mail_dns_query *q)
{
	if (!q)
		return;
	dns_cancel(q->query);
	query_free(q);
}

const char *dns_type_name(enum dns_type type)
{
	switch (type) {
	case DNS_A: return "A";
	case DNS_CNAME: return "CNAME";
	case DNS_PTR: return "PTR";
	case DNS_MX: return "MX";
	case DNS_TXT: return "TXT";
	case DNS_AAAA: return "AAAA";
	case DNS_TLSA: return "TLSA";
	}
	return "?";
}
