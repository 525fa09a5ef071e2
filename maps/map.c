/* A set of maps, compiled or as text, behind one interface. */
#include "maps/map.h"

#include <errno.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/scan.h"
#include "base/text.h"
#include "maps/manifest.h"
#include "maps/map_set.h"

const struct map_kind map_kinds[MAP_FIXED] = {
	[MAP_DOMAINS] = { SLICE_INIT("domains"), false, "Which domains are ours, and what is done with their mail." },
	[MAP_RECIPIENTS] = { SLICE_INIT("recipients"), false, "Who has a mailbox, and where it is." },
	[MAP_ALIASES] = { SLICE_INIT("aliases"), false, "Addresses that stand for others." },
	[MAP_ROUTES] = { SLICE_INIT("routes"), false, "Next hops other than the domain's MX." },
	[MAP_ACCESS] = { SLICE_INIT("access"), false, "Who is let in, refused, deferred or tagged, whatever else is known." },
	[MAP_SENDERS] = { SLICE_INIT("senders"), false, "Which reverse-paths and From addresses a login may use." },
	[MAP_CLIENTS] = { SLICE_INIT("clients"), false, "Which networks and certificates may speak for which reverse-path domains." },
	[MAP_HEADER] = { SLICE_INIT("header"), false, "Patterns of header fields that are refused or tagged." },
	[MAP_HOSTERS] = { SLICE_INIT("hosters"), false, "Domains of shared hosters, whose SPF pass proves nothing." },
	[MAP_SIGNERS] = { SLICE_INIT("signers"), false, "Which DKIM keys sign for which domains; written by porterctl dkim." },
	[MAP_SEALERS] = { SLICE_INIT("sealers"), false, "Domains whose ARC seals are believed: forwarders and lists that break DMARC." },
	[MAP_CREDENTIALS] = { SLICE_INIT("credentials"), true, "Logins and what proves them." },
};

bool map_is_note(struct slice key)
{
	return key.n && key.p[0] == '\001';
}

struct map_one *map_set_add(struct map_set *s, struct slice name)
{
	if (s->count == MAP_MAX || !name.n || name.n > MAP_MAX_NAME)
		return NULL;
	for (size_t i = 0; i < name.n; i++)
		if (!text_is_alnum((unsigned char)name.p[i]) && name.p[i] != '-' && name.p[i] != '_')
			return NULL;
	struct map_one *m = &s->maps[s->count++];
	memset(m, 0, sizeof *m);
	memcpy(m->name, name.p, name.n);
	return m;
}

uint64_t map_set_generation(const struct map_set *s)
{
	return s->generation;
}

size_t map_count_maps(const struct map_set *s)
{
	return s->count;
}

struct slice map_name(const struct map_set *s, unsigned id)
{
	return slice_of(s->maps[id].name);
}

bool map_named(const struct map_set *s, struct slice name, unsigned *id)
{
	for (size_t i = 0; i < s->count; i++)
		if (slice_eq(slice_of(s->maps[i].name), name)) {
			*id = (unsigned)i;
			return true;
		}
	return false;
}

size_t map_size(const struct map_set *s, unsigned id)
{
	const struct map_one *m = &s->maps[id];
	return m->text ? map_text_count(m->text) : m->db_entries;
}

/* A generation ---------------------------------------------------------------------------------------------------------------------- */

static int open_one(struct map_set *s, const char *directory, const char *secrets, const struct manifest_file *f, struct arena *mem, const char **why)
{
	struct slice name = f->name;
	unsigned id;
	struct map_one *m = map_named(s, name, &id) ? &s->maps[id] : map_set_add(s, name);
	struct buf path = BUF_INIT(4096);
	const char *folder = f->secret ? secrets : directory;
	if (!m)
		return -EBADMSG;
	if (f->secret && !*secrets)
		return 0;                 /* not this process's business */
	buf_addf(&path, "%s/%llu/%s.db", strcmp(folder, "/") ? folder : "", (unsigned long long)s->generation, m->name);
	char *file = arena_cstr(mem, buf_slice(&path));
	buf_free(&path);
	if (!file)
		return -ENAMETOOLONG;
	int error = manifest_check_size(file, f);
	error = error ? error : map_bdb_open(s->env, file, &m->db);
	if (error)
		*why = file;
	else
		m->db_entries = f->entries;
	return error;
}

int map_set_open(const char *directory, const char *secrets, uint64_t generation, struct arena *mem, struct map_set **out, const char **why)
{
	struct manifest manifest;
	*why = "manifest";
	int error = manifest_read(directory, generation, mem, &manifest);
	if (error)
		return error;
	struct map_set *s = MEM_NEW(struct map_set);
	s->generation = generation;
	s->env = map_bdb_env_new();
	for (size_t i = 0; i < MAP_FIXED; i++)
		map_set_add(s, map_kinds[i].name);
	error = s->env ? 0 : -ENOMEM;
	for (size_t i = 0; !error && i < manifest.count; i++)
		error = open_one(s, directory, secrets, &manifest.files[i], mem, why);
	if (error) {
		map_set_close(s);
		return error;
	}
	*out = s;
	return 0;
}

