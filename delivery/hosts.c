/* MX, A and AAAA to a list of addresses. All names' addresses are asked for at once; the list is made when the last answer is there. */
#include "delivery/hosts.h"

#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/scan.h"
#include "base/text.h"

enum { ANSWER_ARENA = 256 << 10 };

struct name {
	struct slice name, canonical;
	uint16_t preference;
	struct dns_query *open[2];        /* AAAA, A */
	struct net_ip ips[2][HOSTS_MAX_TARGETS];
	size_t ip_count[2];
	bool secure, unsure;
	struct hosts_query *owner;
};

struct hosts_query {
	struct loop *loop;
	const struct hosts_setup *setup;
	struct hosts_place place;
	struct arena mem;
	struct dns_query *mx;
	struct loop_timer *now;           /* answers that need no question */
	struct name *names;
	size_t count, waiting;
	struct hosts_answer answer;
	void (*done)(void *arg, const struct hosts_answer *a);
	void *arg;
};

/* -- places --------------------------------------------------------------------------------------------------------------------- */

static bool parse_host(struct slice s, struct hosts_place *out)
{
	uint64_t port;
	bool bracket = scan_byte(&s, '[');
	size_t end = slice_rfind(s, bracket ? ']' : ':');
	struct slice rest = slice_skip(s, end + bracket);
	if (end == s.n || !scan_byte(&rest, ':') || !scan_uint_all(rest, 65535, &port) || port == 0)
		return false;
	out->kind = PLACE_HOST;
	out->name = slice_head(s, end);
	out->port = (uint16_t)port;
	return out->name.n > 0;
}

bool hosts_parse(struct slice place, struct hosts_place *out)
{
	struct hosts_place p = { .lmtp = scan_word(&place, SLICE("lmtp:")) };
	bool good;
	if (scan_word(&place, SLICE("mx:"))) {
		p.kind = PLACE_MX;
		p.name = place;
		good = place.n > 0 && !p.lmtp;
	} else if (p.lmtp && scan_word(&place, SLICE("unix:"))) {
		p.kind = PLACE_UNIX;
		p.name = place;
		good = slice_starts(place, SLICE("/"));
	} else {
		good = parse_host(place, &p);
	}
	if (good)
		*out = p;
	return good;
}

static bool is_unspecified(const struct net_ip *ip)
{
	static const uint8_t zeros[16];
	return memcmp(ip->bytes + (ip->is_v4 ? 12 : 0), zeros, ip->is_v4 ? 4 : 16) == 0;
}

/* Where a connection to it ends: 0.0.0.0 and :: are this host's loopback. */
static struct net_ip reached(const struct net_address *a)
{
	struct net_ip ip = net_ip_of(a);
	if (is_unspecified(&ip)) {
		ip.bytes[15] = 1;
		ip.bytes[12] = ip.is_v4 ? 127 : 0;
	}
	return ip;
}

bool hosts_is_ourselves(const struct hosts_setup *s, const struct net_address *a)
{
	if (a->sa.any.sa_family == AF_UNIX)
		return false;
	struct net_ip ip = reached(a);
	bool local = net_ip_is_loopback(&ip);
	for (size_t i = 0; i < s->own_count && !local; i++)
		local = memcmp(s->own[i].bytes, ip.bytes, sizeof ip.bytes) == 0;
	for (size_t i = 0; i < s->listener_count; i++) {
		struct net_ip at = net_ip_of(&s->listeners[i]);
		bool any = is_unspecified(&at);
		if (net_address_port(&s->listeners[i]) == net_address_port(a) && (any ? local : memcmp(at.bytes, ip.bytes, sizeof ip.bytes) == 0))
			return true;
	}
	return false;
}

/* -- the end ---------------------------------------------------------------------------------------------------------------------- */

static void release(struct hosts_query *q)
{
	dns_cancel(q->mx);
	for (size_t i = 0; i < q->count; i++)
		for (int k = 0; k < 2; k++)
			dns_cancel(q->names[i].open[k]);
	loop_timer_free(q->now);
	arena_free(&q->mem);
	mem_free(q->names);
	mem_free(q);
}

void hosts_cancel(struct hosts_query *q)
{
	if (q)
		release(q);
}

static void finish(struct hosts_query *q, struct mail_status s)
{
	q->answer.status = s;
	if (s.fate != MAIL_OK)
		q->answer.count = 0;
	q->done(q->arg, &q->answer);
	release(q);
}

static void add_target(struct hosts_query *q, const struct net_address *a, const struct name *n)
{
	if (q->answer.count < HOSTS_MAX_TARGETS)
		q->answer.targets[q->answer.count++] = (struct hosts_target){ *a, n->name, n->canonical, n->preference, n->secure };
}

