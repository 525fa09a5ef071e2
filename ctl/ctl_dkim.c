/* `porterctl dkim`: keys (ctl/dkim_keys), the map `signers`, and what DNS says. A key goes through three states: made (its record is to be published), signing (in `signers`), old (its
 * record stays while mail that it signed is under way). */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/dns_settings.h"
#include "base/idn.h"
#include "base/mail_date.h"
#include "base/mail_key.h"
#include "base/mem.h"
#include "base/scan.h"
#include "base/text.h"
#include "base/tls.h"
#include "ctl/ctl.h"
#include "ctl/ctl_maps_text.h"
#include "ctl/dkim_keys.h"
#include "ctl/tables.h"
#include "maps/signers.h"

enum { DEFAULT_BITS = 2048, MAX_SELECTOR = 50 };

struct dkim_tool {
	struct ctl *c;
	struct dkim_keys all;
	size_t asked;
	struct loop *loop;
	struct dns *dns;
};

static int read_signers(struct dkim_tool *t)
{
	struct edit e;
	struct slice key, value;
	struct signers s;
	uint32_t line;
	int code;
	char *name = arena_cstr(&t->c->mem, t->all.domain);
	if (!edit_begin(t->c, &e, &code))
		return code;
	if (edit_find(&e, MAP_SIGNERS, name, &key, &line, &value) == FOUND && !signers_parse(value, &t->c->mem, &s))
		for (size_t i = 0; i < t->all.count; i++)
			for (size_t k = 0; k < s.count; k++)
				t->all.keys[i].signing |= slice_eq(s.list[k].selector, t->all.keys[i].selector);
	edit_drop(&e);
	return 0;
}

/* -- DNS -------------------------------------------------------------------------------------------------------------------- */

static void on_record(void *arg, const struct dns_answer *a)
{
	struct dkim_tool *t = arg;
	struct dkim_key *k = &t->all.keys[t->asked];
	struct mail_key_record want, found;
	const char *why;
	bool known = k->readable && mail_key_parse(k->record, &want, &why) == 0;
	k->published = a->answer == ABSENT ? "missing" : a->answer == UNSURE ? "can't be asked for" : "another key";
	for (size_t i = 0; known && a->answer == FOUND && i < a->count; i++)
		if (mail_key_parse(a->records[i].data, &found, &why) == 0 && found.ed25519 == want.ed25519 && slice_eq(found.key, want.key))
			k->published = a->count == 1 ? "yes" : "several records";
	loop_stop(t->loop);
}

static int ask_all(struct dkim_tool *t, const char *zone, const char *resolver)
{
	struct dns_settings s = dns_settings_made();
	const char *why = "";
	if (zone)
		s.zone_file = slice_of(zone);
	if (resolver && !(s.resolvers = ctl_resolver(t->c, slice_of(resolver))).p)
		return ctl_fail(CTL_USAGE, "--resolver: no ADDR:PORT");
	t->loop = loop_new();
	t->dns = dns_new(t->loop, &s, &why);
	if (!t->dns)
		return ctl_fail(CTL_UNAVAILABLE, "dkim: %s", why);
	for (t->asked = 0; t->asked < t->all.count; t->asked++) {
		struct buf name = BUF_INIT(512);
		buf_addf(&name, "%.*s._domainkey.%.*s", SLICE_FMT(t->all.keys[t->asked].selector), SLICE_FMT(t->all.domain));
		dns_ask(t->dns, DNS_TXT, buf_slice(&name), on_record, t);
		loop_run(t->loop);
		buf_free(&name);
	}
	dns_free(t->dns);
	loop_free(t->loop);
	return 0;
}

/* -- the map ---------------------------------------------------------------------------------------------------------------- */

struct made {
	struct slice selectors[2];
	size_t count;
};

static bool is_chosen(const struct dkim_key *k, const struct made *chosen)
{
	for (size_t i = 0; i < chosen->count; i++)
		if (slice_eq(k->selector, chosen->selectors[i]))
			return true;
	return false;
}

