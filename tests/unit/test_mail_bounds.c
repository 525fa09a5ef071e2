#include "tests/unit/mail_bounds_kit.h"
#include "tests/unit/slow_key.h"

/* Evidence that is much: signatures, sets, names, blanks, questions. */

static void a_thousand_signatures_are_five(void **state)
{
	(void)state;
	struct buf m = BUF_INIT(32 << 20), one = BUF_INIT(1 << 16);
	add_signature(&one, SLICE(MESSAGE), "x.test", "", false);
	for (int i = 0; i < 1000; i++)
		buf_add(&m, buf_slice(&one));
	buf_add(&m, SLICE(MESSAGE));
	struct outcome o = run(zone_with_key(""), buf_slice(&m), "x.test");
	assert_int_equal(o.signatures, DKIM_MAX_CHECKED);
	assert_string_equal(o.first, "fail");
	assert_string_equal(o.dmarc, "fail");
	printf("1,000 signatures: %.2f ms, %u questions\n", o.cpu_ms, o.r.questions);
	buf_clear(&m);
	add_signature(&m, SLICE(MESSAGE), "x.test", "", true);
	buf_add(&m, SLICE(MESSAGE));
	assert_string_equal(run(zone_with_key(""), buf_slice(&m), "x.test").dmarc, "pass");
	buf_free(&m);
	buf_free(&one);
}

static void odd_headers_cost_no_more_than_their_bytes(void **state)
{
	(void)state;
	struct buf m = BUF_INIT(64 << 20);
	buf_add(&m, slice("\0\xff\x80: x\r\nDKIM-Signature\0: v=1\r\n", 31));
	buf_add_cstr(&m, "X-Long: ");
	for (int i = 0; i < 200000; i++)
		buf_add_cstr(&m, "word with blanks, fifty bytes of it all together \r\n ");
	buf_add(&m, SLICE("\r\n" MESSAGE));
	struct outcome o = run(zone_with_key(""), buf_slice(&m), "x.test");
	assert_int_equal(o.signatures, 0);
	assert_string_equal(o.dmarc, "fail");
	buf_clear(&m);
	buf_add_cstr(&m, "DKIM-Signature: v=1; a=rsa-sha256; d=x.test; s=s; bh=AAAA; b=AAAA; h=from");
	for (int i = 0; i < 9000; i++)
		buf_add_cstr(&m, ":nn\r\n ");
	buf_add_cstr(&m, "\r\n");
	for (int i = 0; i < 5000; i++)
		buf_add_cstr(&m, "nn: x\r\n");
	buf_add(&m, SLICE(MESSAGE));
	o = run(zone_with_key(""), buf_slice(&m), "x.test");
	printf("500 of 9,000 names over 5,000 fields: %.2f ms\n", o.cpu_ms);
	buf_free(&m);
}

/* A From of 1 MiB that no grammar takes, so that all of it is read as it is shown. */
static void an_unreadable_from_costs_its_bytes(void **state)
{
	(void)state;
	static const char *const pieces[] = { "@", "@,", "@a ", "=?", "=?a?q?", "=?u?q?@?==", "\xef", "\xef\xbc\xa0", "(@", "a@\xe4\xbe\x8b.test <", "\"\\@", "@x.test @X.test " };
	for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
		struct buf m = BUF_INIT(2 << 20);
		buf_add_cstr(&m, "From: ");
		while (m.n < 1000000)
			buf_add_cstr(&m, pieces[i]);
		buf_add_cstr(&m, "\r\n\r\nx\r\n");
		struct outcome o = run(zone_with_key(""), buf_slice(&m), "x.test");
		printf("From of \"%s\": %s, %.2f ms\n", pieces[i], o.dmarc, o.cpu_ms);
		buf_free(&m);
	}
}

/* h= of 500 names in each of five signatures, over as many fields as a message may have (smtpd/message.h): all of one name, or of names that nobody asks for and that are
 * alike at both ends. */
