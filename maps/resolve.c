/* The expander: a walk over a stack of addresses to look up. Each address is looked up in the order of porter-maps(5): alias, alias of the bare local-part,
 * recipient; the same without subaddress; "@domain"; the domain's catch-all; its postmaster. What an address leads to is pushed; leaves are kept once each. Depth is bounded by
 * the chain of causes, width by RESOLVE_MAX_LEAVES, so it always ends. */
#include "maps/resolve_inside.h"

#include "base/text.h"
#include "maps/map_key.h"
#include "maps/map_set.h"

enum { MAX_PENDING = 2000, MAX_DOMAIN_HOPS = 8 };

#define NO_OWNER MAIL_STATUS(MAIL_LATER, 451, 3, 5, "This list has no owner, its postmaster has to name one")

/* One address ----------------------------------------------------------------------------------------------------------------------- */

static void push(struct resolver *r, struct pending *parent, struct slice key, struct slice owner, bool plain, const struct resolve_step *cause)
{
	if (r->pending_all == MAX_PENDING || parent->depth + 1 > RESOLVE_MAX_DEPTH)
		return resolve_fail(r, parent->depth + 1 > RESOLVE_MAX_DEPTH ? RESOLVE_LOOPS : RESOLVE_TOO_LARGE);
	struct pending *p = ARENA_NEW(r->mem, struct pending);
	if (!p || !key.p)
		return resolve_fail(r, RESOLVE_TOO_LARGE);
	*p = (struct pending){ .key = key, .cause = cause, .parent = parent, .depth = parent->depth + 1, .owner = owner.n ? owner : parent->owner,
		               .plain = plain, .below = r->stack };
	r->stack = p;
	r->pending_all++;
}

static bool is_ancestor(const struct pending *p, struct slice key)
{
	for (; p; p = p->parent)
		if (slice_eq_nocase(p->key, key))
			return true;
	return false;
}

/* aliases(5): a program or a file as target. */
static void add_direct(struct resolver *r, struct pending *p, struct slice target, struct slice address, struct slice domain, const struct resolve_step *cause)
{
	struct leaf leaf = { .address = address, .domain = domain, .place = target, .route = SLICE(""), .owner = SLICE(""), .forward_owner = SLICE(""), .cause = cause };
	leaf.kind = target.p[0] == '|' ? LEAF_PROGRAM : slice_ends(target, SLICE("/")) ? LEAF_MAILDIR : LEAF_MBOX;
	if (leaf.kind == LEAF_PROGRAM)
		leaf.place = slice_skip(target, 1);
	else if (leaf.kind == LEAF_MAILDIR)
		leaf.place = slice_head(target, target.n - 1);
	resolve_add_leaf(r, p, &leaf);
}

/* The first mailbox domain of the text. "" where there is none, or where it can't be read. */
static struct slice primary_domain(struct resolver *r, const struct resolve_step **cause)
{
	struct map_entry e;
	return resolve_look(r, MAP_DOMAINS, SLICE(MAP_NOTE_PRIMARY), &e, cause) == FOUND ? e.value : SLICE("");
}

/* Bare targets are in the alias's own domain; those of an alias that is bare itself, in the first mailbox domain. One that names an address on the way here means
 * the mailbox of that name. */
static void follow_target(struct resolver *r, struct pending *p, struct slice target, struct slice at_key, struct slice domain, struct slice owner,
                          const struct resolve_step *cause)
{
	if (target.p[0] == '|' || target.p[0] == '/')
		return add_direct(r, p, target, at_key, domain, cause);
	if (slice_find(target, '@') == target.n)
		target = map_key_join(target, domain, r->mem);
	bool itself = target.p && (slice_eq_nocase(target, at_key) || is_ancestor(p, target));
	push(r, p, target, owner, itself, cause);
}

