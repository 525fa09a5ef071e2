/* The map `senders`. */
#include "maps/senders.h"

#include "base/text.h"
#include "maps/domains.h"
#include "maps/map_key.h"
#include "maps/value.h"

const char *senders_parse(struct slice value, struct arena *mem)
{
	struct slice item, key;
	bool any = false;
	for (; map_item(&value, ',', &item); any = true) {
		if (slice_eq(item, SLICE("*")))
			continue;
		if (slice_find(item, '@') == item.n)
			return "a sender is an address, @domain, or * for all of ours";
		const char *why = map_key_address(item, mem, &key);
		if (why)
			return why;
	}
	return any ? NULL : "the addresses are missing: an address, @domain, or * for all of ours";
}

struct asking {
	struct map_set *set;
	struct slice local, domain;   /* canonical, folded */
	struct map_domain facts;    /* of the address's domain */
	enum answer ours;
	struct arena *mem;
};

/* "ann" of "ann+x". */
static struct slice base_of(struct slice local, struct slice delimiters)
{
	for (size_t i = 1; i < local.n; i++)
		if (slice_find(delimiters, local.p[i]) < delimiters.n)
			return slice_head(local, i);
	return local;
}

static enum answer matches(const struct asking *q, struct slice item)
{
	struct slice key, local, domain;
	if (slice_eq(item, SLICE("*")))
		return q->ours;
	if (map_key_address_folded(item, q->facts.exact_case, q->mem, &key) || !map_key_split(key, &local, &domain) || !slice_eq(domain, q->domain))
		return ABSENT;
	if (!local.n || slice_eq(local, q->local))
		return FOUND;
	return q->ours == FOUND && slice_eq(local, base_of(q->local, q->facts.delimiter)) ? FOUND : ABSENT;
}

static enum answer find_line(struct map_set *s, struct slice who, struct arena *mem, struct map_entry *e)
{
	struct slice key;
	if (slice_starts(who, SLICE("unix:")))
		key = who;
	else if (slice_find(who, '@') == who.n || map_key_address_folded(who, false, mem, &key))
		key = map_key_local(who, false, mem);
	return key.p ? map_find(s, MAP_SENDERS, key, mem, e) : ABSENT;
}

enum answer senders_may_use(struct map_set *s, struct slice who, const struct mail_path *address, struct arena *mem)
{
	struct asking q = { .set = s, .mem = mem };
	struct map_entry e;
	struct slice item;
	if (mail_path_is_null(address))
		return FOUND;
	if (map_key_domain(address->domain, mem, &q.domain))
		return ABSENT;
	q.ours = domains_find(s, q.domain, mem, &q.facts);
	if (q.ours == UNSURE)
		return UNSURE;
	q.local = map_key_local(address->local_part, q.facts.exact_case, mem);
	if (!q.local.p)
		return ABSENT;
	if (q.ours == FOUND && !slice_starts(who, SLICE("unix:")) && slice_find(who, '@') < who.n && matches(&q, who) == FOUND)
		return FOUND;
	enum answer a = find_line(s, who, mem, &e);
	if (a != FOUND)
		return a;
	for (a = ABSENT; a == ABSENT && map_item(&e.value, ',', &item);)
		a = matches(&q, item);
	return a;
}
