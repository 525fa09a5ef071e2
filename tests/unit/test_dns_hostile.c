/* base/dns through libunbound against a name server that lies, is silent, or says too much (security-kit T8). It answers by the first label of the name asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/dns.h"
#include "base/log.h"

enum { MAX_MESSAGE = 65535, MX_MANY = 500, MX_TOO_MANY = 600 };

struct server {
	int udp, tcp, ends[2];
	uint16_t port;
	pthread_t thread;
};

/* -- answers -------------------------------------------------------------------------------------------------------------------------------- */

struct message {
	unsigned char bytes[MAX_MESSAGE];
	size_t n, question_n;
	unsigned count;
	char label[64];
	unsigned type;
};

static void put16(struct message *m, unsigned v)
{
	m->bytes[m->n++] = (unsigned char)(v >> 8);
	m->bytes[m->n++] = (unsigned char)v;
}

/* A record of the name asked. */
static void record(struct message *m, unsigned type, const void *rdata, size_t n)
{
	put16(m, 0xc00c);
	put16(m, type);
	put16(m, 1);
	unsigned ttl_s = strcmp(m->label, "brief") == 0 ? 1 : strcmp(m->label, "long") == 0 ? 864000 : 60;
	put16(m, ttl_s >> 16), put16(m, ttl_s);
	put16(m, (unsigned)n);
	memcpy(m->bytes + m->n, rdata, n);
	m->n += n;
	m->count++;
}

static bool read_question(const unsigned char *in, size_t n, struct message *m)
{
	if (n < 17 || in[12] > 63 || (size_t)in[12] + 13 > n)
		return false;
	snprintf(m->label, sizeof m->label, "%.*s", (int)in[12], (const char *)in + 13);
	for (char *c = m->label; *c; c++)
		*c = (char)(*c | 0x20);
	size_t end = 12;
	while (end < n && in[end])
		end += in[end] + 1u;
	if (end + 5 > n)
		return false;
	m->type = (unsigned)in[end + 1] << 8 | in[end + 2];
	m->question_n = m->n = end + 5;
	memcpy(m->bytes, in, m->n);
	memset(m->bytes + 6, 0, 6);
	m->bytes[2] = 0x84 | (in[2] & 1), m->bytes[3] = 0x80;
	return true;
}

static bool is(const struct message *m, const char *label)
{
	return strcmp(m->label, label) == 0;
}

static void add_mx(struct message *m, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		unsigned char r[12] = { (unsigned char)(i >> 8), (unsigned char)i, 5, 'm' };
		r[4] = (unsigned char)('a' + i % 26), r[5] = (unsigned char)('a' + i / 26 % 26), r[6] = (unsigned char)('a' + i / 676), r[7] = 'x', r[8] = 0;
		record(m, 15, r, 9);
	}
}

static void add_txt(struct message *m, size_t total)
{
	static unsigned char text[MAX_MESSAGE];
	size_t n = 0;
	while (n + 256 <= total) {
		text[n] = 255;
		memset(text + n + 1, 't', 255);
		n += 256;
	}
	record(m, 16, text, n);
}

static unsigned asked_brief, asked_long; /* by the server's thread */

/* 0: no answer. */
static size_t answer(struct message *m, bool tcp)
{
	__atomic_fetch_add(is(m, "brief") ? &asked_brief : &asked_long, is(m, "brief") || is(m, "long"), __ATOMIC_RELAXED);
	static const unsigned char good[4] = { 192, 0, 2, 1 };
	if (is(m, "silent"))
		return 0;
	if (is(m, "servfail") || is(m, "nx"))
		m->bytes[3] |= is(m, "nx") ? 3 : 2;
	else if (is(m, "garbage"))
		crypto_random(m->bytes + 3, m->n = 60);
	else if (is(m, "wrongid"))
		m->bytes[0] ^= 0x55, record(m, 1, good, 4);
	else if (is(m, "short"))
		record(m, 1, good, 3);
	else if (is(m, "loop"))
		record(m, 5, "\xc0\x0c", 2);
	else if (is(m, "null") && m->type == 15)
		record(m, 15, "\0\0\0", 3);
	else if (is(m, "many") && m->type == 15 && tcp)
		add_mx(m, MX_MANY);
	else if (is(m, "toomany") && m->type == 15 && tcp)
		add_mx(m, MX_TOO_MANY);
	else if (is(m, "big") && m->type == 16 && tcp)
		add_txt(m, 60000);
	else if (is(m, "many") || is(m, "toomany") || is(m, "big"))
		m->bytes[2] |= 2; /* TC */
	else if ((is(m, "good") || is(m, "brief") || is(m, "long")) && m->type == 1)
		record(m, 1, good, 4);
	m->bytes[6] = (unsigned char)(m->count >> 8), m->bytes[7] = (unsigned char)m->count;
	return m->n;
}