static void follow_alias(struct resolver *r, struct pending *p, struct slice at_key, struct slice domain, const struct map_entry *e, const struct resolve_step *cause)
{
	struct map_alias a;
	if (map_alias_parse(e->value, r->mem, &a))
		return resolve_fail(r, RESOLVE_DOUBT);
	if (a.kind != ALIAS_TARGETS)
		return resolve_fail(r, a.status);
	for (size_t i = a.count; i-- > 0;)
		follow_target(r, p, a.targets[i], at_key, domain, a.owner, cause);
}

/* Tries one spelling of the address. ABSENT: nothing of that name. */
static enum answer try_name(struct resolver *r, struct pending *p, struct slice local, struct slice domain, const struct map_domain *d)
{
	struct map_entry e;
	const struct resolve_step *cause = p->cause;
	struct slice key = map_key_join(local, domain, r->mem);
	enum answer answer = ABSENT;
	if (!p->plain) {
		struct slice own = domain;
		answer = resolve_look(r, MAP_ALIASES, key, &e, &cause);
		if (answer == ABSENT && d->kind == DOMAIN_MAILBOX) {
			answer = resolve_look(r, MAP_ALIASES, local, &e, &cause);
			if (answer == FOUND)
				own = primary_domain(r, &cause);
		}
		if (answer == FOUND)
			follow_alias(r, p, key, own, &e, cause);
	}
	if (answer != ABSENT || d->kind != DOMAIN_MAILBOX)
		return answer;
	answer = resolve_look(r, MAP_RECIPIENTS, key, &e, &cause);
	if (answer == FOUND)
		resolve_add_mailbox(r, p, key, d, e.value, cause);
	return answer;
}

static enum answer try_subaddress(struct resolver *r, struct pending *p, struct slice local, struct slice domain, const struct map_domain *d)
{
	size_t cut = d->delimiter.n ? slice_find(slice_skip(local, 1), d->delimiter.p[0]) + 1 : local.n;
	return cut < local.n ? try_name(r, p, slice_head(local, cut), domain, d) : ABSENT;
}

/* "@domain": what the domain does not know otherwise. */
static enum answer try_default(struct resolver *r, struct pending *p, struct slice address, struct slice domain, const struct map_domain *d)
{
	struct map_entry e;
	const struct resolve_step *cause = p->cause;
	struct slice key = map_key_join(SLICE(""), domain, r->mem);
	enum answer answer = p->plain ? ABSENT : resolve_look(r, MAP_ALIASES, key, &e, &cause);
	if (answer == FOUND)
		follow_alias(r, p, address, domain, &e, cause);
	if (answer != ABSENT || d->kind != DOMAIN_MAILBOX)
		return answer;
	answer = resolve_look(r, MAP_RECIPIENTS, key, &e, &cause);
	if (answer == FOUND)
		resolve_add_mailbox(r, p, address, d, e.value, cause);
	return answer;
}

/* RFC 5321, 4.5.1: postmaster is always there. Named by the domain's entry, else the domain's first recipient, else the first mailbox domain's postmaster,
 * and where nobody is there yet, a Maildir of that name waits for somebody. */
static enum answer try_postmaster(struct resolver *r, struct pending *p, struct slice local, struct slice domain, const struct map_domain *d)
{
	struct map_entry e;
	const struct resolve_step *cause = p->cause;
	if (!slice_eq(local, SLICE("postmaster")))
		return ABSENT;
	if (d->postmaster.n && !is_ancestor(p, d->postmaster)) {
		push(r, p, d->postmaster, SLICE(""), false, cause);
		return FOUND;
	}
	enum answer answer = resolve_look(r, MAP_RECIPIENTS, map_key_join(SLICE(MAP_NOTE_FIRST), domain, r->mem), &e, &cause);
	if (answer == FOUND && !is_ancestor(p, e.value))
		push(r, p, e.value, SLICE(""), true, cause);
	if (answer != ABSENT)
		return answer;
	struct slice primary = primary_domain(r, &cause);
	struct slice other = map_key_join(local, primary, r->mem);
	if (primary.n && !slice_eq(primary, domain) && !is_ancestor(p, other))
		push(r, p, other, SLICE(""), false, cause);
	else
		resolve_add_mailbox(r, p, p->key, d, SLICE("maildir"), cause);
	return FOUND;
}