/* Both families in turn, IPv6 first. */
static void add_name(struct hosts_query *q, const struct name *n, uint16_t port)
{
	for (size_t i = 0; i < n->ip_count[0] || i < n->ip_count[1]; i++)
		for (int k = 0; k < 2; k++)
			if (i < n->ip_count[k]) {
				struct net_address a = net_address_of_ip(&n->ips[k][i], port);
				add_target(q, &a, n);
			}
}

/* 5321, 5.1: ourselves among the hosts: it and all that is not preferred to it are no way to go. */
static bool drop_ourselves(struct hosts_query *q, uint32_t *preference)
{
	uint32_t least = UINT32_MAX;
	for (size_t i = 0; i < q->answer.count; i++)
		if (hosts_is_ourselves(q->setup, &q->answer.targets[i].address) && q->answer.targets[i].preference < least)
			least = q->answer.targets[i].preference;
	size_t keep = 0;
	while (keep < q->answer.count && q->answer.targets[keep].preference < least)
		keep++;
	q->answer.count = keep;
	*preference = least;
	return least != UINT32_MAX;
}

static void all_answered(struct hosts_query *q)
{
	uint32_t unsure = UINT32_MAX, ours;
	uint16_t port = q->place.kind == PLACE_HOST ? q->place.port : q->setup->mx_port;
	for (size_t i = 0; i < q->count; i++) {
		const struct name *n = &q->names[i];
		if (n->unsure && !n->ip_count[0] && !n->ip_count[1] && n->preference < unsure)
			unsure = n->preference;
		add_name(q, &q->names[i], port);
	}
	bool dropped = drop_ourselves(q, &ours);
	q->answer.unsure = unsure < ours; /* a host preferred to us may be there */
	if (q->answer.count)
		finish(q, MAIL_STATUS_OK);
	else if (q->answer.unsure)
		finish(q, MAIL_STATUS(MAIL_LATER, 451, 4, 3, "The next hop's address could not be looked up, try again later"));
	else if (dropped)
		finish(q, MAIL_STATUS(MAIL_NEVER, 550, 4, 6, "Mail for this address loops back to this server"));
	else if (q->answer.by_mx)
		finish(q, MAIL_STATUS(MAIL_NEVER, 550, 4, 4, "The domain's mail hosts have no address"));
	else
		finish(q, MAIL_STATUS(MAIL_NEVER, 550, 1, 2, "The domain has no mail host"));
}

/* -- addresses ------------------------------------------------------------------------------------------------------------------- */

static void take_addresses(struct name *n, int k, const struct dns_answer *a)
{
	n->open[k] = NULL;
	n->unsure |= a->answer == UNSURE;
	n->secure |= a->secure && a->answer == FOUND;
	if (a->answer == FOUND && a->canonical.n && !slice_eq_nocase(a->canonical, n->name))
		n->canonical = text_lower(&n->owner->mem, a->canonical);
	for (size_t i = 0; a->answer == FOUND && i < a->count && n->ip_count[k] < HOSTS_MAX_TARGETS; i++) {
		struct net_ip ip = { .is_v4 = k == 1 };
		struct slice data = a->records[i].data;
		if (data.n != (k == 1 ? 4 : 16))
			continue;
		if (k == 1)
			ip.bytes[10] = ip.bytes[11] = 0xff;
		memcpy(ip.bytes + (16 - data.n), data.p, data.n);
		n->ips[k][n->ip_count[k]++] = ip;
	}
	if (--n->owner->waiting == 0)
		all_answered(n->owner);
}

static void got_aaaa(void *arg, const struct dns_answer *a)
{
	take_addresses(arg, 0, a);
}

static void got_a(void *arg, const struct dns_answer *a)
{
	take_addresses(arg, 1, a);
}

static void ask_addresses(struct hosts_query *q)
{
	for (size_t i = 0; i < q->count; i++) {
		struct name *n = &q->names[i];
		n->owner = q;
		q->waiting += 2;
		n->open[0] = dns_ask(q->setup->dns, DNS_AAAA, n->name, got_aaaa, n);
		n->open[1] = dns_ask(q->setup->dns, DNS_A, n->name, got_a, n);
	}
}

/* -- MX ---------------------------------------------------------------------------------------------------------------------------- */

static int by_preference(const void *a, const void *b)
{
	const struct name *x = a, *y = b;
	return (x->preference > y->preference) - (x->preference < y->preference);
}

/* Shuffled first: a sort by preference then leaves equal ones in a random order, whether or not it is stable. */
static void shuffle(struct name *names, size_t count)
{
	struct hash_key random = hash_key_random();
	for (size_t i = count; i > 1; i--) {
		size_t k = hash_bytes(&random, slice((const char *)&i, sizeof i)) % i;
		struct name t = names[i - 1];
		names[i - 1] = names[k];
		names[k] = t;
	}
}

