#ifndef MAPS_PASSWORD_H
#define MAPS_PASSWORD_H
#include <stdbool.h>
#include <stdint.h>
#include "base/answer.h"
#include "base/buf.h"
#include "base/slice.h"

/* Passwords: making what stands in credentials, and comparing (libargon2, libcrypt). Slow on purpose: for workers, never in a loop. */
enum { PASSWORD_MAX = 512, PASSWORD_SCRAM_ROUNDS = 4096 };

/* Adds "$argon2id$... SCRAM-SHA-256$..." to out. 0 or -errno (-EINVAL: empty, too long, or not UTF-8). */
int password_make(struct slice password, struct buf *out);

/* FOUND: the right one. ABSENT: not. UNSURE: a hash of a kind that this machine can't compute, or no memory for it. */
enum answer password_verify(struct slice hash, struct slice password);

/* Takes as long as password_verify for a login that exists, so that its absence can't be measured. */
void password_verify_nothing(struct slice password);

/* SCRAM-SHA-256's keys of a password (RFC 5802, 3). False: no memory. */
bool password_scram(struct slice password, struct slice salt, uint32_t rounds, uint8_t stored[32], uint8_t server[32]);
#endif