static void unknown(struct resolver *r)
{
	resolve_fail(r, MAIL_STATUS(MAIL_NEVER, 550, 1, 1, "There is no such recipient here"));
}

static void resolve_mailbox(struct resolver *r, struct pending *p, struct slice local, struct slice domain, const struct map_domain *d)
{
	enum answer answer = try_name(r, p, local, domain, d);
	if (answer == ABSENT)
		answer = try_subaddress(r, p, local, domain, d);
	if (answer == ABSENT && p->plain)
		return resolve_fail(r, RESOLVE_LOOPS);
	if (answer == ABSENT)
		answer = try_default(r, p, p->key, domain, d);
	if (answer == ABSENT && d->catch_all.n && !is_ancestor(p, d->catch_all)) {
		push(r, p, d->catch_all, SLICE(""), false, p->cause);
		answer = FOUND;
	}
	if (answer == ABSENT)
		answer = try_postmaster(r, p, local, domain, d);
	if (answer == UNSURE)
		resolve_fail(r, RESOLVE_DOUBT);
	if (answer == ABSENT)
		unknown(r);
}

static void resolve_relayed(struct resolver *r, struct pending *p, struct slice key, struct slice local, struct slice domain, const struct map_domain *d)
{
	const struct resolve_step *cause = p->cause;
	struct map_entry e;
	unsigned id;
	enum answer answer = try_name(r, p, local, domain, d);
	if (answer == UNSURE)
		return resolve_fail(r, RESOLVE_DOUBT);
	if (answer == FOUND)
		return;
	if (!d->ask) {
		if (!map_named(r->maps, d->recipients, &id))
			return resolve_fail(r, RESOLVE_DOUBT);
		bool at_hop = slice_eq(local, SLICE("postmaster")); /* 5321 4.5.1: always valid, and there */
		answer = at_hop ? FOUND : resolve_look(r, id, key, &e, &cause);
		size_t cut = d->delimiter.n && local.n > 1 ? slice_find(slice_skip(local, 1), d->delimiter.p[0]) + 1 : local.n;
		if (answer == ABSENT && cut < local.n)
			answer = resolve_look(r, id, map_key_join(slice_head(local, cut), domain, r->mem), &e, &cause);
		if (answer == ABSENT)
			answer = resolve_look(r, id, map_key_join(SLICE(""), domain, r->mem), &e, &cause);
		if (answer != FOUND)
			return answer == ABSENT ? unknown(r) : resolve_fail(r, RESOLVE_DOUBT);
	}
	resolve_add_hop(r, p, key, domain, d, cause);
}

/* A BATV tag is no part of the address; whether it is a good one is for those to say who get a report (smtpd/returns). */
static struct slice without_tag(struct slice local)
{
	return local.n > 16 && slice_starts_nocase(local, SLICE("prvs=")) && local.p[15] == '=' ? slice_skip(local, 16) : local;
}

static void resolve_one(struct resolver *r, struct pending *p)
{
	struct slice local, domain;
	struct map_entry e;
	struct map_domain d;
	if (!map_key_split(p->key, &local, &domain))
		return resolve_fail(r, RESOLVE_DOUBT);
	for (unsigned hops = 0; hops <= MAX_DOMAIN_HOPS; hops++) {
		enum answer answer = resolve_look_domain(r, domain, &e, &p->cause);
		if (answer == UNSURE || (answer == FOUND && map_domain_parse(e.value, r->mem, &d)))
			return resolve_fail(r, RESOLVE_DOUBT);
		if (answer == ABSENT) {
			if (p->depth == 0)
				r->out->class = RESOLVE_FOREIGN;
			return resolve_add_hop(r, p, p->key, domain, NULL, p->cause);
		}
		local = map_key_local(d.batv ? without_tag(local) : local, d.exact_case, r->mem);
		p->key = local.p ? map_key_join(local, domain, r->mem) : SLICE_NONE;
		if (!p->key.p)
			return resolve_fail(r, MAIL_STATUS(MAIL_NEVER, 550, 1, 3, "This address is no UTF-8 text, or too long"));
		switch (d.kind) {
		case DOMAIN_REFUSE:
			return resolve_fail(r, (struct mail_status){ MAIL_NEVER, 550, { 1, 2 }, d.target });
		case DOMAIN_MAILBOX:
			return resolve_mailbox(r, p, local, domain, &d);
		case DOMAIN_RELAY:
			return resolve_relayed(r, p, p->key, local, domain, &d);
		case DOMAIN_ALIAS_OF:
			domain = d.target;
			p->key = map_key_join(local, domain, r->mem);
			if (!p->key.p)
				return resolve_fail(r, RESOLVE_TOO_LARGE);
			break;
		}
	}
	resolve_fail(r, RESOLVE_LOOPS);
}

