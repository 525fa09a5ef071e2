/* Fields that carry a signature: their tags, and the digest over the header fields that they name. */
#include "base/mail_signature.h"

#include <errno.h>

#include "base/crypto.h"
#include "base/hash.h"
#include "base/idn.h"
#include "base/mail_tags.h"
#include "base/scan.h"
#include "base/text.h"

enum { MAX_BASE64 = 8192 };

static const char *read_algorithm(const struct mail_tags *t, struct mail_signature *s)
{
	struct slice a = mail_tags_get(t, SLICE("a"));
	if (slice_eq(a, SLICE("rsa-sha256")))
		s->algorithm = ALGORITHM_RSA_SHA256;
	else if (slice_eq(a, SLICE("ed25519-sha256")))
		s->algorithm = ALGORITHM_ED25519_SHA256;
	else if (slice_eq(a, SLICE("rsa-sha1")))
		s->algorithm = ALGORITHM_RSA_SHA1;
	else
		return a.n ? "unknown algorithm" : "no a=";
	return NULL;
}

static bool read_form(struct slice word, enum mail_canon *out)
{
	if (slice_eq(word, SLICE("relaxed")))
		*out = CANON_RELAXED;
	else if (slice_eq(word, SLICE("simple")))
		*out = CANON_SIMPLE;
	else
		return false;
	return true;
}

static const char *read_forms(const struct mail_tags *t, struct mail_signature *s)
{
	struct slice c = mail_tags_get(t, SLICE("c")), body;
	/* DKIM's default is simple; ARC's implementations and its suite take relaxed where c= is missing */
	s->header_form = s->body_form = s->kind == SIGNATURE_ARC_MESSAGE ? CANON_RELAXED : CANON_SIMPLE;
	if (!c.p)
		return NULL;
	struct slice header = slice_cut(c, '/', &body);
	if (!read_form(header, &s->header_form) || (body.p && !read_form(body, &s->body_form)))
		return "unknown canonicalization";
	return NULL;
}

static bool is_label_byte(unsigned char c)
{
	return text_is_alnum(c) || c == '-' || c == '_';
}

/* Labels with something in each. */
static bool is_name(struct slice s, size_t least)
{
	size_t labels = 0;
	while (s.p) {
		struct slice label = slice_cut(s, '.', &s);
		for (size_t i = 0; i < label.n; i++)
			if (!is_label_byte((unsigned char)label.p[i]))
				return false;
		if (!label.n || label.n > 63)
			return false;
		labels++;
	}
	return labels >= least;
}

static const char *read_names(const struct mail_tags *t, struct arena *mem, struct mail_signature *s)
{
	struct slice d = mail_tags_get(t, SLICE("d")), selector = mail_tags_get(t, SLICE("s"));
	if (!d.n || idn_to_ascii(d, mem, &s->domain) || !is_name(s->domain, 1))
		return d.n ? "d= is no domain" : "no d=";
	if (!selector.n || idn_to_ascii(selector, mem, &s->selector) || !is_name(s->selector, 1))
		return selector.n ? "s= is no selector" : "no s=";
	if (s->domain.n + s->selector.n > MAIL_SIGNATURE_MAX_KEY_NAME)
		return "name too long";
	return NULL;
}

static const char *read_bytes(const struct mail_tags *t, struct slice tag, struct arena *mem, struct slice *out)
{
	struct slice value = mail_tags_get(t, tag);
	char *to = value.n && value.n <= MAX_BASE64 ? arena_new(mem, MAIL_TAGS_BASE64_ROOM(value.n)) : NULL, *at = to;
	if (!to || !mail_tags_base64_into(value, &at) || at == to)
		return "wrong base64";
	*out = slice(to, (size_t)(at - to));
	return NULL;
}

static const char *read_time(const struct mail_tags *t, struct slice tag, int64_t *out)
{
	struct slice value = mail_tags_get(t, tag);
	uint64_t v;
	*out = -1;
	if (!value.p)
		return NULL;
	if (value.n > 12 || !scan_uint_all(value, 999999999999, &v))
		return "wrong time";
	*out = (int64_t)v;
	return NULL;
}