static void names_in_signatures_cost_their_number_and_no_product(void **state)
{
	(void)state;
	for (int alike = 0; alike < 2; alike++) {
		struct buf m = BUF_INIT(4 << 20);
		for (int s = 0; s < 5; s++) {
			buf_add_cstr(&m, "DKIM-Signature: v=1; a=rsa-sha256; d=x.test; s=s; bh=AAAA; b=AAAA; h=from");
			for (int i = 0; i < 499; i++)
				if (alike)
					buf_addf(&m, ":\r\n abcdefgh%07x-%04d-abcdefgh", 0xfffffff, i);
				else
					buf_add_cstr(&m, ":\r\n a");
			buf_add_cstr(&m, "\r\n");
		}
		for (int i = 0; i < 9990; i++)
			if (alike)
				buf_addf(&m, "abcdefgh%07x-%04d-abcdefgh: some text in each\r\n", i, i % 500);
			else
				buf_add_cstr(&m, "a:\r\n");
		buf_add(&m, SLICE(MESSAGE));
		struct outcome o = run(zone_with_key(""), buf_slice(&m), "x.test");
		printf("five times 500 names over ten thousand fields%s: %.2f ms\n", alike ? " that look like them" : "", o.cpu_ms);
		assert_int_equal(o.signatures, 5);
		assert_string_equal(o.dmarc, "fail");
		buf_free(&m);
	}
}

static void body_digest(struct slice body, struct mail_digest *out)
{
	struct mail_body *b = mail_body_new();
	int number = mail_body_want(b, CANON_RELAXED, false, MAIL_BODY_WHOLE);
	mail_body_add(b, body);
	mail_body_end(b);
	mail_body_digest(b, number, out);
	mail_body_free(b);
}

static void sign_field(enum mail_signature_kind kind, const struct crypto_key *k, const struct mail_digest *digest, struct buf *field, size_t at)
{
	struct buf signature = BUF_INIT(1024);
	assert_int_equal(crypto_sign_digest(k, slice((const char *)digest->bytes, digest->n), &signature), 0);
	assert_int_equal(mail_sign_end(kind, field, at, buf_slice(&signature)), 0);
	buf_free(&signature);
}

/* m gets one more good ARC set on top, by k at a selector of its own. */
static void add_arc_set(struct buf *m, const struct crypto_key *k, unsigned instance)
{
	struct arena mem = ARENA_INIT(64 << 20);
	struct mail_header h;
	struct arc_chain chain;
	struct mail_digest body, digest;
	struct buf results = BUF_INIT(256), message = BUF_INIT(1 << 16), seal = BUF_INIT(1 << 16), selector = BUF_INIT(16), whole = BUF_INIT(4 << 20);
	size_t at;
	assert_int_equal(mail_header_parse(buf_slice(m), SIZE_MAX, &mem, &h), 0);
	arc_collect(&h, &mem, &chain);
	buf_addf(&selector, "a%u", instance);
	buf_addf(&results, "ARC-Authentication-Results: i=%u; x.test; none\r\n", instance);
	body_digest(h.body, &body);
	struct mail_sign p = { .kind = SIGNATURE_ARC_MESSAGE, .algorithm = ALGORITHM_RSA_SHA256, .header_form = CANON_RELAXED, .body_form = CANON_RELAXED, .domain = SLICE("x.test"),
		               .selector = buf_slice(&selector), .names = SLICE("from"), .made_s = 900000000, .instance = instance, .cv = instance > 1 ? ARC_CV_PASS : ARC_CV_NONE };
	assert_int_equal(mail_sign_message(&p, &h, &body, &message, &at, &digest), 0);
	sign_field(SIGNATURE_ARC_MESSAGE, k, &digest, &message, at);
	struct mail_field r = mail_sign_field(buf_slice(&results)), s = mail_sign_field(buf_slice(&message));
	p.kind = SIGNATURE_ARC_SEAL;
	assert_int_equal(mail_sign_seal(&p, &chain, &r, &s, &seal, &at, &digest), 0);
	sign_field(SIGNATURE_ARC_SEAL, k, &digest, &seal, at);
	buf_add(&whole, buf_slice(&seal)), buf_add(&whole, buf_slice(&message)), buf_add(&whole, buf_slice(&results)), buf_add(&whole, buf_slice(m));
	buf_clear(m);
	buf_add(m, buf_slice(&whole));
	buf_free(&results), buf_free(&message), buf_free(&seal), buf_free(&selector), buf_free(&whole);
	arena_free(&mem);
}