/* The whole ------------------------------------------------------------------------------------------------------------------------- */

bool resolve_is_queued(const struct leaf *l, bool authenticated)
{
	return l->kind == LEAF_HOP && (l->owner.n || l->withheld || (authenticated && !l->ask));
}

static bool goes_first(const struct leaf *l, bool authenticated)
{
	return l->kind == LEAF_LMTP || l->kind == LEAF_PROGRAM || (l->kind == LEAF_HOP && !resolve_is_queued(l, authenticated));
}

struct mail_status resolve_one_first(const struct leaf *leaves, size_t count, bool authenticated)
{
	const struct leaf *first = NULL;
	for (size_t i = 0; i < count; i++) {
		const struct leaf *l = &leaves[i];
		if (!goes_first(l, authenticated))
			continue;
		if (first && !(first->kind == l->kind && slice_eq(first->place, l->place) && slice_eq(first->route, l->route)))
			return MAIL_STATUS(MAIL_LATER, 451, 3, 5, "This address leads to several LMTP servers or programs, of which one message can reach one: its postmaster has to mend it");
		first = l;
	}
	return MAIL_STATUS_OK;
}

/* rule.md, "Aliases that fan out": several leaves of which one is remote are a list; it has an owner, named, or the one local mailbox that an address on the
 * way leads to, or the user whose ~/.forward it is, and who has a mailbox here. */
static void settle_list(struct resolver *r)
{
	struct resolved *out = r->out;
	for (size_t i = 0; i < out->count; i++) {
		struct leaf *l = &out->leaves[i];
		if (l->kind != LEAF_HOP || out->count == 1) {
			if (l->kind == LEAF_HOP)
				l->forward_owner = l->owner;
			l->owner = SLICE("");       /* alone, it is passed through */
			continue;
		}
		for (const struct pending *p = r->nodes[i]; !l->owner.n && p; p = p->parent)
			if (p->locals == 1)
				l->owner = p->only;
		if (!l->owner.n)
			l->owner = r->user;
		if (l->owner.n)
			continue;
		resolve_fail(r, NO_OWNER);
		if (!out->failed.n)
			out->failed_cause = l->cause; /* all of it is to blame; the way to one that needs an owner */
		return;
	}
	struct mail_status status = resolve_one_first(out->leaves, out->count, true);
	if (status.fate != MAIL_OK)
		resolve_fail(r, status);
}

static struct slice first_key(struct resolver *r, const struct mail_path *path, const struct resolve_step **cause)
{
	struct slice domain = path->domain.n ? path->domain : primary_domain(r, cause);
	if (!domain.n)
		return SLICE_NONE;
	if (domain.p[0] == '[')
		return map_key_join(path->local_part, domain, r->mem);
	if (map_key_domain(domain, r->mem, &domain))
		return SLICE_NONE;
	return map_key_join(path->domain.n ? path->local_part : text_lower(r->mem, path->local_part), domain, r->mem);
}

