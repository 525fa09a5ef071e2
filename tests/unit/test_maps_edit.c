/* Editing a text map: random texts with comments, continuation lines and line ends of either kind; after each edit all other entries, the order of all, and every comment that stands on
 * a line of its own are what they were. PORTER_SEED, PORTER_ROUNDS. */
#include "tests/unit/maps_kit.h"

#include "ctl/ctl_maps_text.h"
#include "maps/kinds.h"
#include "maps/map_text.h"

enum { MAX_ENTRIES = 12, MAX_VALUE_TEXT = 200 };

struct entry {
	int key;
	char value[MAX_VALUE_TEXT]; /* as it is read again */
};

struct world {
	struct entry entries[MAX_ENTRIES];
	size_t count;
	unsigned comments;
};

static unsigned seed;

static unsigned below(unsigned n)
{
	seed = seed * 1103515245u + 12345u;
	return (seed >> 16) % n;
}

static const char *const targets[] = { "alice", "bob@example.test", "\"|/bin/x # no comment\"", "\"c \\\" d\"@example.test", "carol@far.test", "/var/mail/x" };
enum { TARGETS = sizeof targets / sizeof *targets };

static void add_comments(struct world *w, struct buf *b, const char *end)
{
	for (unsigned n = below(3); n; n--) {
		if (below(3))
			buf_addf(b, "# comment %u: x@y z%s", w->comments++, end);
		else
			buf_add_cstr(b, end);
	}
}

static void add_entry(struct world *w, struct buf *b, const char *end)
{
	static const char *const behind[] = { " ", "\t", ": ", ":", ":\t  " };
	struct entry *e = &w->entries[w->count++];
	struct buf value = BUF_INIT(MAX_VALUE_TEXT);
	size_t n = 1 + below(4);
	e->key = (int)w->count;
	buf_addf(b, "%s%u@example.test%s", below(2) ? "Key" : "key", e->key, behind[below(5)]);
	for (size_t i = 0; i < n; i++) {
		const char *t = targets[below(TARGETS)];
		buf_addf(b, "%s%s", t, i + 1 < n ? "," : "");
		buf_addf(&value, "%s%s", t, i + 1 < n ? ", " : "");
		if (i + 1 < n) {
			bool fold = below(3) == 0;
			if (fold && below(3) == 0)
				buf_add_cstr(b, " # why not");
			buf_addf(b, "%s%s", fold ? end : "", below(2) ? " " : "\t");
			if (!fold)
				continue;
		}
	}
	if (below(4) == 0)
		buf_add_cstr(b, "  # behind it");
	snprintf(e->value, sizeof e->value, "%.*s", SLICE_FMT(buf_slice(&value)));
	buf_free(&value);
	buf_add_cstr(b, end);
}

static void make(struct world *w)
{
	const char *end = below(4) ? "\n" : "\r\n";
	struct buf text = BUF_INIT(1 << 16);
	size_t n = 1 + below(MAX_ENTRIES - 2);
	*w = (struct world){ .count = 0 };
	for (size_t i = 0; i < n; i++) {
		add_comments(w, &text, end);
		add_entry(w, &text, end);
	}
	add_comments(w, &text, end);
	if (below(4) == 0)
		while (text.n && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == '\r'))
			text.n--;
	kit_put("aliases", buf_slice(&text));
	buf_free(&text);
}

/* The comma-separated items alone: blanks between them are nobody's. */
static bool same_value(struct slice a, struct slice b)
{
	struct slice x, y;
	bool more;
	while ((more = map_item(&a, ',', &x))) {
		if (!map_item(&b, ',', &y) || !slice_eq(x, y))
			return false;
	}
	return !map_item(&b, ',', &y);
}

static unsigned count_comments(struct slice text)
{
	unsigned n = 0;
	for (size_t at; (at = slice_find_slice(text, SLICE("# comment "))) < text.n; text = slice_skip(text, at + 1))
		n++;
	return n;
}

