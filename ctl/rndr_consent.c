/* Consent, found out step by step: MX of the domain, addresses of its hosts and of the named host, the TXT record, at last the server's banner. At most
 * 1 + 2 × MAX_HOSTS + 3 questions and one connection. */
#include "ctl/rndr_consent.h"

#include <ifaddrs.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/crypto.h"
#include "base/mem.h"
#include "base/text.h"
#include "ctl/rndr_banner.h"

enum { MAX_HOSTS = 10, MAX_ADDRESSES = 64, MAX_WHY = 600 };

struct consent;
struct question {
	struct consent *consent;
	void (*on)(struct consent *c, const struct dns_answer *a);
	struct dns_query *query;            /* NULL: answered */
};

struct consent {
	struct loop *loop;
	struct dns *dns;
	struct arena mem;
	struct consent_plan plan;
	void (*done)(void *arg, const struct consent_result *r);
	void *arg;
	struct question questions[2 * MAX_HOSTS + 4];
	size_t question_count, waiting;
	struct slice hosts[MAX_HOSTS];      /* of the MX, the best first */
	uint16_t preferences[MAX_HOSTS];
	size_t host_count;
	struct net_ip mx_ips[MAX_ADDRESSES], ips[MAX_ADDRESSES];
	size_t mx_count, ip_count;
	bool token_found, unsure;
	struct banner *banner;
	struct loop_timer *tell;
	struct consent_result result;
};

bool consent_is_own_address(const struct net_ip *ip)
{
	struct ifaddrs *all, *i;
	bool own = net_ip_is_loopback(ip);
	if (own || getifaddrs(&all) < 0)
		return own;
	for (i = all; i && !own; i = i->ifa_next) {
		struct net_address a = { .length = sizeof a.sa };
		if (!i->ifa_addr || (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6))
			continue;
		a.length = i->ifa_addr->sa_family == AF_INET ? sizeof a.sa.v4 : sizeof a.sa.v6;
		memcpy(&a.sa, i->ifa_addr, a.length);
		struct net_ip mine = net_ip_of(&a);
		own = mine.is_v4 == ip->is_v4 && memcmp(mine.bytes, ip->bytes, sizeof mine.bytes) == 0;
	}
	freeifaddrs(all);
	return own;
}

void consent_token(struct buf *out, struct slice domain)
{
	char host[256] = "";
	uint8_t digest[CRYPTO_SHA256];
	struct buf text = BUF_INIT(1000), hex = BUF_INIT(64);
	gethostname(host, sizeof host - 1);
	buf_addf(&text, "rndr-check consent %.*s %s", SLICE_FMT(domain), host);
	crypto_sha256(buf_slice(&text), digest);
	text_add_hex(&hex, slice((const char *)digest, 10));
	buf_add(out, SLICE("porter-rndr-"));
	buf_add(out, buf_slice(&hex));
	buf_free(&text);
	buf_free(&hex);
}

static void tell_now(void *arg)
{
	struct consent *c = arg;
	c->done(c->arg, &c->result);
}

static void finish(struct consent *c, bool given, const char *why)
{
	c->result.given = given;
	buf_clear(&c->result.why);
	buf_add_cstr(&c->result.why, why);
	loop_timer_set(c->tell, 0);
}

