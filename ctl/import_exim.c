/* Exim: the lists of its main section, routers that redirect by a file or name their hosts, Debian's update-exim4.conf.conf. Exim's configuration is a language; what is
 * computed there is told as lost. */
#include <string.h>

#include "base/net.h"
#include "base/scan.h"
#include "base/text.h"
#include "ctl/import.h"

enum { MAX_LISTS = 200, MAX_OPTIONS = 40 };

struct option {
	struct slice name, value;
	struct import_at at;
};

struct exim {
	struct import *im;
	struct option lists[MAX_LISTS];   /* "domainlist NAME = ..." and macros */
	size_t list_count;
	struct slice hostname, origin;    /* "@" in lists; where bare addresses are, if named */
	enum { MAIN, ROUTERS, OTHER } section;
	struct slice router;
	struct option options[MAX_OPTIONS];
	size_t option_count;
	struct import_at router_at;
};

static struct slice keep(struct exim *x, struct slice s)
{
	return arena_copy(&x->im->c->mem, s);
}

/* Lists ---------------------------------------------------------------------------------------------------------------------------------- */

static const struct option *find_list(const struct exim *x, struct slice name)
{
	for (size_t i = 0; i < x->list_count; i++)
		if (slice_eq(x->lists[i].name, name))
			return &x->lists[i];
	return NULL;
}

/* The items of a list: colons between ("::" is a colon), or another separator named by "<;". */
static bool next_item(struct slice *list, char *separator, struct slice *item)
{
	*list = slice_trim(*list);
	if (list->n > 1 && list->p[0] == '<' && !text_is_alnum((unsigned char)list->p[1])) {
		*separator = list->p[1];
		*list = slice_trim(slice_skip(*list, 2));
	}
	size_t i = 0;
	while (i < list->n && !(list->p[i] == *separator && !(i + 1 < list->n && list->p[i + 1] == *separator)))
		i += list->p[i] == *separator ? 2 : 1;
	if (!list->n)
		return false;
	*item = slice_trim(slice_head(*list, i > list->n ? list->n : i));
	*list = slice_skip(*list, i + 1);
	return true;
}

typedef void (*item_taker)(struct exim *x, struct slice item, struct slice value, struct import_at at);

static void each_item(struct exim *x, struct slice list, struct slice value, struct import_at at, unsigned depth, item_taker take)
{
	struct slice item;
	char separator = ':';
	while (depth < 10 && next_item(&list, &separator, &item)) {
		if (!item.n)
			continue;
		if (item.p[0] == '+') {
			const struct option *o = find_list(x, slice_skip(item, 1));
			if (o)
				each_item(x, o->value, value, o->at, depth + 1, take);
			else
				import_lost(x->im, at, "the list %.*s is not known", SLICE_FMT(item));
		} else {
			take(x, item, value, at);
		}
	}
}

struct file_items {
	struct exim *x;
	struct slice value;
	item_taker take;
};

static void file_line(void *arg, struct slice line, struct import_at at)
{
	const struct file_items *f = arg;
	struct slice value;
	f->take(f->x, import_key(line, true, &value), f->value, at);
}

/* Files of a folder that are named as domains are. */
struct domain_folder {
	struct exim *x;
	struct slice value, folder;
	struct import_at at;
};

static void take_domain(struct exim *x, struct slice item, struct slice value, struct import_at at);

static void domain_of_folder(void *arg, const char *file)
{
	const struct domain_folder *f = arg;
	take_domain(f->x, keep(f->x, slice_of(file)), f->value, f->at);
}

static void take_domain(struct exim *x, struct slice item, struct slice value, struct import_at at)
{
	struct slice rest = item;
	struct domain_folder folder = { x, value, SLICE_NONE, at };
	if (scan_word(&rest, SLICE("dsearch;")) && import_folder(x->im, rest, domain_of_folder, &folder))
		return;
	if (scan_word(&rest, SLICE("lsearch;")) || scan_word(&rest, SLICE("lsearch*;")) || item.p[0] == '/') {
		struct file_items f = { x, value, take_domain };
		import_lines(x->im, item.p[0] == '/' ? item : rest, false, file_line, &f);
	} else if (slice_eq(item, SLICE("@")) && x->hostname.n) {
		take_domain(x, x->hostname, value, at);
	} else if (item.p[0] == '@' || item.p[0] == '!' || item.p[0] == '^' || slice_find(item, '$') < item.n || slice_find(item, ';') < item.n) {
		import_lost(x->im, at, "the domain %.*s is computed", SLICE_FMT(slice_head(item, 100)));
	} else if (slice_find(item, '.') == item.n && !slice_eq(item, SLICE("localhost"))) {
		import_lost(x->im, at, "%.*s is no whole domain", SLICE_FMT(item));
	} else if (!import_has(x->im, MAP_DOMAINS, item)) {
		import_put(x->im, MAP_DOMAINS, item, value, at);
	}
}

