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

/* A table of parsed keys; each place holds the newest key that fell on it. NULL keys are kept, too: what can't be read isn't read again. */
struct place {
	struct slice text;
	bool ed25519, known;
	struct crypto_key *key;
};
static struct place places[MAIL_KEY_CACHE];

static struct crypto_key *read_key(struct slice text, bool ed25519)
{
	struct buf der = BUF_INIT(8192);
	struct crypto_key *key = NULL;
	if (mail_tags_base64(text, &der))
		key = ed25519 ? crypto_key_ed25519_public(buf_slice(&der)) : crypto_key_rsa_public(buf_slice(&der));
	buf_free(&der);
	return key;
}

/* Where a key may be: by a part of it that differs from key to key. Who makes keys that fall on one place slows down himself alone. */
static struct place *place_of(struct slice text)
{
	static struct hash_key secret;
	enum { ENOUGH = 48 };
	if (!secret.k0)
		secret = hash_key_random();
	return &places[hash_bytes(&secret, slice_head(slice_skip(text, text.n / 3), ENOUGH)) % MAIL_KEY_CACHE];
}

static const struct crypto_key *find_key(struct slice text, bool ed25519)
{
	struct place *p = place_of(text);
	if (p->known && p->ed25519 == ed25519 && slice_eq(p->text, text))
		return p->key;
	crypto_key_free(p->key);
	mem_free((char *)p->text.p);
	*p = (struct place){ .known = true, .ed25519 = ed25519, .text = slice(mem_copy(text.p, text.n), text.n) };
	p->key = read_key(text, ed25519);
	return p->key;
}

const char *mail_key_verify(const struct mail_key_record *k, const struct mail_signature *s, const struct mail_digest *digest, bool lax, unsigned *bits)
{
	bool sha1 = s->algorithm == ALGORITHM_RSA_SHA1;
	if (k->revoked)
		return "key revoked";
	if (k->ed25519 != (s->algorithm == ALGORITHM_ED25519_SHA256))
		return "key of another type";
	if (k->hashes.p && !has_item(k->hashes, sha1 ? SLICE("sha1") : SLICE("sha256")))
		return "key is not for this hash";
	const struct crypto_key *key = find_key(k->key, k->ed25519);
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
