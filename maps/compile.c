/* The compiler: a text set, checked, written as a generation. */
#include "maps/compile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/scan.h"
#include "maps/manifest.h"
#include "maps/map_bdb.h"
#include "maps/map_set.h"
#include "maps/prove.h"

enum { PROGRESS_EACH = 8192, MAX_PATH_TEXT = 4200, MAX_REFUTED = 1 << 20 };

/* What the rule refuses ------------------------------------------------------------------------------------------------------------- */

struct check {
	struct complaints *wrong;
	const struct compile_plan *plan;
};

static void on_found(void *arg, const struct prove_finding *f)
{
	const struct check *c = arg;
	if (f->grade == PROVE_REFUTED)
		complaint_add(c->wrong, f->map, f->line, "\"%.*s\": %.*s%s%.*s%s", SLICE_FMT(f->key), SLICE_FMT(f->text), f->path.n ? " (" : "", SLICE_FMT(f->path),
		              f->path.n ? ")" : "");
}

static void on_progress(void *arg, const char *what, uint64_t done, uint64_t total)
{
	const struct check *c = arg;
	if (c->plan->progress)
		c->plan->progress(c->plan->arg, what, done, total);
}

static bool is_ourselves(void *arg, struct slice place)
{
	const struct check *c = arg;
	return c->plan->is_ourselves && c->plan->is_ourselves(c->plan->arg, place);
}

bool compile_check(struct map_set *set, const struct compile_plan *plan, struct complaints *wrong)
{
	struct check c = { wrong, plan };
	struct prove_plan proof = { .set = set, .is_ourselves = is_ourselves, .found = on_found, .progress = on_progress, .arg = &c };
	struct prove_summary sum;
	return prove_run(&proof, &sum) != PROVE_REFUTED;
}

/* Writing a generation -------------------------------------------------------------------------------------------------------------- */

struct compiler {
	const struct compile_plan *plan;
	struct complaints *wrong;
	struct map_set *set;
	struct arena mem;
	struct manifest old, new;
	uint64_t old_number, number;
	char folder[MAX_PATH_TEXT], secrets[MAX_PATH_TEXT]; /* N.tmp */
	uint64_t done, total;
	pthread_t prover;
	bool proving, proved;
	struct complaints refuted;
};

static int path_at(char *out, const char *folder, const char *name)
{
	return snprintf(out, MAX_PATH_TEXT, "%s/%s", folder, name) < MAX_PATH_TEXT ? 0 : -ENAMETOOLONG;
}

static int tell(struct compiler *c, const char *what, const char *path, int error)
{
	if (error)
		complaint_add(c->wrong, slice_of(path), 0, "%s: %s", what, strerror(-error));
	return error;
}

/* What a map's text, and the domains that its keys depend on, say: the same digest, the same file. */
static void text_digest(struct compiler *c, unsigned id, uint8_t out[CRYPTO_SHA256])
{
	struct crypto_hash *h = crypto_sha256_new();
	crypto_hash_add(h, buf_slice(&c->set->files[MAP_DOMAINS]));
	crypto_hash_add(h, SLICE("\n\001\n"));
	crypto_hash_add(h, buf_slice(&c->set->files[id]));
	if (id == MAP_ALIASES && slice_find_slice(buf_slice(&c->set->files[id]), SLICE(":include:")) < c->set->files[id].n)
		for (size_t i = 0; i < map_text_count(c->set->maps[id].text); i++)
			crypto_hash_add(h, map_text_at(c->set->maps[id].text, i)->value);
	crypto_hash_end(h, out);
}

static const struct manifest_file *unchanged(const struct compiler *c, const struct manifest_file *f)
{
	for (size_t i = 0; i < c->old.count; i++)
		if (slice_eq(c->old.files[i].name, f->name) && c->old.files[i].secret == f->secret &&
		    memcmp(c->old.files[i].text_digest, f->text_digest, CRYPTO_SHA256) == 0)
			return &c->old.files[i];
	return NULL;
}