static void take_host(struct exim *x, struct slice item, struct slice value, struct import_at at)
{
	struct net_ip ip;
	unsigned prefix;
	const char *why;
	struct slice name = item;
	(void)value;
	if (slice_find_slice(item, SLICE("::")) < item.n && !net_range_parse(item, &ip, &prefix, &why)) { /* doubled colons of an IPv6 address in a colon list */
		struct buf b = BUF_INIT(200);
		for (size_t i = 0; i < item.n; i++) {
			buf_add_byte(&b, item.p[i]);
			i += item.p[i] == ':' && i + 1 < item.n && item.p[i + 1] == ':';
		}
		name = keep(x, buf_slice(&b));
		buf_free(&b);
	}
	if (!net_range_parse(name, &ip, &prefix, &why))
		import_lost(x->im, at, "the client %.*s is no network", SLICE_FMT(slice_head(item, 100)));
	else
		import_put(x->im, MAP_CLIENTS, name, prefix < (ip.is_v4 ? 24U : 64U) ? SLICE("wide, *") : SLICE("*"), at);
}

static void lists_done(struct exim *x)
{
	static const char *const local[] = { "local_domains", "virtual_domains", "virtual_local_domains" };
	for (size_t i = 0; i < sizeof local / sizeof *local; i++) {
		const struct option *o = find_list(x, slice_of(local[i]));
		if (o)
			each_item(x, o->value, SLICE("mailbox"), o->at, 0, take_domain);
	}
	const struct option *relay = find_list(x, SLICE("relay_to_domains")), *from = find_list(x, SLICE("relay_from_hosts"));
	if (relay)
		each_item(x, relay->value, SLICE("relay mx recipients=ask"), relay->at, 0, take_domain);
	if (from)
		each_item(x, from->value, SLICE(""), from->at, 0, take_host);
}

/* Routers ------------------------------------------------------------------------------------------------------------------------------- */

static const struct option *option(const struct exim *x, const char *name)
{
	for (size_t i = 0; i < x->option_count; i++)
		if (slice_eq(x->options[i].name, slice_of(name)))
			return &x->options[i];
	return NULL;
}

/* "${lookup{$local_part}lsearch{/etc/aliases}}" names a file of aliases. */
static bool lookup_file(struct slice data, struct slice *file, bool *whole_address)
{
	size_t at = slice_find_slice(data, SLICE("lsearch"));
	if (at == data.n)
		return false;
	struct slice rest;
	*whole_address = slice_find_slice(slice_head(data, at), SLICE("$domain")) < at;
	slice_cut(slice_skip(data, at), '{', &rest);
	*file = slice_trim(slice_cut(rest, '}', &rest));
	return file->n && file->p[0] == '/' && slice_find(*file, '$') == file->n;
}

/* "lsearch{/etc/virtual/$domain}" (or $domain_data) names a folder with a file of aliases for each domain. */
static bool lookup_folder(struct slice data, struct slice *folder)
{
	size_t at = slice_find_slice(data, SLICE("lsearch"));
	struct slice rest = slice_skip(data, at);
	slice_cut(rest, '{', &rest);
	size_t slash = slice_find_slice(rest, SLICE("/$domain"));
	*folder = slice_head(rest, slash);
	return slash < rest.n && folder->n && folder->p[0] == '/' && slice_find(*folder, '$') == folder->n && slice_find(*folder, '}') == folder->n;
}

static void aliases_of_domain(void *arg, const char *file)
{
	const struct domain_folder *f = arg;
	struct exim *x = f->x;
	struct slice domain = keep(x, slice_of(file));
	take_domain(x, domain, SLICE("mailbox"), f->at);
	import_domain_file(x->im, import_text(x->im, "%s/%s", import_path(x->im, f->folder), file), domain, x->origin.n ? x->origin : x->hostname);
}

/* Macros begin with a capital letter and have no dot; Debian's are defined where update-exim4.conf runs. */
static bool is_macro(struct slice host)
{
	return host.n && host.p[0] >= 'A' && host.p[0] <= 'Z' && slice_find(host, '.') == host.n;
}

