/* The expander: a walk over a stack of addresses to look up. Each address is looked up in the order of porter-maps(5): alias, alias of the bare local-part,
 * recipient; the same without subaddress; "@domain"; the domain's catch-all; its postmaster. What an address leads to is pushed; leaves are kept once each. Depth is bounded by
 * the chain of causes, width by RESOLVE_MAX_LEAVES, so it always ends. */
#include "maps/resolve.h"

#include "base/buf.h"
#include "base/text.h"
#include "maps/map.h"
#include "maps/map_key.h"
#include "maps/map_set.h"
#include "maps/map_value.h"

enum { MAX_PENDING = 2000, MAX_STEPS = 20000, MAX_DOMAIN_HOPS = 8 };

struct pending {
	struct slice key;                    /* local@domain, canonical */
	const struct resolve_step *cause;
	struct pending *parent;
	unsigned depth;
	struct slice owner;                  /* named on the way */
	struct slice only;                   /* the mailbox that it leads to, where locals is 1 */
	unsigned locals;                     /* how many mailboxes it leads to; 2 is several */
	bool plain;                          /* an alias led back to it: its mailbox is meant, not its alias again */
	struct pending *below;               /* on the stack */
};

struct resolver {
	struct map_set *maps;
	struct arena *mem;
	struct resolved *out;
	bool want_steps;
	struct resolve_step **steps;
	size_t step_count, step_room;
	struct pending *stack;               /* popped ones stay alive as parents */
	size_t pending_all;
	size_t leaf_room;
	const struct pending **nodes;        /* beside out->leaves: whence each came first */
};

#define TOO_LARGE MAIL_STATUS_UNSURE("This address leads to more places than can be looked at, try again later")
#define DOUBT MAIL_STATUS_UNSURE("The recipient can't be looked up just now, try again later")
#define LOOPS MAIL_STATUS(MAIL_LATER, 451, 4, 6, "This address leads back to itself, its postmaster has to mend that")

/* Look-ups -------------------------------------------------------------------------------------------------------------------------- */

static const struct resolve_step *note_step(struct resolver *r, unsigned map, struct slice key, enum answer answer, const struct map_entry *e,
                                            const struct resolve_step *cause)
{
	if (!r->want_steps)
		return cause;
	if (r->step_count == r->step_room) {
		size_t room = r->step_room ? r->step_room * 2 : 32;
		struct resolve_step **more = room > MAX_STEPS ? NULL : ARENA_ARRAY(r->mem, struct resolve_step *, room);
		if (!more)
			return cause;
		if (r->step_count)
			memcpy(more, r->steps, r->step_count * sizeof *more);
		r->steps = more;
		r->step_room = room;
	}
	struct resolve_step *s = ARENA_NEW(r->mem, struct resolve_step);
	if (!s)
		return cause;
	struct slice name = map_name(r->maps, map);
	*s = (struct resolve_step){ arena_cstr(r->mem, name), arena_copy(r->mem, key), answer, answer == FOUND ? e->value : SLICE(""), answer == FOUND ? e->line : 0, cause };
	r->steps[r->step_count++] = s;
	return answer == FOUND ? s : cause;
}

static enum answer look(struct resolver *r, unsigned map, struct slice key, struct map_entry *e, const struct resolve_step **cause)
{
	if (!r->want_steps && map_size(r->maps, map) == 0)
		return ABSENT;
	enum answer answer = key.p ? map_find(r->maps, map, key, r->mem, e) : UNSURE;
	*cause = note_step(r, map, key, answer, e, *cause);
	return answer;
}

/* The domain's entry: exact, then ".parent" ("*.parent" in the text) from the longest. */
static enum answer look_domain(struct resolver *r, struct slice domain, struct map_entry *e, const struct resolve_step **cause)
{
	enum answer answer = look(r, MAP_DOMAINS, domain, e, cause);
	struct slice rest = domain;
	while (answer == ABSENT) {
		size_t dot = slice_find(rest, '.');
		if (dot == rest.n)
			return ABSENT;
		answer = look(r, MAP_DOMAINS, slice_skip(rest, dot), e, cause);
		rest = slice_skip(rest, dot + 1);
	}
	return answer;
}

