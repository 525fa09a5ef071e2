/* Keys of DKIM on disk. A key is written under another name and linked to its own, so that a command that is killed leaves no half of one. */
#include "ctl/dkim_keys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"

enum { MAX_PEM = 16 << 10, OPEN_MODES = 027 };

static const char new_name[] = ".dkim-key.new";

int keys_lock(const char *folder)
{
	if (mkdir(folder, 0700) < 0 && errno != EEXIST)
		return ctl_fail(CTL_IO, "%s: %s", folder, strerror(errno));
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* stays open: it is the lock */
	if (fd < 0 || flock(fd, LOCK_EX) < 0)
		return ctl_fail(CTL_IO, "%s: %s", folder, strerror(errno));
	return 0;
}

/* -- reading -------------------------------------------------------------------------------------------------------------- */

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

static bool make_path(const struct dkim_keys *k, struct slice selector, const char *ending, char path[PATH_MAX])
{
	return snprintf(path, PATH_MAX, "%s/%.*s._domainkey.%.*s.%s", k->folder, SLICE_FMT(selector), SLICE_FMT(k->domain), ending) < PATH_MAX;
}

static void read_key(struct dkim_keys *k, struct slice selector)
{
	char path[PATH_MAX];
	struct buf pem = BUF_INIT(0);
	struct stat st;
	struct dkim_key *one = &k->keys[k->count++];
	*one = (struct dkim_key){ .selector = arena_copy(&k->c->mem, selector), .record = SLICE("") };
	if (make_path(k, selector, "old", path) && stat(path, &st) == 0)
		one->old_s = st.st_mtime;
	if (!make_path(k, selector, "pem", path) || stat(path, &st) || ctl_read_file(path, MAX_PEM, &pem))
		return;
	one->made_s = st.st_mtime;
	one->mode = st.st_mode & 0777;
	one->open = (st.st_mode & OPEN_MODES) != 0;
	struct crypto_key *key = crypto_key_private_pem(buf_slice(&pem));
	one->readable = key && crypto_key_kind(key) != CRYPTO_EC;
	if (one->readable) {
		one->ed25519 = crypto_key_kind(key) == CRYPTO_ED25519;
		one->bits = crypto_key_bits(key);
		one->record = make_record(k->c, key);
	}
	crypto_key_free(key);
	mem_wipe(pem.p, pem.n);
	buf_free(&pem);
}

static int by_selector(const void *a, const void *b)
{
	return slice_cmp(((const struct dkim_key *)a)->selector, ((const struct dkim_key *)b)->selector);
}

int dkim_keys_read(struct dkim_keys *k)
{
	struct buf tail = BUF_INIT(512);
	buf_addf(&tail, "._domainkey.%.*s.pem", SLICE_FMT(k->domain));
	DIR *d = opendir(k->folder);
	struct dirent *e;
	int code = d || errno == ENOENT ? 0 : ctl_fail(CTL_IO, "%s: %s", k->folder, strerror(errno));
	k->count = 0;
	while (d && !code && (e = readdir(d))) {
		struct slice file = slice_of(e->d_name);
		if (file.n <= tail.n || !slice_ends(file, buf_slice(&tail)))
			continue;
		if (k->count == DKIM_MAX_KEYS)
			code = ctl_fail(CTL_DATA, "%s: more than %d keys of %.*s, remove old ones", k->folder, DKIM_MAX_KEYS, SLICE_FMT(k->domain));
		else
			read_key(k, slice_head(file, file.n - tail.n));
	}
	if (d)
		closedir(d);
	buf_free(&tail);
	if (k->count)
		qsort(k->keys, k->count, sizeof k->keys[0], by_selector);
	return code;
}

/* -- changing ------------------------------------------------------------------------------------------------------------- */

static int put_whole(int dir, const char *name, struct slice text)
{
	int fd = -1, error = file_open(dir, new_name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600, &fd);
	if (error)
		return error;
	error = file_write(fd, text);
	error = error ? error : file_sync(fd);
	file_close(&fd);
	error = error ? error : file_link(dir, new_name, dir, name);
	file_unlink(dir, new_name);
	return error ? error : file_sync(dir);
}

static int put(struct dkim_keys *k, struct slice selector, const char *ending, struct slice text)
{
	char path[PATH_MAX];
	int dir = -1;
	if (!make_path(k, selector, ending, path))
		return ctl_fail(CTL_USAGE, "the name is too long");
	int error = file_open(AT_FDCWD, k->folder, O_RDONLY | O_DIRECTORY, 0, &dir);
	if (!error)
		error = put_whole(dir, strrchr(path, '/') + 1, text);
	file_close(&dir);
	return error ? ctl_fail(error == -EEXIST ? 1 : CTL_IO, "%s: %s", path, strerror(-error)) : 0;
}

int dkim_keys_write(struct dkim_keys *k, struct slice selector, const struct crypto_key *key)
{
	struct buf pem = BUF_INIT(MAX_PEM);
	crypto_key_add_private_pem(key, &pem);
	int code = put(k, selector, "pem", buf_slice(&pem));
	mem_wipe(pem.p, pem.n);
	buf_free(&pem);
	return code;
}

int dkim_keys_retire(struct dkim_keys *k, struct slice selector)
{
	char path[PATH_MAX];
	if (make_path(k, selector, "old", path))
		unlink(path); /* of a time before it signed again */
	return put(k, selector, "old", SLICE(""));
}

int dkim_keys_remove(struct dkim_keys *k, struct slice selector)
{
	char key[PATH_MAX], mark[PATH_MAX];
	if (!make_path(k, selector, "pem", key) || !make_path(k, selector, "old", mark))
		return ctl_fail(CTL_USAGE, "the name is too long");
	if (unlink(key) < 0 || (unlink(mark) < 0 && errno != ENOENT))
		return ctl_fail(CTL_IO, "%s: %s", key, strerror(errno));
	return 0;
}