/* The domain's line, and that for its subdomains, name these keys from now on. */
static int set_signers(struct dkim_tool *t, const struct made *chosen)
{
	struct edit e;
	struct buf value = BUF_INIT(1024), below = BUF_INIT(300);
	int code, error = 0;
	for (size_t i = 0; i < t->all.count; i++)
		if (is_chosen(&t->all.keys[i], chosen))
			buf_addf(&value, "%s%.*s %s", value.n ? ", " : "", SLICE_FMT(t->all.keys[i].selector), t->all.keys[i].ed25519 ? "ed25519" : "rsa");
	buf_addf(&below, ".%.*s", SLICE_FMT(t->all.domain));
	if (!edit_begin(t->c, &e, &code))
		return code;
	const struct slice names[2] = { t->all.domain, buf_slice(&below) };
	for (int i = 0; i < 2 && !error; i++) {
		struct slice key, old;
		uint32_t line;
		enum answer a = edit_find(&e, MAP_SIGNERS, arena_cstr(&t->c->mem, names[i]), &key, &line, &old);
		error = a == FOUND ? edit_replace(&e, MAP_SIGNERS, line, buf_slice(&value)) : a == ABSENT ? edit_add(&e, MAP_SIGNERS, names[i], buf_slice(&value)) : -EIO;
	}
	if (error) {
		edit_drop(&e);
		code = ctl_fail(CTL_IO, "nothing was changed: %s", strerror(-error));
	} else {
		code = edit_finish(&e);
	}
	buf_free(&value);
	buf_free(&below);
	return code;
}

/* These keys sign from now on, those that did no more. */
static int let_sign(struct dkim_tool *t, const struct made *next)
{
	int code = set_signers(t, next);
	for (size_t i = 0; i < t->all.count && !code; i++)
		if (t->all.keys[i].signing && !is_chosen(&t->all.keys[i], next))
			code = dkim_keys_retire(&t->all, t->all.keys[i].selector);
	return code;
}

/* The keeper gets new keys; nothing is said where nothing runs. */
static void tell_house(struct ctl *c)
{
	const char *words[] = { "reload" };
	struct buf reply = BUF_INIT(1 << 16);
	ctl_ask(c, "parent", words, 1, &reply);
	buf_free(&reply);
}

/* -- commands --------------------------------------------------------------------------------------------------------------- */

/* changes: this command alone has the folder. */
static int begin(struct dkim_tool *t, struct ctl *c, int argc, char **argv, bool changes, const char *usage)
{
	const char *unknown = ctl_unknown_option(argc, argv);
	t->c = t->all.c = c;
	if (unknown || argc != 1 || idn_to_ascii(slice_of(argv[0]), &c->mem, &t->all.domain) || !ctl_is_domain(t->all.domain, 253))
		return ctl_fail(CTL_USAGE, "%s", usage);
	if (!ctl_settings(c))
		return CTL_CONFIG;
	if (snprintf(t->all.folder, sizeof t->all.folder, "%.*s", SLICE_FMT(tls_settings.keys_directory)) >= (int)sizeof t->all.folder)
		return ctl_fail(CTL_CONFIG, "keys-directory: the name is too long");
	int code = changes ? keys_lock(t->all.folder) : 0;
	code = code ? code : dkim_keys_read(&t->all);
	return code ? code : read_signers(t);
}

static bool is_taken(const struct dkim_tool *t, struct slice selector)
{
	for (size_t i = 0; i < t->all.count; i++)
		if (slice_eq(t->all.keys[i].selector, selector))
			return true;
	return false;
}

