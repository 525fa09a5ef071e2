/* What the resolver finds: look-ups with their notes, and leaves, each kept once: mailboxes, and next hops by `routes`. */
#include "maps/resolve_inside.h"

#include "base/buf.h"
#include "base/mail_path.h"
#include "maps/map_key.h"
#include "maps/map_set.h"

enum { MAX_STEPS = 20000 };

/* Look-ups -------------------------------------------------------------------------------------------------------------------------- */

/* A note's key as people read it. */
static struct slice readable(struct resolver *r, struct slice key)
{
	if (!map_is_note(key))
		return arena_copy(r->mem, key);
	return slice_eq(key, SLICE(MAP_NOTE_PRIMARY)) ? SLICE("(the first mailbox domain)") : SLICE("(the first recipient of the domain)");
}

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
	*s = (struct resolve_step){ arena_cstr(r->mem, name), readable(r, key), answer, answer == FOUND ? e->value : SLICE(""), answer == FOUND ? e->line : 0, cause };
	r->steps[r->step_count++] = s;
	return answer == FOUND ? s : cause;
}

enum answer resolve_look(struct resolver *r, unsigned map, struct slice key, struct map_entry *e, const struct resolve_step **cause)
{
	if (!r->want_steps && map_size(r->maps, map) == 0)
		return ABSENT;
	enum answer answer = key.p ? map_find(r->maps, map, key, r->mem, e) : UNSURE;
	*cause = note_step(r, map, key, answer, e, *cause);
	return answer;
}

/* The domain's entry: exact, then ".parent" ("*.parent" in the text) from the longest. */
enum answer resolve_look_domain(struct resolver *r, struct slice domain, struct map_entry *e, const struct resolve_step **cause)
{
	enum answer answer = resolve_look(r, MAP_DOMAINS, domain, e, cause);
	struct slice rest = domain;
	while (answer == ABSENT) {
		size_t dot = slice_find(rest, '.');
		if (dot == rest.n)
			return ABSENT;
		answer = resolve_look(r, MAP_DOMAINS, slice_skip(rest, dot), e, cause);
		rest = slice_skip(rest, dot + 1);
	}
	return answer;
}

/* Leaves ---------------------------------------------------------------------------------------------------------------------------- */

void resolve_fail(struct resolver *r, struct mail_status status)
{
	if (r->out->status.fate != MAIL_OK && !(r->out->status.fate == MAIL_LATER && status.fate == MAIL_NEVER))
		return;
	r->out->status = mail_status_copy(r->mem, status);
	r->out->failed = r->at ? r->at->key : SLICE("");
	r->out->failed_cause = r->at ? r->at->cause : NULL;
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

void resolve_add_leaf(struct resolver *r, struct pending *p, const struct leaf *leaf)
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
		return resolve_fail(r, RESOLVE_TOO_LARGE);
	if (r->out->count == r->leaf_room) {
		size_t room = r->leaf_room ? r->leaf_room * 4 : 2;
		struct leaf *more = ARENA_ARRAY(r->mem, struct leaf, room);
		const struct pending **nodes = ARENA_ARRAY(r->mem, const struct pending *, room);
		if (!more || !nodes)
			return resolve_fail(r, RESOLVE_TOO_LARGE);
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

/* As a command may hold it: a key's local-part has no quotes, and what stands in it would be read as the end of the path. */
static struct slice path_text(struct resolver *r, struct slice key)
{
	struct mail_path p = { .utf8 = false };
	struct buf b = BUF_INIT(MAIL_PATH_MAX_TEXT);
	struct slice text = SLICE_NONE;
	if (map_key_split(key, &p.local_part, &p.domain) && mail_path_print(&b, &p) == 0)
		text = arena_copy(r->mem, buf_slice(&b));
	buf_free(&b);
	return text;
}

void resolve_add_mailbox(struct resolver *r, struct pending *p, struct slice address, const struct map_domain *d, struct slice value, const struct resolve_step *cause)
{
	struct map_mailbox m;
	struct slice local, domain;
	if (map_mailbox_parse(value, r->mem, &m) || !map_key_split(address, &local, &domain))
		return resolve_fail(r, RESOLVE_DOUBT);
	struct leaf leaf = { .kind = m.kind, .address = address, .domain = domain, .place = m.place, .route = SLICE(""), .owner = SLICE(""), .cause = cause };
	leaf.forward_owner = leaf.kind == LEAF_SYSTEM ? p->owner : SLICE("");
	leaf.quota_bytes = m.quota_given ? m.quota_bytes : d->quota_bytes;
	leaf.quota_messages = m.messages_given ? m.quota_messages : d->quota_messages;
	leaf.size_limit = m.size_given ? m.size_limit : d->size_limit;
	if (leaf.kind == LEAF_MAILDIR && !leaf.place.n)
		leaf.place = maildir_place(r, local, domain);
	if (leaf.kind == LEAF_LMTP)
		leaf.address = path_text(r, address);
	if (!leaf.place.p || !leaf.address.p)
		return resolve_fail(r, RESOLVE_DOUBT);
	resolve_add_leaf(r, p, &leaf);
}

/* routes: address, domain, ".parent" of each parent, "*"; the last not for a relayed domain, whose own line names its next hop. */
static enum answer look_route(struct resolver *r, struct slice address, struct slice domain, bool relayed, struct map_entry *e, const struct resolve_step **cause)
{
	enum answer answer = resolve_look(r, MAP_ROUTES, address, e, cause);
	if (answer == ABSENT)
		answer = resolve_look(r, MAP_ROUTES, domain, e, cause);
	for (struct slice rest = domain; answer == ABSENT && slice_find(rest, '.') < rest.n;) {
		rest = slice_skip(rest, slice_find(rest, '.'));
		answer = resolve_look(r, MAP_ROUTES, rest, e, cause);
		rest = slice_skip(rest, 1);
	}
	return answer == ABSENT && !relayed ? resolve_look(r, MAP_ROUTES, SLICE("*"), e, cause) : answer;
}

static struct slice mx_place(struct resolver *r, struct slice domain)
{
	struct buf b = BUF_INIT(300);
	buf_addf(&b, "mx:%.*s", SLICE_FMT(domain));
	struct slice place = arena_copy(r->mem, buf_slice(&b));
	buf_free(&b);
	return place;
}

void resolve_add_hop(struct resolver *r, struct pending *p, struct slice address, struct slice domain, const struct map_domain *relay, const struct resolve_step *cause)
{
	struct leaf leaf = { .kind = LEAF_HOP, .address = path_text(r, address), .domain = domain, .place = relay ? relay->target : SLICE("mx:"), .route = SLICE(""), .owner = p->owner,
		             .forward_owner = SLICE(""), .relayed = relay != NULL, .ask = relay && relay->ask, .size_limit = relay ? relay->size_limit : 0 };
	struct map_entry e;
	enum answer answer = look_route(r, address, domain, relay != NULL, &e, &cause);
	if (answer == UNSURE || !leaf.address.p)
		return resolve_fail(r, RESOLVE_DOUBT);
	if (answer == FOUND) {
		struct map_route route;
		if (map_route_parse(e.value, r->mem, &route))
			return resolve_fail(r, RESOLVE_DOUBT);
		leaf.route = e.value;
		leaf.place = route.place;
	}
	if (slice_eq(leaf.place, SLICE("mx:")))
		leaf.place = mx_place(r, domain);
	leaf.cause = cause;
	resolve_add_leaf(r, p, &leaf);
}