/* Leaves ---------------------------------------------------------------------------------------------------------------------------- */

static void fail(struct resolver *r, struct mail_status status)
{
	if (r->out->status.fate == MAIL_OK || (r->out->status.fate == MAIL_LATER && status.fate == MAIL_NEVER))
		r->out->status = mail_status_copy(r->mem, status);
}

/* Every address on the way here leads to this mailbox. */
static void count_local(struct pending *p, struct slice address)
{
	for (; p; p = p->parent) {
		if (p->locals == 1 && slice_eq(p->only, address))
			continue;
		p->locals += p->locals < 2;
		p->only = address;
	}
}

static void add_leaf(struct resolver *r, struct pending *p, const struct leaf *leaf)
{
	if (leaf->kind != LEAF_HOP)
		count_local(p, leaf->address);
	for (size_t i = 0; i < r->out->count; i++) {
		struct leaf *known = &r->out->leaves[i];
		if (known->kind == leaf->kind && slice_eq(known->place, leaf->place) &&
		    ((leaf->kind != LEAF_HOP && leaf->kind != LEAF_LMTP && leaf->kind != LEAF_PROGRAM) || slice_eq(known->address, leaf->address)))
			return;
	}
	if (r->out->count == RESOLVE_MAX_LEAVES)
		return fail(r, TOO_LARGE);
	if (r->out->count == r->leaf_room) {
		size_t room = r->leaf_room ? r->leaf_room * 4 : 2;
		struct leaf *more = ARENA_ARRAY(r->mem, struct leaf, room);
		const struct pending **nodes = ARENA_ARRAY(r->mem, const struct pending *, room);
		if (!more || !nodes)
			return fail(r, TOO_LARGE);
		if (r->out->count) {
			memcpy(more, r->out->leaves, r->out->count * sizeof *more);
			memcpy(nodes, r->nodes, r->out->count * sizeof *nodes);
		}
		r->out->leaves = more;
		r->nodes = nodes;
		r->leaf_room = room;
	}
	r->nodes[r->out->count] = p;
	r->out->leaves[r->out->count++] = *leaf;
}

/* A path below the mail root is made of the address, with everything that could be a path taken out of it. */
static struct slice maildir_place(struct resolver *r, struct slice local, struct slice domain)
{
	struct buf b = BUF_INIT(1200);
	buf_add(&b, domain);
	buf_add_byte(&b, '/');
	for (size_t i = 0; i < local.n; i++) {
		unsigned char c = (unsigned char)local.p[i];
		if (c == '/' || c == '%' || c < 0x20 || c == 0x7f || (i == 0 && c == '.'))
			buf_addf(&b, "%%%02x", c);
		else
			buf_add_byte(&b, (char)c);
	}
	struct slice place = arena_copy(r->mem, buf_slice(&b));
	buf_free(&b);
	return place;
}

static void add_mailbox(struct resolver *r, struct pending *p, struct slice address, const struct map_domain *d, struct slice value, const struct resolve_step *cause)
{
	struct map_mailbox m;
	struct slice local, domain;
	if (map_mailbox_parse(value, r->mem, &m) || !map_key_split(address, &local, &domain))
		return fail(r, DOUBT);
	struct leaf leaf = { .kind = m.kind, .address = address, .domain = domain, .place = m.place, .route = SLICE(""), .owner = SLICE(""), .forward_owner = SLICE(""), .cause = cause };
	leaf.quota_bytes = m.quota_given ? m.quota_bytes : d->quota_bytes;
	leaf.quota_messages = m.messages_given ? m.quota_messages : d->quota_messages;
	leaf.size_limit = m.size_given ? m.size_limit : d->size_limit;
	if (leaf.kind == LEAF_MAILDIR && !leaf.place.n)
		leaf.place = maildir_place(r, local, domain);
	if (!leaf.place.p)
		return fail(r, DOUBT);
	add_leaf(r, p, &leaf);
}

