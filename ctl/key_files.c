/* Certificates for servers, private keys for the keeper: opened by the parent, made where a first start finds none, looked at now and then and
 * given again when they changed, so that a renewed certificate needs no reload. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/file.h"
#include "base/general_settings.h"
#include "base/keeper_keys.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/tls.h"
#include "ctl/parent.h"

enum { MAX_KEY_FILES = 5000, MAC_PURPOSES = 2 };

struct key_file {
	char *name, *path;            /* "tls-key:0", where it lies */
	int fd;
	struct stat seen;
};

struct key_files {
	struct key_file *files;
	size_t count;
	bool full;
	struct loop_timer *look;
};

/* -- making what is missing --------------------------------------------------------------------------------------------------------------- */

/* A self-signed certificate in place of the first pair, if neither of its files is there; made by another process, which knows how. */
static void make_certificate(struct parent *p, const struct tls_pair *pair, struct arena *mem)
{
	const char *words[] = { arena_cstr(mem, general_settings.hostname), arena_cstr(mem, pair->cert), arena_cstr(mem, pair->key), NULL };
	int status = 0;
	if (access(words[1], F_OK) == 0 || access(words[2], F_OK) == 0)
		return;
	pid_t pid = programs_run(p, "certificate", words);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		log_event(LOG_WARN, "certificate-not-made", LOG_CSTR("file", words[1]), LOG_END);
	else
		log_event(LOG_INFO, "certificate-made", LOG_CSTR("file", words[1]), LOG_STR("host", general_settings.hostname), LOG_END);
}

static void make_macs(const char *path)
{
	static const struct slice purposes[MAC_PURPOSES] = { SLICE_INIT("srs"), SLICE_INIT("batv") };
	struct buf text = BUF_INIT(4096), next = BUF_INIT(4096);
	if (access(path, F_OK) == 0)
		return;
	for (size_t i = 0; i < MAC_PURPOSES; i++) {
		buf_clear(&next);
		keeper_keys_rotate(buf_slice(&text), purposes[i], 10, &next);
		buf_clear(&text);
		buf_add(&text, buf_slice(&next));
	}
	file_make(AT_FDCWD, path, 0600, buf_slice(&text));
	mem_wipe(text.p, text.cap);
	mem_wipe(next.p, next.cap);
	buf_free(&text);
	buf_free(&next);
}

static void make_salt(const char *path)
{
	char salt[32];
	if (access(path, F_OK) == 0)
		return;
	crypto_random(salt, sizeof salt);
	file_make(AT_FDCWD, path, 0600, slice(salt, sizeof salt));
}

/* -- opening --------------------------------------------------------------------------------------------------------------------------------- */

static void close_all(struct key_files *k)
{
	for (size_t i = 0; i < k->count; i++) {
		if (k->files[i].fd >= 0)
			close(k->files[i].fd);
		mem_free(k->files[i].name);
		mem_free(k->files[i].path);
	}
	k->count = 0;
	k->full = false;
}

static int reopen(struct key_file *f)
{
	struct stat st;
	int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		int error = fd < 0 ? -errno : -EINVAL;
		if (fd >= 0)
			close(fd);
		return error;
	}
	if (f->fd >= 0)
		close(f->fd);
	f->fd = fd;
	f->seen = st;
	return 0;
}

static void add(struct key_files *k, const char *name, const char *path)
{
	if (k->count == MAX_KEY_FILES) {
		if (!k->full)
			log_event(LOG_ERROR, "key-files-full", LOG_CSTR("file", path), LOG_UINT("most", MAX_KEY_FILES), LOG_END);
		k->full = true;
		return;
	}
	k->files = mem_grow(k->files, k->count + 1, sizeof *k->files);
	struct key_file *f = &k->files[k->count];
	*f = (struct key_file){ mem_copy(name, strlen(name)), mem_copy(path, strlen(path)), -1, { 0 } };
	k->count++; /* also when it isn't there: it may come */
	int error = reopen(f);
	if (error)
		log_event(LOG_WARN, "key-file", LOG_CSTR("file", path), LOG_CSTR("name", name), LOG_ERRNO(error), LOG_END);
	else if ((f->seen.st_mode & 07) && strncmp(name, "tls-cert:", 9) != 0)
		log_event(LOG_WARN, "key-file-readable", LOG_CSTR("file", path), LOG_CSTR("name", name), LOG_END);
}

