#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <errno.h>
#include <cmocka.h>

#include "base/crypto.h"
#include "delivery/srs.h"

/* -- the keeper's part, for keys in hand ---------------------------------------------------------------------------------------------------- */

struct srs_keys {
	struct slice keys[4];             /* the newest, which signs, first; older ones are taken still */
	size_t count;
};

static int forward_with(const struct srs_keys *keys, struct slice local, struct slice domain, bool proven, int64_t now_s, struct buf *out)
{
	struct srs_plan p;
	uint8_t mac[CRYPTO_SHA256];
	int failed = keys->count ? srs_plan_forward(local, domain, proven, now_s, &p) : -EINVAL;
	if (failed)
		return failed;
	crypto_hmac_sha256(keys->keys[0], slice(p.data, p.data_n), mac);
	return srs_print(&p, mac, out);
}

static enum srs_answer reverse_with(const struct srs_keys *keys, struct slice local, int64_t now_s, struct arena *mem, struct slice *to_local, struct slice *to_domain,
                                    bool *from_proven)
{
	struct srs_found f;
	struct srs_plan p;
	uint8_t mac[CRYPTO_SHA256];
	enum srs_answer a = srs_read(local, now_s, mem, &f);
	if (a != SRS_GOOD)
		return a;
	for (size_t i = 0; i < keys->count * 2; i++) {
		if (srs_plan_check(&f, i % 2 == 0, &p))
			return SRS_FORGED;
		crypto_hmac_sha256(keys->keys[i / 2], slice(p.data, p.data_n), mac);
		if (!srs_matches(&f, mac))
			continue;
		*to_local = f.local;
		*to_domain = f.domain;
		*from_proven = i % 2 == 0;
		return f.age;
	}
	return SRS_FORGED;
}

static int tag_with(struct slice key, unsigned number, struct slice local, struct slice domain, int64_t now_s, struct buf *out)
{
	uint8_t mac[CRYPTO_SHA1];
	char data[BATV_MAX_DATA];
	size_t n = batv_data(number, local, domain, now_s, data);
	if (!n)
		return -EINVAL;
	crypto_hmac_sha1(key, slice(data, n), mac);
	return batv_print(mac, data, local, out);
}

/* number picks the key: keys[number] of ten, empty where there is none. */
static enum srs_answer check_with(const struct slice keys[10], struct slice local, struct slice domain, int64_t now_s, struct slice *plain)
{
	uint8_t mac[CRYPTO_SHA1];
	char data[BATV_MAX_DATA];
	struct slice hash, inner;
	unsigned number;
	size_t n;
	enum srs_answer a = batv_read(local, domain, now_s, &number, &hash, &inner, data, &n);
	if (a == SRS_NOT || a == SRS_FORGED)
		return a;
	if (!keys[number].n)
		return SRS_FORGED;
	crypto_hmac_sha1(keys[number], slice(data, n), mac);
	if (!batv_matches(hash, mac))
		return SRS_FORGED;
	*plain = inner;
	return a;
}

/* -- the tests --------------------------------------------------------------------------------------------------------------------------- */

enum { NOW = 20780 * 86400 + 3600 };
static const struct srs_keys keys = { { SLICE_INIT("new key"), SLICE_INIT("old key") }, 2 };
static bool proven;
static const struct srs_keys old_keys = { { SLICE_INIT("old key") }, 1 };

static void same(struct slice got, const char *want)
{
	if (!slice_eq(got, slice_of(want)))
		fail_msg("got \"%.*s\", want \"%s\"", SLICE_FMT(got), want);
}

