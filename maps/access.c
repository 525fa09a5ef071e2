/* The map `access`. */
#include "maps/access.h"

#include "base/buf.h"
#include "base/scan.h"
#include "maps/map_key.h"
#include "maps/value.h"

static bool is_name(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] <= ' ' || (unsigned char)s.p[i] >= 0x7f)
			return false;
	return s.n > 0 && s.n <= 64;
}

static const char *add_name(struct slice name, struct slice list[ACCESS_MAX_ACTIONS], size_t *count)
{
	if (!is_name(name))
		return "tag and by-pass want one name of at most 64 bytes";
	if (*count == ACCESS_MAX_ACTIONS)
		return "more than 16 tags or by-passes";
	list[(*count)++] = name;
	return NULL;
}

/* refuse and defer take the rest of the line, commas too. */
static const char *take_verdict(struct slice *rest, struct access *a)
{
	struct slice word = *rest, behind;
	bool no = slice_starts(word, SLICE("refuse"));
	behind = slice_skip(word, no ? 6 : 5);
	if (behind.n && behind.p[0] != ' ' && behind.p[0] != '\t')
		return "unknown action: there are accept, refuse TEXT, defer TEXT, tag NAME and by-pass NAME";
	if (a->verdict)
		return "two verdicts";
	a->verdict = no ? ACCESS_REFUSE : ACCESS_DEFER;
	a->status = no ? MAIL_STATUS(MAIL_NEVER, 550, 7, 1, "Refused by this site's rules") : MAIL_STATUS(MAIL_LATER, 450, 7, 1, "Try again later");
	*rest = SLICE_NONE;
	return value_status(behind, &a->status, &a->status);
}

const char *access_parse(struct slice value, struct access *out)
{
	struct access a = { .status = MAIL_STATUS_OK };
	struct slice rest = value, item;
	const char *why = NULL;
	bool any = false;
	for (; !why && rest.n; any = true) {
		while (rest.n && (rest.p[0] == ',' || rest.p[0] == ' ' || rest.p[0] == '\t'))
			rest = slice_skip(rest, 1);
		if (slice_starts(rest, SLICE("refuse")) || slice_starts(rest, SLICE("defer"))) {
			why = take_verdict(&rest, &a);
			continue;
		}
		if (!map_item(&rest, ',', &item))
			break;
		if (slice_eq(item, SLICE("accept"))) {
			why = a.verdict ? "two verdicts" : NULL;
			a.verdict = ACCESS_ACCEPT;
		} else if (scan_word(&item, SLICE("tag "))) {
			why = add_name(slice_trim(item), a.tags, &a.tag_count);
		} else if (scan_word(&item, SLICE("by-pass "))) {
			why = add_name(slice_trim(item), a.by_pass, &a.by_pass_count);
		} else {
			why = "unknown action: there are accept, refuse TEXT, defer TEXT, tag NAME and by-pass NAME";
		}
	}
	if (!why && !any)
		why = "an action is missing: accept, refuse TEXT, defer TEXT, tag NAME or by-pass NAME";
	if (!why)
		*out = a;
	return why;
}

static enum answer read_found(enum answer a, const struct map_entry *e, struct access *out)
{
	*out = (struct access){ 0 };
	if (a != FOUND)
		return a;
	if (access_parse(e->value, out))
		return UNSURE;
	out->key = e->key;
	return FOUND;
}

static struct slice join(const char *kind, struct slice s, struct arena *mem)
{
	struct buf b = BUF_INIT(MAP_MAX_KEY);
	buf_add_cstr(&b, kind);
	buf_add(&b, s);
	struct slice key = buf_full(&b) ? SLICE_NONE : arena_copy(mem, buf_slice(&b));
	buf_free(&b);
	return key;
}

static enum answer find(struct map_set *s, const char *kind, struct slice what, struct arena *mem, struct map_entry *e)
{
	struct slice key = join(kind, what, mem);
	return key.p ? map_find(s, MAP_ACCESS, key, mem, e) : ABSENT;
}

/* The name, then ".parent" from the longest; with `at`, both behind an "@". */
static enum answer find_name(struct map_set *s, const char *kind, struct slice name, bool at, struct arena *mem, struct map_entry *e)
{
	struct slice whole = at ? join("@", name, mem) : name;
	enum answer a = find(s, kind, whole, mem, e);
	for (size_t dot = slice_find(name, '.'); a == ABSENT && dot < name.n;) {
		struct slice parent = slice_skip(name, dot);
		a = find(s, kind, at ? join("@", parent, mem) : parent, mem, e);
		dot += 1 + slice_find(slice_skip(parent, 1), '.');
	}
	return a;
}

enum answer access_client(struct map_set *s, const struct net_ip *ip, struct arena *mem, struct access *out)
{
	struct map_entry e;
	enum answer a = map_size(s, MAP_ACCESS) ? map_find_ip(s, MAP_ACCESS, SLICE("client:"), ip, mem, &e) : ABSENT;
	return read_found(a, &e, out);
}

/* A name that is no domain ("[192.0.2.1]", "foo bar") is looked up as it is. */
static enum answer by_name(struct map_set *s, const char *kind, struct slice name, struct arena *mem, struct access *out)
{
	struct map_entry e;
	struct slice canonical;
	if (!map_size(s, MAP_ACCESS) || !name.n || name.n > 255) {
		*out = (struct access){ 0 };
		return ABSENT;
	}
	if (name.p[0] == '.' || map_key_domain(name, mem, &canonical))
		canonical = name;
	return read_found(find_name(s, kind, canonical, false, mem, &e), &e, out);
}

enum answer access_ptr(struct map_set *s, struct slice host, struct arena *mem, struct access *out)
{
	return by_name(s, "ptr:", host, mem, out);
}

enum answer access_helo(struct map_set *s, struct slice name, struct arena *mem, struct access *out)
{
	return by_name(s, "helo:", name, mem, out);
}

static enum answer by_path(struct map_set *s, const char *kind, const struct mail_path *p, struct arena *mem, struct access *out)
{
	struct map_entry e;
	struct slice domain, local;
	*out = (struct access){ 0 };
	if (!map_size(s, MAP_ACCESS))
		return ABSENT;
	if (mail_path_is_null(p))
		return read_found(find(s, kind, SLICE("<>"), mem, &e), &e, out);
	local = map_key_local(p->local_part, false, mem);
	if (!local.p)
		return ABSENT;
	if (!p->domain.n) /* "<postmaster>" */
		return read_found(find(s, kind, local, mem, &e), &e, out);
	if (map_key_domain(p->domain, mem, &domain))
		return ABSENT;
	enum answer a = find(s, kind, map_key_join(local, domain, mem), mem, &e);
	return read_found(a == ABSENT ? find_name(s, kind, domain, true, mem, &e) : a, &e, out);
}

enum answer access_from(struct map_set *s, const struct mail_path *p, struct arena *mem, struct access *out)
{
	return by_path(s, "from:", p, mem, out);
}

enum answer access_to(struct map_set *s, const struct mail_path *p, struct arena *mem, struct access *out)
{
	return by_path(s, "to:", p, mem, out);
}
