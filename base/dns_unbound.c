/* The one door to libunbound: its resolver runs in a thread of its own and says through a descriptor that answers are there. Its caches are
 * bounded here; TTLs and DNSSEC are its matter. */
#include "base/dns_source.h"

#include <stdio.h>
#include <unbound.h>

#include "base/mem.h"
#include "base/text.h"

struct source {
	struct ub_ctx *ub;
	struct loop_watch *watch;
};

/* A question under way. Unbound calls back with it even after a cancel was too late, so it outlives its dns_query. */
struct ticket {
	struct dns_query *query;      /* NULL: dropped */
	enum dns_type type;
	int id;
};

static bool option(struct ub_ctx *ub, const char *name, const char *value)
{
	return ub_ctx_set_option(ub, name, value) == 0;
}

static bool set_options(struct ub_ctx *ub, const struct dns_settings *s)
{
	return option(ub, "do-not-query-localhost:", "no") && option(ub, "msg-cache-size:", "8m") && option(ub, "rrset-cache-size:", "16m") &&
	       option(ub, "neg-cache-size:", "1m") && option(ub, "key-cache-size:", "2m") && option(ub, "infra-cache-numhosts:", "5000") &&
	       option(ub, "cache-max-ttl:", "86400") && option(ub, "outgoing-range:", "1024") && option(ub, "num-queries-per-thread:", "512") &&
	       option(ub, "use-syslog:", "no") && option(ub, "unblock-lan-zones:", s->local_zones ? "no" : "yes") &&
	       option(ub, "insecure-lan-zones:", s->local_zones ? "no" : "yes") &&
	       option(ub, "module-config:", s->trust_anchor.n ? "validator iterator" : "iterator");
}

/* Behind resolvers a question is one question: half the sockets will do, and none of a family that no resolver has. Each family costs a list of all ports; those
 * that the kernel itself would choose from are as hard to guess for whoever would forge an answer as those of any other resolver's client. */
static bool set_frugal(struct ub_ctx *ub, struct slice list)
{
	bool only_v4 = slice_find(list, ':') == list.n;
	return option(ub, "outgoing-range:", "516") && option(ub, "outgoing-port-avoid:", "1024-32767") && (!only_v4 || option(ub, "do-ip6:", "no"));
}

static const char *set_resolvers(struct ub_ctx *ub, struct slice list)
{
	if (!list.n)
		return ub_ctx_resolvconf(ub, NULL) == 0 ? NULL : "/etc/resolv.conf can't be read";
	if (slice_eq(list, SLICE("root")))
		return NULL;
	if (!set_frugal(ub, list))
		return "the resolver can't be set up";
	while (list.p) {
		struct slice one = slice_trim(slice_cut(list, ' ', &list));
		char *text = mem_copy(one.n ? one.p : "", one.n);
		bool good = !one.n || ub_ctx_set_fwd(ub, text) == 0;
		mem_free(text);
		if (!good)
			return "a resolver is no ADDRESS[@PORT]";
	}
	return NULL;
}

static const char *set_anchor(struct ub_ctx *ub, struct slice file)
{
	if (!file.n)
		return NULL;
	char *name = mem_copy(file.p, file.n);
	bool good = ub_ctx_add_ta_file(ub, name) == 0;
	mem_free(name);
	return good ? NULL : "the trust anchor can't be read";
}

static void fill(const struct ub_result *r, enum dns_type type, struct arena *mem, struct dns_answer *a)
{
	size_t count = 0, bytes = 0, bad = 0;
	while (r->data[count])
		bytes += (size_t)r->len[count++];
	if (count > DNS_MAX_RECORDS || bytes > DNS_MAX_ANSWER) {
		a->why = "too many";
		return;
	}
	a->records = ARENA_ARRAY(mem, struct dns_record, count);
	for (size_t i = 0; a->records && i < count; i++)
		if (dns_read_rdata(type, slice(r->data[i], (size_t)r->len[i]), mem, &a->records[a->count]))
			a->count++;
		else
			bad++;
	if (!a->count && bad) {
		a->why = "malformed";
		return;
	}
	a->answer = FOUND;
	a->why = NULL;
}

