/* Postfix: main.cf, and the tables it names. Lookup tables of the types hash, btree, cdb, lmdb, dbm and texthash have text beside them, which is read. */
#include <string.h>

#include "base/net.h"
#include "base/scan.h"
#include "base/text.h"
#include "ctl/import.h"
#include "maps/map_key.h"

enum { MAX_PARAMETERS = 1000, MAX_EXPANSION = 10, MAX_VALUE = 64 << 10 };

struct parameter {
	struct slice name, value;
	struct import_at at;
};

struct postfix {
	struct import *im;
	struct parameter all[MAX_PARAMETERS];
	size_t count;
	unsigned map;                  /* of the table that is read */
	const char *prefix;            /* of access keys */
	struct slice base;             /* virtual_mailbox_base */
	struct slice local;            /* where bare addresses are: myorigin, or the first of mydestination */
	struct slice domain_value;     /* of the list of domains that is read */
};

/* main.cf ------------------------------------------------------------------------------------------------------------------------------- */

static void parameter_line(void *arg, struct slice line, struct import_at at)
{
	struct postfix *p = arg;
	struct slice value, name = slice_trim(slice_cut(line, '=', &value));
	if (!value.p || p->count == MAX_PARAMETERS)
		return import_lost(p->im, at, "this line of main.cf is not understood");
	p->all[p->count++] = (struct parameter){ arena_copy(&p->im->c->mem, name), arena_copy(&p->im->c->mem, slice_trim(value)), at };
}

static const struct parameter *find(const struct postfix *p, struct slice name)
{
	for (size_t i = p->count; i-- > 0;)     /* the last one counts */
		if (slice_eq(p->all[i].name, name))
			return &p->all[i];
	return NULL;
}