/* "domain host[:host] options; ...": the first host counts. */
static void route_list(struct exim *x, const struct option *o)
{
	struct slice rest = o->value, line;
	while (rest.n) {
		line = slice_trim(slice_cut(rest, ';', &rest));
		struct slice hosts, domain = import_key(line, false, &hosts), host, ignored;
		struct net_ip ip;
		if (!domain.n)
			continue;
		host = import_key(hosts, false, &ignored);
		if (host.n && host.p[0] == '"')
			host = slice(host.p + 1, host.n - 2);
		struct slice key = slice_eq(domain, SLICE("*")) ? domain : slice_starts(domain, SLICE("*.")) ? slice_skip(domain, 1) : domain;
		size_t double_colon = slice_find_slice(host, SLICE("::"));
		struct slice port = double_colon < host.n ? slice_skip(host, double_colon + 2) : SLICE("25");
		host = slice_head(host, double_colon < host.n ? double_colon : slice_find(host, ':'));
		if (is_macro(host))
			import_lost(x->im, o->at, "the route %.*s: the macro %.*s is not defined here", SLICE_FMT(slice_head(line, 100)), SLICE_FMT(slice_head(host, 100)));
		else if (!host.n || slice_find(line, '$') < line.n)
			import_lost(x->im, o->at, "the route %.*s is computed", SLICE_FMT(slice_head(line, 100)));
		else
			import_put(x->im, MAP_ROUTES, key, import_text(x->im, net_ip_parse(host, &ip) ? "[%.*s]:%.*s" : "%.*s:%.*s", SLICE_FMT(host), SLICE_FMT(port)), o->at);
	}
}

static void router_done(struct exim *x)
{
	if (!x->router.n)
		return;
	const struct option *driver = option(x, "driver"), *data = option(x, "data"), *list = option(x, "route_list"), *file = option(x, "file");
	struct slice name = driver ? driver->value : SLICE(""), aliases;
	struct domain_folder folder = { x, SLICE_NONE, SLICE_NONE, x->router_at };
	bool whole = false;
	if (slice_eq(name, SLICE("redirect")) && data && lookup_folder(data->value, &folder.folder) && import_folder(x->im, folder.folder, aliases_of_domain, &folder))
		x->router = SLICE("");
	else if (slice_eq(name, SLICE("redirect")) && data && lookup_file(data->value, &aliases, &whole))
		import_aliases_file(x->im, aliases, SLICE(""));
	else if (slice_eq(name, SLICE("redirect")) && file)
		import_advise(x->im, "router %.*s: a user's own forwards (%.*s): recipients with system:USER read ~/.forward", SLICE_FMT(x->router), SLICE_FMT(file->value));
	else if (slice_eq(name, SLICE("manualroute")) && list)
		route_list(x, list);
	else if (slice_eq(name, SLICE("accept")) && option(x, "check_local_user"))
		import_advise(x->im, "recipients: a line \"USER@DOMAIN system:USER\" for each user of this system who gets mail (router %.*s)", SLICE_FMT(x->router));
	else if (!slice_eq(name, SLICE("dnslookup")) && !slice_eq(name, SLICE("ipliteral")))
		import_lost(x->im, x->router_at, "the router %.*s (%.*s)", SLICE_FMT(x->router), SLICE_FMT(name));
	x->router = SLICE("");
	x->option_count = 0;
}

static void router_line(struct exim *x, struct slice line, struct import_at at)
{
	struct slice value, name = slice_trim(slice_cut(line, '=', &value));
	if (!value.p && line.n > 1 && line.p[line.n - 1] == ':') {
		router_done(x);
		x->router = keep(x, slice_head(line, line.n - 1));
		x->router_at = at;
		return;
	}
	if (x->option_count < MAX_OPTIONS)
		x->options[x->option_count++] = (struct option){ keep(x, name), keep(x, slice_trim(value)), at };
}

/* The file ------------------------------------------------------------------------------------------------------------------------------ */

static void main_line(struct exim *x, struct slice line, struct import_at at)
{
	static const char *const kinds[] = { "domainlist", "hostlist", "addresslist", "localpartlist" };
	struct slice rest = line;
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (scan_word(&rest, slice_of(kinds[i])) && scan_blanks(&rest)) {
			struct slice value, name = slice_trim(slice_cut(rest, '=', &value));
			if (x->list_count < MAX_LISTS)
				x->lists[x->list_count++] = (struct option){ keep(x, name), keep(x, slice_trim(value)), at };
			return;
		}
	struct slice value, name = slice_trim(slice_cut(line, '=', &value));
	if (slice_eq(name, SLICE("message_size_limit")))
		import_advise(x->im, "porter.conf: size-limit %.*s", SLICE_FMT(slice_trim(value)));
	else if (slice_eq(name, SLICE("qualify_domain")) || slice_eq(name, SLICE("qualify_recipient")))
		x->origin = keep(x, slice_trim(value));
	else if (slice_eq(name, SLICE("primary_hostname"))) {
		x->hostname = keep(x, slice_trim(value));
		import_advise(x->im, "porter.conf: hostname %.*s", SLICE_FMT(x->hostname));
	}
}

