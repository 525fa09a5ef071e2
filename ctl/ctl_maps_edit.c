/* porterctl user, alias, domain: the text maps, edited for those who don't want to open them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scan.h"
#include "base/text.h"
#include "ctl/ctl_maps.h"
#include "ctl/ctl_maps_text.h"
#include "ctl/tables.h"
#include "maps/map_key.h"
#include "maps/map_value.h"
#include "maps/password.h"
#include "maps/value.h"

enum { MAX_VALUE = 1 << 20 };

static int done(struct edit *e, int error)
{
	if (!error)
		return edit_finish(e);
	edit_drop(e);
	return ctl_fail(CTL_IO, "nothing was changed: %s", strerror(-error));
}

static int give_up(struct edit *e, int code)
{
	edit_drop(e);
	return code;
}

/* A line that nobody will look at is told: its domain is no line of domains yet, or one whose recipients are elsewhere. */
static void note_unserved(struct edit *e, unsigned id, struct slice key)
{
	struct slice local, domain;
	struct map_entry line;
	struct map_domain d;
	if (!map_key_split(key, &local, &domain))
		return;
	enum answer a = map_find(e->set, MAP_DOMAINS, domain, &e->c->mem, &line);
	for (struct slice rest = domain; a == ABSENT && slice_find(rest, '.') < rest.n; rest = slice_skip(rest, 1)) {
		rest = slice_skip(rest, slice_find(rest, '.'));
		a = map_find(e->set, MAP_DOMAINS, rest, &e->c->mem, &line);
	}
	if (a == ABSENT)
		ctl_fail(0, "note: no line of domains serves %.*s yet, so this line is not looked at", SLICE_FMT(domain));
	else if (a == FOUND && !map_domain_parse(line.value, &e->c->mem, &d) && d.kind != DOMAIN_MAILBOX && !(d.kind == DOMAIN_RELAY && id == MAP_ALIASES))
		ctl_fail(0, "note: line %u of domains says of %.*s that its addresses are elsewhere, so this line is not looked at", line.line, SLICE_FMT(domain));
}

/* Passwords ------------------------------------------------------------------------------------------------------------------------------ */

static bool read_line_from(int fd, char line[PASSWORD_MAX + 2])
{
	size_t n = 0;
	char c;
	while (n < PASSWORD_MAX + 1 && read(fd, &c, 1) == 1 && c != '\n')
		line[n++] = c;
	if (n && line[n - 1] == '\r')
		n--;
	line[n] = '\0';
	return n > 0;
}

static bool ask_terminal(int fd, const char *question, char line[PASSWORD_MAX + 2])
{
	struct termios before, silent;
	if (tcgetattr(fd, &before) < 0)
		return false;
	silent = before;
	silent.c_lflag &= ~(tcflag_t)ECHO;
	tcsetattr(fd, TCSAFLUSH, &silent); /* first: what is typed as soon as the question stands there is neither shown nor lost */
	dprintf(fd, "%s: ", question);
	bool good = read_line_from(fd, line);
	tcsetattr(fd, TCSANOW, &before);
	dprintf(fd, "\n");
	return good;
}

/* Twice from the terminal, or once from standard input where that is none; never from the arguments, which everybody can read. */
static bool read_password(char line[PASSWORD_MAX + 2])
{
	char again[PASSWORD_MAX + 2];
	if (!isatty(STDIN_FILENO))
		return read_line_from(STDIN_FILENO, line) || (ctl_fail(0, "standard input has no password"), false);
	int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	bool good = fd >= 0 && ask_terminal(fd, "New password", line) && ask_terminal(fd, "The same again", again);
	if (good && strcmp(line, again) != 0) {
		ctl_fail(0, "these were two different passwords");
		good = false;
	}
	mem_wipe(again, sizeof again);
	if (fd >= 0)
		close(fd);
	return good;
}