static void walk(struct resolver *r)
{
	struct resolved *out = r->out;
	while (r->stack && out->status.fate != MAIL_NEVER) {
		struct pending *p = r->stack;
		r->stack = p->below;
		r->at = p;
		resolve_one(r, p);
	}
	r->at = NULL;
	settle_list(r);
	if (out->status.fate != MAIL_OK)
		out->count = 0;
	out->steps = r->steps;
	out->step_count = r->step_count;
}

void resolve_path(struct map_set *maps, const struct mail_path *forward_path, bool want_steps, struct arena *mem, struct resolved *out)
{
	struct resolver r = { .maps = maps, .mem = mem, .out = out, .want_steps = want_steps, .user = SLICE("") };
	memset(out, 0, sizeof *out);
	out->failed = SLICE("");
	out->class = RESOLVE_OURS;
	out->status = MAIL_STATUS_OK;
	struct pending *first = ARENA_NEW(mem, struct pending);
	const struct resolve_step *cause = NULL;
	struct slice key = first_key(&r, forward_path, &cause);
	if (!first || !key.p) {
		out->status = first ? MAIL_STATUS(MAIL_NEVER, 550, 1, 2, "This is no domain that mail can go to") : RESOLVE_TOO_LARGE;
		return;
	}
	*first = (struct pending){ .key = key, .cause = cause, .owner = SLICE("") };
	r.stack = first;
	walk(&r);
}

/* As a line of aliases whose key is the leaf's address. */
static void resolve_targets(struct map_set *maps, const struct leaf *system, const struct slice *targets, size_t count, struct arena *mem, struct resolved *out)
{
	struct resolver r = { .maps = maps, .mem = mem, .out = out };
	struct slice local, domain;
	memset(out, 0, sizeof *out);
	out->failed = SLICE("");
	out->class = RESOLVE_OURS;
	out->status = MAIL_STATUS_OK;
	struct pending *first = ARENA_NEW(mem, struct pending);
	r.user = system->address;
	if (!first || !map_key_split(system->address, &local, &domain)) {
		out->status = RESOLVE_DOUBT;
		return;
	}
	*first = (struct pending){ .key = system->address, .cause = system->cause, .owner = system->forward_owner };
	for (size_t i = count; i-- > 0;) {
		struct slice t = targets[i], key;
		if (!t.n)
			continue;
		if (map_key_address(t, mem, &key) == NULL) /* "alice"@example.test is alice@example.test */
			t = key;
		if (slice_eq(t, system->place) || slice_eq_nocase(t, local) || slice_eq_nocase(t, system->address))
			resolve_add_leaf(&r, first, system);
		else
			follow_target(&r, first, t, system->address, system->domain, SLICE(""), system->cause);
	}
	walk(&r);
}

/* A list's remote copies bear somebody's name: where the alias names nobody, his who forwards. */
static void give_owners(struct leaf *leaves, size_t count, struct slice user)
{
	for (size_t i = 0; count > 1 && i < count; i++)
		if (leaves[i].kind == LEAF_HOP && !leaves[i].owner.n) {
			leaves[i].owner = leaves[i].forward_owner.n ? leaves[i].forward_owner : user;
			leaves[i].forward_owner = SLICE("");
		}
}

struct mail_status resolve_forward(struct map_set *maps, struct resolved *r, size_t at, const struct slice *targets, size_t count, struct arena *mem)
{
	struct resolved fresh;
	struct slice user = r->leaves[at].address;
	resolve_targets(maps, &r->leaves[at], targets, count, mem, &fresh);
	if (fresh.status.fate != MAIL_OK)
		return fresh.status;
	size_t others = r->count - at - 1, all = at + fresh.count + others;
	struct leaf *list = ARENA_ARRAY(mem, struct leaf, all);
	if (!list)
		return RESOLVE_TOO_LARGE;
	memcpy(list, r->leaves, at * sizeof *list);
	memcpy(list + at, fresh.leaves, fresh.count * sizeof *list);
	memcpy(list + at + fresh.count, r->leaves + at + 1, others * sizeof *list);
	give_owners(list, all, user);
	r->leaves = list;
	r->count = all;
	return MAIL_STATUS_OK;
}