/* -- the server ------------------------------------------------------------------------------------------------------------------------------ */

static void serve_udp(int fd)
{
	static struct message m;
	unsigned char in[2048];
	struct sockaddr_in from;
	socklen_t length = sizeof from;
	ssize_t n = recvfrom(fd, in, sizeof in, 0, (struct sockaddr *)&from, &length);
	memset(&m, 0, sizeof m);
	if (n > 0 && read_question(in, (size_t)n, &m) && (n = (ssize_t)answer(&m, false)) > 0)
		sendto(fd, m.bytes, (size_t)n, 0, (struct sockaddr *)&from, length);
}

static void serve_tcp(int listener)
{
	static struct message m;
	static unsigned char out[MAX_MESSAGE + 2];
	unsigned char in[2048];
	struct timeval patience = { 1, 0 };
	int fd = accept(listener, NULL, NULL);
	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	ssize_t n = recv(fd, in, sizeof in, 0);
	while (n > 0 && n < 2)
		n += recv(fd, in + n, sizeof in - (size_t)n, 0);
	if (n == 2)
		n += recv(fd, in + 2, sizeof in - 2, 0);
	memset(&m, 0, sizeof m);
	if (n > 2 && read_question(in + 2, (size_t)n - 2, &m)) {
		size_t size = answer(&m, true);
		out[0] = (unsigned char)(size >> 8), out[1] = (unsigned char)size;
		memcpy(out + 2, m.bytes, size);
		for (size_t sent = 0; sent < size + 2;) {
			ssize_t k = send(fd, out + sent, size + 2 - sent, MSG_NOSIGNAL);
			if (k <= 0)
				break;
			sent += (size_t)k;
		}
	}
	close(fd);
}

static void *run(void *arg)
{
	struct server *s = arg;
	struct pollfd p[3] = { { s->udp, POLLIN, 0 }, { s->tcp, POLLIN, 0 }, { s->ends[0], POLLIN, 0 } };
	while (poll(p, 3, -1) > 0 && !p[2].revents) {
		if (p[0].revents)
			serve_udp(s->udp);
		if (p[1].revents)
			serve_tcp(s->tcp);
	}
	return NULL;
}

static void server_start(struct server *s)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof a;
	s->tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	s->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s->tcp, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(s->tcp, 20), 0);
	assert_int_equal(getsockname(s->tcp, (struct sockaddr *)&a, &n), 0);
	assert_int_equal(bind(s->udp, (struct sockaddr *)&a, sizeof a), 0);
	s->port = ntohs(a.sin_port);
	assert_int_equal(pipe(s->ends), 0);
	pthread_create(&s->thread, NULL, run, s);
}

static void server_stop(struct server *s)
{
	close(s->ends[1]);
	pthread_join(s->thread, NULL);
	close(s->ends[0]);
	close(s->udp);
	close(s->tcp);
}

/* -- asking ---------------------------------------------------------------------------------------------------------------------------------- */

static struct loop *loop;

struct heard {
	enum answer answer;
	bool nxdomain;
	char why[40];
	size_t count, bytes, calls;
	uint32_t ttl_s;
};

static void hear(void *arg, const struct dns_answer *a)
{
	struct heard *h = arg;
	h->answer = a->answer;
	h->nxdomain = a->nxdomain;
	snprintf(h->why, sizeof h->why, "%s", a->why ? a->why : "");
	h->count = a->count;
	h->bytes = a->count ? a->records[0].data.n : 0;
	h->ttl_s = a->ttl_s;
	h->calls++;
	loop_stop(loop);
}

static struct dns *resolver(const struct server *s)
{
	char text[40];
	const char *why = "";
	snprintf(text, sizeof text, "127.0.0.1@%u", s->port);
	struct dns_settings settings = { .resolvers = slice_of(text), .timeout_ms = 2500 };
	struct dns *d = dns_new(loop, &settings, &why);
	assert_non_null(d);
	return d;
}

static struct heard ask(struct dns *d, enum dns_type type, const char *name)
{
	struct heard h = { .calls = 0 };
	dns_ask(d, type, slice_of(name), hear, &h);
	loop_run(loop);
	return h;
}