/* The login's line gets a new hash and verifier; 0, or an exit code, told. */
static int set_password(struct edit *e, const char *login, char password[PASSWORD_MAX + 2])
{
	struct slice key, value;
	uint32_t line;
	enum answer a = edit_find(e, MAP_CREDENTIALS, login, &key, &line, &value);
	if (a == UNSURE)
		return CTL_USAGE;
	if (a == FOUND && slice_starts(value, SLICE("hop ")))
		return ctl_fail(CTL_USAGE, "%s is what we say to a next hop; edit credentials for that", login);
	struct buf made = BUF_INIT(1000);
	const char *why = NULL;
	int error = password_make(slice_of(password), &made, &why);
	if (!error)
		error = a == FOUND ? edit_replace(e, MAP_CREDENTIALS, line, buf_slice(&made)) : edit_add(e, MAP_CREDENTIALS, slice_of(login), buf_slice(&made));
	buf_free(&made);
	return error ? ctl_fail(CTL_DATA, "the password can't be used: %s", why ? why : strerror(-error)) : 0;
}

/* user ------------------------------------------------------------------------------------------------------------------------------------ */

static void add_option(struct buf *value, const char *name, const char *text)
{
	if (text)
		buf_addf(value, "%s%s=%s", value->n ? " " : "", name, text);
}

static int user_add(struct ctl *c, int argc, char **argv)
{
	char password[PASSWORD_MAX + 2];
	const char *quota = ctl_value(&argc, argv, "--quota"), *size = ctl_value(&argc, argv, "--size"), *place = ctl_value(&argc, argv, "--place");
	bool passwd = ctl_flag(&argc, argv, "--passwd");
	struct edit e;
	struct slice key, value;
	uint32_t line;
	int code;
	if (argc != 1 || argv[0][0] == '-')
		return ctl_fail(CTL_USAGE, "user add [--quota SIZE] [--size SIZE] [--place PLACE] [--passwd] ADDRESS");
	if (passwd && !read_password(password)) /* before the lock is taken: nobody else shall wait for somebody at a keyboard */
		return CTL_DATA;
	if (!edit_begin(c, &e, &code))
		return code;
	enum answer a = edit_find(&e, MAP_RECIPIENTS, argv[0], &key, &line, &value);
	if (a != ABSENT)
		return give_up(&e, a == FOUND ? ctl_fail(1, "%s is there already, in line %u of recipients", argv[0], line) : CTL_USAGE);
	struct buf text = BUF_INIT(8192);
	add_option(&text, "quota", quota);
	add_option(&text, "size", size);
	if (place)
		buf_addf(&text, "%s%s", text.n ? " " : "", place);
	struct map_mailbox m;
	const char *why = buf_full(&text) || slice_find(buf_slice(&text), '\n') < text.n ? "too much" : map_mailbox_parse(buf_slice(&text), &c->mem, &m);
	if (why)
		code = ctl_fail(CTL_USAGE, "%s", why);
	else if (passwd)
		code = set_password(&e, argv[0], password);
	else
		code = 0;
	mem_wipe(password, sizeof password);
	if (!code)
		note_unserved(&e, MAP_RECIPIENTS, key);
	if (!code)
		code = done(&e, edit_add(&e, MAP_RECIPIENTS, slice_of(argv[0]), buf_slice(&text)));
	else
		edit_drop(&e);
	buf_free(&text);
	return code;
}

/* The mailbox, the login and what it may use; the mail itself stays where it is. */
static int user_del(struct ctl *c, int argc, char **argv)
{
	static const unsigned ids[] = { MAP_RECIPIENTS, MAP_CREDENTIALS, MAP_SENDERS };
	struct edit e;
	struct slice key, value;
	uint32_t line;
	int code, error = 0, found = 0;
	if (argc != 1)
		return ctl_fail(CTL_USAGE, "user del ADDRESS");
	if (!edit_begin(c, &e, &code))
		return code;
	for (size_t i = 0; !error && i < 3; i++) {
		if (i && slice_eq(slice_of(argv[0]), SLICE("")))
			break;
		enum answer a = edit_find(&e, ids[i], argv[0], &key, &line, &value);
		if (a == UNSURE)
			return give_up(&e, CTL_USAGE);
		if (a == FOUND) {
			found++;
			error = edit_remove(&e, ids[i], line);
		}
	}
	if (!found)
		return give_up(&e, ctl_fail(1, "%s has no line in recipients, credentials or senders", argv[0]));
	return done(&e, error);
}