static int take_over(struct compiler *c, const struct manifest_file *old, const char *path, struct manifest_file *f)
{
	char from[MAX_PATH_TEXT];
	const char *base = f->secret ? c->plan->secrets_directory : c->plan->maps_directory;
	if (snprintf(from, sizeof from, "%s/%llu/%.*s.db", base, (unsigned long long)c->old_number, SLICE_FMT(f->name)) >= (int)sizeof from)
		return -ENAMETOOLONG;
	uint64_t size;
	uint8_t digest[CRYPTO_SHA256];
	int error = manifest_digest_file(from, &size, digest);
	if (error || size != old->size || memcmp(digest, old->digest, sizeof digest) != 0)
		return -EBADMSG;                    /* damaged since: it is written anew */
	if (link(from, path) < 0)
		return -errno;
	f->size = old->size;
	memcpy(f->digest, old->digest, sizeof f->digest);
	return 0;
}

static int write_map(struct compiler *c, const struct map_text *t, const char *path, struct manifest_file *f)
{
	struct map_bdb_writer *w;
	int error = map_bdb_create(path, &w);
	if (error)
		return error;
	for (size_t i = 0; i < map_text_count(t); i++) {
		map_bdb_add(w, map_text_at(t, i));
		if (++c->done % PROGRESS_EACH == 0 && c->plan->progress && !c->plan->prove) /* the proof shows its own */
			c->plan->progress(c->plan->arg, "writing", c->done, c->total);
	}
	error = map_bdb_finish(w);
	if (!error && chmod(path, f->secret ? 0400 : 0444) < 0)
		error = -errno;
	return error ? error : manifest_digest_file(path, &f->size, f->digest);
}

static void give_to_login(const char *path)
{
	struct passwd *pw = geteuid() == 0 ? getpwnam("_porterauth") : NULL;
	if (pw && chown(path, pw->pw_uid, pw->pw_gid) < 0)
		return;                             /* the login process says so when it can't read it */
}

static int one_map(struct compiler *c, unsigned id)
{
	struct manifest_file *f = &c->new.files[c->new.count];
	char name[MAP_MAX_NAME + 8], path[MAX_PATH_TEXT];
	f->name = map_name(c->set, id);
	f->secret = id < MAP_FIXED && map_kinds[id].secret;
	f->entries = map_size(c->set, id);
	text_digest(c, id, f->text_digest);
	snprintf(name, sizeof name, "%.*s.db", SLICE_FMT(f->name));
	int error = path_at(path, f->secret ? c->secrets : c->folder, name);
	const struct manifest_file *old = unchanged(c, f);
	if (!error && (!old || take_over(c, old, path, f) < 0))
		error = write_map(c, c->set->maps[id].text, path, f);
	if (!error && f->secret)
		give_to_login(path);
	c->new.count++;
	return tell(c, "this map can't be written", path, error);
}

static int sync_path(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int error = fd < 0 || fsync(fd) < 0 ? -errno : 0;
	if (fd >= 0)
		close(fd);
	return error;
}

static void remove_folder(const char *path)
{
	DIR *d = opendir(path);
	if (!d)
		return;
	for (struct dirent *e = readdir(d); e; e = readdir(d))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
	rmdir(path);
}

static bool is_number(const char *name, uint64_t *out)
{
	return scan_uint_all(slice_of(name), UINT64_MAX - 1, out);
}

/* Numbers in use, also of half-made generations, whose folders go. */
static uint64_t highest(const char *directory)
{
	uint64_t most = 0, n;
	DIR *d = opendir(directory);
	for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
		if (is_number(e->d_name, &n) && n > most)
			most = n;
		if (slice_ends(slice_of(e->d_name), SLICE(".tmp"))) {
			char path[MAX_PATH_TEXT];
			if (path_at(path, directory, e->d_name) == 0) {
				chmod(path, 0700);
				remove_folder(path);
				unlink(path);
			}
		}
	}
	if (d)
		closedir(d);
	return most;
}

