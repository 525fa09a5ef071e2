/* The process's common things, and what routes choose. */
#include "delivery/hops.h"

#include "base/mem.h"
#include "base/tls.h"
#include "delivery/pool.h"
#include "maps/map_value.h"

void hops_init(struct hops *h, struct loop *l)
{
	*h = (struct hops){ .loop = l, .dead = dead_new(), .pool = pool_new(l), .helo = SLICE("localhost"), .tls = SLICE("may"), .chunking = true,
		.connect_ms = 10000, .hosts = { .mx_port = 25 } };
	h->worker = worker_new(l, 2, "read");
}

void hops_free(struct hops *h)
{
	pool_free(h->pool);
	dead_free(h->dead);
	worker_free(h->worker);
	tls_free(h->any);
	tls_free(h->verified);
	*h = (struct hops){ 0 };
}

static struct tls_context *context(struct tls_context **made, bool must, const char **why)
{
	struct tls_client_plan plan = { .check = TLS_CHECK_NAME, .must = must };
	if (!*made)
		*made = tls_client_new(&plan, why);
	return *made;
}

static const char *choose_tls(struct hops *h, struct slice word, bool require_tls, struct hops_choice *c)
{
	const char *why = "TLS can't be set up";
	if (word.n == 0)
		word = h->tls;
	if (require_tls)
		word = SLICE("verify"); /* 8689, 4.2.1: only to a host whose certificate was verified */
	if (slice_eq(word, SLICE("none")))
		return NULL;
	c->verify = slice_eq(word, SLICE("verify"));
	bool must = c->verify || slice_eq(word, SLICE("encrypt"));
	if (!must && !slice_eq(word, SLICE("may")))
		return "this TLS policy is not known here";
	c->tls = must ? CLIENT_TLS_MUST : CLIENT_TLS_MAY;
	c->context = c->verify ? context(&h->verified, true, &why) : context(&h->any, false, &why);
	return c->context || !must ? NULL : why;
}

static const char *choose_source(struct slice source, struct hops_choice *c)
{
	struct net_ip ip;
	if (source.n == 0)
		return NULL;
	if (!net_ip_parse(source, &ip))
		return "the route's source is no address";
	if (ip.is_v4)
		c->from4 = net_address_of_ip(&ip, 0);
	else
		c->from6 = net_address_of_ip(&ip, 0);
	c->has_from4 = ip.is_v4;
	c->has_from6 = !ip.is_v4;
	return NULL;
}

const char *hops_choose(struct hops *h, struct slice route, bool require_tls, struct arena *mem, struct hops_choice *out)
{
	struct hops_choice c = { 0 };
	struct map_route r = { 0 };
	const char *why = route.n ? map_route_parse(route, mem, &r) : NULL;
	why = why ? why : choose_tls(h, r.tls, require_tls, &c);
	why = why ? why : choose_source(r.source, &c);
	if (!why && r.credentials.n && (!h->credentials || !h->credentials(h->how, r.credentials, &c.login, &c.password)))
		why = "the route's credentials are not there";
	if (!why)
		*out = c;
	return why;
}
