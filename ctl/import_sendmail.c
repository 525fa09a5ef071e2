/* sendmail: the folder /etc/mail with its text tables (those that makemap reads), and qmail: its control files. */
#include <dirent.h>
#include <string.h>

#include "base/net.h"
#include "base/scan.h"
#include "base/text.h"
#include "ctl/import.h"

/* sendmail ------------------------------------------------------------------------------------------------------------------------------ */

static void local_line(void *arg, struct slice line, struct import_at at)
{
	struct slice value;
	import_put(arg, MAP_DOMAINS, import_key(line, false, &value), SLICE("mailbox"), at);
}

/* "192.0.2" is a network of whole octets. */
static struct slice network_of(struct import *im, struct slice key)
{
	static const char *const rest[] = { ".0.0.0/8", ".0.0/16", ".0/24", "" };
	size_t dots = 0;
	for (size_t i = 0; i < key.n; i++) {
		if (!text_is_digit((unsigned char)key.p[i]) && key.p[i] != '.')
			return SLICE_NONE;
		dots += key.p[i] == '.';
	}
	return dots < 4 ? import_text(im, "%.*s%s", SLICE_FMT(key), rest[dots]) : SLICE_NONE;
}

/* Domains, and the networks that may relay: "192.0.2.9", "192.0.2", "[192.0.2.9]", "IPv6:2001:db8::1". */
static void relay_line(void *arg, struct slice line, struct import_at at)
{
	struct import *im = arg;
	struct slice name = line.n > 2 && line.p[0] == '[' ? slice(line.p + 1, line.n - 2) : line;
	struct slice network = scan_word(&name, SLICE("IPv6:")) ? name : network_of(im, name);
	struct net_ip ip;
	unsigned prefix;
	const char *why;
	if (!network.p && net_range_parse(name, &ip, &prefix, &why))
		network = name;
	if (network.p)
		import_put(im, MAP_CLIENTS, network, slice_ends(network, SLICE("/8")) || slice_ends(network, SLICE("/16")) ? SLICE("wide, *") : SLICE("*"), at);
	else if (!import_has(im, MAP_DOMAINS, line))
		import_put(im, MAP_DOMAINS, line, SLICE("relay mx recipients=ask"), at);
}

/* "error:nouser 550 text" or "error:5.1.1:550 text". */
static struct slice error_text(struct import *im, struct slice value)
{
	struct slice rest = slice_skip(value, 6), word;
	if (rest.n && rest.p[0] == '"')
		rest = slice(rest.p + 1, rest.n - 1 - (rest.p[rest.n - 1] == '"'));
	size_t cut = slice_find(rest, rest.n && text_is_digit((unsigned char)rest.p[0]) ? ':' : ' ');
	word = slice_head(rest, cut);
	rest = cut < rest.n ? slice_trim(slice_skip(rest, cut + 1)) : SLICE("");
	return slice_eq(word, SLICE("tempfail")) ? import_text(im, ":defer: %.*s", SLICE_FMT(rest)) : import_text(im, ":refuse: %.*s", SLICE_FMT(rest));
}

static void virtuser_line(void *arg, struct slice line, struct import_at at)
{
	struct import *im = arg;
	struct slice value, key = import_key(line, false, &value);
	if (key.n && key.p[0] == '@' && slice_starts(value, SLICE("%1@"))) {
		import_put(im, MAP_DOMAINS, slice_skip(key, 1), import_text(im, "alias-of %.*s", SLICE_FMT(slice_skip(value, 3))), at);
		return;
	}
	if (key.n && key.p[0] == '@' && !import_has(im, MAP_DOMAINS, slice_skip(key, 1)))
		import_put(im, MAP_DOMAINS, slice_skip(key, 1), SLICE("mailbox"), at);
	if (slice_find_slice(key, SLICE("+*")) < key.n || (key.n && key.p[0] == '+'))
		import_lost(im, at, "%.*s: a pattern of subaddresses; those of an address lead where it leads", SLICE_FMT(key));
	else if (slice_find(value, '%') < value.n)
		import_lost(im, at, "%.*s: a target made of pieces of the address", SLICE_FMT(key));
	else if (slice_starts(value, SLICE("error:")))
		import_put(im, MAP_ALIASES, key, error_text(im, value), at);
	else
		import_put(im, MAP_ALIASES, key, value, at);
}

