/* OpenSMTPD: smtpd.conf's tables, actions and matches. Each `match ... for domain <X> action "y"` joins domains with what is done for them. */
#include <string.h>

#include "base/net.h"
#include "base/scan.h"
#include "base/text.h"
#include "ctl/import.h"

enum { MAX_TABLES = 100, MAX_ACTIONS = 100, MAX_WORDS = 60 };

struct table {
	struct slice name, file, items;   /* a file, or "a, b, c" or "a = x, b = y" */
	bool aliases_read;
};

struct action {
	struct slice name, kind, argument;
	struct slice users, aliases, virtual_users; /* tables' names */
	struct slice host;                          /* relay host */
	struct slice auth;
};

struct opensmtpd {
	struct import *im;
	struct table tables[MAX_TABLES];
	size_t table_count;
	struct action actions[MAX_ACTIONS];
	size_t action_count;
	const struct action *action;      /* of the match that is carried out */
	struct import_at at;
	struct slice value;
};

/* Words: quoted strings without their quotes, "<name>", "{", "}". */
static bool next_word(struct slice *in, struct slice *word)
{
	while (in->n && strchr(" \t,\r", in->p[0]))
		*in = slice_skip(*in, 1);
	if (!in->n || in->p[0] == '#')
		return false;
	if (in->p[0] == '"') {
		struct slice rest = slice_skip(*in, 1);
		*word = slice_cut(rest, '"', in);
		if (!in->p)
			*in = SLICE_NONE;
		return true;
	}
	size_t n = strchr("{}", in->p[0]) ? 1 : 0;
	while (n < in->n && (n == 0 || in->p[0] != '{') && in->p[0] != '}' && !strchr(" \t,\r{}", in->p[n]))
		n++;
	*word = slice_head(*in, n ? n : 1);
	*in = slice_skip(*in, n ? n : 1);
	return true;
}

static struct slice keep(struct opensmtpd *o, struct slice s)
{
	return arena_copy(&o->im->c->mem, s);
}

/* "{ a, b, c }" as one text. */
static struct slice braces(struct opensmtpd *o, struct slice *in)
{
	struct buf b = BUF_INIT(64 << 10);
	struct slice word;
	while (next_word(in, &word) && !slice_eq(word, SLICE("}"))) {
		bool quoted = in->p == word.p + word.n + 1 && (slice_find(word, ' ') < word.n || slice_find(word, ',') < word.n);
		buf_addf(&b, "%s%s%.*s%s", b.n ? " " : "", quoted ? "\"" : "", SLICE_FMT(word), quoted ? "\"" : "");
	}
	struct slice s = keep(o, buf_slice(&b));
	buf_free(&b);
	return s;
}

static void read_table(struct opensmtpd *o, struct slice rest, struct import_at at)
{
	struct slice name, word;
	if (!next_word(&rest, &name) || !next_word(&rest, &word) || o->table_count == MAX_TABLES)
		return import_lost(o->im, at, "a table that is not understood");
	struct table *t = &o->tables[o->table_count++];
	*t = (struct table){ .name = keep(o, name) };
	if (slice_eq(word, SLICE("{"))) {
		t->items = braces(o, &rest);
	} else if (scan_word(&word, SLICE("file:")) || scan_word(&word, SLICE("db:"))) {
		t->file = keep(o, slice_ends(word, SLICE(".db")) ? slice_head(word, word.n - 3) : word);
	} else if (word.n && word.p[0] == '/') {
		t->file = keep(o, word);
	} else {
		import_lost(o->im, at, "the table %.*s is of a kind without text (porterctl sync takes commands and LDAP)", SLICE_FMT(name));
		o->table_count--;
	}
}

static struct table *find_table(struct opensmtpd *o, struct slice name)
{
	if (name.n > 2 && name.p[0] == '<')
		name = slice(name.p + 1, name.n - 2);
	for (size_t i = 0; i < o->table_count; i++)
		if (slice_eq(o->tables[i].name, name))
			return &o->tables[i];
	return NULL;
}

