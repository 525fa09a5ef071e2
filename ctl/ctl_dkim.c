/* `porterctl dkim`: keys as files SELECTOR._domainkey.DOMAIN.pem in keys-directory, the map `signers`, and what DNS says. A key goes through three
 * states: made (its record is to be published), signing (in `signers`), old (its record stays while mail that it signed is under way). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/dns_settings.h"
#include "base/idn.h"
#include "base/mail_date.h"
#include "base/mail_key.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/tls.h"
#include "ctl/ctl.h"
#include "ctl/ctl_maps_text.h"
#include "ctl/tables.h"
#include "maps/signers.h"

enum { MAX_KEYS = 64, DEFAULT_BITS = 2048, MAX_PEM = 16 << 10 };

struct dkim_key {
	struct slice selector;
	bool ed25519, readable;
	struct slice record;           /* what DNS should say */
	bool signing;                  /* in `signers` */
	const char *published;         /* "yes", "missing", "another key" ...; NULL not asked */
	int64_t made_s;
};

struct dkim_tool {
	struct ctl *c;
	char folder[PATH_MAX];
	struct slice domain;           /* A-labels */
	struct dkim_key keys[MAX_KEYS];
	size_t count, asked;
	struct loop *loop;
	struct dns *dns;
};

/* -- keys on disk ----------------------------------------------------------------------------------------------------------- */

static struct slice make_record(struct ctl *c, const struct crypto_key *key)
{
	bool ed25519 = crypto_key_kind(key) == CRYPTO_ED25519;
	struct buf der = BUF_INIT(8192), text = BUF_INIT(16384);
	crypto_key_add_public_der(key, &der);
	buf_addf(&text, "v=DKIM1; k=%s; p=", ed25519 ? "ed25519" : "rsa");
	text_add_base64(&text, buf_slice(&der));
	struct slice record = arena_copy(&c->mem, buf_slice(&text));
	buf_free(&der);
	buf_free(&text);
	return record;
}

static void read_key(struct dkim_tool *t, struct slice selector, const char *file)
{
	char path[PATH_MAX];
	struct buf pem = BUF_INIT(0);
	struct stat st;
	struct dkim_key *k = &t->keys[t->count++];
	*k = (struct dkim_key){ .selector = arena_copy(&t->c->mem, selector), .record = SLICE("") };
	if (snprintf(path, sizeof path, "%s/%s", t->folder, file) >= (int)sizeof path || stat(path, &st) || ctl_read_file(path, MAX_PEM, &pem))
		return;
	k->made_s = st.st_mtime;
	struct crypto_key *key = crypto_key_private_pem(buf_slice(&pem));
	k->readable = key && crypto_key_kind(key) != CRYPTO_EC;
	if (k->readable) {
		k->ed25519 = crypto_key_kind(key) == CRYPTO_ED25519;
		k->record = make_record(t->c, key);
	}
	crypto_key_free(key);
	mem_wipe(pem.p, pem.n);
	buf_free(&pem);
}

static int by_selector(const void *a, const void *b)
{
	return slice_cmp(((const struct dkim_key *)a)->selector, ((const struct dkim_key *)b)->selector);
}

/* All keys of the domain, and which of them sign. */
static int read_keys(struct dkim_tool *t)
{
	struct buf tail = BUF_INIT(512);
	buf_addf(&tail, "._domainkey.%.*s.pem", SLICE_FMT(t->domain));
	DIR *d = opendir(t->folder);
	struct dirent *e;
	t->count = 0;
	while (d && (e = readdir(d)) && t->count < MAX_KEYS) {
		struct slice file = slice_of(e->d_name);
		if (file.n > tail.n && slice_ends(file, buf_slice(&tail)))
			read_key(t, slice_head(file, file.n - tail.n), e->d_name);
	}
	int error = d || errno == ENOENT ? 0 : ctl_fail(CTL_IO, "%s: %s", t->folder, strerror(errno));
	if (d)
		closedir(d);
	buf_free(&tail);
	qsort(t->keys, t->count, sizeof t->keys[0], by_selector);
	return error;
}

