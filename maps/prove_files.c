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
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/net.h"
#include "base/proc.h"
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
	const char *mail_user, *hop_user; /* "" whoever asks */
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

struct proved_files *prove_files_new(struct slice mail_user, struct slice hop_user)
{
	struct proved_files *f = MEM_NEW(struct proved_files);
	f->mail_user = arena_cstr(&f->mem, mail_user);
	f->hop_user = arena_cstr(&f->mem, hop_user);
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

/* access(2) as the house's process of that user, with no group but its own. A user who is not there says nothing. */
static bool may(const char *user, const char *path, int how)
{
	if (!*user || geteuid() != 0)
		return access(path, how) == 0;
	int status = 0;
	pid_t pid = fork();
	if (pid == 0) {
		const struct proc_plan plan = { user, -1, PROC_CALLS_ANY };
		const char *step;
		_exit(proc_restrict(&plan, true, &step) == 0 && access(path, how) < 0);
	}
	return pid < 0 || waitpid(pid, &status, 0) < 0 || status == 0;
}

enum prove_grade prove_files_root(struct proved_files *f, struct slice mail_root, const char **why)
{
	char *path = arena_cstr(&f->mem, mail_root);
	struct stat st;
	if (stat(path, &st) < 0) {
		*why = errno == EACCES ? "not to be looked at by you" : "it does not exist";
		return errno == EACCES ? PROVE_UNSURE : PROVE_REFUTED;
	}
	*why = "it is no folder";
	if (!S_ISDIR(st.st_mode))
		return PROVE_REFUTED;
	*why = "the mailbox process may not write there";
	return may(f->mail_user, path, W_OK | X_OK) ? PROVE_NOTE : PROVE_REFUTED;
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

/* An mbox file may be made; its folder has to be there, and takes its locks. */
static enum prove_grade look_at_mbox(const struct proved_files *f, const char *folder, const char **why)
{
	enum prove_grade grade = look_at(folder, is_folder, "the folder of this mbox file does not exist", why);
	if (grade != PROVE_NOTE || may(f->mail_user, folder, W_OK | X_OK))
		return grade;
	*why = "the mailbox process may not write in the folder of this mbox file";
	return PROVE_REFUTED;
}

static enum prove_grade look_at_socket(const struct proved_files *f, const char *path, const char **why)
{
	enum prove_grade grade = look_at(path, is_socket, "the LMTP socket it leads to does not exist", why);
	if (grade != PROVE_NOTE || may(f->hop_user, path, W_OK))
		return grade;
	*why = "the LMTP socket it leads to can't be written to by those who connect to it";
	return PROVE_REFUTED;
}

static enum prove_grade look_at_home(const char *user, const char **why)
{
	const struct passwd *pw = getpwnam(user);
	*why = "there is no system user of this name";
	return pw ? look_at(pw->pw_dir, is_folder, "the home of this system user does not exist", why) : PROVE_REFUTED;
}

static enum prove_grade look(const struct proved_files *f, enum leaf_kind kind, const char *place, const char **why)
{
	switch (kind) {
	case LEAF_MAILDIR:
	case LEAF_HOP:
		return PROVE_NOTE;
	case LEAF_MBOX:
		return look_at_mbox(f, place, why);
	case LEAF_SYSTEM:
		return look_at_home(place, why);
	case LEAF_LMTP:
		return look_at_socket(f, place, why);
	case LEAF_PROGRAM:
		return look_at(place, is_program, "the program it leads to does not exist or can't be run", why); /* its path ends at the first NUL */
	}
	return PROVE_NOTE;
}

/* What is looked at for a leaf: many share one. An mbox file's folder; "" nothing. */
static struct slice looked_at(const struct leaf *l)
{
	struct slice place = l->place;
	if (l->kind == LEAF_MBOX)
		return slice_head(place, slice_rfind(place, '/'));
	if (l->kind == LEAF_LMTP)
		return scan_word(&place, SLICE("unix:")) ? place : SLICE("");
	return l->kind == LEAF_SYSTEM || l->kind == LEAF_PROGRAM ? place : SLICE("");
}

enum prove_grade prove_files_leaf(struct proved_files *f, const struct leaf *l, struct arena *mem, const char **why)
{
	struct slice place = looked_at(l);
	if (!place.n)
		return PROVE_NOTE;
	for (size_t i = 0; i < f->seen_count; i++)
		if (f->seen[i].kind == l->kind && slice_eq(f->seen[i].place, place)) {
			*why = f->seen[i].why;
			return f->seen[i].grade;
		}
	struct seen s = { l->kind, SLICE_NONE, PROVE_NOTE, "" };
	s.grade = look(f, l->kind, arena_cstr(mem, place), &s.why);
	*why = s.why;
	if (f->seen_count < MAX_SEEN) {
		s.place = arena_copy(&f->mem, place);
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
