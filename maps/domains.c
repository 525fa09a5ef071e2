/* One domain's facts, for those who don't resolve: the same look-up order and the same parser as the resolver's. */
#include "maps/domains.h"

#include "maps/map_key.h"

enum answer domains_find(struct map_set *s, struct slice domain, struct arena *mem, struct map_domain *out)
{
	struct slice name;
	struct map_entry e;
	if (!domain.n || domain.p[0] == '.' || domain.p[0] == '*' || map_key_domain(domain, mem, &name))
		return ABSENT;
	enum answer a = map_find(s, MAP_DOMAINS, name, mem, &e);
	for (struct slice rest = name; a == ABSENT && slice_find(rest, '.') < rest.n; rest = slice_skip(rest, 1)) {
		rest = slice_skip(rest, slice_find(rest, '.'));
		a = map_find(s, MAP_DOMAINS, rest, mem, &e);
	}
	return a == FOUND && map_domain_parse(e.value, mem, out) ? UNSURE : a;
}
