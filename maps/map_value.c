/* Readers of values: words separated by blanks, options as name=value, targets separated by commas. */
#include "maps/map_value.h"

#include "base/buf.h"
#include "base/login_proto.h"
#include "base/net.h"
#include "base/scan.h"
#include "base/text.h"
#include "maps/map.h"
#include "maps/map_key.h"
#include "maps/value.h"

enum { MAX_TARGETS = 100000, MAX_TEXT = 200, MAX_ARGV = 64, MAX_ROUTE = 1000 /* records between processes hold no longer one */ };

static const char too_much[] = "too much at once";

static struct slice next_word(struct slice *in)
{
	scan_blanks(in);
	size_t n = 0;
	while (n < in->n && in->p[n] != ' ' && in->p[n] != '\t')
		n++;
	struct slice word = slice_head(*in, n);
	*in = slice_skip(*in, n);
	return word;
}

/* "name=value": true and *value. */
static bool option(struct slice word, const char *name, struct slice *value)
{
	struct slice n = slice_of(name);
	if (!slice_starts(word, n) || word.n <= n.n || word.p[n.n] != '=')
		return false;
	*value = slice_skip(word, n.n + 1);
	return true;
}

static const char *address(struct slice s, struct arena *mem, struct slice *out)
{
	struct slice local, domain;
	if (!map_key_split(s, &local, &domain) || !local.n)
		return "an address local@domain is wanted";
	return map_key_address(s, mem, out);
}

/* A text for strangers: printable, one line, not too long. */
static const char *reply_text(struct slice s, struct slice fallback, struct slice *out)
{
	s = slice_trim(s);
	if (s.n > MAX_TEXT || !text_is_utf8(s))
		return "the text has more than 200 bytes, or is not UTF-8";
	*out = s.n ? s : fallback;
	return NULL;
}

/* Next hops ------------------------------------------------------------------------------------------------------------------------- */

/* "HOST", "HOST:PORT", "[HOST]", "[HOST]:PORT": a name or an address in front, the port behind; brackets are needed for IPv6 alone. */
static const char *cut_port(struct slice s, struct slice *host, struct slice *number)
{
	if (s.n && s.p[0] == '[') {
		size_t end = slice_find(s, ']');
		if (end == s.n)
			return "the closing bracket is missing";
		*host = slice(s.p + 1, end - 1);
		*number = slice_skip(s, end + 1);
		if (number->n && number->p[0] != ':')
			return "behind the bracket stands a colon and a port, or nothing";
		*number = slice_skip(*number, 1);
		return NULL;
	}
	*host = slice_head(s, slice_rfind(s, ':'));
	*number = slice_skip(s, host->n + 1);
	return host->n < s.n && !number->n ? "the port is missing behind the colon" : NULL;
}

static const char *host_port(struct slice s, struct slice head, bool port_required, struct arena *mem, struct slice *out)
{
	uint64_t port = 25;
	struct slice host, number;
	struct net_ip ip;
	const char *why = cut_port(s, &host, &number);
	if (why)
		return why;
	if ((number.n || port_required) && (!scan_uint_all(number, 65535, &port) || !port))
		return "a port is a number from 1 to 65535";
	bool is_address = net_ip_parse(host, &ip);
	why = is_address ? NULL : map_key_domain(host, mem, &host);
	if (why)
		return why;
	struct buf b = BUF_INIT(400);
	buf_add(&b, head);
	buf_addf(&b, is_address ? "[%.*s]:%u" : "%.*s:%u", SLICE_FMT(host), (unsigned)port);
	*out = arena_copy(mem, buf_slice(&b));
	buf_free(&b);
	return out->p ? NULL : too_much;
}

const char *map_place_parse(struct slice word, struct arena *mem, struct slice *out)
{
	if (slice_eq(word, SLICE("mx"))) {
		*out = SLICE("mx:");
		return NULL;
	}
	if (slice_starts(word, SLICE("mx:"))) {
		struct slice domain;
		const char *why = map_key_domain(slice_skip(word, 3), mem, &domain);
		struct buf b = BUF_INIT(300);
		buf_add(&b, SLICE("mx:"));
		buf_add(&b, why ? SLICE("") : domain);
		*out = arena_copy(mem, buf_slice(&b));
		buf_free(&b);
		return why ? why : out->p ? NULL : too_much;
	}
	if (slice_starts(word, SLICE("lmtp:unix:"))) {
		*out = word;
		return word.n > 11 && word.p[10] == '/' && word.n < 110 ? NULL : "lmtp:unix: wants the absolute path of a socket";
	}
	if (slice_starts(word, SLICE("lmtp:")))
		return host_port(slice_skip(word, 5), SLICE("lmtp:"), true, mem, out);
	if (!word.n)
		return "a next hop is missing";
	return host_port(word, SLICE(""), false, mem, out);
}