static void answers_of_a_hostile_server_are_bounded_and_told_apart(void **state)
{
	(void)state;
	static const struct {
		enum dns_type type;
		const char *name;
		enum answer answer;
		size_t count, bytes;
	} rows[] = {
		{ DNS_A, "good.test", FOUND, 1, 4 }, { DNS_AAAA, "good.test", ABSENT, 0, 0 }, { DNS_A, "nx.test", ABSENT, 0, 0 }, { DNS_MX, "null.test", FOUND, 1, 0 },
		{ DNS_MX, "many.test", FOUND, MX_MANY, 5 }, { DNS_MX, "toomany.test", UNSURE, 0, 0 }, { DNS_TXT, "big.test", FOUND, 1, 60000 / 256 * 255 },
		{ DNS_A, "servfail.test", UNSURE, 0, 0 }, { DNS_A, "silent.test", UNSURE, 0, 0 }, { DNS_A, "garbage.test", UNSURE, 0, 0 },
		{ DNS_A, "wrongid.test", UNSURE, 0, 0 }, { DNS_A, "short.test", UNSURE, 0, 0 }, { DNS_A, "loop.test", UNSURE, 0, 0 },
		{ DNS_A, "bad..name.test", ABSENT, 0, 0 }, { DNS_A, "good.test", FOUND, 1, 4 },
	};
	struct server s;
	server_start(&s);
	struct dns *d = resolver(&s);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		uint64_t began = clock_mono_ms();
		struct heard h = ask(d, rows[i].type, rows[i].name);
		if (h.calls != 1 || h.answer != rows[i].answer || h.count != rows[i].count || h.bytes != rows[i].bytes || clock_mono_ms() - began > 30000)
			fail_msg("%s: answer %d, %zu records, %zu bytes, \"%s\", %llu ms", rows[i].name, h.answer, h.count, h.bytes, h.why,
			         (unsigned long long)(clock_mono_ms() - began));
	}
	assert_true(ask(d, DNS_A, "nx2.nx.test").calls == 1);
	dns_free(d);
	server_stop(&s);
}

/* What was answered is kept as long as its TTL says, at most a day, and no longer. */
static void an_answer_is_kept_for_its_ttl_and_at_most_a_day(void **state)
{
	(void)state;
	struct server s;
	server_start(&s);
	struct dns *d = resolver(&s);
	for (int i = 0; i < 3; i++) {
		struct heard h = ask(d, DNS_A, "long.test");
		assert_int_equal(h.answer, FOUND);
		assert_true(h.ttl_s > 80000 && h.ttl_s <= 86400);
	}
	assert_int_equal(__atomic_load_n(&asked_long, __ATOMIC_RELAXED), 1);
	struct heard h = ask(d, DNS_A, "brief.test");
	assert_true(h.answer == FOUND && h.ttl_s <= 1);
	unsigned before = __atomic_load_n(&asked_brief, __ATOMIC_RELAXED);
	for (uint64_t began = clock_mono_ms(); clock_mono_ms() - began < 2100;)
		usleep(50000);
	assert_int_equal(ask(d, DNS_A, "brief.test").answer, FOUND);
	assert_true(__atomic_load_n(&asked_brief, __ATOMIC_RELAXED) > before);
	dns_free(d);
	server_stop(&s);
}

static void timed_out(void *arg)
{
	loop_stop(arg);
}

static void a_cancelled_question_is_never_answered(void **state)
{
	(void)state;
	struct server s;
	struct heard h[50] = { { .calls = 0 } };
	struct dns_query *q[50];
	char name[40];
	server_start(&s);
	struct dns *d = resolver(&s);
	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof name, "good.x%d.test", i);
		q[i] = dns_ask(d, DNS_A, slice_of(name), hear, &h[i]);
	}
	for (int i = 0; i < 50; i += 2)
		dns_cancel(q[i]);
	struct loop_timer *t = loop_timer_new(loop, timed_out, loop);
	for (int round = 0, calls = 0; round < 40 || (calls < 25 && round < 1200); round++) {
		loop_timer_set(t, 50);
		loop_run(loop);
		calls = 0;
		for (int i = 1; i < 50; i += 2)
			calls += h[i].calls;
	}
	for (int i = 0; i < 50; i++)
		assert_int_equal(h[i].calls, i % 2);
	loop_timer_free(t);
	struct dns_query *open = dns_ask(d, DNS_A, SLICE("silent.test"), hear, &h[0]); /* and one that is open at the end */
	dns_cancel(open);
	dns_free(d);
	server_stop(&s);
}

static int start(void **state)
{
	(void)state;
	log_open(2, LOG_FORM_TEXT, "test");
	loop = loop_new();
	return 0;
}

static int stop(void **state)
{
	(void)state;
	loop_free(loop);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(answers_of_a_hostile_server_are_bounded_and_told_apart), cmocka_unit_test(an_answer_is_kept_for_its_ttl_and_at_most_a_day),
		                                 cmocka_unit_test(a_cancelled_question_is_never_answered) };
	return cmocka_run_group_tests(tests, start, stop);
}