static int user_passwd(struct ctl *c, int argc, char **argv)
{
	struct edit e;
	int code;
	char password[PASSWORD_MAX + 2];
	if (argc != 1)
		return ctl_fail(CTL_USAGE, "user passwd LOGIN; the password is asked for, or read from standard input");
	if (!ctl_settings(c))
		return CTL_CONFIG;
	if (!read_password(password))
		return CTL_DATA;
	if (!edit_begin(c, &e, &code))
		return code;
	code = set_password(&e, argv[0], password);
	mem_wipe(password, sizeof password);
	return code ? give_up(&e, code) : edit_finish(&e);
}

/* The value with its quota= replaced, or put in front. */
static void with_quota(struct buf *out, struct slice value, const char *quota)
{
	struct slice item, ignored;
	buf_addf(out, "quota=%s", strcmp(quota, "none") == 0 ? "0" : quota);
	while (map_item(&value, ' ', &item))
		if (!slice_eq(value_name(item, &ignored), SLICE("quota"))) {
			buf_add_byte(out, ' ');
			buf_add(out, item);
		}
}

static int user_quota(struct ctl *c, int argc, char **argv)
{
	struct edit e;
	struct slice key, value;
	uint32_t line;
	uint64_t bytes;
	int code;
	if (argc != 2)
		return ctl_fail(CTL_USAGE, "user quota ADDRESS SIZE|none");
	if (strcmp(argv[1], "none") != 0 && !scan_size_all(slice_of(argv[1]), UINT64_MAX / 4, &bytes))
		return ctl_fail(CTL_USAGE, "%s is no size: a number with k, M, G or T behind it, or none", argv[1]);
	if (!edit_begin(c, &e, &code))
		return code;
	enum answer a = edit_find(&e, MAP_RECIPIENTS, argv[0], &key, &line, &value);
	if (a != FOUND)
		return give_up(&e, a == ABSENT ? ctl_fail(1, "%s has no line in recipients", argv[0]) : CTL_USAGE);
	struct buf text = BUF_INIT(8192);
	with_quota(&text, value, argv[1]);
	code = done(&e, edit_replace(&e, MAP_RECIPIENTS, line, buf_slice(&text)));
	buf_free(&text);
	return code;
}

struct user_list {
	struct ctl *c;
	struct map_set *set;
	const char *pattern;
	struct arena mem;
};

static bool list_user(void *arg, const struct map_entry *e)
{
	struct user_list *l = arg;
	struct map_mailbox m;
	struct map_entry login;
	static const char *const kinds[] = { "maildir", "mbox", "system", "lmtp", "program", "hop" };
	if (l->pattern && slice_find_slice(e->key, slice_of(l->pattern)) == e->key.n)
		return true;
	if (map_mailbox_parse(e->value, &l->mem, &m))
		return true;
	bool has_login = map_find(l->set, MAP_CREDENTIALS, e->key, &l->mem, &login) == FOUND;
	if (l->c->json) {
		struct buf b = BUF_INIT(16384);
		buf_add(&b, SLICE("{\"address\":"));
		text_add_json(&b, e->key);
		buf_addf(&b, ",\"kind\":\"%s\",\"place\":", kinds[m.kind]);
		text_add_json(&b, m.place);
		buf_addf(&b, ",\"quota\":%llu,\"login\":%s}\n", (unsigned long long)m.quota_bytes, has_login ? "true" : "false");
		ctl_print(buf_slice(&b));
		buf_free(&b);
	} else {
		printf("%-40.*s %-8s %-30.*s %12llu %s\n", SLICE_FMT(e->key), kinds[m.kind], SLICE_FMT(m.place), (unsigned long long)m.quota_bytes, has_login ? "login" : "-");
	}
	arena_reset(&l->mem);
	return !ferror(stdout);
}