static const char *read_sources(struct slice text, struct map_route *r)
{
	static const char why[] = "source is an address of this machine, or one of each family: 192.0.2.1,2001:db8::1";
	struct slice item;
	r->sources = 0;
	while (map_item(&text, ',', &item))
		if (r->sources == 2 || !net_ip_parse(item, &r->source[r->sources++]))
			return why;
	return r->sources && (r->sources == 1 || r->source[0].is_v4 != r->source[1].is_v4) ? NULL : why;
}

const char *map_route_parse(struct slice value, struct arena *mem, struct map_route *out)
{
	struct map_route r = { .place = SLICE(""), .tls = SLICE(""), .credentials = SLICE("") };
	const char *why = value.n > MAX_ROUTE ? "a route has at most 1000 bytes" : map_place_parse(next_word(&value), mem, &r.place);
	for (struct slice word = next_word(&value); !why && word.n; word = next_word(&value)) {
		struct slice source;
		if (option(word, "tls", &r.tls)) {
			if (!slice_eq(r.tls, SLICE("may")) && !slice_eq(r.tls, SLICE("encrypt")) && !slice_eq(r.tls, SLICE("verify")) && !slice_eq(r.tls, SLICE("dane")))
				why = "tls is may, encrypt, verify or dane";
		} else if (option(word, "source", &source)) {
			why = read_sources(source, &r);
		} else if (!option(word, "credentials", &r.credentials)) {
			why = "an option of a route is tls=, source= or credentials=";
		} else if (r.credentials.n > LOGIN_MAX_NAME) {
			why = "a name in credentials has at most 320 bytes here";
		}
	}
	if (!why)
		*out = r;
	return why;
}

/* Domains --------------------------------------------------------------------------------------------------------------------------- */

static const char *size_option(struct slice value, uint64_t *out)
{
	return scan_size_all(value, UINT64_MAX / 4, out) ? NULL : "a size is a number with k, M, G or T behind it, or nothing";
}

static const char *domain_option(struct slice word, struct arena *mem, struct map_domain *d)
{
	struct slice v;
	if (option(word, "quota", &v))
		return size_option(v, &d->quota_bytes);
	if (option(word, "quota-messages", &v))
		return scan_uint_all(v, UINT32_MAX, &d->quota_messages) ? NULL : "quota-messages is a number";
	if (option(word, "size", &v))
		return size_option(v, &d->size_limit);
	if (option(word, "delimiter", &d->delimiter))
		return d->delimiter.n <= 1 && (!d->delimiter.n || strchr("+-=_.#", d->delimiter.p[0])) ? NULL : "delimiter is one of + - = _ . # or empty";
	if (option(word, "catch-all", &v))
		return address(v, mem, &d->catch_all);
	if (option(word, "postmaster", &v))
		return address(v, mem, &d->postmaster);
	if (slice_eq(word, SLICE("case=exact")))
		d->exact_case = true;
	else if (slice_eq(word, SLICE("sole-sender")))
		d->sole_sender = true;
	else if (slice_eq(word, SLICE("batv")))
		d->batv = true;
	else if (slice_eq(word, SLICE("srs")))
		d->srs = true;
	else
		return "this option of a domain is unknown (quota= quota-messages= size= delimiter= catch-all= postmaster= case=exact sole-sender batv srs)";
	return NULL;
}

static const char *relay_source(struct slice word, struct map_domain *d)
{
	if (!option(word, "recipients", &d->recipients) || !d->recipients.n)
		return "a relayed domain names its source of valid recipients: recipients=MAP or recipients=ask";
	for (size_t i = 0; i < d->recipients.n; i++)
		if (!text_is_alnum((unsigned char)d->recipients.p[i]) && d->recipients.p[i] != '-' && d->recipients.p[i] != '_')
			return "a map's name is made of letters, digits, - and _";
	d->ask = slice_eq(d->recipients, SLICE("ask"));
	if (d->ask)
		d->recipients = SLICE("");
	return NULL;
}