/* "202611r", "202611r2": year, month, kind. */
static struct slice new_selector(struct dkim_tool *t, const char *wanted, bool ed25519)
{
	char text[80];
	int64_t year;
	unsigned month, day;
	mail_date_civil(clock_wall_s() / 86400, &year, &month, &day);
	for (unsigned n = 1; n < 100; n++) {
		if (wanted)
			snprintf(text, sizeof text, "%.*s%s", MAX_SELECTOR, wanted, ed25519 ? "e" : "");
		else
			snprintf(text, sizeof text, "%04lld%02u%c", (long long)year, month, ed25519 ? 'e' : 'r');
		if (n > 1)
			snprintf(text + strlen(text), sizeof text - strlen(text), "%u", n);
		if (!is_taken(t, slice_of(text)))
			break;
	}
	return arena_copy(&t->c->mem, slice_of(text));
}

static int make_key(struct dkim_tool *t, bool ed25519, const char *selector, unsigned bits, struct made *made)
{
	struct crypto_key *key = ed25519 ? crypto_key_generate_ed25519() : crypto_key_generate_rsa(bits);
	struct slice name = new_selector(t, selector, ed25519);
	int code = key ? dkim_keys_write(&t->all, name, key) : ctl_fail(CTL_IO, "no key could be made");
	crypto_key_free(key);
	if (!code)
		made->selectors[made->count++] = name;
	return code;
}

/* The kinds that are wanted: bit 0 RSA, bit 1 Ed25519. */
static int make_keys(struct dkim_tool *t, unsigned kinds, const char *selector, unsigned bits, struct made *made)
{
	int code = 0;
	for (int kind = 0; kind < 2 && !code; kind++)
		if (kinds & 1u << kind)
			code = make_key(t, kind == 1, selector, bits, made);
	if (made->count)
		tell_house(t->c);
	code = code ? code : dkim_keys_read(&t->all);
	return code ? code : read_signers(t);
}

static int read_bits(const char *text, unsigned *bits)
{
	uint64_t v = DEFAULT_BITS;
	bool good = !text || scan_uint_all(slice_of(text), 4096, &v);
	*bits = (unsigned)v;
	return good && (v == 1024 || v == 2048 || v == 3072 || v == 4096) ? 0 : ctl_fail(CTL_USAGE, "--bits is 2048, 3072 or 4096 (1024 for old readers)");
}

static void keep_only(struct dkim_tool *t, const struct made *chosen)
{
	size_t kept = 0;
	for (size_t i = 0; i < t->all.count; i++)
		if (is_chosen(&t->all.keys[i], chosen))
			t->all.keys[kept++] = t->all.keys[i];
	t->all.count = kept;
}

static int dkim_new(struct ctl *c, int argc, char **argv)
{
	static struct dkim_tool t;
	const char *only = ctl_value(&argc, argv, "--only"), *selector = ctl_value(&argc, argv, "--selector"), *wanted_bits = ctl_value(&argc, argv, "--bits");
	bool sign = ctl_flag(&argc, argv, "--sign");
	struct made made = { .count = 0 };
	unsigned bits;
	if (only && strcmp(only, "rsa") != 0 && strcmp(only, "ed25519") != 0)
		return ctl_fail(CTL_USAGE, "--only rsa or --only ed25519");
	if (selector && !ctl_is_domain(slice_of(selector), MAX_SELECTOR))
		return ctl_fail(CTL_USAGE, "--selector is a name of letters, digits, - and _, of %d bytes at most", MAX_SELECTOR);
	int code = read_bits(wanted_bits, &bits);
	code = code ? code : begin(&t, c, argc, argv, true, "dkim new DOMAIN");
	code = code ? code : make_keys(&t, !only ? 3 : only[0] == 'r' ? 1 : 2, selector, bits, &made);
	if (!code && sign)
		code = let_sign(&t, &made);
	code = code ? code : read_signers(&t);
	if (code)
		return code;
	keep_only(&t, &made);
	dkim_keys_tell(&t.all);
	if (!c->json)
		fprintf(stderr, sign ? "Mail of %s is signed from now on: publish the records at once.\n" : "Publish the records, then `porterctl dkim rotate %s` lets these keys sign.\n",
		        argv[0]);
	return 0;
}