static struct slice canonical_name(const struct ub_result *r)
{
	struct slice name = slice_of(r->canonname ? r->canonname : r->qname);
	if (name.n && name.p[name.n - 1] == '.')
		name.n--;
	return name;
}

static void on_result(void *arg, int error, struct ub_result *r)
{
	struct ticket *t = arg;
	struct dns_query *q = t->query;
	struct arena mem = ARENA_INIT(4 * DNS_MAX_ANSWER + 64 * DNS_MAX_RECORDS);
	struct dns_answer a = { .answer = UNSURE, .why = "servfail" };
	enum dns_type type = t->type;
	mem_free(t);
	if (q && !error) {
		struct slice canonical = canonical_name(r);
		a.canonical = canonical.n ? canonical : SLICE("");
		a.ttl_s = r->ttl > 0 ? (uint32_t)r->ttl : 0;
		a.secure = r->secure;
		if (r->bogus) {
			a.why = "bogus";
		} else if (r->havedata) {
			fill(r, type, &mem, &a);
		} else if (r->rcode == 0 || r->nxdomain) {
			a.answer = ABSENT;
			a.nxdomain = r->nxdomain;
			a.why = NULL;
		}
	}
	if (q)
		dns_source_answer(q, &a);
	arena_free(&mem);
	ub_resolve_free(r);
}

/* libunbound reads names as master files write them. */
static void escape(const char *name, char out[1024])
{
	for (; *name; name++) {
		unsigned char c = (unsigned char)*name;
		if (text_is_alnum(c) || c == '.' || c == '-' || c == '_')
			*out++ = (char)c;
		else
			out += snprintf(out, 5, "\\%03u", c);
	}
	*out = 0;
}

static int ask(void *self, struct dns_query *q, enum dns_type type, const char *name, void **ticket)
{
	struct source *s = self;
	struct ticket *t = MEM_NEW(struct ticket);
	*t = (struct ticket){ .query = q, .type = type };
	char escaped[1024];
	escape(name, escaped);
	if (ub_resolve_async(s->ub, escaped, type, 1, t, on_result, &t->id)) {
		mem_free(t);
		return -1;
	}
	*ticket = t;
	return 0;
}

static void drop(void *self, void *ticket)
{
	struct source *s = self;
	struct ticket *t = ticket;
	t->query = NULL;
	if (ub_cancel(s->ub, t->id) == 0)
		mem_free(t); /* its callback won't come */
}

static void on_ready(void *arg, int what)
{
	struct source *s = arg;
	(void)what;
	ub_process(s->ub);
}

static void source_free(void *self)
{
	struct source *s = self;
	loop_watch_free(s->watch);
	ub_ctx_delete(s->ub);
	mem_free(s);
}

void *dns_unbound_new(struct loop *l, const struct dns_settings *settings, const struct dns_source **out, const char **why)
{
	static const struct dns_source source = { source_free, ask, drop };
	static const char *const own[] = { "test.", "invalid.", "localhost.", "onion.", "home.arpa.", "127.in-addr.arpa." };
	struct ub_ctx *ub = ub_ctx_create();
	*why = "the resolver can't be set up";
	if (!ub)
		return NULL;
	const char *wrong = set_options(ub, settings) ? set_resolvers(ub, settings->resolvers) : *why;
	if (!wrong)
		wrong = set_anchor(ub, settings->trust_anchor);
	if (!wrong && ub_ctx_async(ub, 1))
		wrong = *why;
	if (!wrong && ub_ctx_zone_remove(ub, "none.invalid.")) /* before a chroot: only now the anchor's file is read, and what has no anchor answers nothing */
		wrong = settings->trust_anchor.n ? "the trust anchor can't be read" : *why;
	if (wrong) {
		*why = wrong;
		ub_ctx_delete(ub);
		return NULL;
	}
	for (size_t i = 0; !settings->local_zones && i < sizeof own / sizeof *own; i++)
		ub_ctx_zone_remove(ub, own[i]);
	struct source *s = MEM_NEW(struct source);
	s->ub = ub;
	s->watch = loop_watch_new(l, ub_fd(ub), on_ready, s);
	loop_watch_set(s->watch, LOOP_READ);
	*out = &source;
	return s;
}
