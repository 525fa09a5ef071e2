/* SRS and BATV: parse, hash, compare. What is hashed is folded to lower case, since local-parts of others may come back folded. */
#include "delivery/srs.h"

#include <errno.h>

#include "base/scan.h"
#include "base/text.h"

static const char base32[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

static void add_lower(struct buf *out, struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		buf_add_byte(out, text_lower_byte(s.p[i]));
}

/* SRS_HASH letters of a MAC. */
static void print_hash(const uint8_t mac[32], char out[SRS_HASH])
{
	for (size_t i = 0; i < SRS_HASH; i++)
		out[i] = base32[mac[i] & 31];
}

static int set_data(struct srs_plan *p, struct slice a, struct slice b, struct slice c, bool proven)
{
	struct slice parts[3] = { a, b, c };
	size_t n = 0;
	if (a.n + b.n + c.n > SRS_MAX_TEXT)
		return -EMSGSIZE;
	for (int i = 0; i < 3; i++) {
		for (size_t k = 0; k < parts[i].n; k++)
			p->data[n++] = text_lower_byte(parts[i].p[k]);
		p->data[n++] = 0;
	}
	p->data[n++] = proven ? 's' : 'n';
	p->data_n = n;
	return 0;
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

/* Of a tag of so many days ago, in a count that goes round: the half behind us is the past. A clock may be behind by a day. */
static enum srs_answer answer_of_age(int64_t age, int64_t valid, int64_t round)
{
	return age <= valid || age == round - 1 ? SRS_GOOD : age < round / 2 ? SRS_OLD : SRS_EARLY;
}

static enum srs_answer judge_stamp(struct slice stamp, int64_t now_s)
{
	int high = stamp.n == 2 ? stamp_value(stamp.p[0]) : -1, low = stamp.n == 2 ? stamp_value(stamp.p[1]) : -1;
	if (high < 0 || low < 0)
		return SRS_OLD;
	return answer_of_age((day_of(now_s) - (high << 5 | low)) & 1023, SRS_VALID_DAYS, 1024);
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

/* "=a=b" behind the hash; b begins with its own separator in SRS1. */
static int set_tail(struct srs_plan *p, const char *head, struct slice a, struct slice b, struct slice c)
{
	struct buf t = BUF_INIT(SRS_MAX_TEXT);
	buf_addf(&t, "=%.*s=", SLICE_FMT(a));
	buf_add(&t, b);
	if (c.p) {
		buf_add_byte(&t, '=');
		buf_add(&t, c);
	}
	bool full = buf_full(&t);
	if (!full) {
		memcpy(p->tail, t.p, t.n);
		p->tail_n = t.n;
		p->head = head;
	}
	buf_free(&t);
	return full ? -EMSGSIZE : 0;
}

int srs_plan_forward(struct slice local, struct slice domain, bool proven, int64_t now_s, struct srs_plan *out)
{
	struct slice rest = local, hash, first = domain;
	char stamp[2];
	if (!local.n || !domain.n)
		return -EINVAL;
	if (scan_mark(&rest, "SRS0") || (scan_mark(&rest, "SRS1") && split(rest, &hash, &first, &rest))) {
		int failed = set_data(out, first, rest, SLICE(""), proven);
		return failed ? failed : set_tail(out, "SRS1=", first, rest, SLICE_NONE);
	}
	make_stamp(now_s, stamp);
	int failed = set_data(out, slice(stamp, 2), domain, local, proven);
	return failed ? failed : set_tail(out, "SRS0=", slice(stamp, 2), domain, local);
}

int srs_print(const struct srs_plan *p, const uint8_t mac[32], struct buf *out)
{
	char hash[SRS_HASH];
	size_t before = out->n;
	print_hash(mac, hash);
	buf_add_cstr(out, p->head);
	buf_add(out, slice(hash, SRS_HASH));
	buf_add(out, slice(p->tail, p->tail_n));
	if (!buf_full(out))
		return 0;
	buf_truncate(out, before);
	return -EMSGSIZE;
}

static enum srs_answer read_first(struct slice in, int64_t now_s, struct srs_found *f)
{
	struct slice stamp, rest;
	if (!split(in, &f->hash, &stamp, &rest))
		return SRS_FORGED;
	f->domain = slice_cut(rest, '=', &f->local);
	f->a = stamp;
	f->b = f->domain;
	f->c = f->local;
	f->age = judge_stamp(stamp, now_s);
	return f->domain.n && f->local.n ? SRS_GOOD : SRS_FORGED;
}

enum srs_answer srs_read(struct slice local, int64_t now_s, struct arena *mem, struct srs_found *out)
{
	struct slice in = local, first, rest;
	*out = (struct srs_found){ .c = SLICE("") };
	if (scan_mark(&in, "SRS0"))
		return read_first(in, now_s, out);
	if (!scan_mark(&in, "SRS1"))
		return SRS_NOT;
	if (!split(in, &out->hash, &first, &rest) || !is_separator(rest.p[0]))
		return SRS_FORGED;
	char *p = arena_new(mem, rest.n + 4); /* its age is for the host that made the SRS0 to judge */
	if (!p)
		return SRS_FORGED;
	memcpy(p, "SRS0", 4);
	memcpy(p + 4, rest.p, rest.n);
	out->local = slice(p, rest.n + 4);
	out->domain = out->a = first;
	out->b = rest;
	return SRS_GOOD;
}

int srs_plan_check(const struct srs_found *f, bool proven, struct srs_plan *out)
{
	return set_data(out, f->a, f->b, f->c, proven);
}

bool srs_matches(const struct srs_found *f, const uint8_t mac[32])
{
	char want[SRS_HASH], got[SRS_HASH];
	if (f->hash.n != SRS_HASH)
		return false;
	print_hash(mac, want);
	for (size_t i = 0; i < SRS_HASH; i++)
		got[i] = f->hash.p[i] >= 'a' && f->hash.p[i] <= 'z' ? (char)(f->hash.p[i] - 32) : f->hash.p[i];
	return slice_eq_secret(slice(want, SRS_HASH), slice(got, SRS_HASH));
}

/* -- BATV ----------------------------------------------------------------------------------------------------------------- */

/* S: first three bytes of HMAC-SHA1(key, K DDD address). */
static size_t make_data(const char stamp[4], struct slice local, struct slice domain, char out[BATV_MAX_DATA])
{
	if (local.n + domain.n + 5 > BATV_MAX_DATA)
		return 0;
	memcpy(out, stamp, 4);
	memcpy(out + 4, local.p, local.n);
	out[4 + local.n] = '@';
	memcpy(out + 5 + local.n, domain.p, domain.n);
	return local.n + domain.n + 5;
}

size_t batv_data(unsigned number, struct slice local, struct slice domain, int64_t now_s, char out[BATV_MAX_DATA])
{
	char stamp[4] = { (char)('0' + number % 10) };
	unsigned day = (unsigned)((day_of(now_s) + BATV_VALID_DAYS) % 1000);
	for (int i = 3; i > 0; i--, day /= 10)
		stamp[i] = (char)('0' + day % 10);
	return local.n && domain.n ? make_data(stamp, local, domain, out) : 0;
}

int batv_print(const uint8_t mac[3], const char *data, struct slice local, struct buf *out)
{
	size_t before = out->n;
	buf_addf(out, "prvs=%.4s", data);
	text_add_hex(out, slice((const char *)mac, 3));
	buf_add_byte(out, '=');
	buf_add(out, local);
	if (!buf_full(out))
		return 0;
	buf_truncate(out, before);
	return -EMSGSIZE;
}

enum srs_answer batv_read(struct slice local, struct slice domain, int64_t now_s, unsigned *number, struct slice *hash, struct slice *plain, char data[BATV_MAX_DATA], size_t *n)
{
	struct slice in = local;
	uint64_t key, day;
	if (!scan_word(&in, SLICE("prvs=")) || in.n < 12 || in.p[10] != '=')
		return SRS_NOT;
	if (!scan_uint_all(slice_head(in, 1), 9, &key) || !scan_uint_all(slice(in.p + 1, 3), 999, &day))
		return SRS_FORGED;
	*number = (unsigned)key;
	*hash = slice(in.p + 4, 6);
	*plain = slice_skip(in, 11);
	*n = make_data(in.p, *plain, domain, data);
	if (!*n)
		return SRS_FORGED;
	int64_t age = (day_of(now_s) + BATV_VALID_DAYS - (int64_t)day % 1000 + 1000) % 1000;
	return answer_of_age(age, BATV_VALID_DAYS, 1000);
}

bool batv_matches(struct slice hash, const uint8_t mac[3])
{
	struct buf want = BUF_INIT(8), got = BUF_INIT(8);
	text_add_hex(&want, slice((const char *)mac, 3));
	add_lower(&got, hash);
	bool good = slice_eq_secret(buf_slice(&want), buf_slice(&got));
	buf_free(&want);
	buf_free(&got);
	return good;
}
