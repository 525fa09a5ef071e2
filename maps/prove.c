/* The proof: a walk over all keys with the one resolver, and a look at each leaf. What the files of this machine say is in prove_files.c. */
#include "maps/prove.h"

#include <stdio.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/scan.h"
#include "maps/map_key.h"
#include "maps/map_set.h"
#include "maps/map_value.h"
#include "maps/prove_files.h"
#include "maps/resolve.h"

enum { RESOLVE_MEM = 64 << 20, PROGRESS_EACH = 8192, MAX_PATH_TEXT = 4096, MAX_TEXT = 1024, MAX_PATHS = 100 };

struct proof {
	const struct prove_plan *plan;
	struct prove_summary *sum;
	enum prove_grade worst;
	struct arena mem;              /* of one address */
	struct arena keep;             /* of the whole walk */
	struct slice *domains;         /* mailbox domains, for bare aliases */
	size_t domain_count, domain_room;
	struct proved_files *files;
	uint64_t done, total;
	bool uncounted;                /* what is proved now is counted with its own line */
};

/* Findings ----------------------------------------------------------------------------------------------------------------------------- */

static void tell(struct proof *p, enum prove_grade grade, unsigned map, const struct map_entry *e, struct slice path, const char *format, ...)
	__attribute__((format(printf, 6, 7)));

static void tell(struct proof *p, enum prove_grade grade, unsigned map, const struct map_entry *e, struct slice path, const char *format, ...)
{
	struct buf text = BUF_INIT(MAX_TEXT);
	va_list args;
	va_start(args, format);
	buf_addv(&text, format, args);
	va_end(args);
	struct prove_finding f = { grade, map_name(p->plan->set, map), e ? e->line : 0, e ? e->key : SLICE(""), buf_slice(&text), path };
	p->plan->found(p->plan->arg, &f);
	buf_free(&text);
	*(grade == PROVE_NOTE ? &p->sum->notes : grade == PROVE_UNSURE ? &p->sum->unsure : &p->sum->refuted) += 1;
	if (grade > p->worst)
		p->worst = grade;
}

/* The way that an address took to a leaf, or to where it fails, told only when something is wrong: it is resolved once more with steps. */
static struct slice path_of(struct proof *p, const struct mail_path *path, size_t leaf)
{
	enum { MOST = 4 * RESOLVE_MAX_DEPTH };
	const struct resolve_step *way[MOST];
	struct resolved r;
	struct buf text = BUF_INIT(MAX_PATH_TEXT);
	size_t n = 0;
	if (p->sum->refuted + p->sum->unsure >= MAX_PATHS) /* of a million nobody reads them */
		return SLICE("");
	resolve_path(p->plan->set, path, true, &p->mem, &r);
	for (const struct resolve_step *s = leaf < r.count ? r.leaves[leaf].cause : r.failed_cause; s && n < MOST; s = s->cause)
		way[n++] = s;
	while (n--)
		buf_addf(&text, "%s%s:%u %.*s", text.n ? " > " : "", way[n]->map, way[n]->line, SLICE_FMT(way[n]->key));
	struct slice out = arena_copy(&p->mem, buf_slice(&text));
	buf_free(&text);
	return out;
}

/* Leaves ------------------------------------------------------------------------------------------------------------------------------- */

static void prove_owner(struct proof *p, unsigned map, const struct map_entry *e, struct slice owner, const struct mail_path *from, size_t leaf)
{
	struct mail_path path = { 0 };
	struct resolved r;
	struct slice key;
	if (map_key_address(owner, &p->mem, &key) || !map_key_split(key, &path.local_part, &path.domain)) {
		tell(p, PROVE_REFUTED, map, e, SLICE(""), "the owner %.*s is no address", SLICE_FMT(owner));
		return;
	}
	resolve_path(p->plan->set, &path, false, &p->mem, &r);
	bool all = true, own = false; /* a mailbox of its own will do, also where copies go elsewhere */
	for (size_t i = 0; i < r.count; i++) {
		all = all && r.leaves[i].kind != LEAF_HOP;
		own = own || (r.leaves[i].kind != LEAF_HOP && slice_eq_nocase(r.leaves[i].address, key));
	}
	if (r.status.fate != MAIL_OK || r.class != RESOLVE_OURS || !(all || own))
		tell(p, PROVE_REFUTED, map, e, path_of(p, from, leaf), "the list's owner %.*s is no local mailbox: reports would have nowhere to go", SLICE_FMT(owner));
}

