#ifndef MAPS_PASSWORD_H
#define MAPS_PASSWORD_H
#include "base/answer.h"
#include "base/buf.h"
#include "base/slice.h"
#include "maps/credentials.h"

/* Passwords: making what stands in credentials, and comparing (libargon2, libcrypt). Slow on purpose: for workers, never in a loop. What is hashed is the password's
 * prepared form (maps/saslprep.h). Others' programs hash it as it was typed: where the two differ, both are compared. */
enum { PASSWORD_MAX = 512, PASSWORD_SCRAM_ROUNDS = 4096 };

/* Adds "$argon2id$... SCRAM-SHA-256$..." to out. 0 or -errno (-EINVAL: *why says what is wrong with the password). */
int password_make(struct slice password, struct buf *out, const char **why);

/* FOUND: the right one. ABSENT: not. UNSURE: a hash of a kind that this machine can't compute, or no memory for it. */
enum answer password_verify(struct slice hash, struct slice password);

/* The same for a login that has only SCRAM-SHA-256's StoredKey (RFC 5802, 3). */
enum answer password_verify_scram(const struct scram_verifier *v, struct slice password);

/* Takes as long as password_verify for a login that exists, so that its absence can't be measured. */
void password_verify_nothing(struct slice password);
#endif
