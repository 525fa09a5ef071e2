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
	struct dns_query *query;
	struct buf name;
};

struct attack_names {
	struct loop *loop;
	struct question questions[MAX_ASKED];
	size_t count, open;
};

/* "1.2.0.192.in-addr.arpa", or the nibbles of ip6.arpa (RFC 1035, 3.5; RFC 3596, 2.5). */
static void reverse_name(struct buf *out, const struct net_ip *ip)
{
	if (ip->is_v4) {
		buf_addf(out, "%u.%u.%u.%u.in-addr.arpa", ip->bytes[15], ip->bytes[14], ip->bytes[13], ip->bytes[12]);
		return;
	}
	for (int i = 15; i >= 0; i--)
		buf_addf(out, "%x.%x.", ip->bytes[i] & 15, ip->bytes[i] >> 4);
	buf_add_cstr(out, "ip6.arpa");
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
	}
	if (--q->names->open == 0)
		loop_stop(q->names->loop);
}

static void too_late(void *arg)
{
	loop_stop(arg);
}

static void ask(struct attack_names *n, struct dns *d, const char *network)
{
	struct question *q = &n->questions[n->count];
	struct net_ip ip;
	struct buf name = BUF_INIT(128);
	struct slice text = slice_of(network);
	if (!net_ip_parse(slice_head(text, slice_find(text, '/')), &ip))
		return;
	ip.bytes[15] |= 1;
	reverse_name(&name, &ip);
	*q = (struct question){ n, network, NULL, BUF_INIT(256) };
	n->count++;
	n->open++;
	q->query = dns_ask(d, DNS_PTR, buf_slice(&name), on_name, q);
	buf_free(&name);
}

struct attack_names *attack_names_ask(const struct attack_top *networks, size_t count)
{
	struct attack_names *n = MEM_NEW(struct attack_names);
	struct dns_settings conf = dns_settings_made();
	const char *why;
	n->loop = loop_new();
	struct dns *d = dns_new(n->loop, &conf, &why);
	struct loop_timer *limit = loop_timer_new(n->loop, too_late, n->loop);
	for (size_t i = 0; d && i < count && i < MAX_ASKED; i++)
		ask(n, d, networks[i].name);
	loop_timer_set(limit, WAIT_MS);
	if (n->open)
		loop_run(n->loop);
	for (size_t i = 0; i < n->count; i++)
		dns_cancel(n->questions[i].query);
	loop_timer_free(limit);
	dns_free(d);
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