static void prove_leaf(struct proof *p, unsigned map, const struct map_entry *e, const struct resolved *r, size_t i, const struct mail_path *from)
{
	const struct leaf *l = &r->leaves[i];
	const char *why;
	if (l->kind == LEAF_HOP && p->plan->is_ourselves && p->plan->is_ourselves(p->plan->arg, l->place))
		tell(p, PROVE_REFUTED, map, e, path_of(p, from, i), "the next hop %.*s is this server itself", SLICE_FMT(l->place));
	if (l->owner.n)
		prove_owner(p, map, e, l->owner, from, i);
	uint64_t limit = l->size_limit && (!p->plan->size_limit || l->size_limit < p->plan->size_limit) ? l->size_limit : p->plan->size_limit;
	if (map == MAP_RECIPIENTS && l->kind != LEAF_HOP && l->quota_bytes && l->quota_bytes < limit)
		tell(p, PROVE_NOTE, map, e, SLICE(""), "the quota of %llu bytes is below the size limit of %llu: some messages would never fit",
		     (unsigned long long)l->quota_bytes, (unsigned long long)limit);
	if (p->files) {
		enum prove_grade grade = prove_files_leaf(p->files, l, &p->mem, &why);
		if (grade != PROVE_NOTE)
			tell(p, grade, map, e, path_of(p, from, i), "%s", why);
	}
}

static void count_way(struct proof *p, const struct resolved *r)
{
	size_t hops = 0;
	if (p->uncounted)
		return;
	p->sum->addresses++;
	for (size_t i = 0; i < r->count; i++)
		hops += r->leaves[i].kind == LEAF_HOP;
	if (!hops)
		p->sum->mailbox++;
	else if (r->count == 1)
		p->sum->pass_through++;
	else
		p->sum->lists++;
}

/* One address: it is accepted only if all its leaves are. answered: its line says itself that it is not. */
static void prove_address(struct proof *p, unsigned map, const struct map_entry *e, struct slice local, struct slice domain, bool answered)
{
	struct mail_path path = { local, domain, false };
	struct resolved r;
	if (answered) {
		p->sum->addresses++;
		p->sum->refused++;
		return;
	}
	resolve_path(p->plan->set, &path, false, &p->mem, &r);
	if (r.status.fate != MAIL_OK) {
		struct slice own = map_key_join(local, domain, &p->mem);
		bool elsewhere = r.failed.n && !slice_eq_nocase(r.failed, own);
		tell(p, PROVE_REFUTED, map, e, path_of(p, &path, SIZE_MAX), "%.*s leads nowhere: %.*s%s%u %.*s", SLICE_FMT(own), SLICE_FMT(elsewhere ? r.failed : SLICE("")),
		     elsewhere ? ": " : "", r.status.code, SLICE_FMT(r.status.text));
		return;
	}
	count_way(p, &r);
	for (size_t i = 0; i < r.count; i++)
		prove_leaf(p, map, e, &r, i, &path);
}

static void step(struct proof *p)
{
	arena_reset(&p->mem);
	if (++p->done % PROGRESS_EACH == 0 && p->plan->progress)
		p->plan->progress(p->plan->arg, "proving", p->done < p->total ? p->done : p->total, p->total);
}

static bool is_skipped(struct proof *p, unsigned map, const struct map_entry *e)
{
	return p->plan->skip && p->plan->skip(p->plan->arg, map_name(p->plan->set, map), e->key);
}