/* routes: address, domain, ".parent" of each parent, "*"; the last not for a relayed domain, whose own line names its next hop. */
static enum answer look_route(struct resolver *r, struct slice address, struct slice domain, bool relayed, struct map_entry *e, const struct resolve_step **cause)
{
	enum answer answer = look(r, MAP_ROUTES, address, e, cause);
	if (answer == ABSENT)
		answer = look(r, MAP_ROUTES, domain, e, cause);
	for (struct slice rest = domain; answer == ABSENT && slice_find(rest, '.') < rest.n;) {
		rest = slice_skip(rest, slice_find(rest, '.'));
		answer = look(r, MAP_ROUTES, rest, e, cause);
		rest = slice_skip(rest, 1);
	}
	return answer == ABSENT && !relayed ? look(r, MAP_ROUTES, SLICE("*"), e, cause) : answer;
}

static struct slice mx_place(struct resolver *r, struct slice domain)
{
	struct buf b = BUF_INIT(300);
	buf_addf(&b, "mx:%.*s", SLICE_FMT(domain));
	struct slice place = arena_copy(r->mem, buf_slice(&b));
	buf_free(&b);
	return place;
}

static void add_hop(struct resolver *r, struct pending *p, struct slice address, struct slice domain, const struct map_domain *relay, const struct resolve_step *cause)
{
	struct leaf leaf = { .kind = LEAF_HOP, .address = address, .domain = domain, .place = relay ? relay->target : SLICE("mx:"), .route = SLICE(""), .owner = p->owner,
		             .forward_owner = SLICE(""), .relayed = relay != NULL, .ask = relay && relay->ask, .size_limit = relay ? relay->size_limit : 0 };
	struct map_entry e;
	enum answer answer = look_route(r, address, domain, relay != NULL, &e, &cause);
	if (answer == UNSURE)
		return fail(r, DOUBT);
	if (answer == FOUND) {
		struct map_route route;
		if (map_route_parse(e.value, r->mem, &route))
			return fail(r, DOUBT);
		leaf.route = e.value;
		leaf.place = route.place;
	}
	if (slice_eq(leaf.place, SLICE("mx:")))
		leaf.place = mx_place(r, domain);
	leaf.cause = cause;
	add_leaf(r, p, &leaf);
}

/* One address ----------------------------------------------------------------------------------------------------------------------- */

static void push(struct resolver *r, struct pending *parent, struct slice key, struct slice owner, bool plain, const struct resolve_step *cause)
{
	if (r->pending_all == MAX_PENDING || parent->depth + 1 > RESOLVE_MAX_DEPTH)
		return fail(r, parent->depth + 1 > RESOLVE_MAX_DEPTH ? LOOPS : TOO_LARGE);
	struct pending *p = ARENA_NEW(r->mem, struct pending);
	if (!p || !key.p)
		return fail(r, TOO_LARGE);
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
	add_leaf(r, p, &leaf);
}

/* The first mailbox domain of the text. "" where there is none, or where it can't be read. */
static struct slice primary_domain(struct resolver *r, const struct resolve_step **cause)
{
	struct map_entry e;
	return look(r, MAP_DOMAINS, SLICE(MAP_NOTE_PRIMARY), &e, cause) == FOUND ? e.value : SLICE("");
}