void map_set_close(struct map_set *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->count; i++) {
		map_text_free(s->maps[i].text);
		map_bdb_close(s->maps[i].db);
		for (size_t k = 0; k < MAP_MAX_NETS; k++)
			mem_free(s->maps[i].nets[k]);
	}
	map_bdb_env_free(s->env);
	for (size_t i = 0; i < s->file_count; i++)
		buf_free(&s->files[i]);
	mem_free(s->files);
	mem_free(s);
}

/* Look-ups -------------------------------------------------------------------------------------------------------------------------- */

enum answer map_find(struct map_set *s, unsigned id, struct slice key, struct arena *mem, struct map_entry *out)
{
	const struct map_one *m = &s->maps[id];
	if (!key.n || key.n > MAP_MAX_KEY)
		return ABSENT;
	if (m->db)
		return map_bdb_find(m->db, key, mem, out);
	const struct map_entry *e = m->text ? map_text_find(m->text, key) : NULL;
	if (!e)
		return ABSENT;
	*out = *e;                    /* the text outlives every look-up */
	return FOUND;
}

struct walk {
	bool (*each)(void *arg, const struct map_entry *e);
	void *arg;
};

static bool skip_notes(void *arg, const struct map_entry *e)
{
	struct walk *w = arg;
	return map_is_note(e->key) || w->each(w->arg, e);
}

enum answer map_each(struct map_set *s, unsigned id, bool (*each)(void *arg, const struct map_entry *e), void *arg)
{
	const struct map_one *m = &s->maps[id];
	struct walk w = { each, arg };
	if (m->db)
		return map_bdb_each(m->db, skip_notes, &w);
	for (size_t i = 0; m->text && i < map_text_count(m->text); i++)
		if (!skip_notes(&w, map_text_at(m->text, i)))
			break;
	return FOUND;
}

/* Networks -------------------------------------------------------------------------------------------------------------------------- */

static void read_prefixes(struct map_net *n, struct slice text)
{
	while (text.n && n->count < MAP_MAX_PREFIXES) {
		struct slice word = slice_cut(text, ' ', &text);
		uint64_t prefix;
		if (word.n < 3 || !scan_uint_all(slice_skip(word, 2), 128, &prefix))
			continue;
		n->prefixes[n->count].v4 = word.p[0] == '4';
		n->prefixes[n->count++].prefix = (unsigned)prefix;
	}
}

static struct map_net *net_of(struct map_set *s, unsigned id, struct slice kind, struct arena *mem)
{
	struct map_one *m = &s->maps[id];
	for (size_t i = 0; i < MAP_MAX_NETS; i++) {
		struct map_net *n = m->nets[i];
		if (n && slice_eq(slice_of(n->kind), kind))
			return n;
		if (n)
			continue;
		struct buf key = BUF_INIT(64);
		struct map_entry e;
		buf_add(&key, SLICE(MAP_NOTE_NET));
		buf_add(&key, kind);
		enum answer answer = map_find(s, id, buf_slice(&key), mem, &e);
		buf_free(&key);
		if (answer == UNSURE || kind.n >= sizeof n->kind)
			return NULL;
		n = m->nets[i] = MEM_NEW(struct map_net);
		if (answer == FOUND)
			read_prefixes(n, e.value);
		memcpy(n->kind, kind.p, kind.n);
		return n;
	}
	return NULL;
}

static void mask(struct net_ip *ip, unsigned prefix)
{
	unsigned bits = prefix + (ip->is_v4 ? 96 : 0);
	for (unsigned i = 0; i < 16; i++)
		if (bits < 8 * (i + 1))
			ip->bytes[i] &= bits > 8 * i ? (uint8_t)(0xff00 >> (bits - 8 * i)) : 0;
}

static struct slice network_key(struct slice kind, const struct net_ip *network, unsigned prefix, struct arena *mem)
{
	struct buf key = BUF_INIT(128);
	buf_add(&key, kind);
	net_ip_print(&key, network);
	buf_addf(&key, "/%u", prefix);
	struct slice copy = arena_copy(mem, buf_slice(&key));
	buf_free(&key);
	return copy;
}

enum answer map_find_ip(struct map_set *s, unsigned id, struct slice kind, const struct net_ip *ip, struct arena *mem, struct map_entry *out)
{
	const struct map_net *n = net_of(s, id, kind, mem);
	if (!n)
		return UNSURE;
	for (size_t i = 0; i < n->count; i++) {
		if (n->prefixes[i].v4 != ip->is_v4)
			continue;
		struct net_ip network = *ip;
		mask(&network, n->prefixes[i].prefix);
		struct slice key = network_key(kind, &network, n->prefixes[i].prefix, mem);
		enum answer answer = key.p ? map_find(s, id, key, mem, out) : UNSURE;
		if (answer != ABSENT)
			return answer;
	}
	return ABSENT;
}