static bool names_one(struct slice list, struct slice name)
{
	struct slice item;
	while (mail_tags_item(&list, ':', &item))
		if (slice_eq_nocase(item, name))
			return true;
	return false;
}

static const char *read_body(const struct mail_tags *t, struct arena *mem, struct mail_signature *s)
{
	struct slice l = mail_tags_get(t, SLICE("l"));
	const char *wrong = read_bytes(t, SLICE("bh"), mem, &s->body_hash);
	if (wrong)
		return mail_tags_get(t, SLICE("bh")).n ? wrong : "no bh=";
	s->length = MAIL_BODY_WHOLE;
	if (l.p && !scan_uint_all(l, MAIL_BODY_WHOLE - 1, &s->length))
		return "wrong l=";
	s->names = mail_tags_get(t, SLICE("h"));
	return s->names.p ? NULL : "no h=";
}

/* "=40" for "@" (6376, 2.11), blanks removed. */
static struct slice decode_quoted(struct slice in, struct arena *mem)
{
	char *to = arena_new(mem, in.n + 1);
	size_t n = 0;
	while (to && in.n) {
		uint64_t byte = (unsigned char)in.p[0];
		bool escaped = in.p[0] == '=';
		in = slice_skip(in, 1);
		if (escaped && !scan_hex(&in, 2, &byte))
			return SLICE_NONE;
		if (escaped || !strchr(" \t\r\n", byte ? (int)byte : 'x'))
			to[n++] = (char)byte;
	}
	return slice(to, to ? n : 0);
}

/* i=: an address at d= or below it (6376, 3.5). */
static const char *read_identity(const struct mail_tags *t, struct arena *mem, struct mail_signature *s)
{
	struct slice i = mail_tags_get(t, SLICE("i")), domain;
	if (!i.p) {
		char *p = arena_new(mem, s->domain.n + 1);
		if (!p)
			return "too long";
		p[0] = '@';
		memcpy(p + 1, s->domain.p, s->domain.n);
		s->identity = slice(p, s->domain.n + 1);
		return NULL;
	}
	i = decode_quoted(i, mem);
	size_t at = slice_rfind(i, '@');
	if (at == i.n || idn_to_ascii(slice_skip(i, at + 1), mem, &domain))
		return "i= is no identity";
	if (!slice_ends(domain, s->domain) || (domain.n > s->domain.n && domain.p[domain.n - s->domain.n - 1] != '.'))
		return "i= is not below d=";
	s->identity = i;
	return NULL;
}

static const char *read_dkim(const struct mail_tags *t, struct arena *mem, bool lax, struct mail_signature *s)
{
	struct slice q = mail_tags_get(t, SLICE("q")), v = mail_tags_get(t, SLICE("v"));
	if (!slice_eq(v, SLICE("1")) && !(lax && (!v.p || slice_eq(v, SLICE("0.5"))))) /* drafts of 2005 and 2006 */
		return "no v=1";
	if (q.p && !names_one(q, SLICE("dns/txt")) && !names_one(q, SLICE("dns")))
		return "unknown q=";
	const char *wrong = read_body(t, mem, s);
	if (!wrong && !names_one(s->names, SLICE("from")))
		wrong = "From is not signed";
	if (!wrong)
		wrong = read_identity(t, mem, s);
	if (!wrong)
		wrong = read_time(t, SLICE("x"), &s->expires_s);
	if (!wrong && s->expires_s >= 0 && s->made_s >= 0 && s->expires_s < s->made_s)
		wrong = "x= before t=";
	return wrong;
}