static void mailer_line(void *arg, struct slice line, struct import_at at)
{
	struct import *im = arg;
	struct slice value, key = import_key(line, false, &value), host, mailer = slice_cut(value, ':', &host);
	struct net_ip ip;
	bool smtp = slice_eq(mailer, SLICE("smtp")) || slice_eq(mailer, SLICE("esmtp")) || slice_eq(mailer, SLICE("relay"));
	if (slice_eq(mailer, SLICE("error")) && key.p[0] != '.')
		import_put(im, MAP_DOMAINS, key, import_text(im, "refuse %.*s", SLICE_FMT(slice_skip(error_text(im, value), 9))), at);
	else if (!smtp || !host.n)
		import_lost(im, at, "%.*s: the mailer %.*s", SLICE_FMT(key), SLICE_FMT(mailer));
	else if (host.p[0] == '[' && host.p[host.n - 1] == ']') {
		struct slice name = slice(host.p + 1, host.n - 2);
		import_put(im, MAP_ROUTES, key, net_ip_parse(name, &ip) ? host : name, at);
	} else {
		import_put(im, MAP_ROUTES, key, import_text(im, "mx:%.*s", SLICE_FMT(host)), at);
	}
}

static struct slice access_action(struct import *im, struct slice value)
{
	struct slice v = value;
	if (slice_eq_nocase(v, SLICE("OK")))
		return SLICE("accept");
	if (slice_eq_nocase(v, SLICE("REJECT")))
		return SLICE("refuse");
	if (scan_word(&v, SLICE("ERROR:"))) {
		if (v.n && v.p[0] == '"')
			v = slice(v.p + 1, v.n - 1 - (v.p[v.n - 1] == '"'));
		size_t colon = slice_find(v, ':');
		bool enhanced = colon < v.n && slice_find(slice_head(v, colon), '.') < colon;
		return import_text(im, "%s %.*s", v.n && v.p[0] == '4' ? "defer" : "refuse", SLICE_FMT(enhanced ? slice_skip(v, colon + 1) : v));
	}
	if (v.n > 4 && (v.p[0] == '4' || v.p[0] == '5') && text_is_digit((unsigned char)v.p[1]))
		return import_text(im, "%s %.*s", v.p[0] == '4' ? "defer" : "refuse", SLICE_FMT(v));
	return SLICE_NONE;
}

static void access_line(void *arg, struct slice line, struct import_at at)
{
	struct import *im = arg;
	struct slice value, key = import_key(line, false, &value), name = key;
	bool connect = scan_word(&name, SLICE("Connect:")), from = !connect && scan_word(&name, SLICE("From:")), to = !connect && !from && scan_word(&name, SLICE("To:"));
	struct slice network = scan_word(&name, SLICE("IPv6:")) ? name : network_of(im, name);
	if (slice_eq_nocase(value, SLICE("RELAY"))) {
		if (network.p && !from && !to)
			import_put(im, MAP_CLIENTS, network, slice_ends(network, SLICE("/8")) || slice_ends(network, SLICE("/16")) ? SLICE("wide, *") : SLICE("*"), at);
		else if (to && import_has(im, MAP_DOMAINS, name))
			return;
		else if (to)
			import_put(im, MAP_DOMAINS, name, SLICE("relay mx recipients=ask"), at);
		else
			import_lost(im, at, "%.*s RELAY: names of clients can be made up; name networks in clients", SLICE_FMT(key));
		return;
	}
	struct slice action = access_action(im, value);
	if (!action.p)
		return import_lost(im, at, "%.*s %.*s: an action that Porter has not", SLICE_FMT(key), SLICE_FMT(value));
	if (slice_ends(name, SLICE("@")))
		return import_lost(im, at, "%.*s: a local-part in every domain", SLICE_FMT(key));
	if (connect || (network.p && !from && !to))
		import_put(im, MAP_ACCESS, network.p ? network : import_text(im, "ptr:%.*s", SLICE_FMT(name)), action, at);
	else if (to)
		import_put(im, MAP_ACCESS, import_text(im, "to:%.*s", SLICE_FMT(name)), action, at);
	else
		import_put(im, MAP_ACCESS, import_text(im, "from:%.*s", SLICE_FMT(name)), action, at);
}

