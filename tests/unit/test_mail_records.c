/* The records and fields that evidence is read from: tag lists, DKIM keys and signatures, SPF and DMARC records. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>

#include "base/mail_dmarc_record.h"
#include "base/mail_key.h"
#include "base/mail_signature.h"
#include "base/mail_spf_record.h"
#include "base/mail_tags.h"
#include "base/text.h"

/* -- tag lists -- */

static void a_tag_list_is_read_whole_or_refused(void **state)
{
	static const char *const bad[] = { "v=1; v=2", "novalue", "=x", "a=1;;=", "a=\001", "a=\xff" };
	struct mail_tags t;
	(void)state;
	assert_int_equal(mail_tags_parse(SLICE("v=1; a = rsa-sha256 ;\r\n\th=From :\r\n\tTo; B=x;"), &t), 0);
	assert_int_equal(t.count, 4);
	assert_true(slice_eq(mail_tags_get(&t, SLICE("a")), SLICE("rsa-sha256")));
	assert_true(mail_tags_get(&t, SLICE("b")).p == NULL && slice_eq(mail_tags_get(&t, SLICE("B")), SLICE("x")));
	struct slice list = mail_tags_get(&t, SLICE("h")), item;
	assert_true(mail_tags_item(&list, ':', &item) && slice_eq(item, SLICE("From")));
	assert_true(mail_tags_item(&list, ':', &item) && slice_eq(item, SLICE("To")) && !mail_tags_item(&list, ':', &item));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(mail_tags_parse(slice_of(bad[i]), &t), -EINVAL);
}

static void too_many_tags_are_too_many(void **state)
{
	struct buf b = BUF_INIT(8192);
	struct mail_tags t;
	(void)state;
	for (int i = 0; i < MAIL_TAGS_MAX; i++)
		buf_addf(&b, "t%d=1;", i);
	assert_int_equal(mail_tags_parse(buf_slice(&b), &t), 0);
	buf_add_cstr(&b, "last=1");
	assert_int_equal(mail_tags_parse(buf_slice(&b), &t), -E2BIG);
	buf_free(&b);
}

/* Blocks are looked at by eights and fours: each byte at each place of them counts. */
static void a_bad_byte_is_seen_wherever_it_stands(void **state)
{
	struct mail_tags t;
	(void)state;
	for (unsigned c = 1; c < 256; c++)
		for (size_t at = 2; at < 22; at++) {
			char text[] = "n=abcdefghijklmnopqrstuv", digits[] = "aGVsbG8gYmFzZTY0IGRpZ2l0cw==";
			struct buf b = BUF_INIT(100);
			text[at] = (char)c;
			bool good = c == '\t' || c == '\r' || c == '\n' || (c >= 0x20 && c < 0x7f); /* ';' ends the value, and what follows it is no tag */
			assert_int_equal(mail_tags_parse(slice_of(text), &t) == 0, good && c != ';');
			digits[at] = (char)c;
			bool digit = c != '\v' && c != '\f' && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", (int)c);
			assert_int_equal(mail_tags_base64(slice_of(digits), &b), digit);
			buf_free(&b);
		}
}

static void base64_of_any_length_and_fold_comes_back(void **state)
{
	(void)state;
	for (size_t n = 1; n < 120; n++)
		for (size_t fold = 1; fold < 9; fold++) {
			struct buf plain = BUF_INIT(200), text = BUF_INIT(400), folded = BUF_INIT(2000), back = BUF_INIT(2000);
			for (size_t i = 0; i < n; i++)
				buf_add_byte(&plain, (char)(i * 167 + n * 31 + fold));
			text_add_base64(&text, buf_slice(&plain));
			for (size_t i = 0; i < text.n; i += fold) {
				buf_add(&folded, slice_head(slice_skip(buf_slice(&text), i), fold));
				buf_add(&folded, SLICE("\r\n\t"));
			}
			assert_true(mail_tags_base64(buf_slice(&text), &back) && slice_eq(buf_slice(&back), buf_slice(&plain)));
			buf_clear(&back);
			assert_true(mail_tags_base64(buf_slice(&folded), &back) && slice_eq(buf_slice(&back), buf_slice(&plain)));
			buf_free(&plain), buf_free(&text), buf_free(&folded), buf_free(&back);
		}
}