/* Each entry of a table, or the words themselves. */
static void each(struct opensmtpd *o, struct slice name, struct import_at at, void (*line)(void *arg, struct slice line, struct import_at at))
{
	const struct table *t = find_table(o, name);
	struct slice items = t ? t->items : name, word;
	if (!t && name.n && name.p[0] == '<')
		return import_lost(o->im, at, "the table %.*s is not known", SLICE_FMT(name));
	if (t && t->file.n)
		return import_lines(o->im, t->file, false, line, o);
	while (next_word(&items, &word)) {
		struct slice rest = items, sign, value;
		if (next_word(&rest, &sign) && slice_eq(sign, SLICE("=")) && next_word(&rest, &value)) {
			items = rest;
			word = import_text(o->im, "%.*s %.*s", SLICE_FMT(word), SLICE_FMT(value));
		}
		line(o, word, at);
	}
}

static void read_action(struct opensmtpd *o, struct slice rest, struct import_at at)
{
	struct slice name, word;
	if (!next_word(&rest, &name) || !next_word(&rest, &word) || o->action_count == MAX_ACTIONS)
		return import_lost(o->im, at, "an action that is not understood");
	struct action *a = &o->actions[o->action_count++];
	*a = (struct action){ .name = keep(o, name), .kind = keep(o, word) };
	bool more = next_word(&rest, &word);
	static const char *const words[] = { "userbase", "alias", "virtual", "host", "backup", "auth", "user", "tls", "src", "helo", "mail-from", "ttl", "wrapper", "junk",
	                                     "rcpt-to", "verify" };
	while (more) {
		struct slice value = SLICE_NONE;
		size_t k = 0;
		while (k < sizeof words / sizeof *words && !slice_eq(word, slice_of(words[k])))
			k++;
		if (k == sizeof words / sizeof *words) {
			a->argument = keep(o, word);
			more = next_word(&rest, &word);
			continue;
		}
		bool flag = k == 4 || k == 7 || k == 13 || k == 14 || k == 15;
		more = next_word(&rest, &value);
		if (flag) {
			word = value;
			continue;
		}
		*(k == 0 ? &a->users : k == 1 ? &a->aliases : k == 2 ? &a->virtual_users : k == 3 ? &a->host : k == 5 ? &a->auth : &(struct slice){ 0 }) = keep(o, value);
		more = next_word(&rest, &word);
	}
}

/* "smtp+tls://label@host:port" to one of our next hops. */
static struct slice hop_of(struct opensmtpd *o, struct slice url, struct import_at at)
{
	struct slice rest = url, host = url, scheme = SLICE("smtp");
	size_t at_scheme = slice_find_slice(url, SLICE("://"));
	if (at_scheme < url.n) {
		scheme = slice_head(url, at_scheme);
		host = slice_skip(url, at_scheme + 3);
	}
	size_t label = slice_rfind(host, '@');
	struct slice login = label < host.n ? slice_head(host, label) : SLICE("");
	if (label < host.n)
		host = slice_skip(host, label + 1);
	rest = host;
	bool port = slice_rfind(rest, ':') < rest.n && rest.p[rest.n - 1] != ']';
	const char *usual = slice_starts(scheme, SLICE("smtps")) ? ":465" : login.n ? ":587" : ":25";
	const char *tls = slice_eq(scheme, SLICE("smtp+tls")) || slice_starts(scheme, SLICE("smtps")) ? " tls=encrypt" : "";
	if (slice_starts(scheme, SLICE("smtps")))
		import_lost(o->im, at, "%.*s: TLS from the first byte to a next hop; port 587 with STARTTLS is what Porter does", SLICE_FMT(url));
	if (slice_starts(scheme, SLICE("lmtp")))
		return import_text(o->im, "lmtp:%.*s%s", SLICE_FMT(host), port ? "" : ":24");
	return import_text(o->im, "%.*s%s%s%s%.*s", SLICE_FMT(host), port ? "" : usual, tls, login.n ? " credentials=" : "", SLICE_FMT(login));
}