const char *map_domain_parse(struct slice value, struct arena *mem, struct map_domain *out)
{
	struct map_domain d = { .target = SLICE(""), .recipients = SLICE(""), .delimiter = SLICE("+"), .catch_all = SLICE(""), .postmaster = SLICE("") };
	struct slice word = next_word(&value);
	const char *why = NULL;
	if (slice_eq(word, SLICE("mailbox"))) {
		d.kind = DOMAIN_MAILBOX;
	} else if (slice_eq(word, SLICE("relay"))) {
		d.kind = DOMAIN_RELAY;
		why = map_place_parse(next_word(&value), mem, &d.target);
		why = why ? why : relay_source(next_word(&value), &d);
	} else if (slice_eq(word, SLICE("alias-of"))) {
		d.kind = DOMAIN_ALIAS_OF;
		why = map_key_domain(next_word(&value), mem, &d.target);
	} else if (slice_eq(word, SLICE("refuse"))) {
		d.kind = DOMAIN_REFUSE;
		why = reply_text(value, SLICE("No mail is taken for this domain"), &d.target);
		value = SLICE_NONE;
	} else {
		why = "a domain is `mailbox`, `relay NEXT-HOP recipients=MAP|ask`, `alias-of DOMAIN` or `refuse TEXT`";
	}
	for (word = next_word(&value); !why && word.n; word = next_word(&value))
		why = domain_option(word, mem, &d);
	if (!why)
		*out = d;
	return why;
}

/* Mailboxes ------------------------------------------------------------------------------------------------------------------------- */

static bool is_safe_path(struct slice s)
{
	struct slice rest = s;
	if (!s.n || s.n > 900)
		return false;
	if (s.p[0] == '/')
		rest = slice_skip(s, 1);
	while (rest.p) {
		struct slice part = slice_cut(rest, '/', &rest);
		if ((!part.n && rest.p) || slice_eq(part, SLICE(".")) || slice_eq(part, SLICE("..")))
			return false;
	}
	return true;
}

static const char *program(struct slice rest, struct arena *mem, struct map_mailbox *m)
{
	struct buf argv = BUF_INIT(4000);
	size_t count = 0;
	for (struct slice word = next_word(&rest); word.n; word = next_word(&rest)) {
		if (count++)
			buf_add_byte(&argv, '\0');
		buf_add(&argv, word);
	}
	m->place = arena_copy(mem, buf_slice(&argv));
	bool full = buf_full(&argv);
	buf_free(&argv);
	if (full || count > MAX_ARGV || !m->place.p)
		return "the program has too many arguments";
	return count && m->place.p[0] == '/' ? NULL : "program: wants an absolute path";
}

static const char *mailbox_option(struct slice word, struct map_mailbox *m)
{
	struct slice v;
	if (option(word, "quota", &v)) {
		m->quota_given = true;
		return size_option(v, &m->quota_bytes);
	}
	if (option(word, "quota-messages", &v)) {
		m->messages_given = true;
		return scan_uint_all(v, UINT32_MAX, &m->quota_messages) ? NULL : "quota-messages is a number";
	}
	if (option(word, "size", &v)) {
		m->size_given = true;
		return size_option(v, &m->size_limit);
	}
	return "a mailbox is maildir[:PATH], mbox:PATH, system:USER, lmtp:HOST:PORT, lmtp:unix:/PATH or program:/PATH ARG..., behind quota= quota-messages= size=";
}

static const char *mailbox_place(struct slice word, struct slice *rest, struct arena *mem, struct map_mailbox *m, bool *known)
{
	static const struct {
		struct slice word;
		enum leaf_kind kind;
	} kinds[] = { { SLICE_INIT("maildir:"), LEAF_MAILDIR }, { SLICE_INIT("mbox:"), LEAF_MBOX }, { SLICE_INIT("system:"), LEAF_SYSTEM } };
	*known = true;
	if (slice_eq(word, SLICE("maildir")))
		return NULL;
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (!slice_starts(word, kinds[i].word))
			continue;
		m->kind = kinds[i].kind;
		m->place = slice_skip(word, kinds[i].word.n);
		return is_safe_path(m->place) && (m->kind != LEAF_SYSTEM || slice_find(m->place, '/') == m->place.n) ? NULL :
		       "a path or user name without empty, `.` and `..` parts is wanted behind the colon";
	}
	if (slice_starts(word, SLICE("lmtp:"))) {
		m->kind = LEAF_LMTP;
		const char *why = map_place_parse(word, mem, &m->place);
		m->place = slice_skip(m->place, 5);
		return why;
	}
	if (slice_starts(word, SLICE("program:"))) {
		m->kind = LEAF_PROGRAM;
		struct slice all = slice(word.p + 8, (size_t)(rest->p + rest->n - word.p) - 8);
		*rest = SLICE_NONE;
		return program(all, mem, m);
	}
	*known = false;
	return NULL;
}