static void conf_line(void *arg, struct slice line, struct import_at at)
{
	struct exim *x = arg;
	struct slice rest = line;
	if (scan_word(&rest, SLICE("begin")) && scan_blanks(&rest)) {
		if (x->section == MAIN)
			lists_done(x);             /* its own domains first: bare addresses are in the first of them */
		router_done(x);
		x->section = slice_eq(slice_trim(rest), SLICE("routers")) ? ROUTERS : OTHER;
	} else if (x->section == MAIN) {
		main_line(x, line, at);
	} else if (x->section == ROUTERS) {
		router_line(x, line, at);
	}
}

/* A backslash at a line's end continues it: joined before the lines are read. */
struct joining {
	struct exim *x;
	struct buf line;
	struct import_at at;
};

static void join_line(void *arg, struct slice line, struct import_at at)
{
	struct joining *j = arg;
	bool more = line.p[line.n - 1] == '\\';
	if (!j->line.n)
		j->at = at;
	buf_add(&j->line, slice_trim(slice_head(line, line.n - more)));
	if (more) {
		buf_add_byte(&j->line, ' ');
		return;
	}
	conf_line(j->x, buf_slice(&j->line), j->at);
	buf_clear(&j->line);
}

/* Debian: dc_other_hostnames='a;b' and the like. */
static void debian_line(void *arg, struct slice line, struct import_at at)
{
	struct exim *x = arg;
	struct slice value, name = slice_cut(line, '=', &value);
	if (value.n >= 2 && value.p[0] == '\'')
		value = slice(value.p + 1, value.n - 2);
	struct slice list = value.n ? import_text(x->im, "<;%.*s", SLICE_FMT(value)) : SLICE("");
	if (slice_eq(name, SLICE("dc_other_hostnames")))
		each_item(x, list, SLICE("mailbox"), at, 0, take_domain);
	else if (slice_eq(name, SLICE("dc_relay_domains")))
		each_item(x, list, SLICE("relay mx recipients=ask"), at, 0, take_domain);
	else if (slice_eq(name, SLICE("dc_relay_nets")))
		each_item(x, list, SLICE(""), at, 0, take_host);
	else if (slice_eq(name, SLICE("dc_smarthost")) && value.n) {
		struct slice port, host = slice_cut(value, ':', &port);
		while (port.n && port.p[0] == ':')
			port = slice_skip(port, 1);
		import_put(x->im, MAP_ROUTES, SLICE("*"), import_text(x->im, "%.*s:%.*s", SLICE_FMT(host), SLICE_FMT(port.n ? port : SLICE("25"))), at);
	}
}

static void hubbed_line(void *arg, struct slice line, struct import_at at)
{
	struct exim *x = arg;
	struct slice value, key = import_key(line, true, &value);
	struct option o = { SLICE("route_list"), import_text(x->im, "%.*s %.*s", SLICE_FMT(key), SLICE_FMT(value)), at };
	route_list(x, &o);
}

void import_exim(struct import *im, const char *file)
{
	static struct exim x; /* large; one import a run */
	x = (struct exim){ .im = im };
	static const char *const names[] = { "exim4.conf", "exim.conf", "configure", "exim4.conf.template" };
	struct joining j = { .x = &x, .line = BUF_INIT(1 << 20) };
	bool found = file != NULL;
	if (file)
		import_lines(im, slice_of(file), false, join_line, &j);
	for (size_t i = 0; !found && i < 3; i++)
		if (import_exists(im, slice_of(names[i]))) {
			import_lines(im, slice_of(names[i]), false, join_line, &j);
			found = true;
		}
	router_done(&x);
	if (x.section == MAIN)
		lists_done(&x);
	if (!file && import_exists(im, SLICE("update-exim4.conf.conf"))) {
		import_lines(im, SLICE("update-exim4.conf.conf"), false, debian_line, &x);
		if (import_exists(im, SLICE("hubbed_hosts")))
			import_lines(im, SLICE("hubbed_hosts"), false, hubbed_line, &x);
		if (!found && import_exists(im, SLICE("/etc/aliases")))
			import_aliases_file(im, SLICE("/etc/aliases"), SLICE(""));
		found = true;
	}
	if (!found)
		import_lost(im, (struct import_at){ im->root, 0 }, "no configuration of Exim is here");
	buf_free(&j.line);
}