static bool same_ip(const struct net_ip *a, const struct net_ip *b)
{
	return a->is_v4 == b->is_v4 && memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

static bool is_of_token(char c)
{
	return text_is_alnum((unsigned char)c) || c == '-';
}

/* As a word of its own: a longer one that begins with it is another token. */
static bool has_token(struct slice words, struct slice token)
{
	for (size_t at; token.n && (at = slice_find_slice(words, token)) < words.n; words = slice_skip(words, at + token.n)) {
		bool before = at > 0 && is_of_token(words.p[at - 1]), after = at + token.n < words.n && is_of_token(words.p[at + token.n]);
		if (!before && !after)
			return true;
	}
	return false;
}

static const char *why_not(const struct consent *c)
{
	if (!c->ip_count)
		return c->unsure ? "its address can't be looked up just now" : "it has no address";
	if (c->unsure)
		return "DNS did not answer; try again later";
	return c->token_found || c->plan.proved ? "it is no mail server (MX) of the domain, so the domain can't consent for it" : "the domain's DNS does not hold the token";
}

static void on_banner(void *arg, struct slice words)
{
	struct consent *c = arg;
	bool shown = has_token(words, c->plan.token);
	finish(c, shown, shown ? "its banner holds the token" : why_not(c));
}

/* Everything was answered: an own address needs nothing; else an MX address and the token; else the token in its banner. */
static void decide(struct consent *c)
{
	for (size_t i = 0; i < c->ip_count; i++) {
		c->result.address = net_address_of_ip(&c->ips[i], c->plan.port);
		if (c->plan.own_ok && consent_is_own_address(&c->ips[i]))
			return finish(c, true, "an address of this machine");
		for (size_t k = 0; k < c->mx_count; k++)
			if (same_ip(&c->ips[i], &c->mx_ips[k]) && (c->token_found || c->plan.proved))
				return finish(c, true, c->plan.proved ? "the domain's postmaster agreed" : "the domain's DNS holds the token");
	}
	if (!c->ip_count || !c->plan.banner_ok)
		return finish(c, false, why_not(c));
	c->result.address = net_address_of_ip(&c->ips[0], c->plan.port);
	c->banner = banner_read(c->loop, &c->result.address, on_banner, c);
}

static void on_answer(void *arg, const struct dns_answer *a)
{
	struct question *q = arg;
	struct consent *c = q->consent;
	q->query = NULL;
	c->unsure |= a->answer == UNSURE;
	q->on(c, a);
	if (--c->waiting == 0)
		decide(c);
}

static void add_ips(struct net_ip *to, size_t *count, const struct dns_answer *a)
{
	for (size_t i = 0; i < a->count && *count < MAX_ADDRESSES; i++) {
		struct net_ip ip = { { 0 }, a->records[i].data.n == 4 };
		if (ip.is_v4) {
			ip.bytes[10] = ip.bytes[11] = 0xff;
			memcpy(ip.bytes + 12, a->records[i].data.p, 4);
		} else if (a->records[i].data.n == 16) {
			memcpy(ip.bytes, a->records[i].data.p, 16);
		} else {
			continue;
		}
		to[(*count)++] = ip;
	}
}

static void on_host_address(struct consent *c, const struct dns_answer *a)
{
	if (a->answer == FOUND)
		add_ips(c->ips, &c->ip_count, a);
}

static void on_mx_address(struct consent *c, const struct dns_answer *a)
{
	if (a->answer == FOUND) {
		add_ips(c->mx_ips, &c->mx_count, a);
		if (!c->plan.host.n)
			add_ips(c->ips, &c->ip_count, a);
	}
}

static void on_txt(struct consent *c, const struct dns_answer *a)
{
	for (size_t i = 0; a->answer == FOUND && i < a->count; i++)
		c->token_found |= slice_eq(slice_trim(a->records[i].data), c->plan.token);
}

static void ask(struct consent *c, enum dns_type type, struct slice name, void (*on)(struct consent *c, const struct dns_answer *a))
{
	struct question *q = &c->questions[c->question_count++];
	q->consent = c;
	q->on = on;
	c->waiting++;
	q->query = dns_ask(c->dns, type, name, on_answer, q);
}

static void ask_addresses(struct consent *c, struct slice name, void (*on)(struct consent *c, const struct dns_answer *a))
{
	ask(c, DNS_A, name, on);
	ask(c, DNS_AAAA, name, on);
}

static void keep_host(struct consent *c, struct slice name, uint16_t preference)
{
	size_t at = c->host_count < MAX_HOSTS ? c->host_count++ : MAX_HOSTS - 1;
	while (at > 0 && c->preferences[at - 1] > preference) {
		c->hosts[at] = c->hosts[at - 1];
		c->preferences[at] = c->preferences[at - 1];
		at--;
	}
	c->hosts[at] = arena_copy(&c->mem, name);
	c->preferences[at] = preference;
}

static void on_mx(struct consent *c, const struct dns_answer *a)
{
	for (size_t i = 0; a->answer == FOUND && i < a->count; i++)
		if (a->records[i].data.n)
			keep_host(c, a->records[i].data, a->records[i].preference);
	if (!c->host_count && a->answer == ABSENT)
		keep_host(c, c->plan.domain, 0);        /* RFC 5321, 5.1: the domain itself */
	for (size_t i = 0; i < c->host_count; i++)
		ask_addresses(c, c->hosts[i], on_mx_address);
	if (!c->plan.host.n && c->host_count)
		buf_add(&c->result.host, c->hosts[0]);
}

static void begin(struct consent *c)
{
	struct slice host = c->plan.host;
	if (host.n > 1 && host.p[0] == '[')
		host = slice(host.p + 1, host.n - 2);
	if (c->plan.host.n && net_ip_parse(host, &c->ips[0])) {
		c->ip_count = 1;
		buf_add(&c->result.host, host);
		if (c->plan.own_ok && consent_is_own_address(&c->ips[0]))
			return decide(c);
	} else if (c->plan.host.n) {
		buf_add(&c->result.host, host);
		ask_addresses(c, host, on_host_address);
	}
	struct buf name = BUF_INIT(300);
	buf_addf(&name, "_rndr-check.%.*s", SLICE_FMT(c->plan.domain));
	ask(c, DNS_MX, c->plan.domain, on_mx);
	ask(c, DNS_TXT, buf_slice(&name), on_txt);
	buf_free(&name);
}

struct consent *consent_ask(struct loop *l, struct dns *d, const struct consent_plan *plan, void (*done)(void *arg, const struct consent_result *r), void *arg)
{
	struct consent *c = MEM_NEW(struct consent);
	*c = (struct consent){ .loop = l, .dns = d, .mem = ARENA_INIT(1 << 16), .plan = *plan, .done = done, .arg = arg };
	c->plan.domain = arena_copy(&c->mem, plan->domain);
	c->plan.host = arena_copy(&c->mem, plan->host);
	c->plan.token = arena_copy(&c->mem, plan->token);
	buf_init(&c->result.host, 300);
	buf_init(&c->result.why, MAX_WHY);
	c->tell = loop_timer_new(l, tell_now, c);
	begin(c);
	return c;
}

void consent_free(struct consent *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->question_count; i++)
		dns_cancel(c->questions[i].query);
	banner_free(c->banner);
	loop_timer_free(c->tell);
	buf_free(&c->result.host);
	buf_free(&c->result.why);
	arena_free(&c->mem);
	mem_free(c);
}
