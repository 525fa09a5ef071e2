/* The demo: a small organisation, example.test, with alice and bob. Every file is written only where it isn't yet. */
#include "ctl/demo.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/net.h"
#include "base/proc.h"
#include "ctl/demo_more.h"
#include "ctl/settings_all.h"
#include "maps/compile.h"
#include "maps/maps_settings.h"

enum { PORT_MX = 2525, PORT_SUBMISSION = 2587, PORT_SUBMISSIONS = 2465, PORT_HTTP = 8025 };

/* name, text; "%s" is not used: these are written as they stand. */
static const struct {
	const char *name, *text;
} maps[] = {
	{ "domains",
	  "# Which domains are ours. porter-maps(5) tells all forms.\n"
	  "#   DOMAIN   mailbox [quota=1G] [size=20M] [catch-all=ADDRESS] ...\n"
	  "#   DOMAIN   relay NEXT-HOP recipients=MAP|ask\n"
	  "#   DOMAIN   alias-of DOMAIN\n"
	  "#   DOMAIN   refuse TEXT\n"
	  "example.test    mailbox\n" },
	{ "recipients",
	  "# Who has a mailbox: ADDRESS, then options and a place (default: a Maildir at MAIL-ROOT/DOMAIN/LOCAL-PART).\n"
	  "alice@example.test    maildir\n"
	  "bob@example.test      maildir\n" },
	{ "aliases",
	  "# Addresses that stand for others: ADDRESS or local-part, then targets with commas.\n"
	  "postmaster    alice@example.test\n"
	  "abuse         alice@example.test\n"
	  "team@example.test    alice@example.test, bob@example.test\n" },
	{ "routes", "# Next hops other than a domain's MX: DOMAIN, .DOMAIN, ADDRESS or *, then HOST[:PORT], [ADDRESS]:PORT, mx or mx:DOMAIN.\n" },
	{ "access", "# Who is let in, refused, deferred or tagged: client:NETWORK name:DOMAIN helo:NAME from:ADDRESS to:ADDRESS, then what.\n" },
	{ "credentials", "# Logins and what proves them; written by porterctl user add and passwd.\n" },
	{ "senders",
	  "# Which reverse-paths and From addresses a login may use.\n"
	  "alice@example.test    alice@example.test\n"
	  "bob@example.test      bob@example.test\n" },
	{ "clients", "# Which networks or certificates may speak for which reverse-path domains: NETWORK or fingerprint:HEX, then domains.\n" },
	{ "header", "# Patterns of header fields: FIELD /PATTERN/ refuse TEXT or tag WORD.\n" },
	{ "hosters", "# Domains of shared hosters, whose SPF pass proves nothing.\n" },
	{ "signers", "# Which DKIM keys sign for which domains; written by porterctl dkim new.\n" },
	{ "sealers", "# Domains whose ARC seals are believed: DOMAIN or .DOMAIN, alone on its line.\n" },
};

static int put_file(const char *dir, const char *name, mode_t mode, const char *text, size_t n)
{
	char path[PATH_MAX];
	if (snprintf(path, sizeof path, "%s/etc/%s", dir, name) >= (int)sizeof path)
		return -ENAMETOOLONG;
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0)
		return errno == EEXIST ? 0 : -errno;
	ssize_t written = write(fd, text, n);
	int error = written == (ssize_t)n ? 0 : -EIO;
	close(fd);
	return error;
}

static int make_folder(const char *dir, const char *name, mode_t mode, const char *user)
{
	char path[PATH_MAX];
	if (snprintf(path, sizeof path, "%s%s%s", dir, *name ? "/" : "", name) >= (int)sizeof path)
		return -ENAMETOOLONG;
	if (mkdir(path, mode) < 0)
		return errno == EEXIST ? 0 : -errno;
	return proc_give_folder(path, user);
}

/* -- where the processes' own folders lie --------------------------------------------------------------------------------------------------- */

/* Everybody may walk through all folders down to this one. */
static bool others_may_pass(const char *absolute)
{
	char path[PATH_MAX];
	struct stat st;
	snprintf(path, sizeof path, "%s", absolute);
	for (char *slash; (slash = strrchr(path, '/')); *slash = '\0')
		if (stat(path, &st) < 0 || !(st.st_mode & S_IXOTH))
			return false;
	return true;
}

/* DIR itself; but the users of the processes can't come to one below root's own home, say: then theirs is a folder of /var/lib, and DIR has links to what is in it. */
static int find_place(const char *dir, char place[PATH_MAX])
{
	char absolute[PATH_MAX];
	int error = make_folder(dir, "", 0755, NULL);
	if (!error && !realpath(dir, absolute))
		error = -errno;
	if (error)
		return error;
	snprintf(place, PATH_MAX, "%s", absolute);
	if (geteuid() != 0 || others_may_pass(absolute))
		return 0;
	for (char *c = absolute; *c; c++)
		*c = *c == '/' ? '-' : *c;
	if (snprintf(place, PATH_MAX, "/var/lib/porter-demo%s", absolute) >= PATH_MAX)
		return -ENAMETOOLONG;
	return make_folder(place, "", 0755, NULL);
}