static int read_signers(struct dkim_tool *t)
{
	struct edit e;
	struct slice key, value;
	struct signers s;
	uint32_t line;
	int code;
	char *name = arena_cstr(&t->c->mem, t->domain);
	if (!edit_begin(t->c, &e, &code))
		return code;
	if (edit_find(&e, MAP_SIGNERS, name, &key, &line, &value) == FOUND && !signers_parse(value, &t->c->mem, &s))
		for (size_t i = 0; i < t->count; i++)
			for (size_t k = 0; k < s.count; k++)
				t->keys[i].signing |= slice_eq(s.list[k].selector, t->keys[i].selector);
	edit_drop(&e);
	return 0;
}

/* The name of a new key's file; it must not be there. */
static int write_key(struct dkim_tool *t, struct slice selector, const struct crypto_key *key)
{
	char path[PATH_MAX];
	struct buf pem = BUF_INIT(MAX_PEM);
	if (snprintf(path, sizeof path, "%s/%.*s._domainkey.%.*s.pem", t->folder, SLICE_FMT(selector), SLICE_FMT(t->domain)) >= (int)sizeof path)
		return ctl_fail(CTL_USAGE, "the name is too long");
	if (mkdir(t->folder, 0700) < 0 && errno != EEXIST)
		return ctl_fail(CTL_IO, "%s: %s", t->folder, strerror(errno));
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return ctl_fail(errno == EEXIST ? 1 : CTL_IO, "%s: %s", path, strerror(errno));
	crypto_key_add_private_pem(key, &pem);
	bool good = write(fd, pem.p, pem.n) == (ssize_t)pem.n && fsync(fd) == 0;
	close(fd);
	mem_wipe(pem.p, pem.n);
	buf_free(&pem);
	if (good)
		return 0;
	unlink(path);
	return ctl_fail(CTL_IO, "%s can't be written", path);
}

/* -- DNS -------------------------------------------------------------------------------------------------------------------- */

static void on_record(void *arg, const struct dns_answer *a)
{
	struct dkim_tool *t = arg;
	struct dkim_key *k = &t->keys[t->asked];
	struct mail_key_record want, found;
	const char *why;
	mail_key_parse(k->record, &want, &why);
	k->published = a->answer == ABSENT ? "missing" : a->answer == UNSURE ? "can't be asked for" : "another key";
	for (size_t i = 0; a->answer == FOUND && i < a->count; i++)
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
	if (resolver)
		s.resolvers = slice_of(resolver);
	t->loop = loop_new();
	t->dns = dns_new(t->loop, &s, &why);
	if (!t->dns)
		return ctl_fail(CTL_UNAVAILABLE, "dkim: %s", why);
	for (t->asked = 0; t->asked < t->count; t->asked++) {
		struct buf name = BUF_INIT(512);
		buf_addf(&name, "%.*s._domainkey.%.*s", SLICE_FMT(t->keys[t->asked].selector), SLICE_FMT(t->domain));
		dns_ask(t->dns, DNS_TXT, buf_slice(&name), on_record, t);
		loop_run(t->loop);
		buf_free(&name);
	}
	dns_free(t->dns);
	loop_free(t->loop);
	return 0;
}

/* -- telling ---------------------------------------------------------------------------------------------------------------- */

/* For a master file: strings of at most 255 bytes. */
static void add_zone_line(struct dkim_tool *t, const struct dkim_key *k, struct buf *out)
{
	buf_addf(out, "%.*s._domainkey.%.*s. IN TXT (", SLICE_FMT(k->selector), SLICE_FMT(t->domain));
	for (struct slice rest = k->record; rest.n; rest = slice_skip(rest, 200))
		buf_addf(out, " \"%.*s\"", SLICE_FMT(slice_head(rest, 200)));
	buf_add_cstr(out, " )\n");
}