/* domains ------------------------------------------------------------------------------------------------------------------------------ */

static void remember_domain(struct proof *p, struct slice domain)
{
	if (p->domain_count == p->domain_room) {
		p->domain_room = p->domain_room ? p->domain_room * 2 : 16;
		p->domains = mem_grow(p->domains, p->domain_room, sizeof *p->domains);
	}
	p->domains[p->domain_count++] = arena_copy(&p->keep, domain);
}

static void prove_named_address(struct proof *p, const struct map_entry *e, struct slice address)
{
	struct slice key, local, domain;
	if (!address.n)
		return;
	if (map_key_address(address, &p->mem, &key) || !map_key_split(key, &local, &domain))
		tell(p, PROVE_REFUTED, MAP_DOMAINS, e, SLICE(""), "%.*s is no address", SLICE_FMT(address));
	else
		prove_address(p, MAP_DOMAINS, e, local, domain, false);
}

static void prove_relay(struct proof *p, const struct map_entry *e, const struct map_domain *d)
{
	unsigned id;
	p->sum->relay_domains++;
	p->sum->ask_domains += d->ask;
	if (p->plan->is_ourselves && p->plan->is_ourselves(p->plan->arg, d->target))
		tell(p, PROVE_REFUTED, MAP_DOMAINS, e, SLICE(""), "the next hop %.*s is this server itself", SLICE_FMT(d->target));
	if (!d->ask && map_named(p->plan->set, d->recipients, &id) && map_size(p->plan->set, id) == 0)
		tell(p, PROVE_NOTE, MAP_DOMAINS, e, SLICE(""), "the map %.*s is empty: nobody at this domain gets mail", SLICE_FMT(d->recipients));
}

/* Nobody is named, nobody has a mailbox there: the resolver's last resort. */
static void note_lonely_postmaster(struct proof *p, const struct map_entry *e)
{
	struct mail_path path = { SLICE("postmaster"), e->key, false };
	struct map_entry line;
	struct resolved r;
	resolve_path(p->plan->set, &path, false, &p->mem, &r);
	if (r.count == 1 && slice_eq(r.leaves[0].domain, e->key) && slice_starts(r.leaves[0].address, SLICE("postmaster@")) &&
	    map_find(p->plan->set, MAP_RECIPIENTS, r.leaves[0].address, &p->mem, &line) == ABSENT && r.leaves[0].kind == LEAF_MAILDIR)
		tell(p, PROVE_NOTE, MAP_DOMAINS, e, SLICE(""), "nobody is postmaster here: its mail waits in the Maildir %.*s", SLICE_FMT(r.leaves[0].place));
}

static bool each_domain(void *arg, const struct map_entry *e)
{
	struct proof *p = arg;
	struct map_domain d;
	struct map_entry target;
	p->sum->domains++;
	p->uncounted = true;
	if (map_domain_parse(e->value, &p->mem, &d)) {
		tell(p, PROVE_REFUTED, MAP_DOMAINS, e, SLICE(""), "this line can't be read");
		return true;
	}
	if (e->key.p[0] != '.' && d.kind == DOMAIN_MAILBOX) {
		remember_domain(p, e->key);
		prove_address(p, MAP_DOMAINS, e, SLICE("postmaster"), e->key, false);
		note_lonely_postmaster(p, e);
	}
	if (d.kind == DOMAIN_RELAY)
		prove_relay(p, e, &d);
	if (d.kind == DOMAIN_REFUSE)
		p->sum->refused++;
	if (d.kind == DOMAIN_ALIAS_OF && map_find(p->plan->set, MAP_DOMAINS, d.target, &p->mem, &target) != FOUND)
		tell(p, PROVE_REFUTED, MAP_DOMAINS, e, SLICE(""), "alias-of names %.*s, which has no line here", SLICE_FMT(d.target));
	else if (d.kind == DOMAIN_ALIAS_OF && e->key.p[0] != '.')
		prove_address(p, MAP_DOMAINS, e, SLICE("postmaster"), e->key, false);
	if (d.catch_all.n) {
		p->sum->catch_alls++;
		tell(p, PROVE_NOTE, MAP_DOMAINS, e, SLICE(""), "the catch-all hides typing errors: senders never hear that an address is wrong");
	}
	prove_named_address(p, e, d.catch_all);
	prove_named_address(p, e, d.postmaster);
	p->uncounted = false;
	step(p);
	return true;
}