static void domain_line(void *arg, struct slice line, struct import_at at)
{
	struct opensmtpd *o = arg;
	struct slice value, key = import_key(line, false, &value);
	if (!import_has(o->im, MAP_DOMAINS, key))
		import_put(o->im, MAP_DOMAINS, key, o->value, at);
}

static void route_line(void *arg, struct slice line, struct import_at at)
{
	struct opensmtpd *o = arg;
	struct slice value, key = import_key(line, false, &value);
	import_put(o->im, MAP_ROUTES, key, o->value, at);
}

static void client_line(void *arg, struct slice line, struct import_at at)
{
	struct opensmtpd *o = arg;
	struct net_ip ip;
	unsigned prefix;
	const char *why = NULL;
	if (!net_range_parse(line, &ip, &prefix, &why))
		return import_lost(o->im, at, "%.*s: %s", SLICE_FMT(line), why ? why : "no network");
	import_put(o->im, MAP_CLIENTS, line, prefix < (ip.is_v4 ? 24U : 64U) ? SLICE("wide, *") : SLICE("*"), at);
}

static void secret_line(void *arg, struct slice line, struct import_at at)
{
	struct opensmtpd *o = arg;
	struct slice value, key = import_key(line, false, &value), password, user = slice_cut(value, ':', &password);
	if (password.n)
		import_put(o->im, MAP_CREDENTIALS, key, import_text(o->im, "hop \"%.*s\" \"%.*s\"", SLICE_FMT(user), SLICE_FMT(password)), at);
}

static void virtual_line(void *arg, struct slice line, struct import_at at)
{
	struct opensmtpd *o = arg;
	struct slice value, key = import_key(line, true, &value), targets;
	if (key.n && key.p[0] == '@' && value.n && value.p[0] == '@')
		return import_lost(o->im, at, "%.*s: a whole domain for another; alias-of in domains does that", SLICE_FMT(key));
	if (!value.n)
		return import_lost(o->im, at, "%.*s leads nowhere", SLICE_FMT(slice_head(key, 200)));
	targets = import_targets(o->im, value, at);
	if (targets.p && !import_has(o->im, MAP_ALIASES, key))
		import_put(o->im, MAP_ALIASES, key, targets, at);
}

static void deliver_locally(struct opensmtpd *o, const struct action *a, struct slice domains, struct import_at at)
{
	o->value = SLICE("mailbox");
	if (domains.n)
		each(o, domains, at, domain_line);
	if (a->virtual_users.n)
		each(o, a->virtual_users, at, virtual_line);
	if (a->aliases.n) {
		struct table *t = find_table(o, a->aliases);
		if (t && t->file.n && !t->aliases_read)
			import_aliases_file(o->im, t->file, SLICE(""));
		else if (!t || !t->file.n)
			each(o, a->aliases, at, virtual_line);
		if (t)
			t->aliases_read = true; /* several actions may name it */
	}
	if (slice_eq(a->kind, SLICE("lmtp")))
		import_advise(o->im, "recipients: each address of %.*s with lmtp:%s%.*s", SLICE_FMT(domains), a->argument.n && a->argument.p[0] == '/' ? "unix:" : "", SLICE_FMT(a->argument));
	else if (slice_eq(a->kind, SLICE("mda")))
		import_lost(o->im, at, "the command %.*s: recipients takes program:/PATH, without a shell", SLICE_FMT(a->argument));
	else
		import_advise(o->im, "recipients: a line for each address of %.*s (%.*s %.*s), \"USER@DOMAIN system:USER\" for users of this system",
		              SLICE_FMT(domains.n ? domains : SLICE("this host")), SLICE_FMT(a->kind), SLICE_FMT(a->argument));
}

