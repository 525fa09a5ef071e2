#ifndef MAPS_MANIFEST_H
#define MAPS_MANIFEST_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/crypto.h"
#include "base/slice.h"

/* The manifest of a generation: which files it has, their sizes and SHA-256, the format's version. Whole digests are verified once, by a short-lived
 * process, before any other switches to the generation; whoever opens it checks the sizes alone. */
enum { MANIFEST_VERSION = 1, MANIFEST_MAX_FILES = 64 };

struct manifest_file {
	struct slice name;                  /* of the map, without ".db" */
	bool secret;                        /* lies in the secrets' folder */
	uint64_t size, entries;
	uint8_t digest[CRYPTO_SHA256];
	uint8_t text_digest[CRYPTO_SHA256]; /* of the text it was made from */
};

struct manifest {
	struct manifest_file files[MANIFEST_MAX_FILES];
	size_t count;
	uint64_t made_s;
};

/* DIRECTORY/N/manifest. 0, -ENOENT, -EBADMSG. */
int manifest_read(const char *directory, uint64_t generation, struct arena *mem, struct manifest *out);
int manifest_write(const char *path, const struct manifest *m);     /* synced */
int manifest_check_size(const char *path, const struct manifest_file *f);

/* Reads every file of a generation and compares; *why names the file (in mem). 0, -ENOENT, -EBADMSG. Blocks: for processes that do nothing else. */
int manifest_verify(const char *directory, const char *secrets, uint64_t generation, struct arena *mem, const char **why);
int manifest_digest_file(const char *path, uint64_t *size, uint8_t digest[CRYPTO_SHA256]);

/* The number that DIRECTORY/current points to; 0: none. */
uint64_t manifest_current(const char *directory);

/* The newest generation below `before` that is there; 0 none. */
uint64_t manifest_previous(const char *directory, uint64_t before);
#endif