static const char *read_arc(const struct mail_tags *t, struct arena *mem, struct mail_signature *s)
{
	struct slice cv = mail_tags_get(t, SLICE("cv")), i = mail_tags_get(t, SLICE("i"));
	uint64_t instance;
	if (!scan_uint_all(i, ARC_MAX_INSTANCE, &instance) || instance == 0)
		return "wrong i=";
	s->instance = (unsigned)instance;
	s->expires_s = -1;
	if (s->kind == SIGNATURE_ARC_MESSAGE) {
		const char *wrong = read_body(t, mem, s);
		return !wrong && names_one(s->names, SLICE("arc-seal")) ? "ARC-Seal in h=" : wrong; /* 8617, 4.1.2 */
	}
	if (mail_tags_get(t, SLICE("h")).p)
		return "h= in a seal"; /* 8617, 4.1.3 */
	if (slice_eq_nocase(cv, SLICE("none")))
		s->cv = ARC_CV_NONE;
	else if (slice_eq_nocase(cv, SLICE("pass")))
		s->cv = ARC_CV_PASS;
	else if (slice_eq_nocase(cv, SLICE("fail")))
		s->cv = ARC_CV_FAIL;
	else
		return "wrong cv=";
	return NULL;
}

static const char *read_all(const struct mail_tags *t, struct arena *mem, bool lax, struct mail_signature *s)
{
	const char *wrong = read_algorithm(t, s);
	if (!wrong)
		wrong = read_forms(t, s);
	if (!wrong)
		wrong = read_names(t, mem, s);
	if (!wrong && (wrong = read_bytes(t, SLICE("b"), mem, &s->signature)) && !mail_tags_get(t, SLICE("b")).n)
		wrong = "no b=";
	if (!wrong)
		wrong = read_time(t, SLICE("t"), &s->made_s);
	if (!wrong)
		wrong = s->kind == SIGNATURE_DKIM ? read_dkim(t, mem, lax, s) : read_arc(t, mem, s);
	return wrong;
}

int mail_signature_parse(enum mail_signature_kind kind, const struct mail_field *f, struct arena *mem, bool lax, struct mail_signature *out,
                         const char **why)
{
	struct mail_signature s = { .kind = kind, .length = MAIL_BODY_WHOLE };
	struct mail_tags tags;
	*why = f->value.n > MAIL_SIGNATURE_MAX_FIELD ? "field too long" : mail_tags_parse(f->value, &tags) ? "wrong tag list" : NULL;
	if (*why || (*why = read_all(&tags, mem, lax, &s)))
		return -EINVAL;
	for (size_t i = 0; i < tags.count; i++)
		if (tags.tags[i].name.n == 1 && tags.tags[i].name.p[0] == 'b')
			s.without = tags.tags[i].whole;
	*out = s;
	return 0;
}

/* -- digests -------------------------------------------------------------------------------------------------------------- */

struct mail_names {
	struct hash_key secret;
	uint32_t *heads;             /* for each remainder of a hash the lowest field + 1 */
	uint32_t *above;             /* the next field above it with that remainder + 1; 0: none */
	uint32_t *hashes;
	uint8_t *used;
	uint32_t mask;
};

static uint64_t lower_eight(uint64_t w)
{
	const uint64_t ones = 0x0101010101010101u, tops = ones << 7;
	uint64_t low = w & ~tops, upper = (low + ones * (0x80 - 'A')) & ~(low + ones * (0x7f - 'Z')) & ~w & tops;
	return w | upper >> 2;
}

static uint64_t fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Up to eight bytes as one word, with others no word of the same length. */
static inline uint64_t short_word(const char *p, size_t n)
{
	uint32_t front, back;
	if (n < 4)
		return n ? (uint64_t)(unsigned char)p[0] << 16 | (uint64_t)(unsigned char)p[n / 2] << 8 | (unsigned char)p[n - 1] : 0;
	memcpy(&front, p, 4);
	memcpy(&back, p + n - 4, 4);
	return (uint64_t)front << 32 | back;
}

/* By a secret: who writes names can't have them fall on one place. Letters count as lower case. */
static uint32_t name_hash(const struct hash_key *secret, struct slice name)
{
	uint64_t h = secret->k0 ^ name.n, front, back;
	const char *p = name.p;
	size_t n = name.n;
	for (; n > 16; p += 8, n -= 8) {
		memcpy(&front, p, 8);
		h = fold(lower_eight(front) ^ h, secret->k1);
	}
	front = short_word(p, n < 8 ? n : 8);
	back = n > 8 ? short_word(p + n - 8, 8) : 0;
	h = fold(lower_eight(front) ^ h, lower_eight(back) ^ secret->k1);
	return (uint32_t)(h ^ h >> 32);
}

