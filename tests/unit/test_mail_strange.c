#include "tests/unit/mail_bounds_kit.h"

/* Evidence that is strange: signatures, keys and records that can not be, and a clock that is wrong. */

static void what_can_not_be_a_signature_is_told_and_passes_nothing(void **state)
{
	(void)state;
	static const struct { const char *field, *result; } rows[] = {
		{ "v=1; a=rsa-sha256; d=x.test; s=s; h=from; bh=AAAA; b=!!!!", "neutral" },
		{ "v=1; a=rsa-sha256; d=x.test; s=s; h=from; bh=AAAA; b=AA=A", "neutral" },
		{ "v=1; v=1; a=rsa-sha256; d=x.test; s=s; h=from; bh=AAAA; b=AAAA", "neutral" },
		{ "v=1; a=rsa-sha256; d=x.test; s=s; h=from; bh=AAAA; b=AAAA; b=AAAA", "neutral" },
		{ "v=1; a=rsa-sha256; d=x..test; s=s; h=from; bh=AAAA; b=AAAA", "neutral" },
		{ "v=1; a=rsa-sha256; d=x.test; s=s; h=to; bh=AAAA; b=AAAA", "neutral" },
		{ "v=1; a=rsa-sha512; d=x.test; s=s; h=from; bh=AAAA; b=AAAA", "neutral" },
		{ "v=1; a=rsa-sha256; d=x.test; s=s; h=from; bh=AAAA; b=AAAA; x=5; t=6", "neutral" },
		{ "v=1; a=rsa-sha256; d=x.test; s=s; h=from; bh=AAAA; b=AAAA; t=99999999999999999999", "neutral" },
		{ "v=1; a=rsa-sha256; d=x.test; s=s; h=from; bh=AAAA; b=AAAA; i=@y.test", "neutral" },
		{ "v=1; a=rsa-sha256; d=x.test; s=s; h=from; bh=AAAA; b=AAAA\x01", "neutral" },
		{ "v=1; a=rsa-sha256; d=x.test; s=s; h=from; bh=AAAA; b=AAAA; x=100", "fail" },
		{ "v=1; a=rsa-sha1; d=x.test; s=s; h=from; bh=AAAA; b=AAAA", "fail" },
		{ "v=1; a=rsa-sha256; d=x.test; s=s; h=from; bh=AAAA; b=AAAA", "fail" },
		{ "v=1; a=rsa-sha256; d=x.test; s=none; h=from; bh=AAAA; b=AAAA", "permerror" },
		{ "v=1; a=ed25519-sha256; d=x.test; s=s; h=from; bh=AAAA; b=AAAA", "permerror" },
		{ "v=1; a=rsa-sha256; d=x.test; s=loop; h=from; bh=AAAA; b=AAAA", "temperror" },
		{ "v=1; a=rsa-sha256; d=x.test; s=junk; h=from; bh=AAAA; b=AAAA", "permerror" },
		{ "v=1; a=rsa-sha256; d=x.test; s=empty; h=from; bh=AAAA; b=AAAA", "permerror" },
		{ "v=1; a=rsa-sha256; d=x.test; s=twice; h=from; bh=AAAA; b=AAAA", "permerror" },
		{ "v=1; a=ed25519-sha256; d=x.test; s=short; h=from; bh=AAAA; b=AAAA", "permerror" },
		{ "v=1; a=rsa-sha256; d=x.test; s=chat; h=from; bh=AAAA; b=AAAA", "permerror" },
		{ "v=1; a=rsa-sha256; d=x.test; s=new; h=from; bh=AAAA; b=AAAA", "permerror" },
	};
	const char *more = "loop._domainkey.x.test. CNAME loop._domainkey.x.test.\njunk._domainkey.x.test. TXT \"v=DKIM1; p=AAAA====\"\n"
	                   "empty._domainkey.x.test. TXT \"v=DKIM1; p=\"\ntwice._domainkey.x.test. TXT \"v=DKIM1; p=AAAA; p=AAAA\"\n"
	                   "short._domainkey.x.test. TXT \"v=DKIM1; k=ed25519; p=AAAA\"\nchat._domainkey.x.test. TXT \"v=DKIM1; s=chat; p=AAAA\"\n"
	                   "new._domainkey.x.test. TXT \"v=DKIM2; p=AAAA\"\n";
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct buf m = BUF_INIT(1 << 16);
		buf_addf(&m, "DKIM-Signature: %s\r\n" MESSAGE, rows[i].field);
		struct outcome o = run(zone_with_key(more), buf_slice(&m), "x.test");
		if (strcmp(o.first, rows[i].result) != 0 || strcmp(o.dmarc, "pass") == 0)
			fail_msg("%s: %s (%s), dmarc %s", rows[i].field, o.first, o.why, o.dmarc);
		buf_free(&m);
	}
}

