/* Random trees of aliases: the resolver, the prover, and a naive model (a recursion over sets, written from porter-maps(5)) agree; over text and over a compiled
 * generation; and the resolver always ends. PORTER_SEED names another world, PORTER_ROUNDS how many. */
#include "tests/unit/maps_kit.h"

#include "maps/compile.h"
#include "maps/manifest.h"
#include "maps/map_key.h"
#include "maps/prove.h"
#include "maps/resolve.h"

enum { NAMES = 7, DOMAINS = 2, ADDRESSES = NAMES * DOMAINS, TARGETS = 3, MAX_MODEL = 64 };

static const char *const names[NAMES] = { "ann", "ben", "cat", "dan", "eve", "fay", "gus" };
static const char *const domains[DOMAINS] = { "one.test", "two.test" };

struct alias {
	bool there, has_owner;
	int owner;                   /* an address */
	size_t count;
	int targets[TARGETS];        /* >= 0: address; -1 - n: remote n; 1000 + n: bare name */
};

struct world {
	bool mailbox[ADDRESSES];
	struct alias alias[ADDRESSES], bare[NAMES];
};

static unsigned seed;
static unsigned held, failed, lists; /* of the outcomes: the worlds have some of each */

static unsigned random_below(unsigned n)
{
	seed = seed * 1103515245u + 12345u;
	return (seed >> 16) % n;
}

static void print_address(struct buf *b, int a)
{
	buf_addf(b, "%s@%s", names[a % NAMES], domains[a / NAMES]);
}

static void print_target(struct buf *b, int t)
{
	if (t >= 1000)
		buf_add_cstr(b, names[t - 1000]);
	else if (t < 0)
		buf_addf(b, "r%d@far.test", -1 - t);
	else
		print_address(b, t);
}

static void random_alias(struct alias *a, unsigned likely)
{
	*a = (struct alias){ .there = random_below(100) < likely };
	a->count = 1 + random_below(TARGETS);
	a->has_owner = random_below(3) == 0;
	a->owner = (int)random_below(ADDRESSES);
	for (size_t i = 0; i < a->count; i++) {
		unsigned kind = random_below(10);
		a->targets[i] = kind < 2 ? -1 - (int)random_below(3) : kind < 4 ? 1000 + (int)random_below(NAMES) : (int)random_below(ADDRESSES);
	}
}

static void put_alias(struct buf *b, const struct alias *a, int address, int name)
{
	if (!a->there)
		return;
	if (name >= 0)
		buf_add_cstr(b, names[name]);
	else
		print_address(b, address);
	for (size_t i = 0; i < a->count; i++) {
		buf_add_cstr(b, i ? ", " : " ");
		print_target(b, a->targets[i]);
	}
	if (a->has_owner) {
		buf_add_cstr(b, ", owner=");
		print_address(b, a->owner);
	}
	buf_add_byte(b, '\n');
}

static void make(struct world *w)
{
	struct buf recipients = BUF_INIT(100000), aliases = BUF_INIT(100000);
	for (int i = 0; i < ADDRESSES; i++) {
		w->mailbox[i] = random_below(100) < 55;
		random_alias(&w->alias[i], 35);
		if (w->mailbox[i]) {
			print_address(&recipients, i);
			buf_add_byte(&recipients, '\n');
		}
		put_alias(&aliases, &w->alias[i], i, -1);
	}
	for (int i = 0; i < NAMES; i++) {
		random_alias(&w->bare[i], 15);
		put_alias(&aliases, &w->bare[i], 0, i);
	}
	kit_put("domains", SLICE("one.test mailbox\ntwo.test mailbox\n"));
	kit_put("recipients", buf_slice(&recipients));
	kit_put("aliases", buf_slice(&aliases));
	buf_free(&recipients);
	buf_free(&aliases);
}

/* The model ----------------------------------------------------------------------------------------------------------------------------- */

struct outcome {
	bool failed;
	int leaves[MAX_MODEL];       /* address of a mailbox, or -1 - n */
	int owners[MAX_MODEL];       /* -1 none */
	size_t nodes[MAX_MODEL];     /* whence each came first */
	size_t count;
	size_t parents[2000];
	unsigned locals[2000];       /* mailboxes that a node leads to, a bit each */
	size_t visits;
};

