#ifndef DELIVERY_HOPS_H
#define DELIVERY_HOPS_H
#include <stdbool.h>
#include <stdint.h>
#include "base/loop.h"
#include "base/net.h"
#include "base/slice.h"
#include "delivery/client.h"
#include "delivery/dead.h"
#include "delivery/hosts.h"

/* What all next hops of the process share, and the choices that a line of `routes` makes for one of them. */
struct pool;
struct sts;
struct route_logins;
struct tls_policy;
struct tls_report;
struct hops {
	struct loop *loop;
	struct worker *worker;          /* reads content */
	struct hosts_setup hosts;
	struct dead *dead;
	struct pool *pool;
	struct slice helo;
	struct slice tls;               /* "none", "may", "encrypt", "verify", "dane": where a route says nothing */
	bool chunking;                  /* use BDAT where it is offered */
	uint64_t connect_ms;            /* patience with one address */
	struct tls_policy *policy;      /* made when first wanted, of tls and: */
	struct sts *sts;                /* NULL: no MTA-STS */
	bool dane;
	struct tls_report *report;      /* NULL: TLS is not counted */
	struct route_logins *logins;    /* users and passwords of routes; NULL: there are none */
	/* See delivery/dial.h. */
	int (*open_unix)(void *how, struct slice path, void (*opened)(void *arg, int fd), void *arg);
	void *how;
};

void hops_init(struct hops *h, struct loop *l);
void hops_free(struct hops *h);

/* A route's words for one attempt. */
struct hops_choice {
	struct slice tls;               /* the route's word about TLS; "" none */
	struct net_address from4, from6; /* to connect from */
	bool has_from4, has_from6;      /* with one of them the other family is not used: what is promised of our address must hold for all connections */
	struct slice credentials;       /* the name that the route gives, "" none; what stands behind it: */
	struct slice login, password;
};

/* route: value of a line of routes, "" none. NULL, or a fixed phrase that says why not now. Slices live in mem. */
const char *hops_choose(struct hops *h, struct slice route, struct arena *mem, struct hops_choice *out);

/* Whether the route's sources let an address of that family be connected to. */
bool hops_may_leave_for(const struct hops_choice *c, const struct net_address *to);

struct tls_policy *hops_policy(struct hops *h);
#endif