static int dkim_show(struct ctl *c, int argc, char **argv)
{
	static struct dkim_tool t;
	int code = begin(&t, c, argc, argv, false, "dkim show DOMAIN");
	if (code)
		return code;
	dkim_keys_tell(&t.all);
	return t.all.count ? 0 : ctl_fail(1, "%s has no keys: porterctl dkim new %s", argv[0], argv[0]);
}

/* NULL, or what is to be mended. */
static const char *judge_key(const struct dkim_key *k)
{
	bool there = strcmp(k->published, "yes") == 0;
	if (k->signing && !k->readable)
		return "a key that signs can't be read";
	if (k->signing && !there)
		return "a key signs whose record is not published";
	if (dkim_is_old(k) && !dkim_is_over(k) && !there)
		return "the record of an old key is gone before its time: mail that it signed is under way";
	return k->open ? "others may read or change a key's file: chmod 600" : NULL;
}

static int dkim_check(struct ctl *c, int argc, char **argv)
{
	static struct dkim_tool t;
	const char *zone = ctl_value(&argc, argv, "--dns"), *resolver = ctl_value(&argc, argv, "--resolver"), *wrong = NULL;
	int code = begin(&t, c, argc, argv, false, "dkim check DOMAIN [--dns FILE | --resolver ADDR:PORT]");
	code = code ? code : ask_all(&t, zone, resolver);
	if (code)
		return code;
	dkim_keys_tell(&t.all);
	for (size_t i = 0; i < t.all.count && !wrong; i++)
		wrong = judge_key(&t.all.keys[i]);
	if (!t.all.count)
		return ctl_fail(1, "%s has no keys: porterctl dkim new %s", argv[0], argv[0]);
	return wrong ? ctl_fail(1, "%s", wrong) : 0;
}

/* -- rotating --------------------------------------------------------------------------------------------------------------- */

static unsigned kind_of(const struct dkim_key *k)
{
	return k->ed25519 ? 2 : 1;
}

static int64_t newest_signing(const struct dkim_tool *t)
{
	int64_t newest = INT64_MIN;
	for (size_t i = 0; i < t->all.count; i++)
		if (t->all.keys[i].signing && t->all.keys[i].made_s > newest)
			newest = t->all.keys[i].made_s;
	return newest;
}

/* The kinds that sign, both where none does, and the keys made to follow them: neither old nor older. */
static unsigned find_next(struct dkim_tool *t, struct made *next, unsigned *wanted)
{
	int64_t newest = newest_signing(t);
	unsigned found = 0;
	*wanted = 0;
	for (unsigned kind = 1; kind <= 2; kind++) {
		const struct dkim_key *best = NULL;
		for (size_t i = 0; i < t->all.count; i++) {
			const struct dkim_key *k = &t->all.keys[i];
			if (!k->readable || kind_of(k) != kind)
				continue;
			*wanted |= k->signing ? kind : 0;
			if (!k->signing && !k->old_s && k->made_s >= newest && (!best || k->made_s >= best->made_s))
				best = k;
		}
		if (best)
			next->selectors[next->count++] = best->selector;
		found |= best ? kind : 0;
	}
	if (newest == INT64_MIN)
		*wanted = found ? found : 3;
	return found;
}

/* What signed before a change of `signers`, by this command or by hand, and by one that was killed in the middle, is old from now on. */
static int retire(struct dkim_tool *t)
{
	int64_t newest = newest_signing(t);
	int code = 0;
	for (size_t i = 0; i < t->all.count && !code; i++) {
		const struct dkim_key *k = &t->all.keys[i];
		if (!k->signing && !k->old_s && k->made_s < newest)
			code = dkim_keys_retire(&t->all, k->selector);
	}
	return code;
}