static void length_and_double_from_never_pass(void **state)
{
	(void)state;
	struct buf m = BUF_INIT(1 << 16), field = BUF_INIT(1 << 16);
	add_signature(&field, SLICE(MESSAGE), "x.test", "@x.test; l=6", true); /* as an identity, so that it is signed, too */
	buf_add(&m, buf_slice(&field));
	buf_add(&m, SLICE(MESSAGE));
	struct outcome o = run(zone_with_key(""), buf_slice(&m), "x.test");
	assert_string_equal(o.first, "policy");
	assert_string_equal(o.dmarc, "fail");
	buf_clear(&m);
	add_signature(&m, SLICE(MESSAGE), "x.test", "", true);
	buf_add(&m, SLICE("From: ceo@bank.test\r\n" MESSAGE));
	o = run(zone_with_key(""), buf_slice(&m), "x.test");
	assert_string_equal(o.first, "pass");
	assert_string_equal(o.dmarc, "");
	assert_string_equal(o.r.from_wrong, "more than one From");
	buf_free(&m);
	buf_free(&field);
}

/* DER of an RSAPublicKey whose modulus has so many bits, as base64; nobody knows its factors. */
static void add_rsa(struct buf *out, unsigned bits, const char *exponent, size_t exponent_n)
{
	struct buf numbers = BUF_INIT(1 << 16), der = BUF_INIT(1 << 16);
	size_t n = bits / 8;
	char *modulus = malloc(n + 1);
	crypto_random(modulus, n + 1);
	modulus[0] = 0, modulus[1] |= (char)0x80, modulus[n] |= 1;
	buf_add(&numbers, SLICE("\x02\x82"));
	buf_add_byte(&numbers, (char)((n + 1) >> 8)), buf_add_byte(&numbers, (char)(n + 1));
	buf_add(&numbers, slice(modulus, n + 1));
	buf_add(&numbers, SLICE("\x02\x82"));
	buf_add_byte(&numbers, (char)(exponent_n >> 8)), buf_add_byte(&numbers, (char)exponent_n);
	buf_add(&numbers, slice(exponent, exponent_n));
	buf_add(&der, SLICE("\x30\x82"));
	buf_add_byte(&der, (char)(numbers.n >> 8)), buf_add_byte(&der, (char)numbers.n);
	buf_add(&der, buf_slice(&numbers));
	text_add_base64(out, buf_slice(&der));
	free(modulus);
	buf_free(&numbers);
	buf_free(&der);
}

/* A key record as strings of at most 200 bytes. */
static void add_key(struct buf *zone_text, const char *selector, const char *kind, struct slice p)
{
	buf_addf(zone_text, "%s._domainkey.x.test. TXT \"v=DKIM1; k=%s; p=\"", selector, kind);
	for (; p.n; p = slice_skip(p, 200))
		buf_addf(zone_text, " \"%.*s\"", SLICE_FMT(slice_head(p, 200)));
	buf_add_cstr(zone_text, "\n");
}