/* recipients and aliases --------------------------------------------------------------------------------------------------------------- */

static void note_catch_all(struct proof *p, unsigned map, const struct map_entry *e)
{
	p->sum->catch_alls++;
	tell(p, PROVE_NOTE, map, e, SLICE(""), "a line for a whole domain hides typing errors: senders never hear that an address is wrong");
}

static bool is_served(struct proof *p, struct slice domain)
{
	struct map_entry e;
	enum answer a = map_find(p->plan->set, MAP_DOMAINS, domain, &p->mem, &e);
	for (struct slice rest = domain; a == ABSENT && slice_find(rest, '.') < rest.n; rest = slice_skip(rest, 1)) {
		rest = slice_skip(rest, slice_find(rest, '.'));
		a = map_find(p->plan->set, MAP_DOMAINS, rest, &p->mem, &e);
	}
	return a != ABSENT;
}

static void prove_key(struct proof *p, unsigned map, const struct map_entry *e, bool answered)
{
	struct slice local, domain;
	if (!map_key_split(e->key, &local, &domain))
		return;
	if (!is_served(p, domain)) {
		tell(p, PROVE_NOTE, map, e, SLICE(""), "no line of domains serves %.*s: this line is never looked at", SLICE_FMT(domain));
		return;
	}
	if (local.n)
		return prove_address(p, map, e, local, domain, answered);
	note_catch_all(p, map, e);
	prove_address(p, map, e, SLICE("nobody-of-this-name"), domain, answered);
}

static bool each_recipient(void *arg, const struct map_entry *e)
{
	struct proof *p = arg;
	if (!is_skipped(p, MAP_RECIPIENTS, e))
		prove_key(p, MAP_RECIPIENTS, e, false);
	step(p);
	return true;
}

static bool each_alias(void *arg, const struct map_entry *e)
{
	struct proof *p = arg;
	bool answered = slice_starts(e->value, SLICE(":refuse:")) || slice_starts(e->value, SLICE(":defer:"));
	if (is_skipped(p, MAP_ALIASES, e)) {
		step(p);
		return true;
	}
	if (slice_find(e->key, '@') < e->key.n)
		prove_key(p, MAP_ALIASES, e, answered);
	else
		for (size_t i = 0; i < p->domain_count; i++) {
			prove_address(p, MAP_ALIASES, e, e->key, p->domains[i], answered);
			arena_reset(&p->mem);
		}
	step(p);
	return true;
}

static bool each_relayed(void *arg, const struct map_entry *e)
{
	struct proof *p = arg;
	p->sum->addresses++;
	p->sum->pass_through++;
	if (e->key.p[0] == '@')
		tell(p, PROVE_NOTE, MAP_DOMAINS, NULL, SLICE(""), "a map of relayed recipients calls everybody at %.*s valid: the next hop alone decides",
		     SLICE_FMT(slice_skip(e->key, 1)));
	step(p);
	return true;
}

/* routes, clients, senders ------------------------------------------------------------------------------------------------------------- */

static bool each_route(void *arg, const struct map_entry *e)
{
	struct proof *p = arg;
	struct map_route r;
	struct map_entry found;
	if (!map_route_parse(e->value, &p->mem, &r)) {
		if (p->plan->is_ourselves && p->plan->is_ourselves(p->plan->arg, r.place))
			tell(p, PROVE_REFUTED, MAP_ROUTES, e, SLICE(""), "the next hop %.*s is this server itself", SLICE_FMT(r.place));
		if (r.credentials.n && map_find(p->plan->set, MAP_CREDENTIALS, r.credentials, &p->mem, &found) == ABSENT)
			tell(p, PROVE_REFUTED, MAP_ROUTES, e, SLICE(""), "credentials names %.*s, which has no line there", SLICE_FMT(r.credentials));
	}
	step(p);
	return true;
}