/* A zone where every selector of x.test has the slow key, and SPF records at i0.test and helo.test that ask as often as they may. */
static char *worst_zone(const struct crypto_key *k)
{
	static char text[1 << 20];
	struct buf der = BUF_INIT(2048), b64 = BUF_INIT(4096), z = BUF_INIT(1 << 20);
	crypto_key_add_public_der(k, &der);
	text_add_base64(&b64, buf_slice(&der));
	buf_add_cstr(&z, "*._domainkey.x.test. TXT \"v=DKIM1; k=rsa; p=\"");
	for (struct slice p = buf_slice(&b64); p.n; p = slice_skip(p, 200))
		buf_addf(&z, " \"%.*s\"", SLICE_FMT(slice_head(p, 200)));
	buf_add_cstr(&z, "\n_dmarc.x.test. TXT \"v=DMARC1; p=reject\"\nhelo.test. TXT \"v=spf1 redirect=i0.test\"\n");
	for (int i = 0; i < 12; i++) {
		buf_addf(&z, "i%d.test. TXT \"v=spf1 mx:m%d.test include:i%d.test ?all\"\n", i, i, i + 1);
		for (int n = 0; n < 10; n++)
			buf_addf(&z, "m%d.test. MX %d h%d-%d.test.\n", i, n, i, n);
	}
	snprintf(text, sizeof text, "%.*s", SLICE_FMT(buf_slice(&z)));
	buf_free(&der), buf_free(&b64), buf_free(&z);
	return text;
}

static void the_dearest_good_signatures_and_the_most_questions_keep_the_bound(void **state)
{
	(void)state;
	struct crypto_key *usual = key;
	struct buf m = BUF_INIT(4 << 20), signed_mail = BUF_INIT(4 << 20);
	key = crypto_key_private_pem(slice_of(slow_key_pem));
	assert_non_null(key);
	buf_add_cstr(&m, MESSAGE);
	for (unsigned i = 1; i <= ARC_MAX_INSTANCE; i++)
		add_arc_set(&m, key, i);
	for (int i = 0; i < DKIM_MAX_CHECKED; i++)
		add_signature(&signed_mail, SLICE(MESSAGE), "x.test", "", true);
	buf_add(&signed_mail, buf_slice(&m));
	struct outcome o = run(worst_zone(key), buf_slice(&signed_mail), "i0.test");
	printf("56 good signatures by keys of 4,096 bits and SPF without end: spf %s, dkim %s, arc %s, %u questions, %.2f ms\n", o.spf, o.first, arc_result_name(o.arc_result), o.r.questions, o.cpu_ms);
	assert_int_equal(o.r.questions, MAIL_DNS_MAX);
	assert_string_equal(o.spf, "temperror"); /* past 128 questions nobody knows */
	assert_string_equal(o.first, "pass");
	assert_int_equal(o.arc_result, ARC_PASS);
	assert_string_equal(o.dmarc, "pass");
	crypto_key_free(key);
	key = usual;
	buf_free(&m), buf_free(&signed_mail);
}

/* A header section of 1 MiB in which every second byte has to change, under six signatures; and a body of 2 MiB of that kind in both forms. */
static void blanks_in_every_place_cost_their_bytes(void **state)
{
	(void)state;
	struct buf m = BUF_INIT(8 << 20), blanks = BUF_INIT(1 << 20);
	while (blanks.n < (1 << 20) - 8192)
		buf_add_cstr(&blanks, "a\t");
	for (int s = 0; s < 5; s++)
		buf_addf(&m, "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/%s; d=x.test; s=s; bh=AAAA; b=AAAA; h=from:x\r\n", s % 2 ? "simple" : "relaxed");
	buf_add_cstr(&m, "X: ");
	buf_add(&m, buf_slice(&blanks));
	buf_add(&m, SLICE("\r\n" MESSAGE));
	struct outcome o = run(zone_with_key(""), buf_slice(&m), "x.test");
	printf("1 MiB of blanks under five signatures: %.2f ms\n", o.cpu_ms);
	assert_int_equal(o.signatures, 5);
	buf_clear(&m);
	for (int s = 0; s < 2; s++)
		buf_addf(&m, "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/%s; d=x.test; s=s; bh=AAAA; b=AAAA; h=from\r\n", s % 2 ? "simple" : "relaxed");
	buf_add(&m, SLICE(MESSAGE));
	buf_add(&m, buf_slice(&blanks));
	o = run(zone_with_key(""), buf_slice(&m), "x.test");
	printf("1 MiB of blanks as a body: %.2f ms\n", o.cpu_ms);
	buf_truncate(&m, m.n - blanks.n);
	while (m.n < (1 << 20))
		buf_add_cstr(&m, "\r\n\r\nx");
	o = run(zone_with_key(""), buf_slice(&m), "x.test");
	printf("1 MiB of empty lines as a body: %.2f ms\n", o.cpu_ms);
	buf_free(&m), buf_free(&blanks);
}