static void keys_of_all_wrong_types_verify_nothing(void **state)
{
	(void)state;
	static const struct { const char *selector, *kind, *p; } given[] = {
		{ "p256", "rsa", "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEXZw3hFt1wIdwAUd4JA8WYjsvmMn6i+EUtvE7e0dkbTh2zFeGHEHIuURTZC2QYRSML3C4E0vHRCPHkjywMWJmvA==" },
		{ "p384", "rsa", "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEb1T8oqKdOuW2dM9at6Hg60xqpadmS53yqVmkuMRihsZYyIADJqyoQ5uBxvAcHhH/2eGxrqEuEhQxMUtxqF/wpqJhoorSN7CNbzYw1+EYwMMC2xnobbPoa0pDgOONTOtI" },
		{ "x25519", "rsa", "MCowBQYDK2VuAyEAA+s7QhrGZX/juvAODSSUcN8ig7mppErJJHBgAMd94Rg=" },
		{ "ed-as-rsa", "rsa", "MCowBQYDK2VwAyEAejEMZxKtpFWYnsgti5D/W6nsqHSCMMyPH+cq2yN+R9c=" },
		{ "ed-spki", "ed25519", "MCowBQYDK2VwAyEAejEMZxKtpFWYnsgti5D/W6nsqHSCMMyPH+cq2yN+R9c=" },
		{ "ed-zero", "ed25519", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" },
		{ "ed-one", "ed25519", "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" },
		{ "unknown", "dilithium", "AAAA" },
		{ "pem", "rsa", "LS0tLS1CRUdJTiBQVUJMSUMgS0VZLS0tLS0K" },
		{ "one-byte", "rsa", "MA==" },
	};
	static const char *const forged[] = { "r512", "r1016", "r8192", "r16384", "e-long", "e-zero", "e-even", "e-negative" };
	char long_exponent[256];
	memset(long_exponent, 0x55, sizeof long_exponent);
	struct buf z = BUF_INIT(1 << 20), m = BUF_INIT(1 << 16), p[8];
	for (size_t i = 0; i < 8; i++)
		buf_init(&p[i], 1 << 16);
	add_rsa(&p[0], 512, "\1\0\1", 3), add_rsa(&p[1], 1016, "\1\0\1", 3), add_rsa(&p[2], 8192, "\1\0\1", 3), add_rsa(&p[3], 16384, "\1\0\1", 3);
	add_rsa(&p[4], 2048, long_exponent, sizeof long_exponent), add_rsa(&p[5], 2048, "\0", 1), add_rsa(&p[6], 2048, "\2", 1), add_rsa(&p[7], 2048, "\x81", 1);
	for (size_t i = 0; i < sizeof given / sizeof *given; i++)
		add_key(&z, given[i].selector, given[i].kind, slice_of(given[i].p));
	for (size_t i = 0; i < 8; i++)
		add_key(&z, forged[i], "rsa", buf_slice(&p[i]));
	buf_add_byte(&z, '\0');
	size_t count = sizeof given / sizeof *given + 8;
	for (size_t i = 0; i < count * 2; i++) {
		const char *selector = i / 2 < sizeof given / sizeof *given ? given[i / 2].selector : forged[i / 2 - sizeof given / sizeof *given];
		buf_clear(&m);
		buf_addf(&m, "DKIM-Signature: v=1; a=%s; d=x.test; s=%s; h=from; bh=AAAA; b=", i % 2 ? "ed25519-sha256" : "rsa-sha256", selector);
		for (int k = 0; k < 86; k++)
			buf_add_cstr(&m, i % 2 ? "A" : "ABCD");
		buf_add_cstr(&m, "\r\n" MESSAGE);
		struct outcome o = run(zone_with_key(z.p), buf_slice(&m), "x.test");
		if (strcmp(o.first, "permerror") != 0 && strcmp(o.first, "fail") != 0)
			fail_msg("%s: %s (%s)", selector, o.first, o.why);
		assert_string_equal(o.dmarc, "fail");
	}
	for (size_t i = 0; i < 8; i++)
		buf_free(&p[i]);
	buf_free(&z);
	buf_free(&m);
}

/* TXT of 64 KB in 255-byte pieces where each kind of record is looked for, and CNAMEs in a circle. */
static void records_without_end_and_names_in_circles_are_no_records(void **state)
{
	(void)state;
	static const struct { const char *domain, *spf, *dkim, *dmarc; } rows[] = {
		{ "circle.test", "temperror", "temperror", "temperror" },
		{ "huge.test", "permerror", "permerror", "none" },
	};
	struct buf z = BUF_INIT(1 << 20), m = BUF_INIT(1 << 16);
	buf_add_cstr(&z, "circle.test. CNAME b.circle.test.\nb.circle.test. CNAME circle.test.\n_dmarc.circle.test. CNAME _dmarc.circle.test.\n"
	                 "s._domainkey.circle.test. CNAME t._domainkey.circle.test.\nt._domainkey.circle.test. CNAME s._domainkey.circle.test.\n");
	static const char *const starts[] = { "huge.test. TXT \"v=spf1 \"", "s._domainkey.huge.test. TXT \"v=DKIM1; p=\"", "_dmarc.huge.test. TXT \"v=DMARC1; p=\"" };
	for (size_t i = 0; i < 3; i++) {
		buf_add_cstr(&z, starts[i]);
		for (int k = 0; k < 250; k++) {
			buf_add_cstr(&z, " \"");
			for (int n = 0; n < 255; n++)
				buf_add_byte(&z, 'A');
			buf_add_cstr(&z, "\"");
		}
		buf_add_cstr(&z, "\n");
	}
	buf_add_byte(&z, '\0');
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		buf_clear(&m);
		buf_addf(&m, "DKIM-Signature: v=1; a=rsa-sha256; d=%s; s=s; h=from; bh=AAAA; b=AAAA\r\nFrom: ann@%s\r\nSubject: x\r\n\r\nbody\r\n", rows[i].domain, rows[i].domain);
		struct outcome o = run(z.p, buf_slice(&m), rows[i].domain);
		if (strcmp(o.spf, rows[i].spf) != 0 || strcmp(o.first, rows[i].dkim) != 0 || strcmp(o.dmarc, rows[i].dmarc) != 0)
			fail_msg("%s: spf %s, dkim %s (%s), dmarc %s", rows[i].domain, o.spf, o.first, o.why, o.dmarc);
		printf("%s: %.2f ms\n", rows[i].domain, o.cpu_ms);
	}
	buf_free(&z);
	buf_free(&m);
}

