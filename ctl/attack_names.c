/* Reverse DNS of networks, for the report alone. */
#include "ctl/attack_names.h"

#include <string.h>

#include "base/dns.h"
#include "base/dns_settings.h"
#include "base/loop.h"
#include "base/mem.h"

enum { MAX_ASKED = 32, WAIT_MS = 5000, LABELS = 3 };

struct question {
	struct attack_names *names;
	const char *network;
	bool second;               /* the network's first host, after the address that came last had no name */
	struct dns_query *query;
	struct buf name;
};

struct attack_names {
	struct loop *loop;
	struct dns *dns;
	struct question questions[MAX_ASKED];
	size_t count, open;
};

static void on_name(void *arg, const struct dns_answer *a);

static void ask_name(struct question *q, const struct net_ip *ip)
{
	struct buf name = BUF_INIT(128);
	net_ip_add_reverse_name(&name, ip);
	q->query = dns_ask(q->names->dns, DNS_PTR, buf_slice(&name), on_name, q);
	buf_free(&name);
}

static bool ask_first_host(struct question *q)
{
	struct net_ip ip;
	struct slice text = slice_of(q->network);
	if (q->second || !net_ip_parse(slice_head(text, slice_find(text, '/')), &ip))
		return false;
	q->second = true;
	ip.bytes[15] |= 1;
	ask_name(q, &ip);
	return true;
}

static void on_name(void *arg, const struct dns_answer *a)
{
	struct question *q = arg;
	q->query = NULL;
	if (a->answer == FOUND && a->records[0].data.n) {
		struct slice name = a->records[0].data;
		size_t from = name.n, labels = 0;
		while (from > 0 && (name.p[from - 1] != '.' || ++labels < LABELS))
			from--;
		buf_add(&q->name, slice_skip(name, from));
	} else if (ask_first_host(q)) {
		return;
	}
	if (--q->names->open == 0)
		loop_stop(q->names->loop);
}

static void too_late(void *arg)
{
	loop_stop(arg);
}

static void ask(struct attack_names *n, const struct attack_top *network)
{
	static const struct net_ip unknown;
	struct question *q = &n->questions[n->count++];
	*q = (struct question){ .names = n, .network = network->name, .name = BUF_INIT(256) };
	n->open++;
	if (memcmp(network->last.bytes, unknown.bytes, sizeof unknown.bytes) != 0)
		ask_name(q, &network->last);
	else if (!ask_first_host(q))
		n->open--;
}

struct attack_names *attack_names_ask(const struct attack_top *networks, size_t count)
{
	struct attack_names *n = MEM_NEW(struct attack_names);
	struct dns_settings conf = dns_settings_made();
	const char *why;
	n->loop = loop_new();
	n->dns = dns_new(n->loop, &conf, &why);
	struct loop_timer *limit = loop_timer_new(n->loop, too_late, n->loop);
	for (size_t i = 0; n->dns && i < count && i < MAX_ASKED; i++)
		ask(n, &networks[i]);
	loop_timer_set(limit, WAIT_MS);
	if (n->open)
		loop_run(n->loop);
	for (size_t i = 0; i < n->count; i++)
		dns_cancel(n->questions[i].query);
	loop_timer_free(limit);
	dns_free(n->dns);
	loop_free(n->loop);
	return n;
}

struct slice attack_names_of(const struct attack_names *n, const char *network)
{
	for (size_t i = 0; i < n->count; i++)
		if (strcmp(n->questions[i].network, network) == 0)
			return buf_slice(&n->questions[i].name);
	return SLICE("");
}

void attack_names_free(struct attack_names *n)
{
	if (!n)
		return;
	for (size_t i = 0; i < n->count; i++)
		buf_free(&n->questions[i].name);
	mem_free(n);
}