static void add_pairs(struct parent *p, struct key_files *k)
{
	struct arena mem = ARENA_INIT(1 << 20);
	struct tls_pair pairs[TLS_MAX_CERTIFICATES];
	size_t count = 0;
	char name[32];
	if (tls_pairs(tls_settings.certificates, slice_of(p->directory), &mem, pairs, &count) == 0)
		make_certificate(p, &pairs[0], &mem);
	for (size_t i = 0; i < count; i++) {
		snprintf(name, sizeof name, "tls-key:%zu", i); /* keys stand before certificates: the keeper hears first */
		add(k, name, arena_cstr(&mem, pairs[i].key));
		snprintf(name, sizeof name, "tls-cert:%zu", i);
		add(k, name, arena_cstr(&mem, pairs[i].cert));
	}
	arena_free(&mem);
}

/* "SELECTOR._domainkey.DOMAIN.pem" */
static void add_dkim(struct key_files *k, const char *folder)
{
	DIR *d = opendir(folder);
	struct dirent *e;
	while (d && (e = readdir(d))) {
		struct slice file = slice_of(e->d_name), stem = slice_head(file, file.n > 4 ? file.n - 4 : 0);
		char name[NAME_MAX + 16], path[PATH_MAX];
		if (!slice_ends(file, SLICE(".pem")) || slice_find_slice(stem, SLICE("._domainkey.")) == stem.n)
			continue;
		snprintf(name, sizeof name, "dkim-key:%.*s", SLICE_FMT(stem));
		if (snprintf(path, sizeof path, "%s/%s", folder, e->d_name) < (int)sizeof path)
			add(k, name, path);
	}
	if (d)
		closedir(d);
}

static void add_others(struct key_files *k)
{
	char folder[PATH_MAX], path[PATH_MAX];
	if (snprintf(folder, sizeof folder, "%.*s", SLICE_FMT(tls_settings.keys_directory)) > PATH_MAX - 64)
		return;
	if (mkdir(folder, 0700) < 0 && errno != EEXIST)
		log_event(LOG_WARN, "keys-directory", LOG_CSTR("folder", folder), LOG_ERRNO(errno), LOG_END);
	snprintf(path, sizeof path, "%.4000s/mac-keys", folder);
	make_macs(path);
	add(k, "mac-keys", path);
	snprintf(path, sizeof path, "%.4000s/login-salt", folder);
	make_salt(path);
	add(k, "login-salt", path);
	add_dkim(k, folder);
}

/* -- giving ---------------------------------------------------------------------------------------------------------------------------------- */

void key_files_give(struct parent *p, struct child *c)
{
	for (size_t i = 0; p->keys && i < p->keys->count; i++)
		if (p->keys->files[i].fd >= 0 && files_wants(c->role, p->keys->files[i].name))
			child_send_file(c, slice_of(p->keys->files[i].name), p->keys->files[i].fd);
}

static bool is_changed(const struct key_file *f)
{
	struct stat st;
	return stat(f->path, &st) == 0 && (st.st_ino != f->seen.st_ino || st.st_size != f->seen.st_size || st.st_mtim.tv_sec != f->seen.st_mtim.tv_sec ||
	       st.st_mtim.tv_nsec != f->seen.st_mtim.tv_nsec);
}

static void look(void *arg)
{
	struct parent *p = arg;
	for (size_t i = 0; i < p->keys->count; i++) {
		struct key_file *f = &p->keys->files[i];
		if (!is_changed(f) || reopen(f))
			continue;
		log_event(LOG_INFO, "key-file-changed", LOG_CSTR("file", f->path), LOG_END);
		for (struct child *c = p->children; c; c = c->next)
			if (c->channel && files_wants(c->role, f->name))
				child_send_file(c, slice_of(f->name), f->fd);
	}
	loop_timer_set(p->keys->look, tls_settings.look_s * 1000);
}

void key_files_open(struct parent *p)
{
	if (!p->keys) {
		p->keys = MEM_NEW(struct key_files);
		p->keys->look = loop_timer_new(p->loop, look, p);
	}
	close_all(p->keys);
	add_pairs(p, p->keys);
	add_others(p->keys);
	loop_timer_set(p->keys->look, tls_settings.look_s * 1000);
}