static void spf_asks_no_more_than_it_may(void **state)
{
	(void)state;
	struct buf z = BUF_INIT(1 << 20);
	for (int i = 0; i < 12; i++) {
		buf_addf(&z, "i%d.test. TXT \"v=spf1 mx:m%d.test include:i%d.test ?all\"\n", i, i, i + 1);
		for (int k = 0; k < 10; k++)
			buf_addf(&z, "m%d.test. MX %d h%d-%d.test.\n", i, k, i, k);
	}
	buf_addf(&z, "helo.test. TXT \"v=spf1 redirect=i0.test\"\nloop.test. TXT \"v=spf1 include:loop.test -all\"\n"
	             "macro.test. TXT \"v=spf1 exists:%%{S255r}.%%{L}.%%{i} -all\"\nvoid.test. TXT \"v=spf1 a:v1.test a:v2.test a:v3.test -all\"\n"
	             "many.test. TXT \"v=spf1 mx -all\"\n");
	for (int i = 0; i < 500; i++)
		buf_addf(&z, "many.test. MX 1 q%d.test.\n", i);
	buf_add_cstr(&z, "big.test. TXT ");
	for (int i = 0; i < 257; i++)
		buf_addf(&z, "\"%s%.*s\" ", i ? "" : "v=spf1 ", 240, "ip4:192.0.2.7 ip4:192.0.2.7 ip4:192.0.2.7 ip4:192.0.2.7 ip4:192.0.2.7 ip4:192.0.2.7 ip4:192.0.2.7 ip4:192.0.2.7 "
		         "ip4:192.0.2.7 ip4:192.0.2.7 ip4:192.0.2.7 ip4:192.0.2.7 ip4:192.0.2.7 ip4:192.0.2.7 ip4:192.0.2.7 ip4:192.0.2.7 ip4:192.0.2.7 ip4:192.0.2.7 ");
	buf_add_cstr(&z, "\n");
	char *text = strndup(z.p, z.n);
	struct outcome o = run(text, SLICE(MESSAGE), "i0.test");
	printf("the deepest SPF: %s, %u questions, %.2f ms\n", o.spf, o.r.questions, o.cpu_ms);
	assert_string_equal(o.spf, "permerror");
	assert_string_equal(run(text, SLICE(MESSAGE), "loop.test").spf, "permerror");
	assert_string_equal(run(text, SLICE(MESSAGE), "macro.test").spf, "fail");
	assert_string_equal(run(text, SLICE(MESSAGE), "void.test").spf, "permerror");
	assert_string_equal(run(text, SLICE(MESSAGE), "many.test").spf, "permerror");
	o = run(text, SLICE(MESSAGE), "big.test");
	printf("an SPF record of 60 kB: %s, %.2f ms\n", o.spf, o.cpu_ms);
	free(text);
	buf_free(&z);
}

static void fifty_arc_sets_are_checked_and_fifty_one_fail(void **state)
{
	(void)state;
	for (unsigned count = 50; count < 52; count++) {
		struct buf m = BUF_INIT(8 << 20);
		for (unsigned i = 1; i <= count; i++)
			buf_addf(&m, "ARC-Seal: i=%u; a=rsa-sha256; cv=%s; d=d%u.test; s=s; b=AAAA\r\nARC-Message-Signature: i=%u; a=rsa-sha256; d=d%u.test; s=s; h=from; "
			             "bh=AAAA; b=AAAA\r\nARC-Authentication-Results: i=%u; x.test; none\r\n", i, i == 1 ? "none" : "pass", i, i, i, i);
		buf_add(&m, SLICE(MESSAGE));
		struct outcome o = run(zone_with_key(""), buf_slice(&m), "x.test");
		assert_int_equal(o.arc_result, ARC_FAIL);
		printf("%u ARC sets: %u questions, %.2f ms\n", count, o.r.questions, o.cpu_ms);
		buf_free(&m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_thousand_signatures_are_five),
		cmocka_unit_test(odd_headers_cost_no_more_than_their_bytes),
		cmocka_unit_test(an_unreadable_from_costs_its_bytes),
		cmocka_unit_test(names_in_signatures_cost_their_number_and_no_product),
		cmocka_unit_test(the_dearest_good_signatures_and_the_most_questions_keep_the_bound),
		cmocka_unit_test(blanks_in_every_place_cost_their_bytes),
		cmocka_unit_test(spf_asks_no_more_than_it_may),
		cmocka_unit_test(fifty_arc_sets_are_checked_and_fifty_one_fail),
	};
	return cmocka_run_group_tests(tests, begin, end);
}
