/* The text maps of a configuration directory as one set: every file read, keys made canonical, lists included, values checked, notes added. It is what
 * `check` and `prove` look at, and what the compiler writes out. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/scan.h"
#include "base/text.h"
#include "maps/kinds.h"
#include "maps/map.h"
#include "maps/map_key.h"
#include "maps/map_set.h"
#include "maps/map_value.h"

enum { MAX_FILE = 1 << 30, MAX_INCLUDE = 16 << 20, MAX_INCLUDE_DEPTH = 8, SCRATCH = 64 << 20 };

struct reading {
	struct map_set *set;
	struct slice directory;
	struct complaints *wrong;
	struct arena scratch;
	bool bad;
};

/* Files ----------------------------------------------------------------------------------------------------------------------------- */

static int read_file(struct reading *r, const char *path, uint64_t max, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); /* a pipe is refused, not waited for */
	struct stat st;
	(void)r;
	if (fd < 0)
		return -errno;
	int error = fstat(fd, &st) < 0 ? -errno : !S_ISREG(st.st_mode) ? -EINVAL : (uint64_t)st.st_size > max ? -EFBIG : 0;
	buf_init(out, max + 1);
	size_t want = (size_t)st.st_size + 1;
	while (!error) {
		char *room = buf_room(out, want);
		ssize_t n = room ? read(fd, room, want) : -1;
		if (n < 0)
			error = room ? -errno : -EFBIG;
		if (n <= 0)
			break;
		buf_used(out, (size_t)n);
		want = 4096;
	}
	close(fd);
	return error;
}

static const char *why_unreadable(int error)
{
	return error == -EINVAL ? "it is no regular file" : error == -EFBIG ? "it is too large" : strerror(-error);
}

static void complain(struct reading *r, struct slice file, uint32_t line, const char *what, struct slice about)
{
	struct buf shown = BUF_INIT(400);
	text_add_escaped(&shown, slice_head(about, 80));
	complaint_add(r->wrong, file, line, "%s: \"%.*s\"", what, SLICE_FMT(buf_slice(&shown)));
	buf_free(&shown);
	r->bad = true;
}

static char *path_of(struct reading *r, struct slice name)
{
	struct buf b = BUF_INIT(4096);
	if (!name.n || name.p[0] != '/') {
		buf_add(&b, r->directory);
		buf_add_byte(&b, '/');
	}
	buf_add(&b, name);
	char *path = arena_cstr(&r->scratch, buf_slice(&b));
	buf_free(&b);
	return path;
}

/* named: the line of domains that names it, and so it has to be there; 0: it may be absent. */
static void read_map(struct reading *r, unsigned id, uint32_t named)
{
	struct map_one *m = &r->set->maps[id];
	struct slice name = slice_of(m->name);
	struct buf *file = &r->set->files[r->set->file_count++];
	struct kind_reading reading = { .set = r->set, .memo = ARENA_INIT(64 << 10) };
	char *path = path_of(r, name);
	int error = read_file(r, path, MAX_FILE, file);
	struct stat link;
	m->absent = error == -ENOENT;
	if (error == -ENOENT && named)
		return complain(r, SLICE("domains"), named, "recipients= names a map that is not there", name);
	if (error && (error != -ENOENT || lstat(path, &link) == 0)) { /* a link to what is not mounted, say, is no empty map */
		complaint_add(r->wrong, name, 0, "it can't be read: %s", error == -ENOENT ? "it is a link that leads nowhere" : why_unreadable(error));
		r->bad = true;
		return;
	}
	if (!map_text_read_part(buf_slice(file), name, kind_key(id), &reading, id == MAP_ALIASES, r->wrong, &m->text))
		r->bad = true;
	arena_free(&reading.memo);
	arena_reset(&r->scratch);
}

/* Lists in files -------------------------------------------------------------------------------------------------------------------- */

