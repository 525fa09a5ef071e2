/* The process's common things, and what routes choose. */
#include "delivery/hops.h"

#include "delivery/pool.h"
#include "delivery/tls_policy.h"
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
	tls_policy_free(h->policy);
	*h = (struct hops){ 0 };
}

struct tls_policy *hops_policy(struct hops *h)
{
	struct tls_policy_setup setup = { .loop = h->loop, .dns = h->hosts.dns, .sts = h->sts, .dane = h->dane, .standard = h->tls };
	if (!h->policy)
		h->policy = tls_policy_new(&setup);
	return h->policy;
}

static void choose_sources(const struct map_route *r, struct hops_choice *c)
{
	for (size_t i = 0; i < r->sources; i++)
		if (r->source[i].is_v4) {
			c->from4 = net_address_of_ip(&r->source[i], 0);
			c->has_from4 = true;
		} else {
			c->from6 = net_address_of_ip(&r->source[i], 0);
			c->has_from6 = true;
		}
}

bool hops_may_leave_for(const struct hops_choice *c, const struct net_address *to)
{
	int family = to->sa.any.sa_family;
	return (!c->has_from4 && !c->has_from6) || (family == AF_INET ? c->has_from4 : family == AF_INET6 ? c->has_from6 : true);
}

const char *hops_choose(struct hops *h, struct slice route, struct arena *mem, struct hops_choice *out)
{
	struct hops_choice c = { 0 };
	struct map_route r = { 0 };
	const char *why = route.n ? map_route_parse(route, mem, &r) : NULL;
	c.tls = r.tls;
	choose_sources(&r, &c);
	c.credentials = r.credentials;
	if (!why && r.credentials.n && !h->logins)
		why = "nobody can be asked for the route's credentials";
	if (!why)
		*out = c;
	return why;
}
