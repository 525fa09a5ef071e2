/* The digests of a generation's files: made by compile, compared by a process that does nothing else. */
#include "maps/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"

enum { PIECE = 1 << 20 };

int manifest_digest_file(const char *path, uint64_t *size, uint8_t digest[CRYPTO_SHA256])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	struct crypto_hash *h = crypto_sha256_new();
	char *piece = mem_new(PIECE);
	ssize_t n;
	*size = 0;
	while ((n = read(fd, piece, PIECE)) > 0) {
		crypto_hash_add(h, slice(piece, (size_t)n));
		*size += (uint64_t)n;
	}
	int error = n < 0 ? -errno : 0;
	crypto_hash_end(h, digest);
	mem_free(piece);
	close(fd);
	return error;
}

static int verify_one(const char *folder, uint64_t generation, const struct manifest_file *f, struct arena *mem, const char **why)
{
	struct buf path = BUF_INIT(4200);
	buf_addf(&path, "%s/%llu/%.*s.db", folder, (unsigned long long)generation, SLICE_FMT(f->name));
	char *file = arena_cstr(mem, buf_slice(&path));
	buf_free(&path);
	uint8_t digest[CRYPTO_SHA256];
	uint64_t size = 0;
	int error = file ? manifest_digest_file(file, &size, digest) : -ENAMETOOLONG;
	*why = file;
	return error ? error : size == f->size && memcmp(digest, f->digest, sizeof digest) == 0 ? 0 : -EBADMSG;
}

int manifest_verify(const char *directory, const char *secrets, uint64_t generation, struct arena *mem, const char **why)
{
	struct manifest m;
	*why = "manifest";
	int error = manifest_read(directory, generation, mem, &m);
	for (size_t i = 0; !error && i < m.count; i++)
		error = verify_one(m.files[i].secret ? secrets : directory, generation, &m.files[i], mem, why);
	return error;
}
