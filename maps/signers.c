/* The maps of keys that sign, seals that are believed, and hosters whose SPF pass proves nobody. All are asked by domain: exact, then ".parent". */
#include "maps/signers.h"

#include "base/text.h"
#include "maps/map_key.h"

static bool is_selector(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!text_is_alnum((unsigned char)s.p[i]) && s.p[i] != '-' && s.p[i] != '_' && s.p[i] != '.')
			return false;
	return s.n && s.n <= 63 && s.p[0] != '.' && s.p[s.n - 1] != '.';
}

const char *signers_parse(struct slice value, struct arena *mem, struct signers *out)
{
	struct slice item;
	out->count = 0;
	while (map_item(&value, ',', &item)) {
		struct slice algorithm, selector = slice_cut(item, ' ', &algorithm);
		algorithm = slice_trim(algorithm);
		bool ed25519 = slice_eq(algorithm, SLICE("ed25519"));
		if (!is_selector(selector))
			return "a selector is wanted: letters, digits and hyphens";
		if (!ed25519 && algorithm.n && !slice_eq(algorithm, SLICE("rsa")))
			return "behind a selector stands rsa or ed25519";
		if (out->count == SIGNERS_MAX)
			return "at most 4 keys sign";
		out->list[out->count++] = (struct signer){ arena_copy(mem, selector), ed25519 };
	}
	return out->count ? NULL : "a selector is wanted";
}

/* The line of domain, or the longest parent's ".parent"; *e is what stood there. */
static enum answer find(struct map_set *s, unsigned id, struct slice domain, struct arena *mem, struct map_entry *e)
{
	struct slice name;
	if (map_key_domain(domain, mem, &name))
		return ABSENT;
	enum answer a = map_find(s, id, name, mem, e);
	for (struct slice rest = name; a == ABSENT && slice_find(rest, '.') < rest.n; rest = slice_skip(rest, 1)) {
		rest = slice_skip(rest, slice_find(rest, '.'));
		a = map_find(s, id, rest, mem, e);
	}
	return a;
}

enum answer signers_find(struct map_set *s, struct slice domain, struct arena *mem, struct signers *out)
{
	struct map_entry e;
	enum answer a = find(s, MAP_SIGNERS, domain, mem, &e);
	if (a != FOUND)
		return a;
	if (signers_parse(e.value, mem, out))
		return UNSURE;
	out->domain = e.key.n && e.key.p[0] == '.' ? slice_skip(e.key, 1) : e.key;
	return FOUND;
}

enum answer sealers_find(struct map_set *s, struct slice domain, struct arena *mem)
{
	struct map_entry e;
	return find(s, MAP_SEALERS, domain, mem, &e);
}

enum answer hosters_find(struct map_set *s, struct slice domain, struct arena *mem)
{
	struct map_entry e;
	enum answer a = ABSENT;
	while (a == ABSENT && domain.n) {
		a = find(s, MAP_HOSTERS, domain, mem, &e);
		domain = slice_skip(domain, slice_find(domain, '.') + 1);
	}
	return a;
}