/* sendmail.mc: "define(`SMART_HOST', `host')". */
static void mc_line(void *arg, struct slice line, struct import_at at)
{
	struct import *im = arg;
	size_t from = slice_find_slice(line, SLICE("`SMART_HOST',"));
	if (from == line.n || slice_starts(line, SLICE("dnl")))
		return;
	struct slice rest = slice_skip(line, from + 13), host;
	slice_cut(rest, '`', &rest);
	host = slice_cut(rest, '\'', &rest);
	if (host.n > 2 && host.p[0] == '[')
		host = slice(host.p + 1, host.n - 2);
	if (host.n)
		import_put(im, MAP_ROUTES, SLICE("*"), host, at);
}

void import_sendmail(struct import *im)
{
	static const struct {
		struct slice file;
		bool joined;
		void (*line)(void *arg, struct slice line, struct import_at at);
	} rows[] = {
		{ SLICE_INIT("local-host-names"), false, local_line }, { SLICE_INIT("virtuser-domains"), false, local_line }, { SLICE_INIT("relay-domains"), false, relay_line },
		{ SLICE_INIT("virtusertable"), true, virtuser_line }, { SLICE_INIT("mailertable"), true, mailer_line }, { SLICE_INIT("access"), true, access_line },
		{ SLICE_INIT("sendmail.mc"), false, mc_line },
	};
	size_t found = 0;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (import_exists(im, rows[i].file)) {
			found++;
			import_lines(im, rows[i].file, rows[i].joined, rows[i].line, im);
		}
	static const struct slice aliases[] = { SLICE_INIT("aliases"), SLICE_INIT("../aliases") };
	for (size_t i = 0; i < 2; i++)
		if (import_exists(im, aliases[i])) {
			found++;
			import_aliases_file(im, aliases[i], SLICE(""));
			break;
		}
	static const char *const others[] = { "genericstable", "domaintable", "uucp", "userdb" };
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		if (import_exists(im, slice_of(others[i])))
			import_lost(im, (struct import_at){ others[i], 0 }, "this table has no place with us");
	if (!found)
		import_lost(im, (struct import_at){ im->root, 0 }, "no table of sendmail is here");
	import_advise(im, "recipients: a line \"USER@DOMAIN system:USER\" for each user of this system who gets mail");
}

/* qmail --------------------------------------------------------------------------------------------------------------------------------- */

static void rcpthosts_line(void *arg, struct slice line, struct import_at at)
{
	struct import *im = arg;
	if (!import_has(im, MAP_DOMAINS, line))
		import_put(im, MAP_DOMAINS, line, SLICE("relay mx recipients=ask"), at);
}

/* "domain:prepend": mail for user@domain goes to the local user prepend-user. */
static void virtualdomains_line(void *arg, struct slice line, struct import_at at)
{
	struct import *im = arg;
	struct slice prefix, domain = slice_cut(line, ':', &prefix);
	if (slice_find(domain, '@') < domain.n)
		return import_put(im, MAP_ALIASES, domain, prefix, at);
	if (!prefix.n)
		return import_lost(im, at, "%.*s: an exception from a virtual domain", SLICE_FMT(domain));
	import_put(im, MAP_DOMAINS, domain, SLICE("mailbox"), at);
	import_lost(im, at, "%.*s belongs to the user %.*s: its recipients stand in that user's .qmail files", SLICE_FMT(domain), SLICE_FMT(prefix));
}

static void smtproutes_line(void *arg, struct slice line, struct import_at at)
{
	struct import *im = arg;
	struct slice rest, domain = slice_cut(line, ':', &rest), host = slice_cut(rest, ':', &rest);
	struct net_ip ip;
	if (host.n > 2 && host.p[0] == '[')
		host = slice(host.p + 1, host.n - 2);
	struct slice key = domain.n ? domain : SLICE("*");
	struct slice port = rest.n ? slice_cut(rest, ' ', &rest) : SLICE("25");
	if (!host.n)
		import_put(im, MAP_ROUTES, key, SLICE("mx"), at);
	else
		import_put(im, MAP_ROUTES, key, net_ip_parse(host, &ip) ? import_text(im, "[%.*s]:%.*s", SLICE_FMT(host), SLICE_FMT(port)) :
		           import_text(im, "%.*s:%.*s", SLICE_FMT(host), SLICE_FMT(port)), at);
}