static void tell_json(struct dkim_tool *t, struct buf *out)
{
	buf_add_cstr(out, "{\"domain\":");
	text_add_json(out, t->domain);
	buf_add_cstr(out, ",\"keys\":[");
	for (size_t i = 0; i < t->count; i++) {
		const struct dkim_key *k = &t->keys[i];
		buf_add_cstr(out, i ? ",{\"selector\":" : "{\"selector\":");
		text_add_json(out, k->selector);
		buf_addf(out, ",\"algorithm\":\"%s\",\"signing\":%s,\"record\":", k->ed25519 ? "ed25519" : "rsa", k->signing ? "true" : "false");
		text_add_json(out, k->record);
		if (k->published)
			buf_addf(out, ",\"published\":\"%s\"", k->published);
		buf_add_byte(out, '}');
	}
	buf_add_cstr(out, "]}\n");
}

static void tell(struct dkim_tool *t)
{
	struct buf out = BUF_INIT(1 << 20);
	if (t->c->json)
		tell_json(t, &out);
	for (size_t i = 0; i < t->count && !t->c->json; i++) {
		const struct dkim_key *k = &t->keys[i];
		buf_addf(&out, "; %.*s: %s, made ", SLICE_FMT(k->selector), k->readable ? k->ed25519 ? "ed25519" : "rsa" : "can't be read");
		mail_date_print_iso(&out, k->made_s);
		buf_addf(&out, "%s%s%s\n", k->signing ? ", signing" : "", k->published ? ", published: " : "", k->published ? k->published : "");
		if (k->readable)
			add_zone_line(t, k, &out);
	}
	ctl_print(buf_slice(&out));
	buf_free(&out);
}

/* -- the map ---------------------------------------------------------------------------------------------------------------- */

static bool is_chosen(const struct dkim_key *k, const struct slice *selectors, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (slice_eq(k->selector, selectors[i]))
			return true;
	return false;
}

/* The domain's line, and that for its subdomains, name these keys from now on. */
static int set_signers(struct dkim_tool *t, const struct slice *selectors, size_t count)
{
	struct edit e;
	struct buf value = BUF_INIT(1024), below = BUF_INIT(300);
	int code, error = 0;
	for (size_t i = 0; i < t->count; i++)
		if (is_chosen(&t->keys[i], selectors, count))
			buf_addf(&value, "%s%.*s %s", value.n ? ", " : "", SLICE_FMT(t->keys[i].selector), t->keys[i].ed25519 ? "ed25519" : "rsa");
	buf_addf(&below, ".%.*s", SLICE_FMT(t->domain));
	if (!edit_begin(t->c, &e, &code))
		return code;
	const struct slice names[2] = { t->domain, buf_slice(&below) };
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

/* The keeper gets new keys; nothing is said where nothing runs. */
static void tell_house(struct ctl *c)
{
	const char *words[] = { "reload" };
	struct buf reply = BUF_INIT(1 << 16);
	ctl_ask(c, "parent", words, 1, &reply);
	buf_free(&reply);
}

/* -- commands --------------------------------------------------------------------------------------------------------------- */

static int begin(struct dkim_tool *t, struct ctl *c, int argc, char **argv, const char *usage)
{
	const char *unknown = ctl_unknown_option(argc, argv);
	t->c = c;
	if (unknown || argc != 1 || idn_to_ascii(slice_of(argv[0]), &c->mem, &t->domain))
		return ctl_fail(CTL_USAGE, "%s", usage);
	if (!ctl_settings(c))
		return CTL_CONFIG;
	if (snprintf(t->folder, sizeof t->folder, "%.*s", SLICE_FMT(tls_settings.keys_directory)) >= (int)sizeof t->folder)
		return ctl_fail(CTL_CONFIG, "keys-directory: the name is too long");
	int code = read_keys(t);
	return code ? code : read_signers(t);
}

static bool is_taken(const struct dkim_tool *t, struct slice selector)
{
	for (size_t i = 0; i < t->count; i++)
		if (slice_eq(t->keys[i].selector, selector))
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
			snprintf(text, sizeof text, "%.50s%s", wanted, ed25519 ? "e" : "");
		else
			snprintf(text, sizeof text, "%04lld%02u%c", (long long)year, month, ed25519 ? 'e' : 'r');
		if (n > 1)
			snprintf(text + strlen(text), sizeof text - strlen(text), "%u", n);
		if (!is_taken(t, slice_of(text)))
			break;
	}
	return arena_copy(&t->c->mem, slice_of(text));
}