/* Bare targets are in the alias's own domain; those of an alias that is bare itself, in the first mailbox domain. One that names an address on the way here means the mailbox of that name. */
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
		return fail(r, DOUBT);
	if (a.kind != ALIAS_TARGETS)
		return fail(r, a.status);
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
		answer = look(r, MAP_ALIASES, key, &e, &cause);
		if (answer == ABSENT && d->kind == DOMAIN_MAILBOX) {
			answer = look(r, MAP_ALIASES, local, &e, &cause);
			if (answer == FOUND)
				own = primary_domain(r, &cause);
		}
		if (answer == FOUND)
			follow_alias(r, p, key, own, &e, cause);
	}
	if (answer != ABSENT || d->kind != DOMAIN_MAILBOX)
		return answer;
	answer = look(r, MAP_RECIPIENTS, key, &e, &cause);
	if (answer == FOUND)
		add_mailbox(r, p, key, d, e.value, cause);
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
	enum answer answer = p->plain ? ABSENT : look(r, MAP_ALIASES, key, &e, &cause);
	if (answer == FOUND)
		follow_alias(r, p, address, domain, &e, cause);
	if (answer != ABSENT || d->kind != DOMAIN_MAILBOX)
		return answer;
	answer = look(r, MAP_RECIPIENTS, key, &e, &cause);
	if (answer == FOUND)
		add_mailbox(r, p, address, d, e.value, cause);
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
	enum answer answer = look(r, MAP_RECIPIENTS, map_key_join(SLICE(MAP_NOTE_FIRST), domain, r->mem), &e, &cause);
	if (answer == FOUND && !is_ancestor(p, e.value))
		push(r, p, e.value, SLICE(""), true, cause);
	if (answer != ABSENT)
		return answer;
	struct slice primary = primary_domain(r, &cause);
	struct slice other = map_key_join(local, primary, r->mem);
	if (primary.n && !slice_eq(primary, domain) && !is_ancestor(p, other))
		push(r, p, other, SLICE(""), false, cause);
	else
		add_mailbox(r, p, p->key, d, SLICE("maildir"), cause);
	return FOUND;
}

static void unknown(struct resolver *r)
{
	fail(r, MAIL_STATUS(MAIL_NEVER, 550, 1, 1, "There is no such recipient here"));
}

static void resolve_mailbox(struct resolver *r, struct pending *p, struct slice local, struct slice domain, const struct map_domain *d)
{
	enum answer answer = try_name(r, p, local, domain, d);
	if (answer == ABSENT)
		answer = try_subaddress(r, p, local, domain, d);
	if (answer == ABSENT && p->plain)
		return fail(r, LOOPS);
	if (answer == ABSENT)
		answer = try_default(r, p, p->key, domain, d);
	if (answer == ABSENT && d->catch_all.n && !is_ancestor(p, d->catch_all)) {
		push(r, p, d->catch_all, SLICE(""), false, p->cause);
		answer = FOUND;
	}
	if (answer == ABSENT)
		answer = try_postmaster(r, p, local, domain, d);
	if (answer == UNSURE)
		fail(r, DOUBT);
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
		return fail(r, DOUBT);
	if (answer == FOUND)
		return;
	if (!d->ask) {
		if (!map_named(r->maps, d->recipients, &id))
			return fail(r, DOUBT);
		bool at_hop = slice_eq(local, SLICE("postmaster")); /* 5321 4.5.1: always valid, and there */
		answer = at_hop ? FOUND : look(r, id, key, &e, &cause);
		size_t cut = d->delimiter.n && local.n > 1 ? slice_find(slice_skip(local, 1), d->delimiter.p[0]) + 1 : local.n;
		if (answer == ABSENT && cut < local.n)
			answer = look(r, id, map_key_join(slice_head(local, cut), domain, r->mem), &e, &cause);
		if (answer == ABSENT)
			answer = look(r, id, map_key_join(SLICE(""), domain, r->mem), &e, &cause);
		if (answer != FOUND)
			return answer == ABSENT ? unknown(r) : fail(r, DOUBT);
	}
	add_hop(r, p, key, domain, d, cause);
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
		return fail(r, DOUBT);
	for (unsigned hops = 0; hops <= MAX_DOMAIN_HOPS; hops++) {
		enum answer answer = look_domain(r, domain, &e, &p->cause);
		if (answer == UNSURE || (answer == FOUND && map_domain_parse(e.value, r->mem, &d)))
			return fail(r, DOUBT);
		if (answer == ABSENT) {
			if (p->depth == 0)
				r->out->class = RESOLVE_FOREIGN;
			return add_hop(r, p, p->key, domain, NULL, p->cause);
		}
		local = map_key_local(d.batv ? without_tag(local) : local, d.exact_case, r->mem);
		p->key = local.p ? map_key_join(local, domain, r->mem) : SLICE_NONE;
		if (!p->key.p)
			return fail(r, MAIL_STATUS(MAIL_NEVER, 550, 1, 3, "This address is no UTF-8 text, or too long"));
		switch (d.kind) {
		case DOMAIN_REFUSE:
			return fail(r, (struct mail_status){ MAIL_NEVER, 550, { 1, 2 }, d.target });
		case DOMAIN_MAILBOX:
			return resolve_mailbox(r, p, local, domain, &d);
		case DOMAIN_RELAY:
			return resolve_relayed(r, p, p->key, local, domain, &d);
		case DOMAIN_ALIAS_OF:
			domain = d.target;
			p->key = map_key_join(local, domain, r->mem);
			if (!p->key.p)
				return fail(r, TOO_LARGE);
			break;
		}
	}
	fail(r, LOOPS);
}