struct dot_qmail {
	struct import *im;
	struct buf targets;
	bool lost;
	size_t lines;
};

static void dot_qmail_line(void *arg, struct slice line, struct import_at at)
{
	struct dot_qmail *d = arg;
	d->lines++;
	bool address = line.p[0] == '&' || text_is_alnum((unsigned char)line.p[0]);
	if (!address) {
		import_lost(d->im, at, "%.*s: a delivery instruction; give it a line in recipients", SLICE_FMT(slice_head(line, 100)));
		d->lost = true;
		return;
	}
	scan_byte(&line, '&');
	buf_addf(&d->targets, "%s%.*s", d->targets.n ? ", " : "", SLICE_FMT(line));
}

/* alias/.qmail-NAME, where a colon stands for a dot and "default" for everybody else. */
static void dot_qmail_file(struct import *im, const char *folder, const char *file)
{
	struct dot_qmail d = { .im = im, .targets = BUF_INIT(1 << 20) };
	struct slice name = import_text(im, "%s", file + 7);
	char *path = import_path(im, import_text(im, "%s/%s", folder, file));
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] == ':')
			((char *)(uintptr_t)name.p)[i] = '.';
	import_lines(im, slice_of(path), false, dot_qmail_line, &d);
	if (slice_ends(name, SLICE("default")))
		import_lost(im, (struct import_at){ path, 0 }, "everybody else: catch-all= of a domain does that");
	else if (d.targets.n)
		import_put(im, MAP_ALIASES, name, buf_slice(&d.targets), (struct import_at){ path, 1 });
	else if (!d.lines)
		import_lost(im, (struct import_at){ path, 0 }, "no instruction: qmail delivers as usual where the file is empty, and drops the mail where it has comments alone; use :refuse: TEXT");
	buf_free(&d.targets);
}

static void dot_qmail_folder(struct import *im, const char *folder)
{
	DIR *dir = opendir(import_path(im, slice_of(folder)));
	for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir))
		if (strncmp(e->d_name, ".qmail-", 7) == 0)
			dot_qmail_file(im, folder, e->d_name);
	if (dir)
		closedir(dir);
}

static void databytes_line(void *arg, struct slice line, struct import_at at)
{
	(void)at;
	import_advise(arg, "porter.conf: size-limit %.*s", SLICE_FMT(line));
}

void import_qmail(struct import *im)
{
	static const struct {
		const char *file;
		void (*line)(void *arg, struct slice line, struct import_at at);
	} rows[] = { { "locals", local_line }, { "virtualdomains", virtualdomains_line }, { "rcpthosts", rcpthosts_line }, { "morercpthosts", rcpthosts_line },
		     { "smtproutes", smtproutes_line }, { "databytes", databytes_line } };
	const char *control = import_exists(im, SLICE("control/me")) || import_exists(im, SLICE("control/locals")) || import_exists(im, SLICE("control/rcpthosts")) ? "control/" : "";
	size_t found = 0;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct slice file = import_text(im, "%s%s", control, rows[i].file);
		if (import_exists(im, file)) {
			found++;
			import_lines(im, file, false, rows[i].line, im);
		}
	}
	dot_qmail_folder(im, *control ? "alias" : "../alias");
	if (import_exists(im, SLICE("users/assign")))
		import_lost(im, (struct import_at){ "users/assign", 0 }, "which address is which user's: give each its line in recipients");
	static const char *const others[] = { "badmailfrom", "percenthack", "doublebounceto" };
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		if (import_exists(im, import_text(im, "%s%s", control, others[i])))
			import_lost(im, (struct import_at){ others[i], 0 }, "look at it by hand: access, or not needed");
	if (!found)
		import_lost(im, (struct import_at){ im->root, 0 }, "no control file of qmail is here");
	import_advise(im, "recipients: a line \"USER@DOMAIN system:USER\" for each user of this system who gets mail");
}
