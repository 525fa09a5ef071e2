/* Passwords: libargon2 and libcrypt are called here and nowhere else. */
#include "maps/password.h"

#include <argon2.h>
#include <crypt.h>
#include <errno.h>

#include "base/crypto.h"
#include "base/mem.h"
#include "base/text.h"

/* RFC 9106, 4, the second choice: 64 MiB, three passes; one lane, since logins come many at a time. */
enum { PASSES = 3, MEMORY_KIB = 65536, LANES = 1, SALT = 16, HASH = 32, ENCODED = 200 };

static bool is_password(struct slice password)
{
	return password.n && password.n <= PASSWORD_MAX && text_is_utf8(password) && slice_find(password, '\0') == password.n;
}

static int add_argon2(struct slice password, struct buf *out)
{
	char encoded[ENCODED];
	uint8_t salt[SALT];
	crypto_random(salt, sizeof salt);
	int error = argon2id_hash_encoded(PASSES, MEMORY_KIB, LANES, password.p, password.n, salt, sizeof salt, HASH, encoded, sizeof encoded);
	if (error != ARGON2_OK)
		return error == ARGON2_MEMORY_ALLOCATION_ERROR ? -ENOMEM : -EIO;
	return buf_add_cstr(out, encoded);
}

/* RFC 5802, 3: ClientKey and ServerKey are digests of the salted password, StoredKey is the digest of ClientKey. */
bool password_scram(struct slice password, struct slice salt, uint32_t rounds, uint8_t stored[32], uint8_t server[32])
{
	uint8_t salted[CRYPTO_SHA256], client[CRYPTO_SHA256];
	if (!crypto_pbkdf2_sha256(password, salt, rounds, salted))
		return false;
	struct slice key = slice((char *)salted, sizeof salted);
	crypto_hmac_sha256(key, SLICE("Client Key"), client);
	crypto_hmac_sha256(key, SLICE("Server Key"), server);
	crypto_sha256(slice((char *)client, sizeof client), stored);
	mem_wipe(salted, sizeof salted);
	mem_wipe(client, sizeof client);
	return true;
}

static int add_scram(struct slice password, struct buf *out)
{
	uint8_t salt[SALT], stored[CRYPTO_SHA256], server[CRYPTO_SHA256];
	crypto_random(salt, sizeof salt);
	if (!password_scram(password, slice((char *)salt, sizeof salt), PASSWORD_SCRAM_ROUNDS, stored, server))
		return -EIO;
	buf_addf(out, " SCRAM-SHA-256$%d:", PASSWORD_SCRAM_ROUNDS);
	text_add_base64(out, slice((char *)salt, sizeof salt));
	buf_add_byte(out, '$');
	text_add_base64(out, slice((char *)stored, sizeof stored));
	buf_add_byte(out, ':');
	text_add_base64(out, slice((char *)server, sizeof server));
	return buf_full(out) ? -EMSGSIZE : 0;
}

int password_make(struct slice password, struct buf *out)
{
	if (!is_password(password))
		return -EINVAL;
	int error = add_argon2(password, out);
	return error ? error : add_scram(password, out);
}

static enum answer verify_argon2(const char *hash, struct slice password)
{
	switch (argon2id_verify(hash, password.p, password.n)) {
	case ARGON2_OK:
		return FOUND;
	case ARGON2_VERIFY_MISMATCH:
		return ABSENT;
	default:
		return UNSURE;
	}
}

static enum answer verify_crypt(const char *hash, const char *password)
{
	struct crypt_data *data = MEM_NEW(struct crypt_data);
	const char *got = crypt_rn(password, hash, data, sizeof *data);
	enum answer a = !got || got[0] == '*' ? UNSURE : slice_eq_secret(slice_of(got), slice_of(hash)) ? FOUND : ABSENT;
	mem_wipe(data, sizeof *data);
	mem_free(data);
	return a;
}

enum answer password_verify(struct slice hash, struct slice password)
{
	if (!is_password(password))
		return ABSENT;
	char *text = mem_copy(hash.p, hash.n), *secret = mem_copy(password.p, password.n);
	enum answer a = slice_starts(hash, SLICE("$argon2id$")) ? verify_argon2(text, password) : verify_crypt(text, secret);
	mem_wipe(secret, password.n);
	mem_free(secret);
	mem_free(text);
	return a;
}

void password_verify_nothing(struct slice password)
{
	uint8_t hash[HASH];
	static const char salt[SALT] = "nobody's salt...";
	argon2id_hash_raw(PASSES, MEMORY_KIB, LANES, password.p ? password.p : "", password.n, salt, sizeof salt, hash, sizeof hash);
}