/* Two keys, or the one of `only`. made gets their selectors. */
static int make_keys(struct dkim_tool *t, const char *only, const char *selector, unsigned bits, struct slice made[2], size_t *count)
{
	for (int ed25519 = 0; ed25519 < 2; ed25519++) {
		if (only && strcmp(only, ed25519 ? "ed25519" : "rsa") != 0)
			continue;
		struct crypto_key *key = ed25519 ? crypto_key_generate_ed25519() : crypto_key_generate_rsa(bits);
		made[*count] = new_selector(t, selector, ed25519);
		int code = key ? write_key(t, made[*count], key) : ctl_fail(CTL_IO, "no key could be made");
		crypto_key_free(key);
		if (code)
			return code;
		++*count;
	}
	tell_house(t->c);
	return read_keys(t);
}

static int read_bits(const char *text, unsigned *bits)
{
	*bits = text ? (unsigned)strtoul(text, NULL, 10) : DEFAULT_BITS;
	return *bits == 1024 || *bits == 2048 || *bits == 3072 || *bits == 4096 ? 0 : ctl_fail(CTL_USAGE, "--bits is 2048, 3072 or 4096 (1024 for old readers)");
}

static void keep_only(struct dkim_tool *t, const struct slice *selectors, size_t count)
{
	size_t kept = 0;
	for (size_t i = 0; i < t->count; i++)
		if (is_chosen(&t->keys[i], selectors, count))
			t->keys[kept++] = t->keys[i];
	t->count = kept;
}

static int dkim_new(struct ctl *c, int argc, char **argv)
{
	static struct dkim_tool t;
	const char *only = ctl_value(&argc, argv, "--only"), *selector = ctl_value(&argc, argv, "--selector"), *wanted_bits = ctl_value(&argc, argv, "--bits");
	bool sign = ctl_flag(&argc, argv, "--sign");
	struct slice made[2];
	size_t count = 0;
	unsigned bits;
	if (only && strcmp(only, "rsa") != 0 && strcmp(only, "ed25519") != 0)
		return ctl_fail(CTL_USAGE, "--only rsa or --only ed25519");
	int code = read_bits(wanted_bits, &bits);
	code = code ? code : begin(&t, c, argc, argv, "dkim new DOMAIN");
	code = code ? code : make_keys(&t, only, selector, bits, made, &count);
	if (!code && sign)
		code = set_signers(&t, made, count);
	code = code ? code : read_signers(&t);
	if (code)
		return code;
	keep_only(&t, made, count);
	tell(&t);
	if (!c->json)
		fprintf(stderr, sign ? "Mail of %s is signed from now on: publish the records at once.\n" : "Publish the records, then `porterctl dkim rotate %s` lets these keys sign.\n",
		        argv[0]);
	return 0;
}

static int dkim_show(struct ctl *c, int argc, char **argv)
{
	static struct dkim_tool t;
	int code = begin(&t, c, argc, argv, "dkim show DOMAIN");
	if (code)
		return code;
	tell(&t);
	return t.count ? 0 : ctl_fail(1, "%s has no keys: porterctl dkim new %s", argv[0], argv[0]);
}

