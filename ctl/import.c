/* What all imports share: putting, losing, reading lines; and aliases(5), which all of them have. */
#include "ctl/import.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/scan.h"
#include "maps/kinds.h"
#include "maps/map_key.h"

enum { MAX_FILE = 1 << 30, SHOWN = 1000 };

/* Keys seen ----------------------------------------------------------------------------------------------------------------------------- */

static uint64_t hash_of(struct import *im, unsigned map, struct slice key)
{
	uint64_t h = hash_bytes(&im->key, key) ^ (uint64_t)(map + 1) * 0x9e3779b97f4a7c15;
	return h ? h : 1;
}

static uint64_t *slot_of(struct import *im, uint64_t hash)
{
	size_t i = hash & (im->seen_room - 1);
	while (im->seen[i] && im->seen[i] != hash)
		i = (i + 1) & (im->seen_room - 1);
	return &im->seen[i];
}

static void grow(struct import *im)
{
	uint64_t *old = im->seen;
	size_t room = im->seen_room;
	im->seen_room = room ? room * 2 : 1024;
	im->seen = mem_new_array(im->seen_room, sizeof *im->seen);
	for (size_t i = 0; i < room; i++)
		if (old[i])
			*slot_of(im, old[i]) = old[i];
	mem_free(old);
}

/* False: it was there. */
static bool remember(struct import *im, unsigned map, struct slice key)
{
	if (im->seen_count * 2 >= im->seen_room)
		grow(im);
	uint64_t hash = hash_of(im, map, key), *slot = slot_of(im, hash);
	if (*slot)
		return false;
	*slot = hash;
	im->seen_count++;
	return true;
}

/* Putting and losing -------------------------------------------------------------------------------------------------------------------- */

void import_lost(struct import *im, struct import_at at, const char *format, ...)
{
	va_list args;
	if (im->lost_count++ >= SHOWN)
		return;
	buf_addf(&im->lost, "%s:%zu: ", at.file, at.line);
	va_start(args, format);
	buf_addv(&im->lost, format, args);
	va_end(args);
	buf_add_byte(&im->lost, '\n');
}

void import_advise(struct import *im, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	buf_addv(&im->advice, format, args);
	va_end(args);
	buf_add_byte(&im->advice, '\n');
}

struct slice import_text(struct import *im, const char *format, ...)
{
	struct buf b = BUF_INIT(2 << 20);
	va_list args;
	va_start(args, format);
	buf_addv(&b, format, args);
	va_end(args);
	struct slice s = arena_copy(&im->c->mem, buf_slice(&b));
	buf_free(&b);
	return s;
}

static const char *canonical_key(unsigned map, struct slice key, struct arena *mem, struct slice *out)
{
	struct kind_reading reading = { .memo = ARENA_INIT(64 << 10) };
	/* no domain keeps case here: the domains are not known yet */
	const char *why = slice_find(key, '@') < key.n && map != MAP_ACCESS ? map_key_address_folded(key, false, mem, out) : kind_key(map)(&reading, key, mem, out);
	arena_free(&reading.memo);
	return why;
}

bool import_has(struct import *im, unsigned map, struct slice key)
{
	struct slice canonical;
	if (!im->seen_room || canonical_key(map, key, &im->c->mem, &canonical))
		return false;
	return *slot_of(im, hash_of(im, map, canonical)) != 0;
}

void import_put(struct import *im, unsigned map, struct slice key, struct slice value, struct import_at at)
{
	struct arena mem = ARENA_INIT(8 << 20);
	struct slice canonical;
	const char *why = key.n ? canonical_key(map, key, &mem, &canonical) : "a key is missing";
	if (!why) {
		struct map_entry e = { canonical, value, 0 };
		why = slice_starts(value, SLICE(":include:")) && map == MAP_ALIASES ? NULL : kind_check(map, &e, &mem);
	}
	if (why)
		import_lost(im, at, "%.*s: %s", SLICE_FMT(slice_head(key, 200)), why);
	else if (!remember(im, map, canonical))
		import_lost(im, at, "%.*s stands there twice, or in another table, too: the first one counts", SLICE_FMT(slice_head(key, 200)));
	else {
		buf_addf(&im->maps[map], "%.*s%s%.*s\n", SLICE_FMT(key), value.n ? " " : "", SLICE_FMT(value));
		im->carried++;
	}
	arena_free(&mem);
}