static int user_list(struct ctl *c, int argc, char **argv)
{
	struct user_list l = { .c = c, .pattern = argc ? argv[0] : NULL, .mem = ARENA_INIT(1 << 20) };
	int code;
	if (argc > 1)
		return ctl_fail(CTL_USAGE, "user list [PART-OF-ADDRESS]");
	if (!ctl_settings(c))
		return CTL_CONFIG;
	if (!maps_open(c, true, &l.set, &code))
		return code;
	map_each(l.set, MAP_RECIPIENTS, list_user, &l);
	map_set_close(l.set);
	arena_free(&l.mem);
	return 0;
}

/* alias ----------------------------------------------------------------------------------------------------------------------------------- */

static bool has_item(struct slice value, struct slice wanted)
{
	struct slice item;
	while (map_item(&value, ',', &item))
		if (slice_eq_nocase(item, wanted))
			return true;
	return false;
}

static void add_item(struct buf *out, struct slice item)
{
	if (out->n)
		buf_add(out, SLICE(", "));
	buf_add(out, item);
}

static int alias_add(struct ctl *c, int argc, char **argv)
{
	struct edit e;
	struct slice key, value = SLICE("");
	uint32_t line;
	int code;
	if (argc < 2)
		return ctl_fail(CTL_USAGE, "alias add ADDRESS TARGET...; owner=ADDRESS is one, too");
	if (!edit_begin(c, &e, &code))
		return code;
	enum answer a = edit_find(&e, MAP_ALIASES, argv[0], &key, &line, &value);
	if (a == UNSURE)
		return give_up(&e, CTL_USAGE);
	struct buf text = BUF_INIT(MAX_VALUE);
	buf_add(&text, value);
	for (int i = 1; i < argc; i++) {
		struct slice target = slice_of(argv[i]);
		if (slice_find(target, '\n') < target.n || !target.n)
			return buf_free(&text), give_up(&e, ctl_fail(CTL_USAGE, "a target is empty, or has a line end in it"));
		if (!has_item(buf_slice(&text), target))
			add_item(&text, target);
	}
	if (a == ABSENT)
		note_unserved(&e, MAP_ALIASES, key);
	struct map_alias parsed;
	const char *why = map_alias_parse(buf_slice(&text), &c->mem, &parsed);
	if (why)
		code = give_up(&e, ctl_fail(CTL_USAGE, "%s", why));
	else
		code = done(&e, a == FOUND ? edit_replace(&e, MAP_ALIASES, line, buf_slice(&text)) : edit_add(&e, MAP_ALIASES, slice_of(argv[0]), buf_slice(&text)));
	buf_free(&text);
	return code;
}

static bool is_named(int argc, char **argv, struct slice item)
{
	for (int i = 1; i < argc; i++)
		if (slice_eq_nocase(slice_of(argv[i]), item))
			return true;
	return false;
}

static int alias_del(struct ctl *c, int argc, char **argv)
{
	struct edit e;
	struct slice key, value, item;
	uint32_t line;
	int code, taken = 0;
	if (argc < 1)
		return ctl_fail(CTL_USAGE, "alias del ADDRESS [TARGET...]");
	if (!edit_begin(c, &e, &code))
		return code;
	enum answer a = edit_find(&e, MAP_ALIASES, argv[0], &key, &line, &value);
	if (a != FOUND)
		return give_up(&e, a == ABSENT ? ctl_fail(1, "%s has no line in aliases", argv[0]) : CTL_USAGE);
	struct buf text = BUF_INIT(MAX_VALUE);
	while (argc > 1 && map_item(&value, ',', &item)) {
		if (is_named(argc, argv, item))
			taken++;
		else
			add_item(&text, item);
	}
	if (argc > 1 && !taken)
		code = give_up(&e, ctl_fail(1, "%s does not lead there", argv[0]));
	else
		code = done(&e, text.n ? edit_replace(&e, MAP_ALIASES, line, buf_slice(&text)) : edit_remove(&e, MAP_ALIASES, line));
	buf_free(&text);
	return code;
}

/* domain ---------------------------------------------------------------------------------------------------------------------------------- */