static int link_to(const char *place, const char *dir, const char *name)
{
	char from[PATH_MAX], to[PATH_MAX];
	if (snprintf(from, sizeof from, "%s/%s", dir, name) >= (int)sizeof from || snprintf(to, sizeof to, "%s/%s", place, name) >= (int)sizeof to)
		return -ENAMETOOLONG;
	return symlink(to, from) < 0 && errno != EEXIST ? -errno : 0; /* where place is DIR, name is there */
}

static int make_folders(const char *dir, const char *place)
{
	static const struct {
		const char *name, *user;
		mode_t mode;
	} folders[] = {
		{ "mail", "_portermail", 0755 }, { "spool", "_porterq", 0711 }, { "run", NULL, 0755 }, { "rndr", "_porter", 0700 }, { "maps", NULL, 0755 },
	};
	int error = make_folder(dir, "etc", 0755, NULL);
	error = error ? error : make_folder(dir, "etc/tls", 0755, NULL);
	for (size_t i = 0; i < sizeof folders / sizeof *folders && !error; i++) {
		error = make_folder(place, folders[i].name, folders[i].mode, folders[i].user);
		error = error ? error : link_to(place, dir, folders[i].name);
	}
	return error;
}

static int put_conf(const char *dir, const char *place, unsigned base)
{
	char absolute[PATH_MAX];
	const char *at = realpath(dir, absolute) && strcmp(absolute, place) == 0 ? ".." : place;
	struct buf text = BUF_INIT(8192);
	unsigned mx = base ? base : PORT_MX, submission = base ? base + 1 : PORT_SUBMISSION, submissions = base ? base + 2 : PORT_SUBMISSIONS,
		 http = base ? base + 3 : PORT_HTTP;
	buf_add_cstr(&text, DEMO_MARK);
	buf_add_cstr(&text, "# porter.conf(5) and `porterctl settings` tell every setting.\n"
	                    "hostname             mx.example.test\nlocal-domain         example.test\n");
	buf_addf(&text, "run-directory        %s/run\nspool-directory      %s/spool\nmail-root            %s/mail\n", at, at, at);
	buf_addf(&text, "maps-directory       %s/maps\nsecrets-directory    %s/secrets\nmta-sts-directory    %s/sts\nmail-reserve         8M\n", at, at, at);
	buf_addf(&text, "listen-mx            127.0.0.1:%u\n", mx);
	buf_add_cstr(&text, "evidence             auto        # SPF, DKIM, DMARC: once dns-resolvers names some\n");
	demo_add_conf(&text, submission, submissions, http);
	int error = put_file(dir, "porter.conf", 0644, text.p, text.n);
	buf_free(&text);
	return error;
}

static int put_maps(const char *dir)
{
	for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
		bool secret = strcmp(maps[i].name, "credentials") == 0;
		int error = put_file(dir, maps[i].name, secret ? 0600 : 0644, maps[i].text, strlen(maps[i].text));
		if (error)
			return error;
	}
	return 0;
}

static int compile(const char *dir)
{
	char etc[PATH_MAX], absolute[PATH_MAX], conf[PATH_MAX];
	struct arena mem = ARENA_INIT(0);
	struct buf text = BUF_INIT(1 << 20);
	struct complaints wrong = { BUF_INIT(1 << 20), 0 };
	struct compile_result result;
	snprintf(etc, sizeof etc, "%s/etc", dir);
	snprintf(conf, sizeof conf, "%s/etc/porter.conf", dir);
	int fd = open(conf, O_RDONLY | O_CLOEXEC);
	ssize_t n = 0;
	for (char *room = buf_room(&text, 65536); fd >= 0 && room && (n = read(fd, room, 65536)) > 0; room = buf_room(&text, 65536))
		buf_used(&text, (size_t)n);
	if (fd >= 0)
		close(fd);
	int error = realpath(etc, absolute) ? setting_read(buf_slice(&text), SLICE("porter.conf"), slice_of(absolute), settings_all, settings_all_count, &mem, &wrong) : -errno;
	if (!error) {
		struct compile_plan plan = { .directory = slice_of(absolute), .maps_directory = arena_cstr(&mem, maps_settings.maps_directory),
			                     .secrets_directory = arena_cstr(&mem, maps_settings.secrets_directory), .keep = maps_settings.keep_generations,
			                     .prove = true, .publish = true };
		error = compile_maps(&plan, &wrong, &result);
	}
	if (wrong.text.n)
		fwrite(wrong.text.p, 1, wrong.text.n, stderr);
	buf_free(&text);
	complaint_free(&wrong);
	arena_free(&mem);
	return error;
}

int demo_make(const char *dir, unsigned port_base)
{
	char place[PATH_MAX];
	umask(022);
	int error = find_place(dir, place);
	error = error ? error : make_folders(dir, place);
	error = error ? error : put_conf(dir, place, port_base);
	error = error ? error : put_maps(dir);
	error = error ? error : demo_add_files(dir);
	if (error) {
		fprintf(stderr, "porterd: demo %s: %s\n", dir, strerror(-error));
		return 74;
	}
	if (compile(dir)) {
		fprintf(stderr, "porterd: the demo's maps in %s/etc do not compile\n", dir);
		return 78;
	}
	return 0;
}