void import_put_relayed(struct import *im, struct slice key, struct import_at at)
{
	struct arena mem = ARENA_INIT(1 << 20);
	struct slice canonical;
	const char *why = map_key_address_folded(key, false, &mem, &canonical);
	if (why)
		import_lost(im, at, "%.*s: %s", SLICE_FMT(slice_head(key, 200)), why);
	else if (remember(im, MAP_FIXED, canonical)) {
		buf_addf(&im->relayed, "%.*s\n", SLICE_FMT(key));
		im->carried++;
	}
	arena_free(&mem);
}

/* Files --------------------------------------------------------------------------------------------------------------------------------- */

/* A configuration that was copied here still names its files where they were: beside it counts, too. */
char *import_path(struct import *im, struct slice name)
{
	struct stat st;
	if (name.n && name.p[0] == '/' && stat(arena_cstr(&im->c->mem, name), &st) < 0) {
		struct slice base = slice_skip(name, slice_rfind(name, '/') + 1), beside = import_text(im, "%s/%.*s", im->root, SLICE_FMT(base));
		if (stat(beside.p, &st) == 0)
			return (char *)(uintptr_t)beside.p;
	}
	return (char *)(uintptr_t)(name.n && name.p[0] == '/' ? import_text(im, "%.*s", SLICE_FMT(name)) : import_text(im, "%s/%.*s", im->root, SLICE_FMT(name))).p;
}

bool import_exists(struct import *im, struct slice name)
{
	struct stat st;
	return stat(import_path(im, name), &st) == 0 && S_ISREG(st.st_mode);
}

void import_lines(struct import *im, struct slice name, bool joined, void (*each)(void *arg, struct slice line, struct import_at at), void *arg)
{
	struct buf text, entry = BUF_INIT(8 << 20);
	char *path = import_path(im, name);
	struct import_at at = { path, 0 };
	int error = ctl_read_file(path, MAX_FILE, &text);
	if (error) {
		import_lost(im, at, "%s", strerror(-error));
		return;
	}
	struct slice rest = buf_slice(&text), line;
	size_t begun = 0;
	while (scan_line(&rest, &line)) {
		at.line++;
		struct slice trimmed = slice_trim(line);
		if (!trimmed.n || trimmed.p[0] == '#')
			continue;
		bool more = joined && entry.n && (line.p[0] == ' ' || line.p[0] == '\t');
		if (!more && entry.n) {
			each(arg, buf_slice(&entry), (struct import_at){ path, begun });
			buf_clear(&entry);
		}
		if (!more)
			begun = at.line;
		if (more)
			buf_add_byte(&entry, ' ');
		buf_add(&entry, trimmed);
	}
	if (entry.n)
		each(arg, buf_slice(&entry), (struct import_at){ path, begun });
	buf_free(&entry);
	buf_free(&text);
}

struct slice import_key(struct slice line, bool colon, struct slice *value)
{
	size_t i = 0;
	bool quoted = false;
	for (; i < line.n && (quoted || (line.p[i] != ' ' && line.p[i] != '\t' && !(colon && line.p[i] == ':'))); i++)
		quoted ^= line.p[i] == '"';
	struct slice rest = slice_trim(slice_skip(line, i));
	if (colon)
		scan_byte(&rest, ':');
	*value = slice_trim(rest);
	return slice_head(line, i);
}

/* aliases(5) ---------------------------------------------------------------------------------------------------------------------------- */

static void add_target(struct buf *out, struct slice item)
{
	buf_addf(out, "%s%.*s", out->n ? ", " : "", SLICE_FMT(item));
}