static void base64_is_read_with_folds_and_without_padding(void **state)
{
	static const char *const bad[] = { "ab!d", "a", "ab=c", "====", "abcd=", "ab===" };
	struct buf b = BUF_INIT(100);
	(void)state;
	assert_true(mail_tags_base64(SLICE("aGVs\r\n bG8="), &b) && slice_eq(buf_slice(&b), SLICE("hello")));
	buf_clear(&b);
	assert_true(mail_tags_base64(SLICE("aGVsbG8"), &b) && slice_eq(buf_slice(&b), SLICE("hello")));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		buf_clear(&b);
		assert_false(mail_tags_base64(slice_of(bad[i]), &b));
	}
	buf_free(&b);
}

/* Whatever stands together is decoded by blocks: each length, each place of a fold, each byte at each place against the decoder that goes four by four. */
static void base64_is_what_it_is_wherever_it_is_folded(void **state)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	(void)state;
	for (size_t n = 0; n < 100; n += 4) {
		char text[100];
		struct buf want = BUF_INIT(200), got = BUF_INIT(200);
		for (size_t i = 0; i < n; i++)
			text[i] = digits[(i * 37 + n) % 64];
		assert_true(text_base64_decode(slice(text, n), &want));
		for (size_t at = 0; at <= n; at++) {
			struct buf folded = BUF_INIT(200);
			buf_add(&folded, slice(text, at));
			buf_add(&folded, SLICE("\r\n\t"));
			buf_add(&folded, slice(text + at, n - at));
			buf_clear(&got);
			assert_true(mail_tags_base64(buf_slice(&folded), &got));
			assert_true(slice_eq(buf_slice(&got), buf_slice(&want)));
			buf_free(&folded);
		}
		buf_free(&want);
		buf_free(&got);
	}
	for (int byte = 0; byte < 256; byte++)
		for (size_t at = 0; at < 32; at++) {
			char text[32];
			struct buf want = BUF_INIT(64), got = BUF_INIT(64);
			bool blank = byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
			memset(text, 'Q', sizeof text);
			text[at] = (char)byte;
			bool good = text_base64_decode(slice(text, sizeof text), &want), ours = mail_tags_base64(slice(text, sizeof text), &got);
			if (!blank && byte != '=' && (good != ours || (good && !slice_eq(buf_slice(&want), buf_slice(&got)))))
				fail_msg("byte %d at %zu: %d, %d", byte, at, good, ours);
			buf_free(&want);
			buf_free(&got);
		}
}

static void a_tag_that_comes_twice_or_hides_a_control_is_no_list(void **state)
{
	static const char *const bad[] = { "a=1; a=2", "ab=1; ab=2", "a=1; b=2; a=3", "a", "=1", ";a=1", "a=1;;b=2", "a b=1", "1a=1", "a=\x01", "a=1; b=0123456789abcde\x7f", "a=0123456789abcdef\xff",
		                                   "a=1; \xc3\xa4=1" };
	static const char *const good[] = { "", " ", "a=", "a=1;", "a=1; ", " a = 1 ;\r\n\tB_2=x=y ", "a=1;A=2", "a=\xc3\xa4 0123456789abcdef" };
	struct mail_tags t;
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (mail_tags_parse(slice_of(bad[i]), &t) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		if (mail_tags_parse(slice_of(good[i]), &t) != 0)
			fail_msg("refused: %s", good[i]);
	assert_int_equal(mail_tags_parse(slice("a=1\0", 4), &t), -EINVAL);
	assert_int_equal(mail_tags_parse(SLICE("a=1; Z=2; h=3"), &t), 0);
	assert_true(slice_eq(mail_tags_get(&t, SLICE("Z")), SLICE("2")) && !mail_tags_get(&t, SLICE("z")).p && !mail_tags_get(&t, SLICE("H")).p);
}

/* -- keys -- */

static void a_key_record_says_what_the_key_may_do(void **state)
{
	static const char *const bad[] = { "v=DKIM2; p=AA", "k=rsa", "v=DKIM1; s=tls; p=AA", "p=AA; v=DKIM1", "v=DKIM1; k=elliptic; p=AA" };
	struct mail_key_record k;
	const char *why = NULL;
	(void)state;
	assert_int_equal(mail_key_parse(SLICE("v=DKIM1; k=ed25519; t=y:s; h=sha256; p=AAAA"), &k, &why), 0);
	assert_true(k.ed25519 && k.testing && k.strict && !k.revoked && slice_eq(k.key, SLICE("AAAA")) && k.hashes.p);
	assert_int_equal(mail_key_parse(SLICE("p="), &k, &why), 0);
	assert_true(k.revoked && !k.ed25519 && !k.hashes.p);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		why = NULL;
		assert_int_equal(mail_key_parse(slice_of(bad[i]), &k, &why), -EINVAL);
		assert_non_null(why);
	}
}