static int make_folders(struct compiler *c)
{
	char name[40];
	snprintf(name, sizeof name, "%llu.tmp", (unsigned long long)c->number);
	int error = path_at(c->folder, c->plan->maps_directory, name);
	error = error ? error : path_at(c->secrets, c->plan->secrets_directory, name);
	if (!error && mkdir(c->folder, 0755) < 0)
		error = -errno;
	if (!error && mkdir(c->secrets, 0700) < 0)
		error = -errno;
	if (!error)
		give_to_login(c->secrets);
	return tell(c, "the folder of a generation can't be made", c->folder, error);
}

static int rename_folder(const char *base, const char *tmp, uint64_t number, mode_t mode)
{
	char path[MAX_PATH_TEXT], name[32];
	snprintf(name, sizeof name, "%llu", (unsigned long long)number);
	int error = path_at(path, base, name);
	error = error ? error : sync_path(tmp);
	if (!error && (chmod(tmp, mode) < 0 || rename(tmp, path) < 0))
		error = -errno;
	return error ? error : sync_path(base);
}

static int point_current(const char *directory, uint64_t number)
{
	char tmp[MAX_PATH_TEXT], current[MAX_PATH_TEXT], target[32];
	snprintf(target, sizeof target, "%llu", (unsigned long long)number);
	int error = path_at(tmp, directory, "current.tmp");
	error = error ? error : path_at(current, directory, "current");
	unlink(tmp);
	if (!error && (symlink(target, tmp) < 0 || rename(tmp, current) < 0))
		error = -errno;
	return error ? error : sync_path(directory);
}

static void drop_old(const struct compile_plan *plan, uint64_t newest)
{
	uint64_t keep = plan->keep < 2 ? 2 : plan->keep, n = newest;
	for (uint64_t i = 1; i < keep && n; i++)
		n = manifest_previous(plan->maps_directory, n);
	for (uint64_t old = n ? manifest_previous(plan->maps_directory, n) : 0; old; old = manifest_previous(plan->maps_directory, old)) {
		const char *bases[] = { plan->maps_directory, plan->secrets_directory };
		for (size_t i = 0; i < 2; i++) {
			char path[MAX_PATH_TEXT], name[32];
			snprintf(name, sizeof name, "%llu", (unsigned long long)old);
			if (path_at(path, bases[i], name) < 0)
				continue;
			chmod(path, 0700);
			remove_folder(path);
		}
	}
}

static int publish(struct compiler *c)
{
	char manifest[MAX_PATH_TEXT];
	c->new.made_s = (uint64_t)clock_wall_s();
	int error = path_at(manifest, c->folder, "manifest");
	error = error ? error : manifest_write(manifest, &c->new);
	error = error ? error : rename_folder(c->plan->secrets_directory, c->secrets, c->number, 0500);
	error = error ? error : rename_folder(c->plan->maps_directory, c->folder, c->number, 0555);
	error = error ? error : point_current(c->plan->maps_directory, c->number);
	if (!error)
		drop_old(c->plan, c->number);
	return tell(c, "the generation can't be published", c->folder, error);
}

/* The proof reads the text set while the files are written from it: on two processors it costs no time of its own. Nothing is published before it ended. */
static void *prove_aside(void *arg)
{
	struct compiler *c = arg;
	c->proved = compile_check(c->set, c->plan, &c->refuted);
	return NULL;
}

static int begin_proof(struct compiler *c)
{
	c->refuted = (struct complaints){ BUF_INIT(MAX_REFUTED), 0 };
	int error = c->plan->prove ? -pthread_create(&c->prover, NULL, prove_aside, c) : 0;
	c->proving = c->plan->prove && !error;
	return tell(c, "no thread for the proof", c->plan->maps_directory, error);
}

static int end_proof(struct compiler *c)
{
	if (!c->proving)
		return 0;
	c->proving = false;
	pthread_join(c->prover, NULL);
	complaint_join(c->wrong, &c->refuted);
	complaint_free(&c->refuted);
	return c->proved ? 0 : -EINVAL;
}

