/* SRS and BATV: parse, hash, compare. What is hashed is folded to lower case, since local-parts of others may come back folded. */
#include "delivery/srs.h"

#include <errno.h>

#include "base/crypto.h"
#include "base/scan.h"
#include "base/text.h"

static const char base32[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

static void add_lower(struct buf *out, struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		buf_add_byte(out, text_lower_byte(s.p[i]));
}

/* The hash over up to three parts, SRS_HASH letters. */
static void make_hash(struct slice key, struct slice a, struct slice b, struct slice c, char out[SRS_HASH])
{
	uint8_t mac[CRYPTO_SHA256];
	struct buf data = BUF_INIT(4096);
	add_lower(&data, a);
	buf_add_byte(&data, 0);
	add_lower(&data, b);
	buf_add_byte(&data, 0);
	add_lower(&data, c);
	crypto_hmac_sha256(key, buf_slice(&data), mac);
	buf_free(&data);
	for (size_t i = 0; i < SRS_HASH; i++)
		out[i] = base32[mac[i] & 31];
}

static bool is_hash_of(const struct srs_keys *keys, struct slice hash, struct slice a, struct slice b, struct slice c)
{
	char want[SRS_HASH], got[SRS_HASH];
	bool good = false;
	if (hash.n != SRS_HASH)
		return false;
	for (size_t i = 0; i < SRS_HASH; i++)
		got[i] = hash.p[i] >= 'a' && hash.p[i] <= 'z' ? (char)(hash.p[i] - 32) : hash.p[i];
	for (size_t i = 0; i < keys->count; i++) {
		make_hash(keys->keys[i], a, b, c, want);
		good |= slice_eq_secret(slice(want, SRS_HASH), slice(got, SRS_HASH));
	}
	return good;
}

static int64_t day_of(int64_t now_s)
{
	return now_s / 86400;
}

/* Days modulo 1024, two letters. */
static void make_stamp(int64_t now_s, char out[2])
{
	int64_t day = day_of(now_s) & 1023;
	out[0] = base32[day >> 5];
	out[1] = base32[day & 31];
}

static int stamp_value(char c)
{
	c = text_lower_byte(c);
	return c >= 'a' && c <= 'z' ? c - 'a' : c >= '2' && c <= '7' ? c - '2' + 26 : -1;
}

static bool is_fresh(struct slice stamp, int64_t now_s)
{
	int high = stamp.n == 2 ? stamp_value(stamp.p[0]) : -1, low = stamp.n == 2 ? stamp_value(stamp.p[1]) : -1;
	if (high < 0 || low < 0)
		return false;
	int64_t age = (day_of(now_s) - (high << 5 | low)) & 1023;
	return age <= SRS_VALID_DAYS || age == 1023; /* a clock that is behind by a day */
}

static bool is_separator(char c)
{
	return c == '=' || c == '+' || c == '-';
}

/* "SRS0" and a separator; the rest begins with the separator. */
static bool scan_mark(struct slice *in, const char *mark)
{
	struct slice rest = *in;
	if (!scan_word(&rest, slice_of(mark)) || !rest.n || !is_separator(rest.p[0]))
		return false;
	*in = rest;
	return true;
}

/* The parts of "=HASH=first=rest": everything but the first separator is '='. */
static bool split(struct slice in, struct slice *hash, struct slice *first, struct slice *rest)
{
	in = slice_skip(in, 1);
	*hash = slice_cut(in, '=', &in);
	*first = slice_cut(in, '=', rest);
	return hash->n && first->n && rest->p && rest->n;
}

static int forward_again(const struct srs_keys *keys, struct slice host, struct slice rest, struct buf *out)
{
	char hash[SRS_HASH];
	make_hash(keys->keys[0], host, rest, SLICE(""), hash);
	buf_add_cstr(out, "SRS1=");
	buf_add(out, slice(hash, SRS_HASH));
	buf_add_byte(out, '=');
	buf_add(out, host);
	buf_add_byte(out, '=');
	return buf_add(out, rest);
}

int srs_forward(const struct srs_keys *keys, struct slice local, struct slice domain, int64_t now_s, struct buf *out)
{
	struct slice rest = local, hash, first;
	char stamp[2], mac[SRS_HASH];
	if (!local.n || !domain.n || !keys->count)
		return -EINVAL;
	size_t before = out->n;
	int failed;
	if (scan_mark(&rest, "SRS0")) {
		failed = forward_again(keys, domain, rest, out);
	} else if (scan_mark(&rest, "SRS1") && split(rest, &hash, &first, &rest)) {
		failed = forward_again(keys, first, rest, out);
	} else {
		make_stamp(now_s, stamp);
		make_hash(keys->keys[0], slice(stamp, 2), domain, local, mac);
		failed = buf_addf(out, "SRS0=%.*s=%.*s=", SRS_HASH, mac, 2, stamp);
		buf_add(out, domain);
		buf_add_byte(out, '=');
		buf_add(out, local);
		failed = buf_full(out) ? -EMSGSIZE : failed;
	}
	if (failed)
		buf_truncate(out, before);
	return failed;
}

static enum srs_answer reverse_first(const struct srs_keys *keys, struct slice in, int64_t now_s, struct slice *local, struct slice *domain)
{
	struct slice hash, stamp, host, user, rest;
	if (!split(in, &hash, &stamp, &rest))
		return SRS_FORGED;
	host = slice_cut(rest, '=', &user);
	if (!host.n || !user.n || !is_hash_of(keys, hash, stamp, host, user))
		return SRS_FORGED;
	*local = user;
	*domain = host;
	return is_fresh(stamp, now_s) ? SRS_GOOD : SRS_OLD;
}

enum srs_answer srs_reverse(const struct srs_keys *keys, struct slice local, int64_t now_s, struct arena *mem, struct slice *to_local, struct slice *to_domain)
{
	struct slice in = local, hash, first, rest;
	if (scan_mark(&in, "SRS0"))
		return reverse_first(keys, in, now_s, to_local, to_domain);
	if (!scan_mark(&in, "SRS1"))
		return SRS_NOT;
	if (!split(in, &hash, &first, &rest) || !is_separator(rest.p[0]) || !is_hash_of(keys, hash, first, rest, SLICE("")))
		return SRS_FORGED;
	char *p = arena_new(mem, rest.n + 4); /* its age is for the host that made the SRS0 to judge */
	if (!p)
		return SRS_FORGED;
	memcpy(p, "SRS0", 4);
	memcpy(p + 4, rest.p, rest.n);
	*to_local = slice(p, rest.n + 4);
	*to_domain = first;
	return SRS_GOOD;
}

/* -- BATV ----------------------------------------------------------------------------------------------------------------- */

/* S: first three bytes of HMAC-SHA1(key, K DDD address). */
static void batv_hash(struct slice key, struct slice stamp, struct slice local, struct slice domain, uint8_t out[3])
{
	uint8_t mac[CRYPTO_SHA1];
	struct buf data = BUF_INIT(4096);
	buf_add(&data, stamp);
	buf_add(&data, local);
	buf_add_byte(&data, '@');
	buf_add(&data, domain);
	crypto_hmac_sha1(key, buf_slice(&data), mac);
	buf_free(&data);
	memcpy(out, mac, 3);
}

int batv_tag(struct slice key, unsigned number, struct slice local, struct slice domain, int64_t now_s, struct buf *out)
{
	uint8_t mac[3];
	char stamp[5];
	if (!local.n || number > 9)
		return -EINVAL;
	unsigned day = (unsigned)((day_of(now_s) + BATV_VALID_DAYS) % 1000);
	stamp[0] = (char)('0' + number);
	for (int i = 3; i > 0; i--, day /= 10)
		stamp[i] = (char)('0' + day % 10);
	batv_hash(key, slice(stamp, 4), local, domain, mac);
	size_t before = out->n;
	buf_addf(out, "prvs=%.4s", stamp);
	text_add_hex(out, slice((const char *)mac, 3));
	buf_add_byte(out, '=');
	buf_add(out, local);
	if (!buf_full(out))
		return 0;
	buf_truncate(out, before);
	return -EMSGSIZE;
}

enum srs_answer batv_check(const struct slice keys[10], struct slice local, struct slice domain, int64_t now_s, struct slice *plain)
{
	struct slice in = local, stamp, hash;
	uint64_t number, day;
	uint8_t mac[3];
	if (!scan_word(&in, SLICE("prvs=")) || in.n < 12 || in.p[10] != '=')
		return SRS_NOT;
	stamp = slice_head(in, 4);
	hash = slice(in.p + 4, 6);
	in = slice_skip(in, 11);
	if (!scan_uint_all(slice_head(stamp, 1), 9, &number) || !scan_uint_all(slice_skip(stamp, 1), 999, &day) || !keys[number].n)
		return SRS_FORGED;
	batv_hash(keys[number], stamp, in, domain, mac);
	struct buf want = BUF_INIT(8), got = BUF_INIT(8);
	text_add_hex(&want, slice((const char *)mac, 3));
	add_lower(&got, hash);
	bool good = slice_eq_secret(buf_slice(&want), buf_slice(&got));
	buf_free(&want);
	buf_free(&got);
	if (!good)
		return SRS_FORGED;
	*plain = in;
	int64_t left = ((int64_t)day - day_of(now_s) % 1000 + 1000) % 1000;
	return left <= BATV_VALID_DAYS + 1 ? SRS_GOOD : SRS_OLD;
}

const char *srs_answer_name(enum srs_answer a)
{
	switch (a) {
	case SRS_GOOD: return "good";
	case SRS_NOT: return "no tag";
	case SRS_FORGED: return "forged";
	case SRS_OLD: return "too old";
	}
	return "";
}