/* -- signatures -- */

static int parse_dkim(const char *value, struct arena *mem, struct mail_signature *s, const char **why)
{
	struct buf text = BUF_INIT(8192);
	buf_addf(&text, "DKIM-Signature: %s\r\n", value);
	char *kept = arena_cstr(mem, buf_slice(&text));
	struct slice whole = slice(kept, text.n);
	buf_free(&text);
	struct mail_field f = { .raw = whole, .name = slice_head(whole, 14), .value = slice_head(slice_skip(whole, 15), whole.n - 17) };
	return mail_signature_parse(SIGNATURE_DKIM, &f, mem, false, s, why);
}

static void a_signature_needs_its_tags_and_signs_from(void **state)
{
	static const char *const bad[] = {
		"a=rsa-sha256; d=x.test; s=s; h=From; bh=AA==; b=AA==",              /* no v */
		"v=2; a=rsa-sha256; d=x.test; s=s; h=From; bh=AA==; b=AA==",
		"v=1; a=rsa-md5; d=x.test; s=s; h=From; bh=AA==; b=AA==",
		"v=1; a=rsa-sha256; d=x.test; s=s; h=To; bh=AA==; b=AA==",           /* From is not signed */
		"v=1; a=rsa-sha256; d=x.test; s=s; h=From; bh=AA==",                 /* no b */
		"v=1; a=rsa-sha256; d=x.test; s=s; h=From; bh=AA==; b=!!",
		"v=1; a=rsa-sha256; d=x.test; i=a@y.test; s=s; h=From; bh=AA==; b=AA==", /* i= is elsewhere */
		"v=1; a=rsa-sha256; c=loose; d=x.test; s=s; h=From; bh=AA==; b=AA==",
		"v=1; a=rsa-sha256; d=x.test; s=s; t=9; x=8; h=From; bh=AA==; b=AA==",
	};
	struct arena mem = ARENA_INIT(1 << 20);
	struct mail_signature s;
	const char *why = NULL;
	(void)state;
	assert_int_equal(parse_dkim("v=1; a=ed25519-sha256; c=relaxed; d=X.test; s=S1; i=a@m.x.test; l=5; t=1; x=9; h=From:To; bh=AAAA; b=BBBB", &mem, &s, &why), 0);
	assert_true(s.algorithm == ALGORITHM_ED25519_SHA256 && s.header_form == CANON_RELAXED && s.body_form == CANON_SIMPLE && s.length == 5);
	assert_true(slice_eq(s.domain, SLICE("x.test")) && s.made_s == 1 && s.expires_s == 9 && s.signature.n == 3 && slice_eq(s.without, SLICE("BBBB")));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		why = NULL;
		if (parse_dkim(bad[i], &mem, &s, &why) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
		assert_non_null(why);
	}
	arena_free(&mem);
}

/* -- SPF -- */

static void an_spf_record_is_read_whole_before_any_of_it_counts(void **state)
{
	static const char *const bad[] = { "v=spf1 ip4:1.2.3.4/33 -all", "v=spf1 ip6:1.2.3.4 -all", "v=spf1 a:%{z}.x -all", "v=spf1 -all:x", "v=spf1 include: -all", "v=spf1 unknown -all",
		                           "v=spf1 redirect=a.test redirect=b.test", "v=spf1 a/33", "v=spf1 exists:%{d} exists" };
	struct arena mem = ARENA_INIT(64 << 10);
	struct spf_record r;
	const char *why;
	struct slice at;
	(void)state;
	assert_true(spf_record_is(SLICE("v=spf1")) && spf_record_is(SLICE("V=SPF1 -all")) && !spf_record_is(SLICE("v=spf10 -all")));
	assert_int_equal(spf_record_parse(SLICE("v=spf1 ip4:192.0.2.0/24 ?a:m.test/26//64 ~include:%{d2}.test mx -all redirect=x.test"), &mem, &r, &why, &at), 0);
	assert_int_equal(r.count, 5);
	assert_true(r.terms[0].kind == SPF_IP4 && r.terms[0].prefix4 == 24 && r.terms[0].result == SPF_PASS);
	assert_true(r.terms[1].kind == SPF_A && r.terms[1].prefix4 == 26 && r.terms[1].prefix6 == 64 && r.terms[1].result == SPF_NEUTRAL);
	assert_true(r.terms[2].result == SPF_SOFTFAIL && spf_macro_any(r.terms[2].target) && spf_macro_uses(r.terms[2].target, 'd'));
	assert_true(r.terms[4].kind == SPF_ALL && r.terms[4].result == SPF_FAIL && slice_eq(r.redirect, SLICE("x.test")));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		why = NULL;
		if (spf_record_parse(slice_of(bad[i]), &mem, &r, &why, &at) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
		assert_non_null(why);
	}
	arena_free(&mem);
}