static void add(struct outcome *o, int leaf, int owner, size_t node)
{
	for (size_t n = node; leaf >= 0 && n; n = o->parents[n])
		o->locals[n] |= 1u << leaf;
	for (size_t i = 0; i < o->count; i++)
		if (o->leaves[i] == leaf)
			return;
	o->leaves[o->count] = leaf;
	o->nodes[o->count] = node;
	o->owners[o->count++] = owner;
}

static void expand(const struct world *w, int a, const int *path, size_t depth, bool plain, int owner, size_t parent, struct outcome *o)
{
	int here[64];
	size_t node = ++o->visits;
	o->parents[node] = parent;
	if (node > 1900 || depth > RESOLVE_MAX_DEPTH) {
		o->failed = true;
		return;
	}
	if (a < 0)
		return add(o, a, owner, node);
	const struct alias *exact = &w->alias[a], *bare = &w->bare[a % NAMES], *alias = plain ? NULL : exact->there ? exact : bare->there ? bare : NULL;
	if (!alias) {
		if (w->mailbox[a])
			add(o, a, owner, node);
		else
			o->failed = true;
		return;
	}
	if (depth)
		memcpy(here, path, depth * sizeof *path);
	here[depth] = a;
	for (size_t i = 0; i < alias->count; i++) {
		int t = alias->targets[i];
		if (t >= 1000)
			t = t - 1000 + (alias == bare ? 0 : a / NAMES * NAMES); /* a bare alias's bare targets: the first domain */
		bool ancestor = false;
		for (size_t k = 0; t >= 0 && k <= depth; k++)
			ancestor |= here[k] == t;
		expand(w, t, here, depth + 1, ancestor, alias->has_owner ? alias->owner : owner, node, o);
	}
}

static void model(const struct world *w, int a, struct outcome *o)
{
	memset(o, 0, sizeof *o);
	expand(w, a, NULL, 0, false, -1, 0, o);
	for (size_t i = 0; o->count > 1 && i < o->count; i++) {
		if (o->leaves[i] >= 0)
			continue;
		for (size_t n = o->nodes[i]; o->owners[i] < 0 && n; n = o->parents[n])
			if (o->locals[n] && (o->locals[n] & (o->locals[n] - 1)) == 0)
				o->owners[i] = __builtin_ctz(o->locals[n]);
		if (o->owners[i] < 0)
			o->failed = true;
	}
}

/* The comparison ------------------------------------------------------------------------------------------------------------------------ */

static bool same_leaf(int leaf, const struct leaf *l)
{
	struct buf b = BUF_INIT(200);
	print_target(&b, leaf);
	bool same = slice_eq(buf_slice(&b), l->address) && (leaf < 0) == (l->kind == LEAF_HOP);
	buf_free(&b);
	return same;
}

static bool agrees(const struct outcome *o, const struct resolved *r)
{
	if (o->failed != (r->status.fate != MAIL_OK))
		return false;
	if (o->failed)
		return true;
	if (o->count != r->count)
		return false;
	for (size_t i = 0; i < o->count; i++) {
		bool found = false;
		for (size_t k = 0; k < r->count; k++)
			found |= same_leaf(o->leaves[i], &r->leaves[k]);
		if (!found)
			return false;
	}
	return true;
}

static void compare(const struct world *w, struct map_set *set, const char *what)
{
	struct arena mem = ARENA_INIT(4 << 20);
	for (int a = 0; a < ADDRESSES; a++) {
		struct outcome o;
		struct resolved r;
		struct mail_path path = { slice_of(names[a % NAMES]), slice_of(domains[a / NAMES]), false };
		model(w, a, &o);
		resolve_path(set, &path, a % 2 == 0, &mem, &r);
		if (!agrees(&o, &r))
			fail_msg("seed %u, %s: %s@%s: model %s with %zu leaves, resolver %u %.*s with %zu (look at %s/etc)", seed, what, names[a % NAMES], domains[a / NAMES],
			         o.failed ? "fails" : "holds", o.count, r.status.code, SLICE_FMT(r.status.text), r.count, kit_top);
		failed += o.failed;
		held += !o.failed;
		lists += !o.failed && o.count > 1;
		arena_reset(&mem);
	}
	arena_free(&mem);
}

struct refuted {
	bool address[ADDRESSES], bare[NAMES];
};