static int domain_add(struct ctl *c, int argc, char **argv)
{
	struct edit e;
	struct slice key, value;
	uint32_t line;
	int code;
	if (argc < 1)
		return ctl_fail(CTL_USAGE, "domain add DOMAIN [mailbox|relay HOP recipients=MAP|alias-of DOMAIN|refuse TEXT] [SETTING...]");
	if (!edit_begin(c, &e, &code))
		return code;
	enum answer a = edit_find(&e, MAP_DOMAINS, argv[0], &key, &line, &value);
	if (a != ABSENT)
		return give_up(&e, a == FOUND ? ctl_fail(1, "%s is there already, in line %u of domains", argv[0], line) : CTL_USAGE);
	struct buf text = BUF_INIT(8192);
	for (int i = 1; i < argc; i++)
		buf_addf(&text, "%s%s", text.n ? " " : "", argv[i]);
	if (!text.n)
		buf_add(&text, SLICE("mailbox"));
	struct map_domain d;
	const char *why = buf_full(&text) || slice_find(buf_slice(&text), '\n') < text.n ? "too much" : map_domain_parse(buf_slice(&text), &c->mem, &d);
	code = why ? give_up(&e, ctl_fail(CTL_USAGE, "%s", why)) : done(&e, edit_add(&e, MAP_DOMAINS, slice_of(argv[0]), buf_slice(&text)));
	buf_free(&text);
	return code;
}

struct counting {
	struct slice domain;
	uint64_t count;
};

static bool count_domain(void *arg, const struct map_entry *e)
{
	struct counting *n = arg;
	struct slice local, domain;
	n->count += map_key_split(e->key, &local, &domain) && slice_eq(domain, n->domain);
	return true;
}

/* Lines of its recipients and aliases stay, and wait for the domain to come back. */
static int domain_del(struct ctl *c, int argc, char **argv)
{
	struct edit e;
	struct slice key, value;
	uint32_t line;
	int code;
	if (argc != 1)
		return ctl_fail(CTL_USAGE, "domain del DOMAIN");
	if (!edit_begin(c, &e, &code))
		return code;
	enum answer a = edit_find(&e, MAP_DOMAINS, argv[0], &key, &line, &value);
	if (a != FOUND)
		return give_up(&e, a == ABSENT ? ctl_fail(1, "%s has no line in domains", argv[0]) : CTL_USAGE);
	struct counting n = { key, 0 };
	map_each(e.set, MAP_RECIPIENTS, count_domain, &n);
	map_each(e.set, MAP_ALIASES, count_domain, &n);
	if (n.count) {
		char question[300];
		snprintf(question, sizeof question, "%llu recipients and aliases of this domain will be refused. Go on?", (unsigned long long)n.count);
		if (!c->yes && c->terminal && !ctl_confirm(c, question))
			return give_up(&e, 1);
	}
	return done(&e, edit_remove(&e, MAP_DOMAINS, line));
}

const struct ctl_command ctl_maps_edit_commands[] = {
	{ "user add", "[--quota SIZE] [--size SIZE] [--place PLACE] [--passwd] ADDRESS", "Adds a line to recipients, with --passwd one to credentials, and compiles.", user_add },
	{ "user del", "ADDRESS", "Takes the lines of recipients, credentials and senders away, and compiles; the mail stays.", user_del },
	{ "user passwd", "LOGIN", "Sets a login's password, asked for on the terminal or read from standard input.", user_passwd },
	{ "user quota", "ADDRESS SIZE|none", "Changes a mailbox's quota.", user_quota },
	{ "user list", "[PART-OF-ADDRESS]", "Lists the mailboxes: address, kind, place, quota, and whether there is a login.", user_list },
	{ "alias add", "ADDRESS TARGET...", "Adds an alias, or targets to one; owner=ADDRESS names a list's owner.", alias_add },
	{ "alias del", "ADDRESS [TARGET...]", "Takes an alias away, or some of its targets.", alias_del },
	{ "domain add", "DOMAIN [KIND] [SETTING...]", "Adds a domain, mailbox where nothing else is said.", domain_add },
	{ "domain del", "DOMAIN", "Takes a domain away; lines of its recipients stay and are not looked at.", domain_del },
	{ NULL, NULL, NULL, NULL }
};