/* The examples of RFC 7208, 7.4. */
static void macros_expand_as_the_rfc_shows(void **state)
{
	static const struct { const char *spec, *name; } rows[] = {
		{ "%{d}", "email.example.com" }, { "%{d2}", "example.com" }, { "%{dr}", "com.example.email" }, { "%{d2r}", "example.email" }, { "%{l-}", "strong.bad" }, { "%{lr-}", "bad.strong" },
		{ "%{l1r-}", "strong" }, { "%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com" }, { "%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com" }, { "a%%b.test", "a%b.test" },
	};
	struct spf_names n = { .local_part = SLICE("strong-bad"), .sender_domain = SLICE("email.example.com"), .helo = SLICE("mx.example.org"), .domain = SLICE("email.example.com") };
	struct buf b = BUF_INIT(16 << 10);
	(void)state;
	assert_true(net_ip_parse(SLICE("192.0.2.3"), &n.client));
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		buf_clear(&b);
		spf_macro_expand(slice_of(rows[i].spec), &n, &b);
		if (!slice_eq(buf_slice(&b), slice_of(rows[i].name)))
			fail_msg("%s became %.*s", rows[i].spec, SLICE_FMT(buf_slice(&b)));
	}
	buf_free(&b);
}

/* -- DMARC -- */

static void a_dmarc_record_means_what_rfc_9989_says(void **state)
{
	struct dmarc_record r;
	struct arena mem = ARENA_INIT(8192);
	(void)state;
	assert_true(dmarc_record_is(SLICE("v=DMARC1; p=none")) && !dmarc_record_is(SLICE("p=none; v=DMARC1")) && !dmarc_record_is(SLICE("v=DMARC11; p=none")));
	assert_int_equal(dmarc_record_parse(SLICE("v=DMARC1; p=reject; sp=quarantine; np=none; adkim=s; aspf=r; psd=y; t=y; rua=mailto:a@x.test!10m,mailto:b@x.test"), &r), 0);
	assert_true(r.applies && r.p == DMARC_POLICY_REJECT && r.sp == DMARC_POLICY_QUARANTINE && r.np == DMARC_POLICY_NONE && r.strict_dkim && !r.strict_spf && r.testing);
	assert_true(r.psd == DMARC_PSD_YES && r.rua_count == 2 && slice_eq(r.rua[0], SLICE("mailto:a@x.test")));
	assert_int_equal(dmarc_record_parse(SLICE("v=DMARC1; p=reject"), &r), 0);
	assert_true(r.sp == DMARC_POLICY_REJECT && r.np == DMARC_POLICY_REJECT && !r.has_sp && !r.has_np);
	assert_int_equal(dmarc_record_parse(SLICE("v=DMARC1; p=harsh; rua=mailto:a@x.test"), &r), 0);
	assert_true(r.applies && r.p == DMARC_POLICY_NONE);
	assert_int_equal(dmarc_record_parse(SLICE("v=DMARC1; p=harsh"), &r), 0);
	assert_false(r.applies);
	assert_int_equal(dmarc_record_parse(SLICE("v=DMARC1; p=none; p=reject"), &r), -EINVAL);
	assert_true(slice_eq(dmarc_uri_address(SLICE("mailto:a%2Bb@x.test"), &mem), SLICE("a+b@x.test")) && dmarc_uri_address(SLICE("https://x.test"), &mem).n == 0);
	arena_free(&mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tag_list_is_read_whole_or_refused),
		cmocka_unit_test(too_many_tags_are_too_many),
		cmocka_unit_test(base64_is_read_with_folds_and_without_padding),
		cmocka_unit_test(a_bad_byte_is_seen_wherever_it_stands),
		cmocka_unit_test(base64_of_any_length_and_fold_comes_back),
		cmocka_unit_test(base64_is_what_it_is_wherever_it_is_folded),
		cmocka_unit_test(a_tag_that_comes_twice_or_hides_a_control_is_no_list),
		cmocka_unit_test(a_key_record_says_what_the_key_may_do),
		cmocka_unit_test(a_signature_needs_its_tags_and_signs_from),
		cmocka_unit_test(an_spf_record_is_read_whole_before_any_of_it_counts),
		cmocka_unit_test(macros_expand_as_the_rfc_shows),
		cmocka_unit_test(a_dmarc_record_means_what_rfc_9989_says),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
