#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/crypto.h"
#include "base/mail_check.h"
#include "base/mail_sign.h"
#include "base/text.h"
#include "tests/unit/slow_key.h"

/* Sender evidence under load that nobody sends by mistake (security-kit S9, S10, T8): for any message at most 20 ms of CPU beside the hashing of its bytes,
 * and 128 DNS questions. */
enum { CPU_MS = 20, SLOW_FACTOR = 4 /* other tests run beside this one, and sanitizers */ };

static struct loop *loop;
static struct crypto_key *key;
static char *key_text;

struct outcome {
	struct mail_check_results r;
	double cpu_ms;
	char spf[20], dmarc[20], arc[20], first[20], why[80];
	size_t signatures;
	enum arc_result arc_result;
};

static double cpu_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void stop(void *arg)
{
	(void)arg;
	loop_stop(loop);
}

static struct dns *zone(const char *text)
{
	char path[] = "/tmp/porter-bounds-XXXXXX";
	int fd = mkstemp(path);
	assert_true(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
	struct dns_settings s = { .zone_file = slice_of(path) };
	const char *why = "";
	struct dns *d = dns_new(loop, &s, &why);
	unlink(path);
	assert_non_null(d);
	return d;
}

static int64_t now_s = 1000000000;

static struct outcome run(const char *zone_text, struct slice message, const char *from)
{
	struct dns *d = zone(zone_text);
	struct outcome o = { .cpu_ms = 0 };
	struct arena mem = ARENA_INIT(64 << 20);
	struct mail_header h;
	struct mail_check_options options = { .helo_too = true, .dkim = { .now_s = now_s } };
	struct mail_check_envelope e = { .helo = SLICE("helo.test"), .local_part = SLICE("ann"), .domain = slice_of(from) };
	assert_true(net_ip_parse(SLICE("192.0.2.1"), &e.client));
	double start = cpu_ms();
	struct mail_check *c = mail_check_new(loop, d, &options);
	mail_check_envelope(c, &e);
	assert_int_equal(mail_header_parse(message, SIZE_MAX, &mem, &h), 0);
	mail_check_header(c, &h);
	mail_check_body(c, h.body);
	mail_check_end(c, stop, NULL);
	loop_run(loop);
	o.cpu_ms = cpu_ms() - start;
	mail_check_results(c, &o.r);
	o.signatures = o.r.dkim_count;
	o.arc_result = o.r.arc->result;
	snprintf(o.spf, sizeof o.spf, "%s", o.r.spf ? spf_result_name(o.r.spf->result) : "");
	snprintf(o.dmarc, sizeof o.dmarc, "%s", o.r.dmarc ? dmarc_result_name(o.r.dmarc->result) : "");
	snprintf(o.first, sizeof o.first, "%s", o.r.dkim_count ? dkim_result_name(o.r.dkim[0].result) : "");
	snprintf(o.why, sizeof o.why, "%s", o.r.dkim_count && o.r.dkim[0].why ? o.r.dkim[0].why : "");
	if (o.cpu_ms > CPU_MS * SLOW_FACTOR || o.r.questions > MAIL_DNS_MAX)
		fail_msg("%.1f ms, %u questions", o.cpu_ms, o.r.questions);
	mail_check_free(c);
	dns_free(d);
	arena_free(&mem);
	return o;
}

static int64_t expires_s; /* x= of what add_signature makes; 0 none */

/* A whole DKIM-Signature by our key, over From alone; change is put into the field before it is signed. */
static void add_signature(struct buf *out, struct slice message, const char *domain, const char *extra_tag, bool good)
{
	struct arena mem = ARENA_INIT(1 << 22);
	struct mail_header h;
	struct mail_digest body, digest;
	struct buf field = BUF_INIT(1 << 16), signature = BUF_INIT(1024);
	size_t at;
	mail_header_parse(message, SIZE_MAX, &mem, &h);
	struct mail_body *b = mail_body_new();
	int number = mail_body_want(b, CANON_RELAXED, false, MAIL_BODY_WHOLE);
	mail_body_add(b, h.body);
	mail_body_end(b);
	mail_body_digest(b, number, &body);
	mail_body_free(b);
	struct mail_sign p = { .kind = SIGNATURE_DKIM, .algorithm = ALGORITHM_RSA_SHA256, .header_form = CANON_RELAXED, .body_form = CANON_RELAXED,
		               .domain = slice_of(domain), .selector = SLICE("s"), .identity = slice_of(extra_tag), .names = SLICE("From"), .made_s = 900000000, .expires_s = expires_s };
	assert_int_equal(mail_sign_message(&p, &h, &body, &field, &at, &digest), 0);
	digest.bytes[0] ^= !good;
	assert_int_equal(crypto_sign_digest(key, slice((char *)digest.bytes, digest.n), &signature), 0);
	assert_int_equal(mail_sign_end(SIGNATURE_DKIM, &field, at, buf_slice(&signature)), 0);
	buf_add(out, buf_slice(&field));
	buf_free(&field);
	buf_free(&signature);
	arena_free(&mem);
}

#define MESSAGE "From: ann@x.test\r\nSubject: x\r\n\r\nbody\r\n"

static char *zone_with_key(const char *more)
{
	static char text[1 << 20];
	snprintf(text, sizeof text, "s._domainkey.x.test. TXT %s\nx.test. TXT \"v=spf1 -all\"\n_dmarc.x.test. TXT \"v=DMARC1; p=reject\"\n%s", key_text, more);
	return text;
}

static int begin(void **state)
{
	(void)state;
	loop = loop_new();
	key = crypto_key_generate_rsa(2048);
	struct buf der = BUF_INIT(2048), b = BUF_INIT(4096), text = BUF_INIT(8192);
	crypto_key_add_public_der(key, &der);
	text_add_base64(&b, buf_slice(&der));
	buf_addf(&text, "\"v=DKIM1; k=rsa; p=%.*s\" \"%.*s\"", 200, b.p, (int)b.n - 200, b.p + 200);
	key_text = strndup(text.p, text.n);
	buf_free(&der);
	buf_free(&b);
	buf_free(&text);
	return 0;
}

static int end(void **state)
{
	(void)state;
	loop_free(loop);
	crypto_key_free(key);
	free(key_text);
	return 0;
}

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
		cmocka_unit_test(what_can_not_be_a_signature_is_told_and_passes_nothing),
		cmocka_unit_test(length_and_double_from_never_pass),
		cmocka_unit_test(odd_headers_cost_no_more_than_their_bytes),
		cmocka_unit_test(names_in_signatures_cost_their_number_and_no_product),
		cmocka_unit_test(keys_of_all_wrong_types_verify_nothing),
		cmocka_unit_test(records_without_end_and_names_in_circles_are_no_records),
		cmocka_unit_test(a_clock_that_is_wrong_by_a_year_moves_expiry_alone),
		cmocka_unit_test(spf_asks_no_more_than_it_may),
		cmocka_unit_test(fifty_arc_sets_are_checked_and_fifty_one_fail),
		cmocka_unit_test(the_dearest_good_signatures_and_the_most_questions_keep_the_bound),
		cmocka_unit_test(blanks_in_every_place_cost_their_bytes),
	};
	return cmocka_run_group_tests(tests, begin, end);
}