static void a_forward_comes_back(void **state)
{
	(void)state;
	static const struct { const char *local, *domain; } rows[] = {
		{ "alice", "source.example" }, { "bob+tag", "sub.source.example" }, { "quoted str", "q.example" }, { "x=y", "eq.example" }, { "UPPER", "Case.Example" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (int fold = 0; fold < 2; fold++) {
			struct arena mem = ARENA_INIT(4096);
			struct buf b = BUF_INIT(400);
			struct slice local, domain;
			assert_int_equal(forward_with(&keys, slice_of(rows[i].local), slice_of(rows[i].domain), true, NOW, &b), 0);
			for (size_t k = 0; fold && k < 12; k++)
				b.p[k] = b.p[k] >= 'A' && b.p[k] <= 'Z' ? (char)(b.p[k] | 32) : b.p[k];
			assert_int_equal(reverse_with(&keys, buf_slice(&b), NOW + 86400, &mem, &local, &domain, &proven), SRS_GOOD);
			same(local, rows[i].local);
			same(domain, rows[i].domain);
			assert_int_equal(reverse_with(&keys, buf_slice(&b), NOW + 30 * 86400, &mem, &local, &domain, &proven), SRS_OLD);
			assert_int_equal(reverse_with(&keys, buf_slice(&b), NOW + 365 * 86400, &mem, &local, &domain, &proven), SRS_OLD); /* a clock that is wrong by a year */
			assert_int_equal(reverse_with(&keys, buf_slice(&b), NOW - 365 * 86400, &mem, &local, &domain, &proven), SRS_EARLY);
			assert_int_equal(reverse_with(&old_keys, buf_slice(&b), NOW, &mem, &local, &domain, &proven), SRS_FORGED);
			b.p[b.n - 1] ^= 1;
			assert_int_equal(reverse_with(&keys, buf_slice(&b), NOW, &mem, &local, &domain, &proven), SRS_FORGED);
			buf_free(&b);
			arena_free(&mem);
		}
}

static void a_forward_of_a_forward_goes_back_to_the_first(void **state)
{
	(void)state;
	struct arena mem = ARENA_INIT(4096);
	struct buf b = BUF_INIT(400), c = BUF_INIT(400);
	struct slice local, domain;
	assert_int_equal(forward_with(&old_keys, SLICE("SRS0+abcd+EF=plus.example=carl"), SLICE("one.example"), true, NOW, &b), 0);
	assert_int_equal(reverse_with(&keys, buf_slice(&b), NOW, &mem, &local, &domain, &proven), SRS_GOOD);
	same(local, "SRS0+abcd+EF=plus.example=carl");
	same(domain, "one.example");
	assert_int_equal(forward_with(&keys, buf_slice(&b), SLICE("two.example"), true, NOW, &c), 0);
	assert_int_equal(reverse_with(&keys, buf_slice(&c), NOW, &mem, &local, &domain, &proven), SRS_GOOD);
	same(domain, "one.example");
	buf_clear(&b);
	assert_int_equal(forward_with(&keys, SLICE("ann"), SLICE("x.test"), false, NOW, &b), 0);
	assert_int_equal(reverse_with(&keys, buf_slice(&b), NOW, &mem, &local, &domain, &proven), SRS_GOOD);
	assert_false(proven);
	assert_int_equal(forward_with(&keys, SLICE(""), SLICE(""), true, NOW, &b), -EINVAL);
	buf_free(&b);
	buf_free(&c);
	arena_free(&mem);
}

static void what_is_no_tag_or_a_broken_one_is_told(void **state)
{
	(void)state;
	static const struct { const char *local; enum srs_answer want; } rows[] = {
		{ "alice", SRS_NOT }, { "srs", SRS_NOT }, { "SRS0", SRS_NOT }, { "SRS0=", SRS_FORGED }, { "SRS0=a", SRS_FORGED }, { "SRS0=aaaa=bb", SRS_FORGED },
		{ "SRS0=aaaa=bb=c", SRS_FORGED }, { "SRS0=aaaa=bb=c=", SRS_FORGED }, { "SRS0=aaaa=bb=c=d", SRS_FORGED }, { "SRS1=aaaa=b=c", SRS_FORGED },
		{ "SRS1=aaaa=b==c", SRS_FORGED }, { "SRS0===", SRS_FORGED }, { "srs1====", SRS_FORGED },
	};
	struct arena mem = ARENA_INIT(4096);
	struct slice local, domain;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_int_equal(reverse_with(&keys, slice_of(rows[i].local), NOW, &mem, &local, &domain, &proven), rows[i].want);
	arena_free(&mem);
}

static void a_batv_tag_is_checked_and_ends(void **state)
{
	(void)state;
	struct slice ten[10] = { [3] = SLICE("k2") }, plain;
	struct buf b = BUF_INIT(200);
	assert_int_equal(tag_with(SLICE("k2"), 3, SLICE("User.Name+tag"), SLICE("Example.COM"), NOW, &b), 0);
	same(buf_slice(&b), "prvs=3787e2e3c2=User.Name+tag");
	assert_int_equal(check_with(ten, buf_slice(&b), SLICE("Example.COM"), NOW + 6 * 86400, &plain), SRS_GOOD);
	same(plain, "User.Name+tag");
	assert_int_equal(check_with(ten, buf_slice(&b), SLICE("Example.COM"), NOW + 9 * 86400, &plain), SRS_OLD);
	assert_int_equal(check_with(ten, buf_slice(&b), SLICE("Example.COM"), NOW + 365 * 86400, &plain), SRS_OLD); /* a clock that is wrong by a year */
	assert_int_equal(check_with(ten, buf_slice(&b), SLICE("Example.COM"), NOW - 365 * 86400, &plain), SRS_EARLY);
	assert_int_equal(check_with(ten, buf_slice(&b), SLICE("other.example"), NOW, &plain), SRS_FORGED);
	assert_int_equal(check_with(ten, SLICE("prvs=0787fec123=user"), SLICE("example.com"), NOW, &plain), SRS_FORGED);
	assert_int_equal(check_with(ten, SLICE("prvs=user"), SLICE("example.com"), NOW, &plain), SRS_NOT);
	assert_int_equal(check_with(ten, SLICE("prvs=xxxxxxxxxx=user"), SLICE("example.com"), NOW, &plain), SRS_FORGED);
	buf_free(&b);
}

/* The values of "key" in a JSON text of flat objects, one after another. */
static bool next_value(const char **at, const char *key, char *out, size_t size)
{
	char mark[64];
	snprintf(mark, sizeof mark, "\"%s\"", key);
	const char *p = strstr(*at, mark);
	if (!p)
		return false;
	p = strchr(p + strlen(mark), ':') + 1;
	p += strspn(p, " ");
	size_t n = 0;
	bool quoted = *p == '"';
	for (p += quoted; *p && (quoted ? *p != '"' : *p >= '0' && *p <= '9') && n + 1 < size; p++) {
		p += *p == '\\';
		out[n++] = *p;
	}
	out[n] = 0;
	*at = p;
	return true;
}

static char *read_vectors(const char *name)
{
	char path[512];
	const char *top = getenv("PORTER_VECTORS");
	snprintf(path, sizeof path, "%s/vectors/srs-batv-oracle/%s", top ? top : "../shared", name);
	FILE *f = fopen(path, "r");
	if (!f)
		return NULL;
	char *text = calloc(1, 65536);
	size_t n = fread(text, 1, 65535, f);
	fclose(f);
	assert_true(n > 0);
	return text;
}

static void exims_prvs_tags_are_ours(void **state)
{
	(void)state;
	char *text = read_vectors("batv-exim.json"), address[200], key[200], number[20], want[300];
	if (!text)
		skip();
	unsigned count = 0;
	for (const char *at = text; next_value(&at, "address", address, sizeof address); count++) {
		assert_true(next_value(&at, "key", key, sizeof key) && next_value(&at, "keynum", number, sizeof number) && next_value(&at, "exim", want, sizeof want));
		struct slice domain, local = slice_cut(slice_of(address), '@', &domain);
		struct buf b = BUF_INIT(300);
		assert_int_equal(tag_with(slice_of(key), (unsigned)atoi(number), local, domain, NOW, &b), 0);
		buf_addf(&b, "@%.*s", SLICE_FMT(domain));
		same(buf_slice(&b), want);
		buf_free(&b);
	}
	printf("row BATV, Exim's tags: %u of %u\n", count, count);
	free(text);
}

/* Their hash is of another kind; all else is equal, and what they forward we can forward and take back. */
static void mail_srs_addresses_have_our_form(void **state)
{
	(void)state;
	char *text = read_vectors("srs-perl.json"), forward[300], in[300], reverse[300];
	if (!text)
		skip();
	unsigned count = 0;
	for (const char *at = text; next_value(&at, "forward", forward, sizeof forward); count++) {
		struct arena mem = ARENA_INIT(4096);
		assert_true(next_value(&at, "in", in, sizeof in) && next_value(&at, "reverse", reverse, sizeof reverse));
		size_t place = slice_rfind(slice_of(in), '@');
		struct slice local = slice_head(slice_of(in), place), domain = slice_skip(slice_of(in), place + 1);
		struct buf b = BUF_INIT(300), back = BUF_INIT(300);
		assert_int_equal(forward_with(&keys, local, domain, true, NOW, &b), 0);
		struct slice theirs = slice_head(slice_of(forward), slice_rfind(slice_of(forward), '@')), to_local, to_domain;
		assert_int_equal(b.n, theirs.n);
		assert_true(slice_eq(slice_head(buf_slice(&b), 5), slice_head(theirs, 5)));
		assert_true(slice_eq(slice_skip(buf_slice(&b), 9), slice_skip(theirs, 9)));
		assert_int_equal(reverse_with(&keys, buf_slice(&b), NOW, &mem, &to_local, &to_domain, &proven), SRS_GOOD);
		buf_addf(&back, "%.*s@%.*s", SLICE_FMT(to_local), SLICE_FMT(to_domain));
		same(buf_slice(&back), reverse);
		buf_free(&b);
		buf_free(&back);
		arena_free(&mem);
	}
	printf("row SRS, Mail::SRS addresses: %u of %u\n", count, count);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_forward_comes_back),
		cmocka_unit_test(a_forward_of_a_forward_goes_back_to_the_first),
		cmocka_unit_test(what_is_no_tag_or_a_broken_one_is_told),
		cmocka_unit_test(a_batv_tag_is_checked_and_ends),
		cmocka_unit_test(exims_prvs_tags_are_ours),
		cmocka_unit_test(mail_srs_addresses_have_our_form),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
