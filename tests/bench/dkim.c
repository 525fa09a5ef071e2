/* `make bench-dkim`: DKIM verify and sign against what OpenSSL alone takes for the same mail: one hash of its bytes and one RSA-2048 operation. What the
 * keeper's process and DNS cost is not in it on either side: both verify behind a question to a zone in memory, which goes through the loop and once through the kernel
 * and leaves the processor's memories cold, and what the question costs alone is taken off both. Keys are parsed before. One row for each size; the last column is
 * OpenSSL without any question. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/crypto.h"
#include "base/dns.h"
#include "base/mail_dkim.h"
#include "base/mail_sign.h"
#include "base/text.h"

enum { TURNS = 101 };
#define TURN_S 0.01

static struct loop *loop;

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void make_mail(struct buf *m, size_t size)
{
	buf_add_cstr(m, "From: Ann <ann@example.org>\r\nTo: bob@example.net\r\nSubject: a subject of usual length\r\nDate: Wed, 25 Nov 2026 02:31:09 +0000\r\n"
	                "Message-ID: <1234567890.abcdef@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n");
	while (m->n < size)
		buf_add_cstr(m, "A line of text as people write them, with words and a few commas, and its end.\r\n");
}

/* CPU seconds of `count` calls. */
static double spend(void (*one)(void *arg), void *arg, unsigned count)
{
	double start = now();
	for (unsigned i = 0; i < count; i++)
		one(arg);
	return now() - start;
}

static int by_size(const void *a, const void *b)
{
	const double *l = a, *r = b;
	return *l < *r ? -1 : *l > *r;
}

static void nothing(void *arg)
{
	(void)arg;
}

/* Ours and OpenSSL's, both less what stands `apart`, in turns of a few milliseconds, so that a machine that others use, too, is equally fast for both. Medians. */
struct pair {
	double ours, raw, percent;
};

static struct pair compare(void (*ours)(void *arg), void (*raw)(void *arg), void (*apart)(void *arg), void *arg)
{
	double times[2][TURNS], ratios[TURNS];
	unsigned count = (unsigned)(TURN_S / spend(raw, arg, 10) * 10) + 1;
	spend(ours, arg, count);
	for (size_t i = 0; i < TURNS; i++) {
		double both = spend(apart, arg, count);
		times[0][i] = spend(ours, arg, count) - both;
		times[1][i] = spend(raw, arg, count) - both;
		ratios[i] = times[1][i] / times[0][i] * 100;
	}
	qsort(times[0], TURNS, sizeof *times[0], by_size);
	qsort(times[1], TURNS, sizeof *times[1], by_size);
	qsort(ratios, TURNS, sizeof *ratios, by_size);
	return (struct pair){ count / times[0][TURNS / 2], count / times[1][TURNS / 2], ratios[TURNS / 2] };
}

struct job {
	struct crypto_key *private, *public;
	struct slice mail, body, signed_mail;
	struct buf signature;
	struct dns *dns;
	bool pass;
};

static void raw_verify(void *arg)
{
	struct job *j = arg;
	uint8_t digest[32];
	crypto_sha256(j->signed_mail, digest);
	crypto_verify_digest(j->public, slice((char *)digest, 32), buf_slice(&j->signature));
}

static void raw_sign(void *arg)
{
	struct job *j = arg;
	uint8_t digest[32];
	crypto_sha256(j->mail, digest);
	buf_clear(&j->signature);
	crypto_sign_digest(j->private, slice((char *)digest, 32), &j->signature);
}

static void digest_body(struct slice body, struct mail_digest *out)
{
	struct mail_body *b = mail_body_new();
	int number = mail_body_want(b, CANON_RELAXED, false, MAIL_BODY_WHOLE);
	mail_body_add(b, body);
	mail_body_end(b);
	mail_body_digest(b, number, out);
	mail_body_free(b);
}

static void our_sign(void *arg)
{
	struct job *j = arg;
	struct arena mem = ARENA_INIT(1 << 20);
	struct mail_header h;
	struct mail_digest body, digest;
	struct buf field = BUF_INIT(4 << 20), names = BUF_INIT(4096), signature = BUF_INIT(1024);
	size_t at;
	mail_header_parse(j->mail, 1000, &mem, &h);
	digest_body(h.body, &body);
	mail_sign_names(&h, false, &names);
	struct mail_sign p = { .kind = SIGNATURE_DKIM, .algorithm = ALGORITHM_RSA_SHA256, .header_form = CANON_RELAXED, .body_form = CANON_RELAXED,
		               .domain = SLICE("example.org"), .selector = SLICE("s"), .names = buf_slice(&names), .made_s = 1 };
	mail_sign_message(&p, &h, &body, &field, &at, &digest);
	crypto_sign_digest(j->private, slice((char *)digest.bytes, 32), &signature);
	mail_sign_end(SIGNATURE_DKIM, &field, at, buf_slice(&signature));
	if (!j->signed_mail.p) {
		buf_add(&field, j->mail);
		j->signed_mail = slice(malloc(field.n), field.n);
		memcpy((char *)j->signed_mail.p, field.p, field.n);
	}
	buf_free(&field);
	buf_free(&names);
	buf_free(&signature);
	arena_free(&mem);
}

