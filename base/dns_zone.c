/* Answers from one RFC 1035 master file, for tools and tests: nothing else is asked, and a name that isn't in it (nor above one that is) does not
 * exist. SOA and NS may be missing; records of types that mail doesn't ask for are read over. Wildcards, CNAMEs and $INCLUDE work. */
#include "base/dns_zone.h"

#include <string.h>

#include "base/dns_source.h"
#include "base/mem.h"

enum { MAX_CHAIN = 12 };

struct source {
	struct loop *loop;
	bool secure;
	struct zone zone;
};

struct ticket {
	struct source *owner;
	struct dns_query *query;
	struct loop_timer *timer;
	enum dns_type type;
	struct slice name;
};

/* -- answers -------------------------------------------------------------------------------------------------------------- */

/* The place of the first record of name, or where it would stand. */
static size_t find(const struct zone *s, struct slice name)
{
	size_t low = 0, high = s->count;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (slice_cmp(s->records[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool exists(const struct zone *s, struct slice name)
{
	size_t at = find(s, name);
	return at < s->count && slice_eq(s->records[at].name, name);
}

/* name itself, or the wildcard below its closest ancestor that is there (RFC 4592); "" for neither. */
static struct slice owner_of(const struct zone *s, struct slice name, struct arena *mem)
{
	if (exists(s, name))
		return name;
	struct slice rest = name;
	do
		slice_cut(rest, '.', &rest);
	while (rest.p && !exists(s, rest));
	char *wild = arena_new(mem, rest.n + 3);
	memcpy(wild, "*.", 2);
	memcpy(wild + 2, rest.p ? rest.p : "", rest.n);
	struct slice star = slice(wild, rest.n ? rest.n + 2 : 1);
	return exists(s, star) ? star : SLICE("");
}

static size_t collect(const struct zone *s, struct slice owner, enum dns_type type, struct arena *mem, struct dns_answer *a)
{
	size_t at = find(s, owner), first = at;
	while (at < s->count && slice_eq(s->records[at].name, owner))
		at++;
	a->records = ARENA_ARRAY(mem, struct dns_record, at - first + 1);
	a->count = 0;
	for (size_t i = first; i < at; i++)
		if (s->records[i].type == (uint16_t)type && a->count < DNS_MAX_RECORDS) {
			a->records[a->count++] = s->records[i].data;
			a->ttl_s = s->records[i].ttl_s;
		}
	return a->count;
}

static void answer(const struct zone *s, enum dns_type type, struct slice name, struct arena *mem, struct dns_answer *a)
{
	*a = (struct dns_answer){ .answer = UNSURE, .why = "servfail", .canonical = name };
	for (int hops = 0; hops < MAX_CHAIN; hops++) {
		struct slice owner = owner_of(s, a->canonical, mem);
		if (!owner.n || collect(s, owner, type, mem, a)) {
			a->answer = owner.n ? FOUND : ABSENT;
			a->nxdomain = !owner.n;
			a->why = NULL;
			return;
		}
		if (type == DNS_CNAME || !collect(s, owner, DNS_CNAME, mem, a)) {
			a->answer = ABSENT;
			a->why = NULL;
			return;
		}
		a->canonical = a->records[0].data;
		a->count = 0;
	}
}

static void ticket_free(struct ticket *t)
{
	loop_timer_free(t->timer);
	mem_free((char *)t->name.p);
	mem_free(t);
}

static void on_timer(void *arg)
{
	struct ticket *t = arg;
	struct arena mem = ARENA_INIT(0);
	struct dns_answer a;
	struct dns_query *q = t->query;
	answer(&t->owner->zone, t->type, t->name, &mem, &a);
	a.secure = t->owner->secure && a.answer != UNSURE;
	a.canonical = arena_copy(&mem, a.canonical);
	ticket_free(t);
	dns_source_answer(q, &a);
	arena_free(&mem);
}

static int ask(void *self, struct dns_query *q, enum dns_type type, const char *name, void **ticket)
{
	struct source *s = self;
	struct ticket *t = MEM_NEW(struct ticket);
	*t = (struct ticket){ .owner = s, .query = q, .type = type, .name = slice(mem_copy(name, strlen(name)), strlen(name)) };
	t->timer = loop_timer_new(s->loop, on_timer, t);
	loop_timer_set(t->timer, 0);
	*ticket = t;
	return 0;
}

static void drop(void *self, void *ticket)
{
	(void)self;
	ticket_free(ticket);
}

static void source_free(void *self)
{
	struct source *s = self;
	zone_drop(&s->zone);
	mem_free(s);
}

void *dns_zone_new(struct loop *l, const struct dns_settings *settings, const struct dns_source **out, const char **why)
{
	static const struct dns_source source = { source_free, ask, drop };
	struct source *s = MEM_NEW(struct source);
	s->loop = l;
	s->secure = settings->zone_secure;
	if (!zone_load(&s->zone, settings->zone_file)) {
		*why = s->zone.why;
		source_free(s);
		return NULL;
	}
	*out = &source;
	return s;
}
