/* Passwords: libargon2 and libcrypt are called here and nowhere else. */
#include "maps/password.h"

#include <argon2.h>
#include <crypt.h>
#include <errno.h>

#include "base/crypto.h"
#include "base/mem.h"
#include "base/text.h"
#include "maps/saslprep.h"

/* RFC 9106, 4, the second choice: 64 MiB, three passes; one lane, since logins come many at a time. */
enum { PASSES = 3, MEMORY_KIB = 65536, LANES = 1, SALT = 16, HASH = 32, ENCODED = 200 };

/* The forms that a password is compared in: prepared, and as it came where that is another one. */
struct forms {
	struct buf prepared;
	struct slice form[2];
	size_t count; /* 0: no password */
};

/* NULL, or what is wrong with it. */
static const char *forms_make(struct slice password, enum saslprep_use use, struct forms *f)
{
	*f = (struct forms){ .prepared = BUF_INIT(PASSWORD_MAX) };
	if (password.n > PASSWORD_MAX)
		return "a password has 1 to 512 bytes";
	buf_room(&f->prepared, PASSWORD_MAX);
	const char *why = saslprep_add(password, use, &f->prepared);
	if (why)
		return why;
	f->form[f->count++] = buf_slice(&f->prepared);
	if (!slice_eq(f->form[0], password))
		f->form[f->count++] = password;
	return NULL;
}

static void forms_free(struct forms *f)
{
	mem_wipe(f->prepared.p, f->prepared.cap);
	buf_free(&f->prepared);
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
static bool scram_keys(struct slice password, struct slice salt, uint32_t rounds, uint8_t stored[32], uint8_t server[32])
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
	if (!scram_keys(password, slice((char *)salt, sizeof salt), PASSWORD_SCRAM_ROUNDS, stored, server))
		return -EIO;
	buf_addf(out, " SCRAM-SHA-256$%d:", PASSWORD_SCRAM_ROUNDS);
	text_add_base64(out, slice((char *)salt, sizeof salt));
	buf_add_byte(out, '$');
	text_add_base64(out, slice((char *)stored, sizeof stored));
	buf_add_byte(out, ':');
	text_add_base64(out, slice((char *)server, sizeof server));
	return buf_full(out) ? -EMSGSIZE : 0;
}

int password_make(struct slice password, struct buf *out, const char **why)
{
	struct forms f;
	const char *wrong = forms_make(password, SASLPREP_STORED, &f);
	int error = wrong ? -EINVAL : add_argon2(f.form[0], out);
	if (!error)
		error = add_scram(f.form[0], out);
	if (wrong)
		*why = wrong;
	forms_free(&f);
	return error;
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

static enum answer verify_hash(const char *hash, struct slice password)
{
	char *secret = mem_copy(password.p, password.n);
	enum answer a = slice_starts(slice_of(hash), SLICE("$argon2id$")) ? verify_argon2(hash, password) : verify_crypt(hash, secret);
	mem_wipe(secret, password.n);
	mem_free(secret);
	return a;
}

enum answer password_verify(struct slice hash, struct slice password)
{
	struct forms f;
	enum answer a = ABSENT;
	forms_make(password, SASLPREP_QUERY, &f);
	char *text = mem_copy(hash.p, hash.n);
	for (size_t i = 0; i < f.count && a == ABSENT; i++)
		a = verify_hash(text, f.form[i]);
	mem_free(text);
	forms_free(&f);
	return a;
}

enum answer password_verify_scram(const struct scram_verifier *v, struct slice password)
{
	struct forms f;
	enum answer a = ABSENT;
	uint8_t stored[CRYPTO_SHA256], server[CRYPTO_SHA256];
	forms_make(password, SASLPREP_QUERY, &f);
	for (size_t i = 0; i < f.count && a == ABSENT; i++)
		if (!scram_keys(f.form[i], v->salt, v->iterations, stored, server))
			a = UNSURE;
		else if (slice_eq_secret(slice((char *)stored, sizeof stored), v->stored_key))
			a = FOUND;
	forms_free(&f);
	return a;
}

void password_verify_nothing(struct slice password)
{
	struct forms f;
	uint8_t hash[HASH];
	static const char salt[SALT] = "nobody's salt...";
	forms_make(password, SASLPREP_QUERY, &f);
	for (size_t i = 0; i < f.count; i++)
		argon2id_hash_raw(PASSES, MEMORY_KIB, LANES, f.form[i].p, f.form[i].n, salt, sizeof salt, hash, sizeof hash);
	forms_free(&f);
}