static void include(struct reading *r, struct slice name, uint32_t line, unsigned depth, struct buf *out)
{
	struct buf file;
	if (depth > MAX_INCLUDE_DEPTH)
		return complain(r, SLICE("aliases"), line, "lists include each other more than eight deep: a cycle?", name);
	int error = read_file(r, path_of(r, name), MAX_INCLUDE, &file);
	if (error)
		return complain(r, SLICE("aliases"), line, why_unreadable(error), name);
	struct slice rest = buf_slice(&file), item;
	while (scan_line(&rest, &item)) {
		item = slice_trim(item);
		if (!item.n || item.p[0] == '#')
			continue;
		if (slice_starts(item, SLICE(":include:"))) {
			include(r, slice_skip(item, 9), line, depth + 1, out);
			continue;
		}
		buf_add(out, item);
		buf_add(out, SLICE(","));
	}
	buf_free(&file);
}

static void expand_includes(struct reading *r)
{
	struct map_text *t = r->set->maps[MAP_ALIASES].text;
	for (size_t i = 0; t && i < map_text_count(t); i++) {
		const struct map_entry *e = map_text_at(t, i);
		struct map_alias a;
		if (slice_find_slice(e->value, SLICE(":include:")) == e->value.n || map_alias_parse(e->value, &r->scratch, &a) || a.kind != ALIAS_TARGETS)
			continue;
		struct buf all = BUF_INIT(MAP_MAX_VALUE);
		for (size_t k = 0; k < a.count; k++) {
			if (slice_starts(a.targets[k], SLICE(":include:"))) {
				include(r, slice_skip(a.targets[k], 9), e->line, 1, &all);
			} else {
				buf_add(&all, a.targets[k]);
				buf_add(&all, SLICE(","));
			}
		}
		if (a.owner.n)
			buf_addf(&all, "owner=%.*s", SLICE_FMT(a.owner));
		if (buf_full(&all))
			complain(r, SLICE("aliases"), e->line, "the list is longer than 1 MiB", e->key);
		map_text_set_value(t, i, buf_slice(&all));
		buf_free(&all);
		arena_reset(&r->scratch);
	}
}

/* Values and notes ------------------------------------------------------------------------------------------------------------------ */

static void check_values(struct reading *r)
{
	for (unsigned id = 0; id < MAP_FIXED; id++) {
		const struct map_text *t = r->set->maps[id].text;
		for (size_t i = 0; t && i < map_text_count(t); i++) {
			const struct map_entry *e = map_text_at(t, i);
			const char *why = kind_check(id, e, &r->scratch);
			if (why)
				complain(r, map_kinds[id].name, e->line, why, e->value);
			if (r->scratch.used)
				arena_reset(&r->scratch);
		}
	}
}

static void note_primary(struct reading *r)
{
	struct map_text *t = r->set->maps[MAP_DOMAINS].text;
	const struct map_entry *first = NULL;
	for (size_t i = 0; i < map_text_count(t); i++) {
		const struct map_entry *e = map_text_at(t, i);
		if (slice_starts(e->value, SLICE("mailbox")) && e->key.p[0] != '.' && (!first || e->line < first->line))
			first = e;
	}
	if (first) {
		struct slice domain = first->key;
		map_text_note(t, SLICE(MAP_NOTE_PRIMARY), domain, first->line);
		map_text_sort(t);
	}
}