/* A command in the shell's language would need a shell: we have none. */
static bool needs_shell(struct slice command)
{
	for (size_t i = 0; i < command.n; i++)
		if (strchr("$`;&<>|*?(){}'\\", command.p[i]) && !(i == 0 && command.p[i] == '|'))
			return true;
	return false;
}

struct slice import_targets(struct import *im, struct slice value, struct import_at at)
{
	struct buf out = BUF_INIT(1 << 20);
	struct slice item, rest = value;
	bool good = true;
	while (good && map_item(&rest, ',', &item)) {
		struct slice inner = item.n > 2 && item.p[0] == '"' ? slice(item.p + 1, item.n - 2) : item;
		if (inner.n && inner.p[0] == '|' && needs_shell(slice_skip(inner, 1))) {
			import_lost(im, at, "%.*s: a command for a shell; write a program and name that", SLICE_FMT(slice_head(inner, 200)));
			good = false;
		} else if (slice_eq(inner, SLICE("/dev/null"))) {
			import_lost(im, at, "/dev/null: Porter drops no accepted mail; use :refuse: TEXT");
			good = false;
		} else if (slice_find(item, ' ') < item.n && item.p[0] != '"' && item.p[0] != '|' && item.p[0] != ':') {
			struct slice word;                     /* sendmail and Postfix take blanks between targets */
			while (map_item(&item, ' ', &word))
				add_target(&out, word);
		} else {
			add_target(&out, item);
		}
	}
	struct slice text = good && out.n ? arena_copy(&im->c->mem, buf_slice(&out)) : SLICE_NONE;
	buf_free(&out);
	return text;
}

struct aliases_file {
	struct import *im;
	struct slice domain, origin;
};

static struct slice at_origin(struct import *im, struct slice targets, struct slice origin)
{
	struct buf out = BUF_INIT(1 << 20);
	struct slice item;
	while (map_item(&targets, ',', &item)) {
		bool bare = slice_find(item, '@') == item.n && !strchr("|/:\"\\", item.p[0]);
		add_target(&out, bare ? import_text(im, "%.*s@%.*s", SLICE_FMT(item), SLICE_FMT(origin)) : item);
	}
	struct slice s = arena_copy(&im->c->mem, buf_slice(&out));
	buf_free(&out);
	return s;
}

static void alias_line(void *arg, struct slice line, struct import_at at)
{
	struct aliases_file *f = arg;
	struct slice value, key = import_key(line, true, &value);
	if (!value.n) {
		import_lost(f->im, at, "%.*s leads nowhere", SLICE_FMT(slice_head(key, 200)));
		return;
	}
	struct slice targets = import_targets(f->im, value, at);
	if (!targets.p)
		return;
	if (f->origin.n)
		targets = at_origin(f->im, targets, f->origin);
	if (f->domain.n && slice_find(key, '@') == key.n)
		key = import_text(f->im, "%.*s@%.*s", SLICE_FMT(slice_eq(key, SLICE("*")) ? SLICE("") : key), SLICE_FMT(f->domain));
	import_put(f->im, MAP_ALIASES, key, targets, at);
}

void import_aliases_file(struct import *im, struct slice name, struct slice domain)
{
	struct aliases_file f = { im, domain, SLICE_NONE };
	import_lines(im, name, true, alias_line, &f);
}

void import_domain_file(struct import *im, struct slice name, struct slice domain, struct slice origin)
{
	struct aliases_file f = { im, domain, origin };
	import_lines(im, name, true, alias_line, &f);
}

bool import_folder(struct import *im, struct slice name, void (*each)(void *arg, const char *file), void *arg)
{
	struct dirent **all;
	int n = scandir(import_path(im, name), &all, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		if (all[i]->d_name[0] != '.')
			each(arg, all[i]->d_name);
		free(all[i]);
	}
	if (n >= 0)
		free(all);
	return n >= 0;
}
