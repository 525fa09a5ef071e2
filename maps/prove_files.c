/* The machine's side of a proof. */
#include "maps/prove_files.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/net.h"
#include "base/scan.h"

enum { MAX_GATEWAYS = 16, MAX_SEEN = 256 };

struct seen {
	enum leaf_kind kind;
	struct slice place;
	enum prove_grade grade;
	const char *why;
};

struct proved_files {
	struct net_ip gateways[MAX_GATEWAYS];
	size_t gateway_count;
	struct seen seen[MAX_SEEN]; /* the places that stand behind many addresses are few */
	size_t seen_count;
	struct arena mem;
};

/* /proc/net/route: "eth0 DESTINATION GATEWAY ..." with addresses as little-endian hexadecimal. */
static void read_gateways_v4(struct proved_files *f)
{
	FILE *in = fopen("/proc/net/route", "re");
	char line[512];
	while (in && fgets(line, sizeof line, in) && f->gateway_count < MAX_GATEWAYS) {
		unsigned destination, gateway;
		if (sscanf(line, "%*s %8x %8x", &destination, &gateway) != 2 || destination != 0 || gateway == 0)
			continue;
		struct net_ip ip = { .bytes = { [10] = 0xff, [11] = 0xff }, .is_v4 = true };
		memcpy(ip.bytes + 12, &gateway, 4);
		f->gateways[f->gateway_count++] = ip;
	}
	if (in)
		fclose(in);
}

/* /proc/net/ipv6_route: "DESTINATION LENGTH SOURCE LENGTH NEXT-HOP ...", 32 hexadecimal digits each. */
static void read_gateways_v6(struct proved_files *f)
{
	FILE *in = fopen("/proc/net/ipv6_route", "re");
	char line[512], destination[33], hop[33];
	while (in && fgets(line, sizeof line, in) && f->gateway_count < MAX_GATEWAYS) {
		unsigned length;
		struct net_ip ip = { .is_v4 = false };
		if (sscanf(line, "%32s %2x %*s %*s %32s", destination, &length, hop) != 3 || length != 0 || strspn(hop, "0") == 32)
			continue;
		for (size_t i = 0; i < 16; i++) {
			unsigned byte;
			if (sscanf(hop + 2 * i, "%2x", &byte) == 1)
				ip.bytes[i] = (uint8_t)byte;
		}
		f->gateways[f->gateway_count++] = ip;
	}
	if (in)
		fclose(in);
}

struct proved_files *prove_files_new(void)
{
	struct proved_files *f = MEM_NEW(struct proved_files);
	read_gateways_v4(f);
	read_gateways_v6(f);
	return f;
}

void prove_files_free(struct proved_files *f)
{
	if (!f)
		return;
	arena_free(&f->mem);
	mem_free(f);
}

static bool may_write(const struct stat *st, uid_t uid, gid_t gid)
{
	mode_t want = st->st_uid == uid ? S_IWUSR | S_IXUSR : st->st_gid == gid ? S_IWGRP | S_IXGRP : S_IWOTH | S_IXOTH;
	return uid == 0 || (st->st_mode & want) == want;
}

enum prove_grade prove_files_root(struct proved_files *f, struct slice mail_root, struct slice user, const char **why)
{
	char *path = arena_cstr(&f->mem, mail_root), *name = arena_cstr(&f->mem, user);
	struct stat st;
	if (stat(path, &st) < 0) {
		*why = errno == EACCES ? "not to be looked at by you" : "it does not exist";
		return errno == EACCES ? PROVE_UNSURE : PROVE_REFUTED;
	}
	*why = "it is no folder";
	if (!S_ISDIR(st.st_mode))
		return PROVE_REFUTED;
	const struct passwd *pw = user.n && geteuid() == 0 ? getpwnam(name) : NULL;
	*why = "the mailbox process may not write there";
	return may_write(&st, pw ? pw->pw_uid : geteuid(), pw ? pw->pw_gid : getegid()) ? PROVE_NOTE : PROVE_REFUTED;
}

static enum prove_grade look_at(const char *path, bool (*good)(const struct stat *st), const char *wrong, const char **why)
{
	struct stat st;
	if (stat(path, &st) < 0) {
		*why = errno == EACCES ? "the file it leads to is not to be looked at by you" : wrong;
		return errno == EACCES ? PROVE_UNSURE : PROVE_REFUTED;
	}
	*why = wrong;
	return good(&st) ? PROVE_NOTE : PROVE_REFUTED;
}

static bool is_program(const struct stat *st)
{
	return S_ISREG(st->st_mode) && (st->st_mode & 0111);
}

static bool is_socket(const struct stat *st)
{
	return S_ISSOCK(st->st_mode);
}

static bool is_folder(const struct stat *st)
{
	return S_ISDIR(st->st_mode);
}

/* An mbox file may be made; its folder has to be there. */
static enum prove_grade look_at_mbox(char *path, const char **why)
{
	char *slash = strrchr(path, '/');
	if (!slash || slash == path)
		return PROVE_NOTE;
	*slash = '\0';
	return look_at(path, is_folder, "the folder of this mbox file does not exist", why);
}

static enum prove_grade look(const struct leaf *l, char *place, const char **why)
{
	switch (l->kind) {
	case LEAF_MAILDIR:
	case LEAF_HOP:
		return PROVE_NOTE;
	case LEAF_MBOX:
		return look_at_mbox(place, why);
	case LEAF_SYSTEM:
		*why = "there is no system user of this name";
		return getpwnam(place) ? PROVE_NOTE : PROVE_REFUTED;
	case LEAF_LMTP:
		return strncmp(place, "unix:", 5) == 0 ? look_at(place + 5, is_socket, "the LMTP socket it leads to does not exist", why) : PROVE_NOTE;
	case LEAF_PROGRAM:
		return look_at(place, is_program, "the program it leads to does not exist or can't be run", why); /* its path ends at the first NUL */
	}
	return PROVE_NOTE;
}

enum prove_grade prove_files_leaf(struct proved_files *f, const struct leaf *l, struct arena *mem, const char **why)
{
	if (l->kind == LEAF_MAILDIR || l->kind == LEAF_HOP || (l->kind == LEAF_LMTP && !slice_starts(l->place, SLICE("unix:"))))
		return PROVE_NOTE;
	for (size_t i = 0; i < f->seen_count; i++)
		if (f->seen[i].kind == l->kind && slice_eq(f->seen[i].place, l->place)) {
			*why = f->seen[i].why;
			return f->seen[i].grade;
		}
	struct seen s = { l->kind, SLICE_NONE, PROVE_NOTE, "" };
	s.grade = look(l, arena_cstr(mem, l->place), &s.why);
	*why = s.why;
	if (f->seen_count < MAX_SEEN) {
		s.place = arena_copy(&f->mem, l->place);
		f->seen[f->seen_count++] = s;
	}
	return s.grade;
}

bool prove_files_client(struct proved_files *f, struct slice key, struct slice value, const char **why)
{
	struct net_ip network;
	struct slice item;
	unsigned prefix;
	scan_word(&key, SLICE("client:"));
	if (!net_range_parse(key, &network, &prefix, why))
		return false;
	while (map_item(&value, ',', &item))
		if (slice_eq(item, SLICE("wide")))
			return false;
	*why = "the range holds the default gateway: whatever the gateway passes on would be trusted; leave it out, or say `wide`";
	for (size_t i = 0; i < f->gateway_count; i++)
		if (net_ip_in(&f->gateways[i], &network, prefix))
			return true;
	return false;
}
