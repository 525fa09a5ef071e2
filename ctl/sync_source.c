/* The file sync, line by line. */
#include "ctl/sync_source.h"

#include "base/scan.h"
#include "maps/map.h"
#include "maps/value.h"

enum { USUAL_EVERY_S = 3600, MAX_EVERY_S = 30 * 86400, MAX_PAGE = 100000 };

static const char *text_of(struct arena *mem, struct slice s)
{
	return arena_cstr(mem, value_unquote(s, mem));
}

static const char *read_command(struct arena *mem, struct slice rest, struct sync_source *s)
{
	struct slice item;
	size_t n = 0;
	while (map_item(&rest, ' ', &item)) {
		if (n == SYNC_MAX_ARGV)
			return "a command with more than 64 arguments";
		s->argv[n] = (char *)(uintptr_t)text_of(mem, item);
		if (!s->argv[n++])
			return "the line is too long";
	}
	return n && s->argv[0][0] == '/' ? NULL : "a command is named by its absolute path";
}

static const char *read_ldap(struct arena *mem, struct slice rest, struct sync_source *s)
{
	const struct {
		struct slice name;
		const char **to;
	} rows[] = { { SLICE("url"), &s->ldap.url }, { SLICE("base"), &s->ldap.base }, { SLICE("filter"), &s->ldap.filter }, { SLICE("attribute"), &s->ldap.attributes },
		     { SLICE("bind"), &s->ldap.bind }, { SLICE("password-file"), &s->password_file }, { SLICE("value"), &s->ldap.value } };
	struct slice item, value;
	uint64_t page = 0;
	while (map_item(&rest, ' ', &item)) {
		struct slice name = value_name(item, &value);
		size_t i = 0;
		while (i < sizeof rows / sizeof *rows && !slice_eq(name, rows[i].name))
			i++;
		if (slice_eq(item, SLICE("starttls")))
			s->ldap.start_tls = true;
		else if (slice_eq(name, SLICE("page")) && scan_uint_all(value, MAX_PAGE, &page))
			s->ldap.page = (unsigned)page;
		else if (i < sizeof rows / sizeof *rows && value.p) {
			if (!(*rows[i].to = text_of(mem, value)))
				return "the line is too long";
		} else
			return "ldap takes url= base= filter= attribute= value= bind= password-file= page= and starttls";
	}
	return s->ldap.url && s->ldap.base ? NULL : "ldap wants at least url= and base=";
}

const char *sync_source_read(struct slice value, struct arena *mem, struct sync_source *s)
{
	struct slice kind, item, rest, span;
	s->every_s = USUAL_EVERY_S;
	s->ldap.filter = "(|(proxyAddresses=*)(mail=*))";
	s->ldap.attributes = "proxyAddresses mail";
	s->ldap.value = "";
	if (!map_item(&value, ' ', &kind))
		return "a source is `command ...` or `ldap ...`";
	rest = value;
	if (map_item(&rest, ' ', &item) && slice_eq(value_name(item, &span), SLICE("every"))) {
		if (!scan_span_all(span, MAX_EVERY_S, &s->every_s))
			return "every= wants a time like 30m";
		value = rest;
	}
	s->is_ldap = slice_eq(kind, SLICE("ldap"));
	if (!s->is_ldap && !slice_eq(kind, SLICE("command")))
		return "a source is `command ...` or `ldap ...`";
	return s->is_ldap ? read_ldap(mem, value, s) : read_command(mem, value, s);
}

const char *sync_source_key(void *arg, struct slice raw, struct arena *mem, struct slice *out)
{
	(void)arg, (void)mem;
	*out = raw;
	return raw.n && slice_find(raw, '/') == raw.n && raw.p[0] != '.' ? NULL : "a map's name is wanted";
}