/* A map that serves, and whose text is gone, was moved away or lies on what is not mounted: nobody means "refuse everybody" by that. */
static int check_gone(struct compiler *c)
{
	int error = 0;
	c->old_number = manifest_current(c->plan->maps_directory);
	if (!c->old_number || manifest_read(c->plan->maps_directory, c->old_number, &c->mem, &c->old) != 0)
		c->old.count = 0;
	for (size_t i = 0; i < c->old.count; i++) {
		unsigned id;
		if (!c->old.files[i].entries || !map_named(c->set, c->old.files[i].name, &id) || !c->set->maps[id].absent)
			continue;
		complaint_add(c->wrong, c->old.files[i].name, 0, "this map serves, but its text is gone; if it is to be empty, make an empty file");
		error = -ENOENT;
	}
	return error;
}

static int write_all(struct compiler *c, struct compile_result *out)
{
	uint64_t maps = highest(c->plan->maps_directory), secrets = highest(c->plan->secrets_directory);
	c->number = (maps > secrets ? maps : secrets) + 1;
	if (c->number <= c->old_number)             /* its folder is gone, but a running house may serve it still */
		c->number = c->old_number + 1;
	for (unsigned id = 0; id < c->set->count; id++)
		c->total += map_size(c->set, id);
	int error = make_folders(c);
	for (unsigned id = 0; !error && id < c->set->count; id++)
		error = one_map(c, id);
	int refuted = end_proof(c);
	error = error ? error : refuted;
	if (!error && c->plan->publish)
		error = publish(c);
	if (error || !c->plan->publish) {
		remove_folder(c->folder);
		remove_folder(c->secrets);
	} else {
		out->generation = c->number;
	}
	out->entries = c->total;
	return error;
}

static int take_lock(const char *directory, int *fd)
{
	char path[MAX_PATH_TEXT];
	int error = path_at(path, directory, "lock");
	if (error)
		return error;
	*fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (*fd < 0)
		return -errno;
	return flock(*fd, LOCK_EX | LOCK_NB) < 0 ? (errno == EWOULDBLOCK ? -EBUSY : -errno) : 0;
}

static int make_directory(const char *path, mode_t mode)
{
	if (mkdir(path, mode) == 0)
		return chmod(path, mode) == 0 ? 0 : -errno; /* whatever the umask: other users look there */
	return errno == EEXIST ? 0 : -errno;
}

int compile_maps(const struct compile_plan *plan, struct complaints *wrong, struct compile_result *out)
{
	struct compiler *c = MEM_NEW(struct compiler);
	int lock = -1;
	*c = (struct compiler){ .plan = plan, .wrong = wrong, .mem = ARENA_INIT(1 << 20) };
	memset(out, 0, sizeof *out);
	int error = tell(c, "this folder can't be made", plan->maps_directory, make_directory(plan->maps_directory, 0755));
	error = error ? error : tell(c, "this folder can't be made", plan->secrets_directory, make_directory(plan->secrets_directory, 0711));
	if (!error) {
		error = take_lock(plan->maps_directory, &lock);
		tell(c, error == -EBUSY ? "another compile is under way" : "the lock can't be taken", plan->maps_directory, error);
	}
	if (!error)
		error = map_set_read(plan->directory, wrong, &c->set);
	error = error ? error : check_gone(c);
	error = error ? error : begin_proof(c);
	if (!error)
		error = write_all(c, out);
	map_set_close(c->set);
	if (lock >= 0)
		close(lock);
	arena_free(&c->mem);
	mem_free(c);
	return error;
}

int compile_rollback(const char *maps_directory, const char *secrets_directory, uint64_t generation)
{
	struct arena mem = ARENA_INIT(1 << 20);
	const char *why;
	int lock = -1, error = take_lock(maps_directory, &lock);
	error = error ? error : manifest_verify(maps_directory, secrets_directory, generation, &mem, &why);
	error = error ? error : point_current(maps_directory, generation);
	if (lock >= 0)
		close(lock);
	arena_free(&mem);
	return error;
}