static bool each_client(void *arg, const struct map_entry *e)
{
	struct proof *p = arg;
	const char *why;
	if (p->files && prove_files_client(p->files, e->key, e->value, &why))
		tell(p, PROVE_REFUTED, MAP_CLIENTS, e, SLICE(""), "%s", why);
	step(p);
	return true;
}

static bool each_sender(void *arg, const struct map_entry *e)
{
	struct proof *p = arg;
	struct slice rest = e->value, item, key, local, domain;
	while (map_item(&rest, ',', &item))
		if (!map_key_address(item, &p->mem, &key) && map_key_split(key, &local, &domain) && !is_served(p, domain))
			tell(p, PROVE_NOTE, MAP_SENDERS, e, SLICE(""), "%.*s is not one of our domains: reports to it leave this house", SLICE_FMT(domain));
	step(p);
	return true;
}

/* The whole ---------------------------------------------------------------------------------------------------------------------------- */

bool prove_place_host(struct slice place, struct slice *host, uint16_t *port)
{
	uint64_t n;
	scan_word(&place, SLICE("lmtp:"));
	size_t colon = slice_rfind(place, ':');
	if (slice_starts(place, SLICE("mx:")) || slice_starts(place, SLICE("unix:")) || colon == place.n || !scan_uint_all(slice_skip(place, colon + 1), 65535, &n))
		return false;
	struct slice h = slice_head(place, colon);
	if (h.n > 2 && h.p[0] == '[')
		h = slice(h.p + 1, h.n - 2);
	*host = h;
	*port = (uint16_t)n;
	return true;
}

static void prove_mail_root(struct proof *p)
{
	const char *why;
	enum prove_grade grade = prove_files_root(p->files, p->plan->mail_root, &why);
	if (grade != PROVE_NOTE)
		tell(p, grade, MAP_DOMAINS, NULL, SLICE(""), "mail-root %.*s: %s", SLICE_FMT(p->plan->mail_root), why);
}

enum prove_grade prove_run(const struct prove_plan *plan, struct prove_summary *out)
{
	static bool (*const each[MAP_FIXED])(void *arg, const struct map_entry *e) = {
		[MAP_DOMAINS] = each_domain, [MAP_RECIPIENTS] = each_recipient, [MAP_ALIASES] = each_alias, [MAP_ROUTES] = each_route,
		[MAP_CLIENTS] = each_client, [MAP_SENDERS] = each_sender,
	};
	struct proof p = { .plan = plan, .sum = out, .mem = ARENA_INIT(RESOLVE_MEM) };
	*out = (struct prove_summary){ 0 };
	size_t maps = map_count_maps(plan->set);
	for (unsigned id = 0; id < maps; id++)
		p.total += id >= MAP_FIXED || each[id] ? map_size(plan->set, id) : 0;
	p.files = plan->files ? prove_files_new(plan->mail_user, plan->hop_user) : NULL;
	if (p.files && plan->mail_root.n)
		prove_mail_root(&p);
	for (unsigned id = 0; id < maps; id++) {
		bool (*one)(void *arg, const struct map_entry *e) = id < MAP_FIXED ? each[id] : each_relayed;
		if (one && map_each(plan->set, id, one, &p) == UNSURE)
			tell(&p, PROVE_UNSURE, id, NULL, SLICE(""), "the map can't be read to its end");
	}
	if (plan->progress)
		plan->progress(plan->arg, "proving", p.total, p.total);
	prove_files_free(p.files);
	arena_free(&p.mem);
	arena_free(&p.keep);
	mem_free(p.domains);
	return p.worst;
}