static void add_mx(struct hosts_query *q, const struct dns_answer *a)
{
	q->names = mem_new_array(a->count, sizeof *q->names);
	for (size_t i = 0; i < a->count; i++)
		if (a->records[i].data.n)
			q->names[q->count++] = (struct name){ .name = arena_copy(&q->mem, a->records[i].data), .preference = a->records[i].preference };
	shuffle(q->names, q->count);
	qsort(q->names, q->count, sizeof *q->names, by_preference);
	if (q->count > HOSTS_MAX_NAMES)
		q->count = HOSTS_MAX_NAMES;
}

static void add_itself(struct hosts_query *q)
{
	q->names = mem_new_array(1, sizeof *q->names);
	q->names[q->count++] = (struct name){ .name = q->place.name };
	ask_addresses(q);
}

static void got_mx(void *arg, const struct dns_answer *a)
{
	struct hosts_query *q = arg;
	q->mx = NULL;
	q->answer.secure = a->secure;
	switch (a->answer) {
	case FOUND:
		q->answer.by_mx = true;
		add_mx(q, a);
		if (q->count)
			ask_addresses(q);
		else
			finish(q, MAIL_STATUS(MAIL_NEVER, 556, 1, 10, "The domain takes no mail")); /* null MX */
		return;
	case ABSENT:
		if (a->nxdomain)
			finish(q, MAIL_STATUS(MAIL_NEVER, 550, 1, 2, "The domain does not exist"));
		else
			add_itself(q);
		return;
	case UNSURE:
		finish(q, MAIL_STATUS(MAIL_LATER, 451, 4, 3, "The domain's mail hosts could not be looked up, try again later"));
		return;
	}
}

/* -- asking ------------------------------------------------------------------------------------------------------------------------ */

static bool is_literal(struct slice name, struct net_ip *ip)
{
	if (name.n > 2 && name.p[0] == '[' && name.p[name.n - 1] == ']')
		name = slice(name.p + 1, name.n - 2);
	else if (slice_find(name, '[') != name.n)
		return false;
	scan_word(&name, SLICE("IPv6:"));
	return net_ip_parse(name, ip);
}

static void answer_at_once(void *arg)
{
	struct hosts_query *q = arg;
	struct name n = { .name = q->place.name };
	struct net_ip ip;
	struct net_address a;
	const char *why;
	uint32_t ours;
	if (q->place.kind == PLACE_UNIX) {
		struct buf text = BUF_INIT(256);
		buf_add(&text, SLICE("unix:"));
		buf_add(&text, q->place.name);
		if (!buf_full(&text) && net_address_parse(buf_slice(&text), 0, &a, &why))
			add_target(q, &a, &n);
		buf_free(&text);
	} else if (is_literal(q->place.name, &ip)) {
		a = net_address_of_ip(&ip, q->place.kind == PLACE_MX ? q->setup->mx_port : q->place.port);
		add_target(q, &a, &n);
	}
	if (drop_ourselves(q, &ours))
		finish(q, MAIL_STATUS(MAIL_NEVER, 550, 4, 6, "Mail for this address loops back to this server"));
	else if (q->answer.count)
		finish(q, MAIL_STATUS_OK);
	else
		finish(q, MAIL_STATUS(MAIL_LATER, 451, 3, 5, "The next hop is not set up well, try again later"));
}

struct hosts_query *hosts_find(struct loop *l, const struct hosts_setup *s, struct slice place,
                               void (*done)(void *arg, const struct hosts_answer *a), void *arg)
{
	struct hosts_query *q = MEM_NEW(struct hosts_query);
	struct net_ip ip;
	*q = (struct hosts_query){ .loop = l, .setup = s, .done = done, .arg = arg };
	q->mem.max = ANSWER_ARENA;
	q->answer.targets = ARENA_ARRAY(&q->mem, struct hosts_target, HOSTS_MAX_TARGETS);
	bool known = hosts_parse(arena_copy(&q->mem, place), &q->place);
	q->answer.lmtp = q->place.lmtp;
	q->answer.domain = q->place.name;
	if (!known || q->place.kind == PLACE_UNIX || is_literal(q->place.name, &ip)) {
		q->now = loop_timer_new(l, answer_at_once, q);
		loop_timer_set(q->now, 0);
	} else if (q->place.kind == PLACE_MX) {
		q->mx = dns_ask(s->dns, DNS_MX, q->place.name, got_mx, q);
	} else {
		add_itself(q);
	}
	return q;
}