static void relay(struct opensmtpd *o, const struct action *a, struct slice domains, struct import_at at)
{
	struct slice hop = a->host.n ? hop_of(o, a->host, at) : SLICE("mx");
	if (a->auth.n)
		each(o, a->auth, at, secret_line);
	if (domains.n) {
		struct slice rest = hop, first;
		next_word(&rest, &first);
		o->value = import_text(o->im, "relay %.*s recipients=ask", SLICE_FMT(first));
		each(o, domains, at, domain_line);
		o->value = hop;
		if (rest.n)
			each(o, domains, at, route_line);
	} else if (a->host.n) {
		import_put(o->im, MAP_ROUTES, SLICE("*"), hop, at);
	}
}

static void carry_out(struct opensmtpd *o, struct slice name, struct slice domains, bool for_any, struct import_at at)
{
	for (size_t i = 0; i < o->action_count; i++) {
		const struct action *a = &o->actions[i];
		if (!slice_eq(a->name, name))
			continue;
		if (slice_eq(a->kind, SLICE("relay")))
			relay(o, a, for_any ? SLICE("") : domains, at);
		else if (for_any)
			import_lost(o->im, at, "local delivery for any domain");
		else
			deliver_locally(o, a, domains, at);
		return;
	}
	import_lost(o->im, at, "the action %.*s is not known", SLICE_FMT(name));
}

/* "match [!] from any|local|src <x> for any|local|domain X action Y | reject" */
static void read_match(struct opensmtpd *o, struct slice rest, struct import_at at)
{
	struct slice word, domains = SLICE(""), action = SLICE("");
	bool for_any = false, reject = false, odd = false;
	while (next_word(&rest, &word)) {
		if (slice_eq(word, SLICE("from")) && next_word(&rest, &word)) {
			if (slice_eq(word, SLICE("src")) && next_word(&rest, &word))
				each(o, slice_eq(word, SLICE("{")) ? braces(o, &rest) : keep(o, word), at, client_line);
			else if (!slice_eq(word, SLICE("any")) && !slice_eq(word, SLICE("local")) && !slice_eq(word, SLICE("auth")))
				odd = true;
		} else if (slice_eq(word, SLICE("for")) && next_word(&rest, &word)) {
			if (slice_eq(word, SLICE("domain")) && next_word(&rest, &word))
				domains = slice_eq(word, SLICE("{")) ? braces(o, &rest) : keep(o, word);
			else if (slice_eq(word, SLICE("any")))
				for_any = true;
			else if (!slice_eq(word, SLICE("local")))
				odd = true;
		} else if (slice_eq(word, SLICE("action"))) {
			if (next_word(&rest, &word))
				action = keep(o, word);
		} else if (slice_eq(word, SLICE("reject"))) {
			reject = true;
		} else if (!slice_eq(word, SLICE("auth")) && !slice_eq(word, SLICE("tls"))) {
			odd = true;
		}
	}
	if (odd || reject)
		import_lost(o->im, at, "a condition or refusal for which access has to be written by hand");
	else
		carry_out(o, action, domains, for_any, at);
}

static void conf_line(void *arg, struct slice line, struct import_at at)
{
	struct opensmtpd *o = arg;
	struct slice rest = line, word;
	if (!next_word(&rest, &word))
		return;
	if (slice_eq(word, SLICE("table")))
		read_table(o, rest, at);
	else if (slice_eq(word, SLICE("action")))
		read_action(o, rest, at);
	else if (slice_eq(word, SLICE("match")))
		read_match(o, rest, at);
	else if (slice_eq(word, SLICE("listen")) || slice_eq(word, SLICE("pki")) || slice_eq(word, SLICE("smtp")) || slice_eq(word, SLICE("queue")) || slice_eq(word, SLICE("bounce")))
		import_advise(o->im, "porter.conf: what \"%.*s\" says", SLICE_FMT(slice_head(line, 120)));
	else
		import_lost(o->im, at, "%.*s", SLICE_FMT(slice_head(line, 120)));
}

void import_opensmtpd(struct import *im, const char *file)
{
	static struct opensmtpd o; /* large; one import a run */
	o = (struct opensmtpd){ .im = im };
	import_lines(im, file ? slice_of(file) : SLICE("smtpd.conf"), true, conf_line, &o);
}