static struct slice usual(struct slice name)
{
	static const char *const rows[][2] = {
		{ "mydestination", "$myhostname, localhost.$mydomain, localhost" }, { "mydomain", "localdomain" }, { "myhostname", "localhost" },
		{ "config_directory", "/etc/postfix" }, { "alias_maps", "hash:/etc/aliases" }, { "myorigin", "$myhostname" }, { "virtual_alias_domains", "$virtual_alias_maps" },
		{ "virtual_mailbox_domains", "$virtual_mailbox_maps" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (slice_eq(name, slice_of(rows[i][0])))
			return slice_of(rows[i][1]);
	return SLICE("");
}

static bool is_name_byte(unsigned char c)
{
	return text_is_alnum(c) || c == '_';
}

static void expand(struct postfix *p, struct slice s, unsigned depth, struct buf *out)
{
	while (s.n) {
		size_t dollar = slice_find(s, '$');
		buf_add(out, slice_head(s, dollar));
		s = slice_skip(s, dollar + 1);
		struct slice name, before = s;
		bool braces = scan_byte(&s, '{') || scan_byte(&s, '(');
		if (dollar == before.n + dollar || !scan_while(&s, is_name_byte, 100, &name))
			continue;
		if (braces && s.n)
			s = slice_skip(s, 1);
		const struct parameter *par = find(p, name);
		if (depth < MAX_EXPANSION)
			expand(p, par ? par->value : usual(name), depth + 1, out);
	}
}

static struct slice value_of(struct postfix *p, const char *name)
{
	struct buf b = BUF_INIT(MAX_VALUE);
	const struct parameter *par = find(p, slice_of(name));
	expand(p, par ? par->value : usual(slice_of(name)), 0, &b);
	struct slice s = arena_copy(&p->im->c->mem, buf_slice(&b));
	buf_free(&b);
	return s;
}

static struct import_at at_of(const struct postfix *p, const char *name)
{
	const struct parameter *par = find(p, slice_of(name));
	return par ? par->at : (struct import_at){ "main.cf", 0 };
}

/* What stands in braces is one word: "inline:{ a=b, {c=d, e} }". */
static bool next_word(struct slice *list, struct slice *word)
{
	while (list->n && strchr(", \t\r\n", list->p[0]))
		*list = slice_skip(*list, 1);
	size_t n = 0, depth = 0;
	while (n < list->n && (depth || !strchr(", \t\r\n", list->p[n]))) {
		depth += list->p[n] == '{';
		depth -= list->p[n] == '}' && depth;
		n++;
	}
	*word = slice_head(*list, n);
	*list = slice_skip(*list, n);
	return n > 0;
}

/* Tables -------------------------------------------------------------------------------------------------------------------------------- */

/* "hash:/etc/postfix/virtual" to the text file; SLICE_NONE: no text. */
static struct slice table_file(struct postfix *p, struct slice word, struct import_at at)
{
	static const char *const types[] = { "hash", "btree", "cdb", "lmdb", "dbm", "texthash", "sdbm" };
	scan_word(&word, SLICE("proxy:"));
	struct slice name, type = slice_cut(word, ':', &name);
	for (size_t i = 0; name.p && i < sizeof types / sizeof *types; i++)
		if (slice_eq(type, slice_of(types[i])))
			return name;
	import_lost(p->im, at, "%.*s: a table of this type has no text that could be read (porterctl sync takes commands and LDAP)", SLICE_FMT(word));
	return SLICE_NONE;
}

static void each_table(struct postfix *p, const char *parameter, void (*line)(void *arg, struct slice line, struct import_at at))
{
	struct slice list = value_of(p, parameter), word;
	struct import_at at = at_of(p, parameter);
	while (next_word(&list, &word)) {
		struct slice file = slice_find(word, ':') < word.n ? table_file(p, word, at) : word;
		if (file.p && (import_exists(p->im, file) || find(p, slice_of(parameter))))
			import_lines(p->im, file, true, line, p);
	}
}

static struct slice whole(struct postfix *p, struct slice target)
{
	return slice_find(target, '@') < target.n || !p->local.n ? target : import_text(p->im, "%.*s@%.*s", SLICE_FMT(target), SLICE_FMT(p->local));
}

/* Bare targets of virtual(5) are at myorigin: the first of mydestination is meant, since there is nothing else to deliver to. */
static struct slice virtual_targets(struct postfix *p, struct slice value, struct import_at at)
{
	struct buf out = BUF_INIT(1 << 20);
	struct slice list = import_targets(p->im, value, at), item;
	if (!list.p)
		return list;
	while (map_item(&list, ',', &item))
		buf_addf(&out, "%s%.*s", out.n ? ", " : "", SLICE_FMT(whole(p, item)));
	struct slice s = arena_copy(&p->im->c->mem, buf_slice(&out));
	buf_free(&out);
	return s;
}

static void virtual_line(void *arg, struct slice line, struct import_at at)
{
	struct postfix *p = arg;
	struct slice value, key = import_key(line, false, &value);
	if (slice_find(key, '@') == key.n && slice_find(key, '.') < key.n) {   /* "domain anything": it is a virtual alias domain */
		if (!import_has(p->im, MAP_DOMAINS, key))
			import_put(p->im, MAP_DOMAINS, key, SLICE("mailbox"), at);
		return;
	}
	if (key.n && key.p[0] == '@' && value.n && value.p[0] == '@') {        /* "@old @new" */
		struct slice old = slice_skip(key, 1), value_text = import_text(p->im, "alias-of %.*s", SLICE_FMT(slice_skip(value, 1)));
		if (import_has(p->im, MAP_DOMAINS, old))
			import_lost(p->im, at, "%.*s is a domain with addresses of its own: it can't also be another's alias", SLICE_FMT(old));
		else
			import_put(p->im, MAP_DOMAINS, old, value_text, at);
		return;
	}
	struct slice targets = virtual_targets(p, value, at);
	if (targets.p)
		import_put(p->im, MAP_ALIASES, key, targets, at);
}

static void mailbox_line(void *arg, struct slice line, struct import_at at)
{
	struct postfix *p = arg;
	struct slice value, key = import_key(line, false, &value);
	if (slice_find(key, '@') == key.n) {
		if (!import_has(p->im, MAP_DOMAINS, key))
			import_put(p->im, MAP_DOMAINS, key, SLICE("mailbox"), at);
		return;
	}
	bool maildir = slice_ends(value, SLICE("/"));
	struct slice path = slice_head(value, value.n - maildir);
	struct slice place = path.n && path.p[0] != '/' && p->base.n ? import_text(p->im, "%.*s/%.*s", SLICE_FMT(p->base), SLICE_FMT(path)) : path;
	import_put(p->im, MAP_RECIPIENTS, key, import_text(p->im, "%s:%.*s", maildir ? "maildir" : "mbox", SLICE_FMT(place)), at);
}

static void relayed_line(void *arg, struct slice line, struct import_at at)
{
	struct postfix *p = arg;
	struct slice value, key = import_key(line, false, &value);
	import_put_relayed(p->im, key, at);
}

static void canonical_line(void *arg, struct slice line, struct import_at at)
{
	struct postfix *p = arg;
	struct slice value, key = import_key(line, false, &value);
	if (slice_find(key, '@') < key.n && key.p[0] != '@' && slice_find(value, '@') < value.n && !import_has(p->im, MAP_ALIASES, key))
		import_put(p->im, MAP_ALIASES, key, value, at);
	else
		import_lost(p->im, at, "%.*s: addresses in headers are not rewritten, and this is no address of its own", SLICE_FMT(slice_head(key, 200)));
}

/* transport(5): "smtp:[host]:port", "lmtp:unix:path", "error:text", ":[host]" ... */
static void transport_line(void *arg, struct slice line, struct import_at at)
{
	struct postfix *p = arg;
	struct slice value, key = import_key(line, false, &value), hop, transport = slice_cut(value, ':', &hop);
	if (slice_eq(transport, SLICE("error")) || slice_eq(transport, SLICE("retry"))) {
		bool no = transport.p[0] == 'e';
		if (slice_find(key, '@') < key.n && key.p[0] != '@')
			import_put(p->im, MAP_ALIASES, key, import_text(p->im, "%s %.*s", no ? ":refuse:" : ":defer:", SLICE_FMT(slice_trim(hop))), at);
		else if (no && slice_find(key, '.') < key.n)
			import_put(p->im, MAP_DOMAINS, key, import_text(p->im, "refuse %.*s", SLICE_FMT(slice_trim(hop))), at);
		else
			import_lost(p->im, at, "%.*s %.*s", SLICE_FMT(key), SLICE_FMT(value));
	} else if (slice_eq(transport, SLICE("lmtp"))) {
		import_put(p->im, MAP_ROUTES, key, import_text(p->im, "lmtp:%.*s", SLICE_FMT(slice_starts(hop, SLICE("inet:")) ? slice_skip(hop, 5) : hop)), at);
	} else if (slice_eq(transport, SLICE("smtp")) || slice_eq(transport, SLICE("relay")) || !transport.n) {
		struct slice host = slice_trim(hop);
		if (!host.n)
			import_put(p->im, MAP_ROUTES, key, SLICE("mx"), at);
		else if (host.p[0] == '[' || slice_find(host, ':') < host.n) {
			struct slice rest, name = host.p[0] == '[' ? slice_cut(slice_skip(host, 1), ']', &rest) : host;
			struct net_ip ip;
			if (scan_word(&name, SLICE("IPv6:")))
				host = import_text(p->im, "[%.*s]%.*s", SLICE_FMT(name), SLICE_FMT(rest));
			bool address = net_ip_parse(name, &ip);
			import_put(p->im, MAP_ROUTES, key, host.p[0] == '[' && !address ? import_text(p->im, "%.*s%.*s", SLICE_FMT(name), SLICE_FMT(rest)) : host, at);
		} else {
			import_put(p->im, MAP_ROUTES, key, import_text(p->im, "mx:%.*s", SLICE_FMT(host)), at);
		}
	} else {
		import_lost(p->im, at, "%.*s: the transport %.*s", SLICE_FMT(slice_head(key, 200)), SLICE_FMT(transport));
	}
}

/* access(5) ----------------------------------------------------------------------------------------------------------------------------- */

static struct slice access_value(struct postfix *p, struct slice value)
{
	struct slice rest = value, word;
	uint64_t code;
	if (!next_word(&rest, &word))
		return SLICE_NONE;
	rest = slice_trim(rest);
	if (slice_eq_nocase(word, SLICE("OK")) || slice_eq_nocase(word, SLICE("PERMIT")) || scan_uint_all(word, 399, &code))
		return SLICE("accept");
	if (slice_eq_nocase(word, SLICE("REJECT")))
		return import_text(p->im, "refuse %.*s", SLICE_FMT(rest));
	if (slice_eq_nocase(word, SLICE("DEFER")) || slice_eq_nocase(word, SLICE("DEFER_IF_PERMIT")) || slice_eq_nocase(word, SLICE("DEFER_IF_REJECT")))
		return import_text(p->im, "defer %.*s", SLICE_FMT(rest));
	if (scan_uint_all(word, 599, &code) && code >= 400)
		return import_text(p->im, "%s %.*s", code < 500 ? "defer" : "refuse", SLICE_FMT(value));
	return SLICE_NONE;
}

/* "192.0.2" is a network of whole octets. */
static struct slice client_key(struct postfix *p, struct slice key)
{
	size_t dots = 0;
	for (size_t i = 0; i < key.n; i++) {
		if (!text_is_digit((unsigned char)key.p[i]) && key.p[i] != '.')
			return slice_find(key, ':') < key.n || slice_find(key, '/') < key.n ? key : import_text(p->im, "ptr:%.*s", SLICE_FMT(key));
		dots += key.p[i] == '.';
	}
	static const char *const rest[] = { ".0.0.0/8", ".0.0/16", ".0/24", "" };
	return dots < 3 ? import_text(p->im, "%.*s%s", SLICE_FMT(key), rest[dots]) : key;
}

static void access_line(void *arg, struct slice line, struct import_at at)
{
	struct postfix *p = arg;
	struct slice value, key = import_key(line, false, &value);
	if (slice_starts_nocase(value, SLICE("DUNNO")))
		return;
	struct slice ours = access_value(p, value);
	if (!ours.p)
		return import_lost(p->im, at, "%.*s %.*s: an action that Porter has not", SLICE_FMT(slice_head(key, 100)), SLICE_FMT(slice_head(value, 100)));
	struct slice name = key;
	if (strcmp(p->prefix, "client:") == 0)
		name = client_key(p, key);
	else if (slice_ends(key, SLICE("@")))
		return import_lost(p->im, at, "%.*s: a local-part in every domain", SLICE_FMT(key));
	else
		name = import_text(p->im, "%s%.*s", p->prefix, SLICE_FMT(key));
	import_put(p->im, MAP_ACCESS, name, ours, at);
}

static void restrictions(struct postfix *p, const char *parameter)
{
	static const char *const checks[][2] = { { "check_client_access", "client:" }, { "check_helo_access", "helo:" }, { "check_sender_access", "from:" },
		                                 { "check_recipient_access", "to:" }, { "check_reverse_client_hostname_access", "client:" } };
	static const char *const others[] = { "check_policy_service", "reject_rbl_client", "reject_rhsbl_client", "reject_rhsbl_sender", "reject_rhsbl_helo", "check_sasl_access",
		                              "check_ccert_access", "check_sender_mx_access", "check_sender_ns_access", "check_recipient_mx_access", "check_helo_mx_access" };
	struct slice list = value_of(p, parameter), word;
	while (next_word(&list, &word)) {
		for (size_t i = 0; i < sizeof others / sizeof *others; i++)
			if (slice_eq(word, slice_of(others[i])) && next_word(&list, &word))
				import_lost(p->im, at_of(p, parameter), "%s %.*s: a check for porter.conf", others[i], SLICE_FMT(slice_head(word, 200)));
		for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
			if (!slice_eq(word, slice_of(checks[i][0])) || !next_word(&list, &word))
				continue;
			struct slice file = table_file(p, word, at_of(p, parameter));
			p->prefix = checks[i][1];
			if (file.p)
				import_lines(p->im, file, true, access_line, p);
			break;
		}
	}
}

/* Domains, networks, logins ------------------------------------------------------------------------------------------------------------- */

static void domain_line(void *arg, struct slice line, struct import_at at)
{
	struct postfix *p = arg;
	struct slice value, key = import_key(line, false, &value);
	if (!import_has(p->im, MAP_DOMAINS, key))
		import_put(p->im, MAP_DOMAINS, key, p->domain_value, at);
}

/* A list of domains: names, files and tables. */
static void domains(struct postfix *p, const char *parameter, struct slice value)
{
	struct slice list = value_of(p, parameter), word;
	struct import_at at = at_of(p, parameter);
	p->domain_value = value;
	while (next_word(&list, &word)) {
		if (word.p[0] == '/') {
			import_lines(p->im, word, false, domain_line, p);
		} else if (slice_find(word, ':') < word.n) {
			struct slice file = table_file(p, word, at);
			if (file.p)
				import_lines(p->im, file, true, domain_line, p);
		} else if (slice_find(word, '.') == word.n && !slice_eq(word, SLICE("localhost"))) {
			import_lost(p->im, at, "%s: %.*s is no whole domain", parameter, SLICE_FMT(word));
		} else if (!import_has(p->im, MAP_DOMAINS, word)) {
			import_put(p->im, MAP_DOMAINS, word, value, at);
		}
	}
}

static void networks(struct postfix *p)
{
	struct slice list = value_of(p, "mynetworks"), word;
	struct import_at at = at_of(p, "mynetworks");
	while (next_word(&list, &word)) {
		struct net_ip ip;
		unsigned prefix;
		const char *why;
		if (word.p[0] == '[') {                /* "[::1]/128" */
			struct slice rest, inner = slice_cut(slice_skip(word, 1), ']', &rest);
			word = import_text(p->im, "%.*s%.*s", SLICE_FMT(inner), SLICE_FMT(rest));
		}
		if (!net_range_parse(word, &ip, &prefix, &why))
			import_lost(p->im, at, "mynetworks: %.*s: %s", SLICE_FMT(word), why ? why : "no network");
		else
			import_put(p->im, MAP_CLIENTS, word, prefix < (ip.is_v4 ? 24U : 64U) ? SLICE("wide, *") : SLICE("*"), at);
	}
}

/* address → logins there, login → addresses here. */
static void login_line(void *arg, struct slice line, struct import_at at)
{
	struct postfix *p = arg;
	struct slice value, key = import_key(line, false, &value), word;
	while (next_word(&value, &word))
		import_put(p->im, MAP_SENDERS, word, key, at);
}

static void password_line(void *arg, struct slice line, struct import_at at)
{
	struct postfix *p = arg;
	struct slice value, key = import_key(line, false, &value), password, user = slice_cut(value, ':', &password);
	struct slice name = import_text(p->im, "hop-%.*s", SLICE_FMT(key));
	for (size_t i = 0; i < name.n; i++)
		if (strchr("[]:@", name.p[i]))
			((char *)(uintptr_t)name.p)[i] = '-';
	import_put(p->im, MAP_CREDENTIALS, name, import_text(p->im, "hop \"%.*s\" \"%.*s\"", SLICE_FMT(user), SLICE_FMT(password)), at);
	import_advise(p->im, "routes: add credentials=%.*s to the line whose next hop is %.*s", SLICE_FMT(name), SLICE_FMT(key));
}

static void relayhost(struct postfix *p)
{
	struct slice host = value_of(p, "relayhost");
	if (host.n)
		transport_line(p, import_text(p->im, "* smtp:%.*s", SLICE_FMT(host)), at_of(p, "relayhost"));
}

/* With Postfix all of mydestination has the same users. */
static void advise_same_users(struct postfix *p)
{
	struct slice list = value_of(p, "mydestination"), word;
	struct buf others = BUF_INIT(MAX_VALUE);
	while (next_word(&list, &word))
		if (word.p[0] != '/' && slice_find(word, ':') == word.n && !slice_eq(word, p->local))
			buf_addf(&others, "%s%.*s", others.n ? ", " : "", SLICE_FMT(word));
	if (others.n && p->local.n)
		import_advise(p->im, "domains: \"alias-of %.*s\" for those of %.*s that have its users and no addresses of their own", SLICE_FMT(p->local), SLICE_FMT(buf_slice(&others)));
	buf_free(&others);
}

static void advise(struct postfix *p)
{
	static const char *const rows[][2] = { { "message_size_limit", "size-limit" }, { "myhostname", "hostname" }, { "virtual_mailbox_base", "mail-root" } };
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (find(p, slice_of(rows[i][0])))
			import_advise(p->im, "porter.conf: %s %.*s", rows[i][1], SLICE_FMT(value_of(p, rows[i][0])));
	if (find(p, SLICE("smtp_tls_policy_maps")))
		import_advise(p->im, "routes: tls= for what smtp_tls_policy_maps says");
	static const char *const others[] = { "sender_canonical_maps", "smtp_generic_maps", "sender_bcc_maps", "recipient_bcc_maps", "always_bcc", "header_checks", "body_checks",
		                              "content_filter", "smtpd_milters", "sender_dependent_relayhost_maps", "virtual_transport", "mailbox_transport", "mailbox_command",
		                              "local_transport", "luser_relay", "fallback_transport", "transport_maps_regexp" };
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		if (find(p, slice_of(others[i])) && value_of(p, others[i]).n)
			import_lost(p->im, at_of(p, others[i]), "%s = %.*s", others[i], SLICE_FMT(slice_head(value_of(p, others[i]), 200)));
	struct slice delimiter = value_of(p, "recipient_delimiter");
	if (delimiter.n && !slice_eq(delimiter, SLICE("+")))
		import_advise(p->im, "domains: delimiter=%.*s behind each domain whose subaddresses begin so (recipient_delimiter = %.*s)", SLICE_FMT(slice_head(delimiter, 1)), SLICE_FMT(delimiter));
	advise_same_users(p);
	if (p->local.n)
		import_advise(p->im, "recipients: a line \"USER@%.*s system:USER\" for each user of this system who gets mail", SLICE_FMT(p->local));
}

static void find_local(struct postfix *p)
{
	struct slice list = value_of(p, "mydestination"), origin = value_of(p, "myorigin"), word;
	p->local = SLICE("");
	while (next_word(&list, &word)) {
		bool whole_name = word.p[0] != '/' && slice_find(word, '.') < word.n && slice_find(word, ':') == word.n;
		if (whole_name && (!p->local.n || slice_eq_nocase(word, origin)))
			p->local = word;
	}
}

void import_postfix(struct import *im)
{
	static struct postfix p; /* large; one import a run */
	p = (struct postfix){ .im = im };
	import_lines(im, SLICE("main.cf"), true, parameter_line, &p);
	if (!p.count)
		return;
	find_local(&p);
	p.base = value_of(&p, "virtual_mailbox_base");
	while (p.base.n > 1 && p.base.p[p.base.n - 1] == '/')
		p.base.n--;
	domains(&p, "mydestination", SLICE("mailbox"));
	if (find(&p, SLICE("virtual_mailbox_domains")))
		domains(&p, "virtual_mailbox_domains", SLICE("mailbox"));
	if (find(&p, SLICE("virtual_alias_domains")))
		domains(&p, "virtual_alias_domains", SLICE("mailbox"));
	domains(&p, "relay_domains", find(&p, SLICE("relay_recipient_maps")) ? SLICE("relay mx recipients=relay-recipients") : SLICE("relay mx recipients=ask"));
	each_table(&p, "relay_recipient_maps", relayed_line);
	each_table(&p, "virtual_mailbox_maps", mailbox_line);
	each_table(&p, "virtual_alias_maps", virtual_line);
	struct slice maps = value_of(&p, "alias_maps"), word;
	while (next_word(&maps, &word)) {
		struct slice file = table_file(&p, word, at_of(&p, "alias_maps"));
		if (file.p && (import_exists(im, file) || find(&p, SLICE("alias_maps"))))
			import_aliases_file(im, file, SLICE(""));
	}
	each_table(&p, "canonical_maps", canonical_line);
	each_table(&p, "recipient_canonical_maps", canonical_line);
	each_table(&p, "transport_maps", transport_line);
	relayhost(&p);
	static const char *const stages[] = { "smtpd_client_restrictions", "smtpd_helo_restrictions", "smtpd_sender_restrictions", "smtpd_relay_restrictions",
		                              "smtpd_recipient_restrictions", "smtpd_data_restrictions" };
	for (size_t i = 0; i < sizeof stages / sizeof *stages; i++)
		restrictions(&p, stages[i]);
	networks(&p);
	each_table(&p, "smtpd_sender_login_maps", login_line);
	each_table(&p, "smtp_sasl_password_maps", password_line);
	advise(&p);
}
