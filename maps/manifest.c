/* Manifests: lines for people, "NAME SIZE ENTRIES SHA256 SHA256-of-text [secret]", below a first line with the version. */
#include "maps/manifest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/scan.h"
#include "base/text.h"

enum { MAX_MANIFEST = 64 << 10 };

static int read_all(const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	int error = 0;
	for (;;) {
		char *room = buf_room(out, 4096);
		ssize_t n = room ? read(fd, room, 4096) : 0;
		if (n < 0)
			error = -errno;
		if (!room)
			error = -EBADMSG;
		if (n <= 0)
			break;
		buf_used(out, (size_t)n);
	}
	close(fd);
	return error;
}

static bool read_digest(struct slice *line, uint8_t digest[CRYPTO_SHA256])
{
	struct slice hex = slice_head(*line, 2 * CRYPTO_SHA256);
	struct buf raw = BUF_INIT(CRYPTO_SHA256);
	bool good = text_hex_decode(hex, &raw) && raw.n == CRYPTO_SHA256;
	if (good)
		memcpy(digest, raw.p, CRYPTO_SHA256);
	buf_free(&raw);
	*line = slice_skip(*line, hex.n);
	return good;
}

static bool is_name_byte(unsigned char c)
{
	return text_is_alnum(c) || c == '-' || c == '_';
}

static bool read_file_line(struct slice line, struct arena *mem, struct manifest_file *f)
{
	struct slice name;
	if (!scan_while(&line, is_name_byte, 64, &name) || !scan_byte(&line, ' ') || !scan_uint(&line, UINT64_MAX, &f->size) || !scan_byte(&line, ' ') ||
	    !scan_uint(&line, UINT64_MAX, &f->entries) || !scan_byte(&line, ' ') ||
	    !read_digest(&line, f->digest) || !scan_byte(&line, ' ') || !read_digest(&line, f->text_digest))
		return false;
	f->secret = slice_eq(line, SLICE(" secret"));
	f->name = arena_copy(mem, name);
	return f->name.p && (f->secret || !line.n);
}

static int parse(struct slice text, struct arena *mem, struct manifest *out)
{
	struct slice line;
	uint64_t version;
	if (!scan_line(&text, &line) || !scan_word(&line, SLICE("porter-maps ")) || !scan_uint(&line, UINT32_MAX, &version) || version != MANIFEST_VERSION ||
	    !scan_byte(&line, ' ') || !scan_uint(&line, UINT64_MAX, &out->made_s) || line.n)
		return -EBADMSG;
	out->count = 0;
	while (scan_line(&text, &line)) {
		if (out->count == MANIFEST_MAX_FILES || !read_file_line(line, mem, &out->files[out->count]))
			return -EBADMSG;
		out->count++;
	}
	return 0;
}

int manifest_read(const char *directory, uint64_t generation, struct arena *mem, struct manifest *out)
{
	char path[4200];
	if (snprintf(path, sizeof path, "%s/%llu/manifest", directory, (unsigned long long)generation) >= (int)sizeof path)
		return -ENAMETOOLONG;
	struct buf text = BUF_INIT(MAX_MANIFEST);
	int error = read_all(path, &text);
	error = error ? error : parse(buf_slice(&text), mem, out);
	buf_free(&text);
	return error;
}

int manifest_write(const char *path, const struct manifest *m)
{
	struct buf text = BUF_INIT(MAX_MANIFEST);
	buf_addf(&text, "porter-maps %d %llu\n", MANIFEST_VERSION, (unsigned long long)m->made_s);
	for (size_t i = 0; i < m->count; i++) {
		const struct manifest_file *f = &m->files[i];
		buf_addf(&text, "%.*s %llu %llu ", SLICE_FMT(f->name), (unsigned long long)f->size, (unsigned long long)f->entries);
		text_add_hex(&text, slice((const char *)f->digest, CRYPTO_SHA256));
		buf_add_byte(&text, ' ');
		text_add_hex(&text, slice((const char *)f->text_digest, CRYPTO_SHA256));
		buf_add(&text, f->secret ? SLICE(" secret\n") : SLICE("\n"));
	}
	int fd, error = file_open(AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL, 0444, &fd);
	if (!error) {
		error = fchmod(fd, 0444) < 0 ? -errno : 0; /* whatever the umask: other users read it */
		error = error ? error : file_write(fd, buf_slice(&text));
		error = error ? error : file_sync(fd);
		file_close(&fd);
	}
	buf_free(&text);
	return error;
}

int manifest_check_size(const char *path, const struct manifest_file *f)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) && (uint64_t)st.st_size == f->size ? 0 : -EBADMSG;
}

uint64_t manifest_current(const char *directory)
{
	char path[4200], target[32];
	uint64_t number = 0;
	if (snprintf(path, sizeof path, "%s/current", directory) >= (int)sizeof path)
		return 0;
	ssize_t n = readlink(path, target, sizeof target);
	return n > 0 && scan_uint_all(slice(target, (size_t)n), UINT64_MAX, &number) ? number : 0;
}

uint64_t manifest_previous(const char *directory, uint64_t before)
{
	uint64_t best = 0, n;
	DIR *d = opendir(directory);
	for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d))
		if (scan_uint_all(slice_of(e->d_name), UINT64_MAX, &n) && n < before && n > best)
			best = n;
	if (d)
		closedir(d);
	return best;
}
