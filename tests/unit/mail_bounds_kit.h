#ifndef TESTS_UNIT_MAIL_BOUNDS_KIT_H
#define TESTS_UNIT_MAIL_BOUNDS_KIT_H
/* Sender evidence of a message by a zone that a test writes, all with one key of ours. Nothing that anybody sends may cost more than it may (security-kit S9, S10, T8): for any message at most
 * 20 ms of CPU beside the hashing of its bytes, and 128 DNS questions; each run looks. */
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

__attribute__((unused)) static double cpu_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

__attribute__((unused)) static void stop(void *arg)
{
	(void)arg;
	loop_stop(loop);
}

__attribute__((unused)) static struct dns *zone(const char *text)
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

__attribute__((unused)) static struct outcome run(const char *zone_text, struct slice message, const char *from)
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
__attribute__((unused)) static void add_signature(struct buf *out, struct slice message, const char *domain, const char *extra_tag, bool good)
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

__attribute__((unused)) static char *zone_with_key(const char *more)
{
	static char text[1 << 20];
	snprintf(text, sizeof text, "s._domainkey.x.test. TXT %s\nx.test. TXT \"v=spf1 -all\"\n_dmarc.x.test. TXT \"v=DMARC1; p=reject\"\n%s", key_text, more);
	return text;
}

__attribute__((unused)) static int begin(void **state)
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

__attribute__((unused)) static int end(void **state)
{
	(void)state;
	loop_free(loop);
	crypto_key_free(key);
	free(key_text);
	return 0;
}
#endif