static int number_of(struct slice key)
{
	struct slice local = key, domain = SLICE_NONE;
	map_key_split(key, &local, &domain);
	for (int i = 0; i < NAMES; i++)
		if (slice_eq(local, slice_of(names[i])))
			return !domain.p ? i : i + (slice_eq(domain, slice_of(domains[1])) ? NAMES : 0);
	return -1;
}

static void on_found(void *arg, const struct prove_finding *f)
{
	struct refuted *r = arg;
	int n = number_of(f->key);
	if (f->grade != PROVE_REFUTED || n < 0 || slice_eq(f->map, SLICE("domains")))
		return;
	if (slice_find(f->key, '@') < f->key.n)
		r->address[n] = true;
	else
		r->bare[n] = true;
}

/* An owner has to be a local mailbox: its own outcome says so. */
static bool bad_owner(const struct world *w, int owner)
{
	struct outcome o;
	model(w, owner, &o);
	bool all = true, own = false;
	for (size_t i = 0; i < o.count; i++) {
		all &= o.leaves[i] >= 0;
		own |= o.leaves[i] == owner;
	}
	return o.failed || !(all || own);
}

static bool should_refute(const struct world *w, int a)
{
	struct outcome o;
	model(w, a, &o);
	if (o.failed)
		return true;
	for (size_t i = 0; o.count > 1 && i < o.count; i++)
		if (o.leaves[i] < 0 && bad_owner(w, o.owners[i]))
			return true;
	return false;
}

static void compare_proof(const struct world *w, struct map_set *set)
{
	struct refuted r = { 0 };
	struct prove_plan plan = { .set = set, .found = on_found, .arg = &r };
	struct prove_summary sum;
	prove_run(&plan, &sum);
	for (int a = 0; a < ADDRESSES; a++) {
		bool key = w->mailbox[a] || w->alias[a].there;
		if (key && r.address[a] != should_refute(w, a))
			fail_msg("seed %u: %s@%s: prover says %d, model %d (look at %s/etc)", seed, names[a % NAMES], domains[a / NAMES], r.address[a], should_refute(w, a), kit_top);
	}
	for (int n = 0; n < NAMES; n++)
		if (w->bare[n].there && r.bare[n] != (should_refute(w, n) || should_refute(w, n + NAMES)))
			fail_msg("seed %u: bare %s: prover says %d (look at %s/etc)", seed, names[n], r.bare[n], kit_top);
}

static void one_world(bool compiled)
{
	struct world w;
	struct complaints wrong = { BUF_INIT(100000), 0 };
	make(&w);
	struct map_set *set = kit_read(&wrong);
	if (!set)
		fail_msg("seed %u: %.*s", seed, SLICE_FMT(buf_slice(&wrong.text)));
	compare(&w, set, "text");
	compare_proof(&w, set);
	map_set_close(set);
	if (compiled) {
		char etc[200], maps[200], secrets[200];
		struct compile_result result;
		struct arena mem = ARENA_INIT(1 << 20);
		const char *why;
		snprintf(etc, sizeof etc, "%s/etc", kit_top);
		snprintf(maps, sizeof maps, "%s/maps", kit_top);
		snprintf(secrets, sizeof secrets, "%s/secrets", kit_top);
		struct compile_plan plan = { .directory = slice_of(etc), .maps_directory = maps, .secrets_directory = secrets, .keep = 2, .publish = true };
		assert_int_equal(compile_maps(&plan, &wrong, &result), 0);
		assert_int_equal(map_set_open(maps, "", result.generation, &mem, &set, &why), 0);
		compare(&w, set, "generation");
		map_set_close(set);
		arena_free(&mem);
	}
	complaint_free(&wrong);
}

static void resolver_prover_and_model_agree(void **state)
{
	(void)state;
	const char *from = getenv("PORTER_SEED"), *rounds = getenv("PORTER_ROUNDS");
	unsigned first = from ? (unsigned)strtoul(from, NULL, 10) : 1, count = rounds ? (unsigned)strtoul(rounds, NULL, 10) : 400;
	kit_begin();
	for (unsigned i = 0; i < count; i++) {
		seed = first + i * 7919;
		one_world(i % 20 == 0);
	}
	kit_end();
	assert_true(failed > count && held > count && lists > count / 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(resolver_prover_and_model_agree) };
	return cmocka_run_group_tests_name("maps_property", tests, NULL, NULL);
}
