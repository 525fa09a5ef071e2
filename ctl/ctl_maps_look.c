/* porterctl lookup, list, diff, rollback: what the maps say, and going back. */
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/scan.h"
#include "base/text.h"
#include "ctl/ctl_maps.h"
#include "ctl/tables.h"
#include "maps/compile.h"
#include "maps/kinds.h"
#include "maps/manifest.h"
#include "maps/map_key.h"
#include "maps/maps_settings.h"
#include "maps/resolve.h"

static void print_entry(struct ctl *c, struct slice map, const struct map_entry *e, bool secret)
{
	struct buf b = BUF_INIT(4 << 20);
	struct slice value = secret ? SLICE("(secret)") : e->value;
	if (c->json) {
		buf_add(&b, SLICE("{\"map\":"));
		text_add_json(&b, map);
		buf_add(&b, SLICE(",\"key\":"));
		text_add_json(&b, e->key);
		buf_addf(&b, ",\"line\":%u,\"value\":", e->line);
		text_add_json(&b, value);
		buf_add(&b, SLICE("}\n"));
	} else {
		text_add_escaped(&b, e->key);
		buf_add_byte(&b, '\t');
		text_add_escaped(&b, value);
		buf_addf(&b, "\t%.*s:%u\n", SLICE_FMT(map), e->line);
	}
	ctl_print(buf_slice(&b));
	buf_free(&b);
}

static bool find_map(struct map_set *set, const char *name, unsigned *id)
{
	if (map_named(set, slice_of(name), id))
		return true;
	ctl_fail(0, "there is no map %s", name);
	return false;
}

static bool is_secret(unsigned id)
{
	return id < MAP_FIXED && map_kinds[id].secret;
}

/* lookup -------------------------------------------------------------------------------------------------------------------------------- */

/* A client address asks for the longest network, everything else for one key in its canonical form. UNSURE: told. */
static enum answer look_up(struct ctl *c, struct map_set *set, unsigned id, struct slice text, struct map_entry *e)
{
	struct kind_reading reading = { .set = set, .memo = ARENA_INIT(64 << 10) };
	struct net_ip ip;
	struct slice key, address = text;
	scan_word(&address, SLICE("client:"));
	if ((id == MAP_ACCESS || id == MAP_CLIENTS || id == MAP_HOSTERS) && net_ip_parse(address, &ip))
		return map_find_ip(set, id, SLICE("client:"), &ip, &c->mem, e);
	const char *why = kind_key(id) ? kind_key(id)(&reading, text, &c->mem, &key) : (key = text, NULL);
	arena_free(&reading.memo);
	if (why) {
		ctl_fail(0, "%.*s: %s", SLICE_FMT(text), why);
		return UNSURE;
	}
	enum answer a = map_find(set, id, key, &c->mem, e);
	if (a == UNSURE)
		ctl_fail(0, "%.*s: the map can't be read just now", SLICE_FMT(text));
	return a;
}

static int run_lookup(struct ctl *c, int argc, char **argv)
{
	bool text = ctl_flag(&argc, argv, "--text");
	struct map_set *set;
	struct map_entry e;
	unsigned id;
	int code;
	if (argc != 2)
		return ctl_fail(CTL_USAGE, "lookup [--text] MAP KEY");
	if (!ctl_settings(c))
		return CTL_CONFIG;
	if (!maps_open(c, text, &set, &code))
		return code;
	code = CTL_USAGE;
	if (find_map(set, argv[0], &id)) {
		enum answer a = look_up(c, set, id, slice_of(argv[1]), &e);
		code = a == FOUND ? 0 : a == ABSENT ? 1 : 2;
		if (a == FOUND)
			print_entry(c, map_name(set, id), &e, is_secret(id));
		else if (a == ABSENT)
			ctl_fail(0, "%s has no %s", argv[0], argv[1]);
	}
	map_set_close(set);
	return code;
}

/* list ---------------------------------------------------------------------------------------------------------------------------------- */

struct listing {
	struct ctl *c;
	struct slice map;
	const char *pattern;
	bool secret;
	uint64_t count;
};

static bool list_one(void *arg, const struct map_entry *e)
{
	struct listing *l = arg;
	char key[MAP_MAX_KEY + 1];
	memcpy(key, e->key.p, e->key.n);
	key[e->key.n] = '\0';
	if (l->pattern && fnmatch(l->pattern, key, FNM_NOESCAPE) != 0)
		return true;
	l->count++;
	print_entry(l->c, l->map, e, l->secret);
	return !ferror(stdout);
}