static void done(void *arg, struct dkim *d)
{
	struct job *j = arg;
	size_t count;
	const struct dkim_verdict *v = dkim_verdicts(d, &count);
	j->pass = count == 1 && v->result == DKIM_PASS;
	if (!j->pass)
		fprintf(stderr, "no pass: %s\n", count ? v->why : "no signature");
	loop_stop(loop);
}

static void our_verify(void *arg)
{
	struct job *j = arg;
	struct arena mem = ARENA_INIT(1 << 20);
	struct mail_header h;
	struct dkim_options o = { .now_s = 10 };
	struct mail_dns *dns = mail_dns_new(loop, j->dns, MAIL_DNS_MAX);
	struct mail_body *body = mail_body_new();
	mail_header_parse(j->signed_mail, 1000, &mem, &h);
	struct dkim *d = dkim_start(dns, &h, body, &o);
	mail_body_add(body, h.body);
	mail_body_end(body);
	dkim_judge(d, done, j);
	loop_run(loop);
	dkim_free(d);
	mail_body_free(body);
	mail_dns_free(dns);
	arena_free(&mem);
	if (!j->pass)
		abort();
}

/* A question for the key and the turn of the loop that brings the answer: what a verification would do without DKIM. */
static void answered(void *arg, const struct dns_answer *a)
{
	(void)arg;
	if (a->answer != FOUND)
		abort();
	loop_stop(loop);
}

static void ask_key(void *arg)
{
	struct job *j = arg;
	struct mail_dns *dns = mail_dns_new(loop, j->dns, MAIL_DNS_MAX);
	mail_dns_ask(dns, DNS_TXT, SLICE("s._domainkey.example.org"), answered, j);
	loop_run(loop);
	mail_dns_free(dns);
}

static void raw_verify_asked(void *arg)
{
	ask_key(arg);
	raw_verify(arg);
}

static struct dns *zone(const struct crypto_key *key)
{
	char path[] = "/tmp/porter-bench-XXXXXX";
	struct buf der = BUF_INIT(2048), b64 = BUF_INIT(4096), text = BUF_INIT(8192);
	crypto_key_add_public_der(key, &der);
	text_add_base64(&b64, buf_slice(&der));
	buf_addf(&text, "s._domainkey.example.org. TXT \"v=DKIM1; p=%.*s\" \"%.*s\"\n", 200, b64.p, (int)b64.n - 200, b64.p + 200);
	int fd = mkstemp(path);
	if (write(fd, text.p, text.n) != (ssize_t)text.n)
		abort();
	close(fd);
	struct dns_settings s = { .zone_file = slice_of(path) };
	const char *why;
	struct dns *d = dns_new(loop, &s, &why);
	unlink(path);
	return d;
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = { 4096, 1 << 20 };
	struct job j = { .private = crypto_key_generate_rsa(2048), .signature = BUF_INIT(1024) };
	struct buf der = BUF_INIT(2048);
	loop = loop_new();
	crypto_key_add_public_der(j.private, &der);
	j.public = crypto_key_rsa_public(buf_slice(&der));
	j.dns = zone(j.private);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct buf m = BUF_INIT(4 << 20);
		make_mail(&m, sizes[i]);
		j.mail = buf_slice(&m);
		j.signed_mail = SLICE_NONE;
		our_sign(&j);
		raw_sign(&j);
		if (argc > 1) { /* for profilers: one of them, `count` times */
			spend(strcmp(argv[1], "verify") == 0 ? our_verify : strcmp(argv[1], "sign") == 0 ? our_sign : raw_verify, &j, argc > 2 ? (unsigned)atoi(argv[2]) : 1000);
			return 0;
		}
		struct pair sign = compare(our_sign, raw_sign, nothing, &j), verify = compare(our_verify, raw_verify_asked, ask_key, &j);
		struct pair warm = compare(raw_verify, raw_verify, nothing, &j);
		printf("%7zu bytes: verify %8.0f/s, OpenSSL alone %8.0f/s: %3.0f %%;  sign %7.0f/s, OpenSSL alone %7.0f/s: %3.0f %%;  OpenSSL without a question %8.0f/s\n", sizes[i],
		       verify.ours, verify.raw, verify.percent, sign.ours, sign.raw, sign.percent, warm.raw);
		buf_free(&m);
	}
	return 0;
}