static int dkim_check(struct ctl *c, int argc, char **argv)
{
	static struct dkim_tool t;
	const char *zone = ctl_value(&argc, argv, "--dns"), *resolver = ctl_value(&argc, argv, "--resolver");
	bool good = true;
	int code = begin(&t, c, argc, argv, "dkim check DOMAIN [--dns FILE | --resolver ADDR@PORT]");
	code = code ? code : ask_all(&t, zone, resolver);
	if (code)
		return code;
	tell(&t);
	for (size_t i = 0; i < t.count; i++)
		good &= !t.keys[i].signing || strcmp(t.keys[i].published, "yes") == 0;
	if (!t.count)
		return ctl_fail(1, "%s has no keys: porterctl dkim new %s", argv[0], argv[0]);
	return good ? 0 : ctl_fail(1, "a key signs whose record is not published");
}

/* Keys that were made after those that sign: newer, and not signing. */
static size_t find_next(struct dkim_tool *t, struct slice next[2], bool *published)
{
	int64_t newest = INT64_MIN;
	size_t count = 0;
	for (size_t i = 0; i < t->count; i++)
		if (t->keys[i].signing && t->keys[i].made_s > newest)
			newest = t->keys[i].made_s;
	*published = true;
	for (int kind = 0; kind < 2; kind++) {
		const struct dkim_key *best = NULL;
		for (size_t i = 0; i < t->count; i++)
			if (t->keys[i].readable && !t->keys[i].signing && t->keys[i].ed25519 == kind && t->keys[i].made_s >= newest && (!best || t->keys[i].made_s >= best->made_s))
				best = &t->keys[i];
		if (!best)
			continue;
		next[count++] = best->selector;
		*published &= strcmp(best->published, "yes") == 0;
	}
	return count;
}

static int dkim_rotate(struct ctl *c, int argc, char **argv)
{
	static struct dkim_tool t;
	const char *zone = ctl_value(&argc, argv, "--dns"), *resolver = ctl_value(&argc, argv, "--resolver");
	struct slice next[2], made[2];
	size_t made_count = 0;
	bool published;
	int code = begin(&t, c, argc, argv, "dkim rotate DOMAIN [--dns FILE | --resolver ADDR@PORT]");
	code = code ? code : ask_all(&t, zone, resolver);
	if (code)
		return code;
	size_t count = find_next(&t, next, &published);
	if (!count) {
		code = make_keys(&t, NULL, NULL, DEFAULT_BITS, made, &made_count);
		if (code)
			return code;
		keep_only(&t, made, made_count);
		tell(&t);
		fprintf(stderr, "Publish these records, then call `porterctl dkim rotate %s` again.\n", argv[0]);
		return 0;
	}
	if (!published) {
		keep_only(&t, next, count);
		tell(&t);
		return ctl_fail(1, "the new keys don't sign yet: their records are not published");
	}
	code = set_signers(&t, next, count);
	if (code)
		return code;
	tell_house(c);
	code = read_keys(&t);
	code = code ? code : read_signers(&t);
	tell(&t);
	fprintf(stderr, "The new keys sign. Leave the old records in DNS for a week, then remove them and their files in %s.\n", t.folder);
	return code;
}

const struct ctl_command ctl_dkim_commands[] = {
	{ "dkim new", "DOMAIN [--only rsa|ed25519] [--bits N] [--selector NAME] [--sign] [--json]",
	  "Makes signing keys, RSA and Ed25519, and prints the DNS records to publish; --sign lets them sign at once.", dkim_new },
	{ "dkim show", "DOMAIN [--json]", "The domain's keys and their records.", dkim_show },
	{ "dkim check", "DOMAIN [--dns FILE | --resolver ADDR@PORT] [--json]", "Are the records published? 1 where a key signs that nobody can check.", dkim_check },
	{ "dkim rotate", "DOMAIN [--dns FILE | --resolver ADDR@PORT]",
	  "First makes new keys; called again, once their records are published, lets them sign. Old records stay for a while.", dkim_rotate },
	{ NULL, NULL, NULL, NULL },
};
