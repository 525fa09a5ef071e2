#ifndef BASE_HASH_H
#define BASE_HASH_H
#include <stdint.h>
#include "base/slice.h"

/* SipHash-2-4 (Aumasson, Bernstein): a keyed hash for tables whose keys strangers choose. Not for digests that are compared for identity
 * of content: those are SHA-256 of base/crypto. */
struct hash_key {
	uint64_t k0, k1;
};

uint64_t hash_bytes(const struct hash_key *key, struct slice s);

/* A key from the kernel's random numbers. */
struct hash_key hash_key_random(void);
#endif
