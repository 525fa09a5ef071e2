/* The map `credentials`. */
#include "maps/credentials.h"

#include "base/buf.h"
#include "base/login_proto.h"
#include "base/scan.h"
#include "base/text.h"
#include "maps/map_key.h"
#include "maps/value.h"

enum { SCRAM_KEY = 32, MAX_SALT = 64, MIN_ROUNDS = 4096, MAX_ROUNDS = 1000000, MAX_HOP_PASSWORD = 2000 };

static const char *decode(struct slice text, size_t least, size_t most, struct arena *mem, struct slice *out)
{
	struct buf b = BUF_INIT(256);
	bool good = text_base64_decode(text, &b) && b.n >= least && b.n <= most;
	*out = good ? arena_copy(mem, buf_slice(&b)) : SLICE_NONE;
	buf_free(&b);
	return out->p ? NULL : "a SCRAM verifier is SCRAM-SHA-256$ROUNDS:SALT$STOREDKEY:SERVERKEY (RFC 5803)";
}

static const char *read_scram(struct slice s, struct arena *mem, struct scram_verifier *out)
{
	uint64_t rounds;
	struct slice salt = slice_cut(s, '$', &s), server, stored = slice_cut(s, ':', &server);
	if (!scan_uint(&salt, MAX_ROUNDS, &rounds) || rounds < MIN_ROUNDS || !scan_byte(&salt, ':'))
		return "a SCRAM verifier has 4096 to 1,000,000 rounds";
	const char *why = decode(salt, 8, MAX_SALT, mem, &out->salt);
	if (!why)
		why = decode(stored, SCRAM_KEY, SCRAM_KEY, mem, &out->stored_key);
	if (!why)
		why = decode(server, SCRAM_KEY, SCRAM_KEY, mem, &out->server_key);
	out->iterations = why ? 0 : (uint32_t)rounds;
	return why;
}

static bool is_hash(struct slice s)
{
	static const char *const kinds[] = { "$argon2id$", "$y$", "$2b$", "$2y$", "$2a$", "$6$" };
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (slice_starts(s, slice_of(kinds[i])))
			return true;
	return false;
}

static const char *read_hop(struct slice rest, struct arena *mem, struct credentials *c)
{
	struct slice user, password, more;
	if (!map_item(&rest, ' ', &user) || !map_item(&rest, ' ', &password) || map_item(&rest, ' ', &more))
		return "hop wants a user and a password";
	c->hop_user = value_unquote(user, mem);
	c->hop_password = value_unquote(password, mem);
	if (c->hop_user.n > LOGIN_MAX_NAME || c->hop_password.n > MAX_HOP_PASSWORD)
		return "hop wants a user of at most 320 bytes and a password of at most 2000";
	return c->hop_user.n && c->hop_password.n ? NULL : "hop wants a user and a password";
}

const char *credentials_parse(struct slice value, struct arena *mem, struct credentials *out)
{
	struct credentials c = { 0 };
	struct slice rest = value, item;
	const char *why = NULL;
	while (!why && map_item(&rest, ' ', &item)) {
		if (slice_eq(item, SLICE("hop")) && !c.hash.n) {
			why = read_hop(rest, mem, &c);
			rest = SLICE_NONE;
		} else if (scan_word(&item, SLICE("SCRAM-SHA-256$"))) {
			why = read_scram(item, mem, &c.scram_sha256);
		} else if (is_hash(item) && !c.hash.n) {
			c.hash = item;
		} else {
			why = "no hash that Porter knows (argon2id, yescrypt, bcrypt, SHA-512-crypt), no SCRAM verifier, no hop";
		}
	}
	if (!why && !c.hash.n && !c.scram_sha256.iterations && !c.hop_user.n)
		why = "a hash or a SCRAM verifier is missing (porterctl user passwd makes them)";
	if (!why)
		*out = c;
	return why;
}

enum answer credentials_find(struct map_set *secrets, struct slice login, struct arena *mem, struct credentials *out)
{
	struct map_entry e;
	struct slice key;
	if (slice_find(login, '@') == login.n || map_key_address_folded(login, false, mem, &key))
		key = map_key_local(login, false, mem);
	if (!key.p || key.n > MAP_MAX_KEY)
		return ABSENT;
	enum answer a = map_find(secrets, MAP_CREDENTIALS, key, mem, &e);
	if (a == FOUND && credentials_parse(e.value, mem, out))
		return UNSURE;
	return a;
}