static void check_text(const struct world *w, const struct edit *e, const char *what)
{
	struct complaints wrong = { BUF_INIT(1 << 16), 0 };
	struct kind_reading reading = { .set = e->set, .memo = ARENA_INIT(64 << 10) };
	struct map_text *t = NULL;
	struct slice now = buf_slice(&e->files[0].now);
	if (!map_text_read(now, SLICE("aliases"), kind_key(MAP_ALIASES), &reading, true, &wrong, &t))
		fail_msg("%s, seed %u: %.*s\n%.*s", what, seed, SLICE_FMT(buf_slice(&wrong.text)), SLICE_FMT(now));
	uint32_t before = 0;
	for (size_t i = 0; i < w->count; i++) {
		char key[64];
		snprintf(key, sizeof key, "key%d@example.test", w->entries[i].key);
		const struct map_entry *found = map_text_find(t, slice_of(key));
		if (!found || !same_value(found->value, slice_of(w->entries[i].value)) || found->line <= before)
			fail_msg("%s, seed %u: %s is %.*s in line %u, wanted %s\n%.*s", what, seed, key, SLICE_FMT(found ? found->value : SLICE("gone")), found ? found->line : 0, w->entries[i].value,
			         SLICE_FMT(now));
		before = found->line;
	}
	if (map_text_count(t) != w->count || count_comments(now) != w->comments)
		fail_msg("%s, seed %u: %zu entries, %u comments, wanted %zu, %u\n%.*s", what, seed, map_text_count(t), count_comments(now), w->count, w->comments, SLICE_FMT(now));
	map_text_free(t);
	arena_free(&reading.memo);
	complaint_free(&wrong);
}

static void one_edit(struct world *w, struct edit *e)
{
	size_t i = below((unsigned)w->count);
	char key[64];
	struct slice canonical, value;
	uint32_t line;
	snprintf(key, sizeof key, "KEY%d@Example.TEST", w->entries[i].key);
	assert_int_equal(edit_find(e, MAP_ALIASES, key, &canonical, &line, &value), FOUND);
	if (!same_value(value, slice_of(w->entries[i].value)))
		fail_msg("seed %u: %s is read as %.*s, wanted %s", seed, key, SLICE_FMT(value), w->entries[i].value);
	switch (below(3)) {
	case 0:
		snprintf(w->entries[i].value, sizeof w->entries[i].value, "%s, dora", targets[below(TARGETS)]);
		assert_int_equal(edit_replace(e, MAP_ALIASES, line, slice_of(w->entries[i].value)), 0);
		check_text(w, e, "replaced");
		return;
	case 1:
		assert_int_equal(edit_remove(e, MAP_ALIASES, line), 0);
		memmove(&w->entries[i], &w->entries[i + 1], (w->count - i - 1) * sizeof w->entries[0]);
		w->count--;
		check_text(w, e, "removed");
		return;
	}
	struct entry *added = &w->entries[w->count++];
	added->key = 99;
	snprintf(added->value, sizeof added->value, "%s", targets[below(TARGETS)]);
	assert_int_equal(edit_add(e, MAP_ALIASES, SLICE("key99@example.test"), slice_of(added->value)), 0);
	check_text(w, e, "added");
}

static void an_edit_leaves_everything_else_as_it_was(void **state)
{
	(void)state;
	const char *from = getenv("PORTER_SEED"), *rounds = getenv("PORTER_ROUNDS");
	unsigned first = from ? (unsigned)strtoul(from, NULL, 10) : 1, count = rounds ? (unsigned)strtoul(rounds, NULL, 10) : 400;
	char etc[200];
	kit_begin();
	snprintf(etc, sizeof etc, "%s/etc", kit_top);
	kit_put("porter.conf", SLICE("maps-directory ../maps\n"));
	kit_put("domains", SLICE("example.test mailbox\n"));
	for (unsigned i = 0; i < count; i++) {
		struct ctl c = { .directory = etc, .mem = ARENA_INIT(8 << 20) };
		struct world w;
		struct edit e;
		int code;
		seed = first + i * 7919;
		make(&w);
		if (!edit_begin(&c, &e, &code))
			fail_msg("seed %u: %d", seed, code);
		one_edit(&w, &e);
		edit_drop(&e);
		arena_free(&c.mem);
	}
	kit_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(an_edit_leaves_everything_else_as_it_was) };
	return cmocka_run_group_tests_name("maps_edit", tests, NULL, NULL);
}