/* The clock a year ahead, right, and a year behind: a signature without x= doesn't look at it, one with x= is late or not, and nothing else changes. */
static void a_clock_that_is_wrong_by_a_year_moves_expiry_alone(void **state)
{
	(void)state;
	enum { YEAR_S = 365 * 86400, MADE_S = 900000000 };
	static const struct { int64_t now, expires; const char *result; } rows[] = {
		{ MADE_S, 0, "pass" }, { MADE_S + YEAR_S, 0, "pass" }, { MADE_S - YEAR_S, 0, "pass" },
		{ MADE_S, MADE_S + 86400, "pass" }, { MADE_S + YEAR_S, MADE_S + 86400, "fail" }, { MADE_S - YEAR_S, MADE_S + 86400, "pass" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct buf m = BUF_INIT(1 << 16);
		expires_s = rows[i].expires;
		add_signature(&m, SLICE(MESSAGE), "x.test", "", true);
		buf_add(&m, SLICE(MESSAGE));
		now_s = rows[i].now;
		struct outcome o = run(zone_with_key(""), buf_slice(&m), "x.test");
		now_s = 1000000000, expires_s = 0;
		if (strcmp(o.first, rows[i].result) != 0)
			fail_msg("row %zu: %s (%s)", i, o.first, o.why);
		assert_string_equal(o.dmarc, rows[i].result);
		buf_free(&m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_can_not_be_a_signature_is_told_and_passes_nothing),
		cmocka_unit_test(length_and_double_from_never_pass),
		cmocka_unit_test(keys_of_all_wrong_types_verify_nothing),
		cmocka_unit_test(records_without_end_and_names_in_circles_are_no_records),
		cmocka_unit_test(a_clock_that_is_wrong_by_a_year_moves_expiry_alone),
	};
	return cmocka_run_group_tests(tests, begin, end);
}