/* The whole ------------------------------------------------------------------------------------------------------------------------- */

/* rule.md, "Aliases that fan out": several leaves of which one is remote are a list; it has an owner, named, or the one local mailbox that an address on the
 * way leads to. */
static void settle_list(struct resolver *r)
{
	struct resolved *out = r->out;
	for (size_t i = 0; i < out->count; i++) {
		struct leaf *l = &out->leaves[i];
		if (l->kind != LEAF_HOP || out->count == 1) {
			l->forward_owner = l->kind == LEAF_HOP ? l->owner : SLICE("");
			l->owner = SLICE("");       /* alone, it is passed through */
			continue;
		}
		for (const struct pending *p = r->nodes[i]; !l->owner.n && p; p = p->parent)
			if (p->locals == 1)
				l->owner = p->only;
		if (!l->owner.n)
			return fail(r, MAIL_STATUS(MAIL_LATER, 451, 3, 5, "This list has no owner, its postmaster has to name one"));
	}
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
		resolve_one(r, p);
	}
	settle_list(r);
	if (out->status.fate != MAIL_OK)
		out->count = 0;
	out->steps = r->steps;
	out->step_count = r->step_count;
}

void resolve_path(struct map_set *maps, const struct mail_path *forward_path, bool want_steps, struct arena *mem, struct resolved *out)
{
	struct resolver r = { .maps = maps, .mem = mem, .out = out, .want_steps = want_steps };
	memset(out, 0, sizeof *out);
	out->class = RESOLVE_OURS;
	out->status = MAIL_STATUS_OK;
	struct pending *first = ARENA_NEW(mem, struct pending);
	const struct resolve_step *cause = NULL;
	struct slice key = first_key(&r, forward_path, &cause);
	if (!first || !key.p) {
		out->status = first ? MAIL_STATUS(MAIL_NEVER, 550, 1, 2, "This is no domain that mail can go to") : TOO_LARGE;
		return;
	}
	*first = (struct pending){ .key = key, .cause = cause, .owner = SLICE("") };
	r.stack = first;
	walk(&r);
}

void resolve_targets(struct map_set *maps, const struct leaf *system, const struct slice *targets, size_t count, bool want_steps, struct arena *mem, struct resolved *out)
{
	struct resolver r = { .maps = maps, .mem = mem, .out = out, .want_steps = want_steps };
	struct slice local, domain;
	memset(out, 0, sizeof *out);
	out->class = RESOLVE_OURS;
	out->status = MAIL_STATUS_OK;
	struct pending *first = ARENA_NEW(mem, struct pending);
	if (!first || !map_key_split(system->address, &local, &domain)) {
		out->status = DOUBT;
		return;
	}
	*first = (struct pending){ .key = system->address, .cause = system->cause, .owner = SLICE("") };
	for (size_t i = count; i-- > 0;) {
		struct slice t = targets[i];
		if (!t.n)
			continue;
		if (slice_eq(t, system->place) || slice_eq_nocase(t, local) || slice_eq_nocase(t, system->address))
			add_leaf(&r, first, system);
		else
			follow_target(&r, first, t, system->address, system->domain, SLICE(""), system->cause);
	}
	walk(&r);
}