static int run_list(struct ctl *c, int argc, char **argv)
{
	bool text = ctl_flag(&argc, argv, "--text");
	struct map_set *set;
	unsigned id;
	int code;
	if (argc != 1 && argc != 2)
		return ctl_fail(CTL_USAGE, "list [--text] MAP [PATTERN]");
	if (!ctl_settings(c))
		return CTL_CONFIG;
	if (!maps_open(c, text, &set, &code))
		return code;
	code = CTL_USAGE;
	if (find_map(set, argv[0], &id)) {
		struct listing l = { c, map_name(set, id), argv[1], is_secret(id), 0 };
		code = map_each(set, id, list_one, &l) == UNSURE ? 2 : l.count || !argv[1] ? 0 : 1;
	}
	map_set_close(set);
	return code;
}

/* diff ---------------------------------------------------------------------------------------------------------------------------------- */

struct differing {
	struct ctl *c;
	struct map_set *old, *new, *other; /* other: where the key of this walk is looked up */
	unsigned id;
	struct arena mem;
	uint64_t added, gone, changed;
};

/* Where an address leads, as one text: its leaves, or its refusal. */
static struct slice leads_to(struct differing *d, struct map_set *set, struct slice key)
{
	struct mail_path path = { 0 };
	struct resolved r;
	struct buf b = BUF_INIT(1 << 20);
	if (!map_key_split(key, &path.local_part, &path.domain))
		return SLICE("");
	if (!path.local_part.n)
		path.local_part = SLICE("nobody-of-this-name");
	resolve_path(set, &path, false, &d->mem, &r);
	if (r.status.fate != MAIL_OK)
		buf_addf(&b, "%u %.*s", r.status.code, SLICE_FMT(r.status.text));
	else if (r.class == RESOLVE_FOREIGN)
		buf_add(&b, SLICE("not ours"));
	for (size_t i = 0; r.class == RESOLVE_OURS && i < r.count; i++) {
		const struct leaf *l = &r.leaves[i];
		buf_addf(&b, "%s%.*s", i ? ", " : "", SLICE_FMT(l->place));
		if (l->kind == LEAF_HOP)
			buf_addf(&b, " (%.*s)", SLICE_FMT(l->address));
		if (l->quota_bytes)
			buf_addf(&b, " quota=%llu", (unsigned long long)l->quota_bytes);
	}
	struct slice out = arena_copy(&d->mem, buf_slice(&b));
	buf_free(&b);
	return out;
}

static void print_difference(struct differing *d, const char *what, struct slice key, struct slice before, struct slice after)
{
	struct buf b = BUF_INIT(4 << 20);
	if (d->c->json) {
		buf_addf(&b, "{\"change\":\"%s\",\"address\":", what);
		text_add_json(&b, key);
		buf_add(&b, SLICE(",\"before\":"));
		text_add_json(&b, before);
		buf_add(&b, SLICE(",\"after\":"));
		text_add_json(&b, after);
		buf_add(&b, SLICE("}\n"));
	} else {
		buf_addf(&b, "%-8s", what);
		text_add_escaped(&b, key);
		buf_add(&b, SLICE("\t"));
		text_add_escaped(&b, before);
		buf_add(&b, before.n && after.n ? SLICE(" > ") : SLICE(""));
		text_add_escaped(&b, after);
		buf_add_byte(&b, '\n');
	}
	ctl_print(buf_slice(&b));
	buf_free(&b);
}

static void compare(struct differing *d, struct slice key)
{
	struct slice before = leads_to(d, d->old, key), after = leads_to(d, d->new, key);
	if (slice_eq(before, after))
		return;
	bool was = before.n && before.p[0] != '4' && before.p[0] != '5' && !slice_eq(before, SLICE("not ours"));
	bool is = after.n && after.p[0] != '4' && after.p[0] != '5' && !slice_eq(after, SLICE("not ours"));
	const char *what = is && !was ? "added" : was && !is ? "gone" : "changed";
	*(is && !was ? &d->added : was && !is ? &d->gone : &d->changed) += 1;
	print_difference(d, what, key, is && !was ? SLICE("") : before, was && !is ? SLICE("") : after);
}

struct each_domain {
	struct differing *d;
	struct slice local;
};

static bool compare_in_domain(void *arg, const struct map_entry *e)
{
	const struct each_domain *x = arg;
	if (e->key.p[0] != '.' && slice_starts(e->value, SLICE("mailbox")))
		compare(x->d, map_key_join(x->local, e->key, &x->d->mem));
	return true;
}

/* An entry whose line is the same on both sides is passed by: what it leads to changes with other lines, which are compared themselves. */
static bool same_on_both_sides(struct differing *d, const struct map_entry *e)
{
	struct map_entry f;
	return map_find(d->other, d->id, e->key, &d->mem, &f) == FOUND && slice_eq(f.value, e->value);
}