/* Old keys whose time is over, once their records are out of DNS. */
static int clear_away(struct dkim_tool *t)
{
	int code = 0;
	for (size_t i = 0; i < t->all.count && !code; i++) {
		const struct dkim_key *k = &t->all.keys[i];
		if (!dkim_is_over(k) || strcmp(k->published, "missing") != 0)
			continue;
		code = dkim_keys_remove(&t->all, k->selector);
		if (!code)
			fprintf(stderr, "%.*s is removed: its record is gone, its time was over.\n", SLICE_FMT(k->selector));
	}
	return code;
}

/* Does it wait for its record, or for chmod? */
static int hold_back(struct dkim_tool *t, const struct made *next)
{
	keep_only(t, next);
	for (size_t i = 0; i < t->all.count; i++) {
		const struct dkim_key *k = &t->all.keys[i];
		bool there = strcmp(k->published, "yes") == 0;
		if (there && !k->open)
			continue;
		dkim_keys_tell(&t->all);
		return ctl_fail(1, there ? "the new keys don't sign yet: others may read or change a key's file: chmod 600" : "the new keys don't sign yet: their records are not published");
	}
	return 0;
}

static int make_next(struct dkim_tool *t, unsigned kinds, const char *name)
{
	struct made made = { .count = 0 };
	int code = make_keys(t, kinds, NULL, DEFAULT_BITS, &made);
	if (code)
		return code;
	keep_only(t, &made);
	dkim_keys_tell(&t->all);
	fprintf(stderr, "Publish these records, then call `porterctl dkim rotate %s` again.\n", name);
	return 0;
}

static int dkim_rotate(struct ctl *c, int argc, char **argv)
{
	static struct dkim_tool t;
	const char *zone = ctl_value(&argc, argv, "--dns"), *resolver = ctl_value(&argc, argv, "--resolver");
	struct made next = { .count = 0 };
	unsigned wanted;
	int code = begin(&t, c, argc, argv, true, "dkim rotate DOMAIN [--dns FILE | --resolver ADDR:PORT]");
	code = code ? code : ask_all(&t, zone, resolver);
	code = code ? code : retire(&t);
	code = code ? code : clear_away(&t);
	if (code)
		return code;
	unsigned missing = ~find_next(&t, &next, &wanted) & wanted;
	if (missing)
		return make_next(&t, missing, argv[0]);
	struct dkim_keys before = t.all;
	code = hold_back(&t, &next);
	t.all = before;
	code = code ? code : let_sign(&t, &next);
	code = code ? code : dkim_keys_read(&t.all);
	code = code ? code : read_signers(&t);
	if (code)
		return code;
	dkim_keys_tell(&t.all);
	fprintf(stderr, "The new keys sign. Leave the old records in DNS for a week, as `dkim show` says; a `dkim rotate` after that, once they are gone, removes their keys.\n");
	return 0;
}

const struct ctl_command ctl_dkim_commands[] = {
	{ "dkim new", "DOMAIN [--only rsa|ed25519] [--bits N] [--selector NAME] [--sign] [--json]",
	  "Makes signing keys, RSA and Ed25519, and prints the DNS records to publish; --sign lets them sign at once.", dkim_new },
	{ "dkim show", "DOMAIN [--json]", "The domain's keys and their records: made, signing, or old, and until when an old one's record has to stay.", dkim_show },
	{ "dkim check", "DOMAIN [--dns FILE | --resolver ADDR:PORT] [--json]",
	  "Are the records published? 1 where a key signs that nobody can check, an old one's record is gone too early, or others may read a key's file.", dkim_check },
	{ "dkim rotate", "DOMAIN [--dns FILE | --resolver ADDR:PORT] [--json]",
	  "First makes new keys of the kinds that sign; called again, once their records are published, lets them sign. The running server uses them from then on, without a reload. The "
	  "old ones' records stay for a week; keys whose records are gone after that are removed.", dkim_rotate },
	{ NULL, NULL, NULL, NULL },
};