struct mail_names *mail_names_new(const struct mail_header *h, struct arena *mem)
{
	static struct hash_key secret;
	struct mail_names *n = ARENA_NEW(mem, struct mail_names);
	size_t places = 64;
	while (places < h->count * 2)
		places *= 2;
	if (!n || h->count > UINT32_MAX / 4 || !(n->heads = ARENA_ARRAY(mem, uint32_t, places)) || !(n->above = ARENA_ARRAY(mem, uint32_t, h->count + 1)) ||
	    !(n->hashes = ARENA_ARRAY(mem, uint32_t, h->count + 1)) || !(n->used = ARENA_ARRAY(mem, uint8_t, h->count + 1)))
		return NULL;
	if (!secret.k1) {
		secret = hash_key_random();
		secret.k1 |= 1;
	}
	n->secret = secret;
	n->mask = (uint32_t)places - 1;
	for (uint32_t i = 0; i < h->count; i++) {
		uint32_t hash = name_hash(&secret, h->fields[i].name), *head = &n->heads[hash & n->mask];
		n->hashes[i] = hash;
		n->above[i] = *head;
		*head = i + 1;
	}
	return n;
}

/* The lowest field called name that isn't used yet. */
static const struct mail_field *take_field(const struct mail_header *h, const struct mail_names *names, struct slice name)
{
	uint32_t hash = name_hash(&names->secret, name);
	for (uint32_t at = names->heads[hash & names->mask]; at; at = names->above[at - 1]) {
		uint32_t i = at - 1;
		if (names->hashes[i] == hash && !names->used[i] && slice_eq_nocase(h->fields[i].name, name)) {
			names->used[i] = 1;
			return &h->fields[i];
		}
	}
	return NULL;
}

void mail_digest_begin(struct mail_digest_sink *s, bool sha1)
{
	s->hash = sha1 ? crypto_sha1_new() : crypto_sha256_new();
	s->n = 0;
}

void mail_digest_put(void *sink, const char *p, size_t n)
{
	struct mail_digest_sink *s = sink;
	if (n > sizeof s->bytes - s->n) {
		crypto_hash_add(s->hash, slice(s->bytes, s->n));
		s->n = 0;
	}
	if (n > sizeof s->bytes) {
		crypto_hash_add(s->hash, slice(p, n));
		return;
	}
	memcpy(s->bytes + s->n, p, n);
	s->n += n;
}

void mail_digest_end(struct mail_digest_sink *s, struct mail_digest *out)
{
	crypto_hash_add(s->hash, slice(s->bytes, s->n));
	out->n = crypto_hash_end(s->hash, out->bytes);
}

void mail_signature_digest(const struct mail_signature *s, const struct mail_header *h, const struct mail_names *names, const struct mail_field *own,
                           struct mail_digest *out)
{
	struct mail_digest_sink sink;
	struct slice list = s->names, name;
	mail_digest_begin(&sink, s->algorithm == ALGORITHM_RSA_SHA1);
	memset(names->used, 0, h->count + 1);
	if (own >= h->fields && own < h->fields + h->count)
		names->used[own - h->fields] = 1;
	for (size_t i = 0; i < MAIL_SIGNATURE_MAX_NAMES && mail_tags_item(&list, ':', &name); i++) {
		const struct mail_field *f = take_field(h, names, name);
		if (f)
			mail_canon_field(s->header_form, f, SLICE_NONE, false, mail_digest_put, &sink);
	}
	mail_canon_field(s->header_form, own, s->without, true, mail_digest_put, &sink);
	mail_digest_end(&sink, out);
}

const char *mail_algorithm_name(enum mail_algorithm a)
{
	switch (a) {
	case ALGORITHM_RSA_SHA1: return "rsa-sha1";
	case ALGORITHM_RSA_SHA256: return "rsa-sha256";
	case ALGORITHM_ED25519_SHA256: return "ed25519-sha256";
	}
	return "";
}

const char *arc_cv_name(enum arc_cv cv)
{
	switch (cv) {
	case ARC_CV_NONE: return "none";
	case ARC_CV_PASS: return "pass";
	case ARC_CV_FAIL: return "fail";
	}
	return "";
}
