#ifndef MAPS_CREDENTIALS_H
#define MAPS_CREDENTIALS_H
#include <stdint.h>
#include "base/answer.h"
#include "base/arena.h"
#include "base/slice.h"
#include "maps/map.h"

/* The map `credentials`, compiled into the folder of secrets, opened by the login process alone.
 *
 *	alice      $argon2id$v=19$m=65536,t=3,p=1$c2FsdA$aGFzaA SCRAM-SHA-256$4096:SALT$STOREDKEY:SERVERKEY
 *	smarthost  hop USER PASSWORD
 *
 * A login's line holds a hash (argon2id, yescrypt, bcrypt, SHA-512-crypt) and SCRAM verifiers (RFC 5803), blanks between. A `hop` line is what we say to a
 * next hop that routes names by credentials=; it is no login. */
struct scram_verifier {
	uint32_t iterations;     /* 0: there is none */
	struct slice salt;       /* octets */
	struct slice stored_key, server_key; /* 32 octets */
};

struct credentials {
	struct slice hash;       /* as crypt(3) and argon2 write it; "" none */
	struct scram_verifier scram_sha256;
	struct slice hop_user, hop_password; /* of a `hop` line; "" in a login's */
};

/* FOUND sets *out. Logins compare like addresses: ASCII letters fold. */
enum answer credentials_find(struct map_set *secrets, struct slice login, struct arena *mem, struct credentials *out);

const char *credentials_parse(struct slice value, struct arena *mem, struct credentials *out);
#endif