static bool old_entry(void *arg, const struct map_entry *e)
{
	struct differing *d = arg;
	struct each_domain x = { d, e->key };
	if (d->id == MAP_RECIPIENTS && same_on_both_sides(d, e))
		goto out;
	if (slice_find(e->key, '@') < e->key.n)
		compare(d, e->key);
	else
		map_each(d->new, MAP_DOMAINS, compare_in_domain, &x);
out:
	arena_reset(&d->mem);
	return true;
}

/* What the old side has was compared in the first walk. */
static bool new_entry(void *arg, const struct map_entry *e)
{
	struct differing *d = arg;
	struct map_entry f;
	if (map_find(d->old, d->id, e->key, &d->mem, &f) == FOUND) {
		arena_reset(&d->mem);
		return true;
	}
	return old_entry(arg, e);
}

static bool new_domain(void *arg, const struct map_entry *e)
{
	struct differing *d = arg;
	struct map_entry f;
	if (map_find(d->other, MAP_DOMAINS, e->key, &d->mem, &f) != FOUND)
		print_difference(d, d->other == d->old ? "added" : "gone", e->key, d->other == d->old ? SLICE("") : e->value, d->other == d->old ? e->value : SLICE(""));
	else if (d->other == d->new && !slice_eq(f.value, e->value))
		print_difference(d, "changed", e->key, e->value, f.value);
	else
		return true;
	d->changed++;
	arena_reset(&d->mem);
	return true;
}

static void walk_both(struct differing *d)
{
	static const unsigned ids[] = { MAP_RECIPIENTS, MAP_ALIASES };
	d->other = d->new;
	map_each(d->old, MAP_DOMAINS, new_domain, d);
	d->other = d->old;
	map_each(d->new, MAP_DOMAINS, new_domain, d);
	for (size_t i = 0; i < 2; i++) {
		d->id = ids[i];
		d->other = d->new;
		map_each(d->old, d->id, old_entry, d);
		d->other = d->old;
		map_each(d->new, d->id, new_entry, d);
	}
}

static int run_diff(struct ctl *c, int argc, char **argv)
{
	struct differing d = { .c = c, .mem = ARENA_INIT(64 << 20) };
	int code;
	if (argc)
		return ctl_fail(CTL_USAGE, "diff takes no argument but --json: %s", argv[0]);
	if (!ctl_settings(c))
		return CTL_CONFIG;
	if (!maps_open(c, false, &d.old, &code))
		return code;
	if (!maps_open(c, true, &d.new, &code)) {
		map_set_close(d.old);
		return code;
	}
	walk_both(&d);
	if (!c->json)
		printf("%llu added, %llu gone, %llu changed\n", (unsigned long long)d.added, (unsigned long long)d.gone, (unsigned long long)d.changed);
	map_set_close(d.old);
	map_set_close(d.new);
	arena_free(&d.mem);
	return d.added || d.gone || d.changed ? 1 : 0;
}

/* rollback ------------------------------------------------------------------------------------------------------------------------------ */

static int run_rollback(struct ctl *c, int argc, char **argv)
{
	uint64_t to = 0;
	if (argc > 1 || (argc == 1 && (!scan_uint_all(slice_of(argv[0]), UINT64_MAX, &to) || !to)))
		return ctl_fail(CTL_USAGE, "rollback [GENERATION]");
	if (!ctl_settings(c))
		return CTL_CONFIG;
	char *maps = arena_cstr(&c->mem, maps_settings.maps_directory), *secrets = arena_cstr(&c->mem, maps_settings.secrets_directory);
	uint64_t now = manifest_current(maps);
	if (!to)
		to = manifest_previous(maps, now);
	if (!to)
		return ctl_fail(CTL_NO_INPUT, "there is no generation before %llu", (unsigned long long)now);
	int error = compile_rollback(maps, secrets, to);
	if (error)
		return ctl_fail(error == -EBUSY ? CTL_TEMPFAIL : CTL_DATA, "generation %llu: %s; generation %llu serves on", (unsigned long long)to,
		                error == -EBADMSG ? "it is damaged" : error == -EBUSY ? "a compile is under way" : strerror(-error), (unsigned long long)now);
	printf("back at generation %llu; the text maps are as they were, compile takes them again\n", (unsigned long long)to);
	return maps_tell(c);
}

const struct ctl_command ctl_maps_look_commands[] = {
	{ "lookup", "[--text] MAP KEY", "Looks one key up in the maps that serve, or in their text; an address of a client finds its network.", run_lookup },
	{ "list", "[--text] MAP [PATTERN]", "Lists a map's entries in the order of their keys, those that match a shell pattern.", run_list },
	{ "diff", "[--json]", "Says what a compile would change: which recipients are added, gone, or led elsewhere; exit 1 if anything.", run_diff },
	{ "rollback", "[GENERATION]", "Returns to the previous generation of maps, or to the one named.", run_rollback },
	{ NULL, NULL, NULL, NULL }
};