/* For each domain the recipient that stands first: an array beside the sorted domains. */
static void note_first_recipients(struct reading *r)
{
	const struct map_text *domains = r->set->maps[MAP_DOMAINS].text;
	struct map_text *t = r->set->maps[MAP_RECIPIENTS].text;
	size_t count = map_text_count(t), domain_count = map_text_count(domains);
	const struct map_entry **first = mem_new_array(domain_count + 1, sizeof *first), *known = NULL;
	for (size_t i = 0; i < count; i++) {
		const struct map_entry *e = map_text_at(t, i);
		struct slice local, domain;
		if (!map_key_split(e->key, &local, &domain) || !local.n)
			continue;
		if (!known || !slice_eq(known->key, domain))
			known = map_text_find(domains, domain);
		if (!known)
			continue;
		const struct map_entry **f = &first[known - map_text_at(domains, 0)];
		if (!*f || e->line < (*f)->line)
			*f = e;
	}
	struct arena mem = ARENA_INIT(0);
	size_t n = 0;
	struct map_entry *notes = mem_new_array(domain_count + 1, sizeof *notes);
	for (size_t i = 0; i < domain_count; i++)
		if (first[i])
			notes[n++] = (struct map_entry){ map_key_join(SLICE(MAP_NOTE_FIRST), map_text_at(domains, i)->key, &mem), first[i]->key, first[i]->line };
	for (size_t i = 0; i < n; i++)
		map_text_note(t, notes[i].key, notes[i].value, notes[i].line);
	map_text_sort(t);
	arena_free(&mem);
	mem_free(notes);
	mem_free(first);
}

static void note_networks(struct map_text *t, struct slice kind)
{
	bool seen[2][129] = { { false } };
	for (size_t i = 0; i < map_text_count(t); i++) {
		struct slice key = map_text_at(t, i)->key;
		struct net_ip ip;
		unsigned prefix;
		const char *why;
		if (slice_starts(key, kind) && net_range_parse(slice_skip(key, kind.n), &ip, &prefix, &why))
			seen[ip.is_v4][prefix] = true;
	}
	struct buf list = BUF_INIT(2000), key = BUF_INIT(64);
	for (int prefix = 128; prefix >= 0; prefix--)
		for (int v4 = 0; v4 < 2; v4++)
			if (seen[v4][prefix])
				buf_addf(&list, "%d:%d ", v4 ? 4 : 6, prefix);
	buf_add(&key, SLICE(MAP_NOTE_NET));
	buf_add(&key, kind);
	if (list.n)
		map_text_note(t, buf_slice(&key), buf_slice(&list), 0);
	map_text_sort(t);
	buf_free(&list);
	buf_free(&key);
}

/* Maps that `recipients=` of a relayed domain names beside the fixed ones. */
static void read_named(struct reading *r)
{
	const struct map_text *t = r->set->maps[MAP_DOMAINS].text;
	for (size_t i = 0; i < map_text_count(t); i++) {
		const struct map_entry *e = map_text_at(t, i);
		struct map_domain d;
		unsigned id;
		if (map_domain_parse(e->value, &r->scratch, &d) || d.kind != DOMAIN_RELAY || d.ask || map_named(r->set, d.recipients, &id))
			continue;
		if (!map_set_add(r->set, d.recipients)) {
			complain(r, SLICE("domains"), e->line, "too many maps are named, or the name is too long", d.recipients);
			continue;
		}
		read_map(r, (unsigned)r->set->count - 1, e->line);
	}
}

int map_set_read(struct slice directory, struct complaints *wrong, struct map_set **out)
{
	struct reading r = { MEM_NEW(struct map_set), directory, wrong, ARENA_INIT(SCRATCH), false };
	r.set->files = mem_new_array(MAP_MAX, sizeof *r.set->files);
	for (unsigned id = 0; id < MAP_FIXED; id++) {
		map_set_add(r.set, map_kinds[id].name);
		read_map(&r, id, 0);
	}
	if (r.set->maps[MAP_DOMAINS].text)
		read_named(&r);
	check_values(&r);          /* all errors at once: of a map with bad keys what could be read */
	expand_includes(&r);
	if (!r.bad) {
		note_primary(&r);
		note_first_recipients(&r);
		note_networks(r.set->maps[MAP_ACCESS].text, SLICE("client:"));
		note_networks(r.set->maps[MAP_CLIENTS].text, SLICE("client:"));
		note_networks(r.set->maps[MAP_HOSTERS].text, SLICE("client:"));
	}
	arena_free(&r.scratch);
	if (r.bad) {
		map_set_close(r.set);
		return -EINVAL;
	}
	*out = r.set;
	return 0;
}
