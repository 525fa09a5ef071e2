/* Public keys out of DNS: read, kept, used. */
#include "base/mail_key.h"

#include <errno.h>

#include "base/crypto.h"
#include "base/hash.h"
#include "base/mail_tags.h"
#include "base/mem.h"

static bool has_item(struct slice list, struct slice word)
{
	struct slice item;
	while (mail_tags_item(&list, ':', &item))
		if (slice_eq(item, word))
			return true;
	return false;
}

int mail_key_parse(struct slice text, struct mail_key_record *out, const char **why)
{
	struct mail_tags t;
	struct mail_key_record r = { 0 };
	*why = mail_tags_parse(text, &t) ? "wrong key record" : NULL;
	if (*why)
		return -EINVAL;
	struct slice v = mail_tags_get(&t, SLICE("v")), k = mail_tags_get(&t, SLICE("k")), s = mail_tags_get(&t, SLICE("s"));
	struct slice flags = mail_tags_get(&t, SLICE("t"));
	if (v.p && (!slice_eq(v, SLICE("DKIM1")) || !slice_eq(t.tags[0].name, SLICE("v"))))
		*why = "wrong version of key record";
	else if (k.p && !slice_eq(k, SLICE("rsa")) && !slice_eq(k, SLICE("ed25519")))
		*why = "unknown type of key";
	else if (s.p && !has_item(s, SLICE("*")) && !has_item(s, SLICE("email")))
		*why = "key is not for mail";
	r.key = mail_tags_get(&t, SLICE("p"));
	if (!*why && !r.key.p)
		*why = "no key in record";
	if (*why)
		return -EINVAL;
	r.ed25519 = slice_eq(k, SLICE("ed25519"));
	r.revoked = r.key.n == 0;
	r.testing = has_item(flags, SLICE("y"));
	r.strict = has_item(flags, SLICE("s"));
	r.hashes = mail_tags_get(&t, SLICE("h"));
	r.addresses = mail_tags_get(&t, SLICE("g"));
	*out = r;
	return 0;
}

bool mail_key_suits(const struct mail_key_record *k, struct slice identity)
{
	struct slice local = slice_head(identity, slice_rfind(identity, '@')), tail;
	if (!k->addresses.p)
		return true;
	struct slice head = slice_cut(k->addresses, '*', &tail);
	if (!tail.p)
		return k->addresses.n && slice_eq(local, k->addresses);
	return local.n >= head.n + tail.n && slice_starts(local, head) && slice_ends(local, tail);
}

/* A place of the table holds the newest record that fell on it. A key that can't be read isn't read again either. */
struct mail_key {
	struct mail_key_record record; /* views of text */
	struct slice text;
	bool known, read;
	struct crypto_key *key;
};
static struct mail_key places[MAIL_KEY_CACHE];

static struct crypto_key *read_key(struct slice text, bool ed25519)
{
	struct buf der = BUF_INIT(8192);
	struct crypto_key *key = NULL;
	if (mail_tags_base64(text, &der))
		key = ed25519 ? crypto_key_ed25519_public(buf_slice(&der)) : crypto_key_rsa_public(buf_slice(&der));
	buf_free(&der);
	return key;
}

/* Where a record may be: by a part of it that differs from key to key. Who makes keys that fall on one place slows down himself alone. */
static struct mail_key *place_of(struct slice text)
{
	static struct hash_key secret;
	enum { ENOUGH = 24 };
	if (!secret.k0)
		secret = hash_key_random();
	return &places[hash_bytes(&secret, slice_head(slice_skip(text, text.n / 3), ENOUGH)) % MAIL_KEY_CACHE];
}

struct mail_key *mail_key_find(struct slice text, const char **why)
{
	struct mail_key *k = place_of(text);
	struct mail_key_record record;
	if (k->known && slice_eq(k->text, text))
		return k;
	*why = "key record too long";
	if (text.n > MAIL_KEY_MAX_RECORD || mail_key_parse(text, &record, why))
		return NULL;
	crypto_key_free(k->key);
	mem_free((char *)k->text.p);
	*k = (struct mail_key){ .known = true, .text = slice(mem_copy(text.p, text.n), text.n) };
	mail_key_parse(k->text, &k->record, why);
	return k;
}

const struct mail_key_record *mail_key_record(const struct mail_key *k)
{
	return &k->record;
}

static const struct crypto_key *key_of(struct mail_key *k)
{
	if (!k->read)
		k->key = read_key(k->record.key, k->record.ed25519);
	k->read = true;
	return k->key;
}

const char *mail_key_verify(struct mail_key *found, const struct mail_signature *s, const struct mail_digest *digest, bool lax, unsigned *bits)
{
	const struct mail_key_record *k = &found->record;
	bool sha1 = s->algorithm == ALGORITHM_RSA_SHA1;
	if (k->revoked)
		return "key revoked";
	if (k->ed25519 != (s->algorithm == ALGORITHM_ED25519_SHA256))
		return "key of another type";
	if (k->hashes.p && !has_item(k->hashes, sha1 ? SLICE("sha1") : SLICE("sha256")))
		return "key is not for this hash";
	const struct crypto_key *key = key_of(found);
	if (!key)
		return "key can't be read";
	*bits = crypto_key_bits(key);
	if (!k->ed25519 && !lax && *bits < MAIL_KEY_MIN_BITS)
		return "key too short";
	if (!k->ed25519 && *bits > MAIL_KEY_MAX_BITS)
		return "key too long";
	struct slice d = slice((const char *)digest->bytes, digest->n);
	bool good = sha1 ? crypto_verify_digest_sha1(key, d, s->signature) : crypto_verify_digest(key, d, s->signature);
	return good ? NULL : "signature does not match";
}