const char *map_mailbox_parse(struct slice value, struct arena *mem, struct map_mailbox *out)
{
	struct map_mailbox m = { .kind = LEAF_MAILDIR, .place = SLICE("") };
	const char *why = NULL;
	bool placed = false;
	for (struct slice word = next_word(&value); !why && word.n; word = next_word(&value)) {
		bool known = false;
		if (!placed)
			why = mailbox_place(word, &value, mem, &m, &known);
		if (!known && !why)
			why = mailbox_option(word, &m);
		placed |= known;
	}
	if (!why)
		*out = m;
	return why;
}

/* Aliases --------------------------------------------------------------------------------------------------------------------------- */

/* aliases(5): "/file", "/maildir/", "|/program arguments". */
static const char *direct_target(struct slice item, struct arena *mem, struct map_alias *a)
{
	if (item.p[0] == '|') {
		struct map_mailbox m = { 0 };
		const char *why = program(slice_skip(item, 1), mem, &m);
		if (why)
			return "a program is named by its absolute path behind the |, without a shell's signs";
		char *p = arena_new(mem, m.place.n + 1);
		if (!p)
			return too_much;
		p[0] = '|';
		memcpy(p + 1, m.place.p, m.place.n);
		item = slice(p, m.place.n + 1);
	} else if (!is_safe_path(slice_head(item, item.n - slice_ends(item, SLICE("/"))))) {
		return "a path without empty, `.` and `..` parts is wanted";
	}
	if (a->count == MAX_TARGETS)
		return "an alias has at most 100,000 targets";
	a->targets[a->count++] = item;
	return NULL;
}

static const char *one_target(struct slice item, struct arena *mem, struct map_alias *a)
{
	struct slice v, key;
	if (option(item, "owner", &v))
		return address(v, mem, &a->owner);
	if (slice_starts(item, SLICE("\"|")) || slice_starts(item, SLICE("\"/")))
		item = value_unquote(item, mem);
	if (item.p[0] == '|' || item.p[0] == '/')
		return direct_target(item, mem, a);
	if (item.p[0] == '\\')
		item = slice_skip(item, 1);
	if (!slice_starts(item, SLICE(":include:"))) {
		const char *why = map_key_address(item, mem, &key);
		if (why)
			return why;
		item = key;
	}
	if (a->count == MAX_TARGETS)
		return "an alias has at most 100,000 targets";
	a->targets[a->count++] = item;
	return NULL;
}

/* Commas separate, and blanks where people leave the comma out; quotes keep both. */
static struct slice next_item(struct slice *in)
{
	size_t i = 0;
	bool quoted = false;
	while (in->n && (in->p[0] == ',' || in->p[0] == ' ' || in->p[0] == '\t'))
		*in = slice_skip(*in, 1);
	for (; i < in->n && (quoted || (in->p[i] != ',' && in->p[i] != ' ' && in->p[i] != '\t')); i++) {
		if (in->p[i] == '"')
			quoted = !quoted;
		else if (in->p[i] == '\\' && quoted)
			i++;
	}
	struct slice item = slice_head(*in, i);
	*in = slice_skip(*in, i);
	return item;
}

const char *map_alias_parse(struct slice value, struct arena *mem, struct map_alias *out)
{
	struct map_alias a = { .kind = ALIAS_TARGETS, .owner = SLICE(""), .status = MAIL_STATUS_OK };
	if (slice_starts(value, SLICE(":refuse:"))) {
		out->kind = ALIAS_REFUSE;
		out->status = MAIL_STATUS(MAIL_NEVER, 550, 2, 1, "This address is not in use");
		return value_status(slice_skip(value, 8), &out->status, &out->status);
	}
	if (slice_starts(value, SLICE(":defer:"))) {
		out->kind = ALIAS_DEFER;
		out->status = MAIL_STATUS(MAIL_LATER, 450, 2, 1, "This address takes no mail just now, try again later");
		return value_status(slice_skip(value, 7), &out->status, &out->status);
	}
	size_t commas = 1;
	for (size_t i = 0; i < value.n; i++)
		commas += value.p[i] == ',' || value.p[i] == ' ' || value.p[i] == '\t';
	a.targets = ARENA_ARRAY(mem, struct slice, commas);
	if (!a.targets)
		return too_much;
	for (struct slice item = next_item(&value); item.n; item = next_item(&value)) {
		const char *why = one_target(item, mem, &a);
		if (why)
			return why;
	}
	if (!a.count)
		return "an alias names at least one target";
	*out = a;
	return NULL;
}
