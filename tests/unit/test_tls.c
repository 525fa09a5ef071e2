/* TLS over a pair of sockets: certificates, names, ALPN, checks; signatures by a keeper in a process of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <errno.h>
#include <unistd.h>

#include "tests/unit/keeper_kit.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

static struct loop *loop;

struct pems {
	struct buf cert, key;
};

static void make_pems(struct pems *p, const char *host)
{
	p->cert = (struct buf)BUF_INIT(65536);
	p->key = (struct buf)BUF_INIT(65536);
	assert_int_equal(tls_make_self_signed(slice_of(host), 30, &p->cert, &p->key), 0);
}

static void free_pems(struct pems *p)
{
	buf_free(&p->cert);
	buf_free(&p->key);
}

static struct tls_context *server_of(const struct pems *p, size_t count, struct keeper *k, const char *alpn)
{
	struct tls_certificate c[8];
	const char *why = NULL;
	for (size_t i = 0; i < count; i++)
		c[i] = (struct tls_certificate){ buf_slice(&p[i].cert), k ? SLICE_NONE : buf_slice(&p[i].key) };
	struct tls_server_plan plan = { c, count, k, false, slice_of(alpn) };
	struct tls_context *t = tls_server_new(&plan, &why);
	if (!t)
		fail_msg("tls_server_new: %s", why);
	return t;
}

static struct tls_context *client_of(enum tls_check check, const struct slice *tlsa, size_t count)
{
	const char *why = NULL;
	struct tls_client_plan plan = { .check = check, .must = check != TLS_CHECK_NONE, .tlsa = tlsa, .tlsa_count = count };
	struct tls_context *t = tls_client_new(&plan, &why);
	if (!t)
		fail_msg("tls_client_new: %s", why);
	return t;
}

static void both_ends_speak(void **state)
{
	(void)state;
	struct pems p;
	struct kit_pair pair;
	make_pems(&p, "mx.example.test");
	struct tls_context *server = server_of(&p, 1, NULL, ""), *client = client_of(TLS_CHECK_NONE, NULL, 0);
	kit_pair_handshake(&pair, loop, server, client, "mx.example.test");
	assert_string_equal(pair.server.error, "");
	assert_true(pair.server.ready && pair.client.ready);
	assert_string_equal(pair.client.info.protocol, "TLSv1.3");
	assert_string_equal(pair.server.name, "mx.example.test");
	assert_true(slice_eq(buf_slice(&pair.server.got), SLICE("hello!")));
	assert_true(slice_eq(buf_slice(&pair.client.got), SLICE("answer!")));
	assert_false(pair.client.info.verified);
	uint8_t one[32], two[32];
	struct buf a = BUF_INIT(64), b = BUF_INIT(64);
	assert_true(tls_binding_exporter(conn_tls_info(pair.server.conn), one) && tls_binding_exporter(conn_tls_info(pair.client.conn), two));
	assert_memory_equal(one, two, 32);
	assert_true(tls_binding_end_point(conn_tls_info(pair.server.conn), &a) && tls_binding_end_point(conn_tls_info(pair.client.conn), &b));
	assert_true(a.n == 32 && slice_eq(buf_slice(&a), buf_slice(&b)));
	assert_memory_equal(a.p, pair.client.info.peer_sha256, 32);
	buf_free(&a);
	buf_free(&b);
	kit_pair_free(&pair);
	tls_free(server);
	tls_free(client);
	free_pems(&p);
}

static void busy(void *arg, struct conn *c)
{
	struct kit_end *e = arg;
	if (conn_input(c).n == 10000)
		loop_stop(e->loop);
}

/* What TLS has taken from the socket makes no event there any more. */
static void what_did_not_fit_comes_when_there_is_room(void **state)
{
	(void)state;
	static const struct conn_limits narrow = { 10000, 10000 };
	static const struct conn_handler busy_handler = { busy, kit_event, NULL };
	static char sixteen_thousand[16000]; /* one record */
	struct pems p;
	struct kit_pair pair;
	make_pems(&p, "mx.example.test");
	struct tls_context *server = server_of(&p, 1, NULL, ""), *client = client_of(TLS_CHECK_NONE, NULL, 0);
	kit_pair_make_with(&pair, loop, server, client, "mx.example.test", &narrow, &busy_handler);
	assert_int_equal(conn_write(pair.client.conn, slice(sixteen_thousand, sizeof sixteen_thousand)), 0);
	kit_pair_run(loop, 60000);
	assert_int_equal(conn_input(pair.server.conn).n, 10000);
	for (int i = 0; i < 2; i++) /* outside of the connection's own callbacks, in two pieces */
		conn_consume(pair.server.conn, 5000);
	kit_pair_run(loop, 1000);
	assert_int_equal(conn_input(pair.server.conn).n, 6000);
	kit_pair_free(&pair);
	tls_free(server);
	tls_free(client);
	free_pems(&p);
}

static void the_certificate_is_chosen_by_the_name_asked_for(void **state)
{
	(void)state;
	struct pems p[3];
	uint8_t seen[4][32];
	static const char *const asked[] = { "b.example.test", "x.wild.example.test", "nobody.test", "a.example.test" };
	make_pems(&p[0], "a.example.test");
	make_pems(&p[1], "b.example.test");
	make_pems(&p[2], "*.wild.example.test");
	struct tls_context *server = server_of(p, 3, NULL, ""), *client = client_of(TLS_CHECK_NONE, NULL, 0);
	for (size_t i = 0; i < 4; i++) {
		struct kit_pair pair;
		kit_pair_handshake(&pair, loop, server, client, asked[i]);
		assert_true(pair.client.ready);
		memcpy(seen[i], pair.client.info.peer_sha256, 32);
		kit_pair_free(&pair);
	}
	assert_memory_equal(seen[2], seen[3], 32); /* a stranger's name gets the first */
	assert_memory_not_equal(seen[0], seen[3], 32);
	assert_memory_not_equal(seen[1], seen[3], 32);
	assert_memory_not_equal(seen[0], seen[1], 32);
	tls_free(server);
	tls_free(client);
	for (size_t i = 0; i < 3; i++)
		free_pems(&p[i]);
}

static void tlsa_of(const struct pems *p, unsigned usage, unsigned selector, struct buf *out)
{
	uint8_t d[32];
	unsigned char *der = NULL;
	BIO *in = BIO_new_mem_buf(p->cert.p, (int)p->cert.n);
	X509 *x = PEM_read_bio_X509(in, NULL, NULL, NULL);
	int n = selector ? i2d_PUBKEY(X509_get0_pubkey(x), &der) : i2d_X509(x, &der);
	crypto_sha256(slice((const char *)der, (size_t)n), d);
	buf_add_byte(out, (char)usage);
	buf_add_byte(out, (char)selector);
	buf_add_byte(out, 1);
	buf_add(out, slice((const char *)d, 32));
	OPENSSL_free(der);
	X509_free(x);
	BIO_free(in);
}

static void dane_takes_the_published_key_and_no_other(void **state)
{
	(void)state;
	struct pems p, other;
	struct buf good = BUF_INIT(100), bad = BUF_INIT(100);
	make_pems(&p, "mx.example.test");
	make_pems(&other, "mx.example.test");
	tlsa_of(&p, 3, 1, &good);
	tlsa_of(&other, 3, 1, &bad);
	assert_true(tls_tlsa_usable(buf_slice(&good)));
	struct slice right[2] = { buf_slice(&bad), buf_slice(&good) }, wrong[1] = { buf_slice(&bad) };
	struct tls_context *server = server_of(&p, 1, NULL, ""), *client = client_of(TLS_CHECK_DANE, right, 2), *misled = client_of(TLS_CHECK_DANE, wrong, 1);
	struct kit_pair pair;
	kit_pair_handshake(&pair, loop, server, client, "other-name.example.test"); /* usage 3: names don't matter */
	assert_string_equal(pair.client.error, "");
	assert_true(pair.client.ready && pair.client.info.verified);
	kit_pair_free(&pair);
	kit_pair_handshake(&pair, loop, server, misled, "mx.example.test");
	assert_false(pair.client.ready);
	assert_int_equal(pair.client.last, CONN_TLS_FAILED);
	kit_pair_free(&pair);
	tls_free(server);
	tls_free(client);
	tls_free(misled);
	buf_free(&good);
	buf_free(&bad);
	free_pems(&p);
	free_pems(&other);
}

static void a_name_check_wants_a_known_root_and_the_name(void **state)
{
	(void)state;
	struct pems p, other;
	char file[] = "/tmp/porter-roots-XXXXXX";
	struct kit_pair pair;
	make_pems(&p, "mx.example.test");
	make_pems(&other, "mx.example.test");
	int fd = mkstemp(file);
	assert_true(fd >= 0 && write(fd, p.cert.p, p.cert.n) == (ssize_t)p.cert.n);
	close(fd);
	assert_int_equal(tls_load_roots(file), 0);
	unlink(file);
	struct tls_context *server = server_of(&p, 1, NULL, ""), *unknown = server_of(&other, 1, NULL, ""), *client = client_of(TLS_CHECK_NAME, NULL, 0);
	kit_pair_handshake(&pair, loop, server, client, "mx.example.test");
	assert_string_equal(pair.client.error, "");
	assert_true(pair.client.info.verified);
	kit_pair_free(&pair);
	kit_pair_handshake(&pair, loop, server, client, "elsewhere.example.test");
	assert_false(pair.client.ready);
	assert_string_equal(pair.client.error, "hostname mismatch");
	kit_pair_free(&pair);
	kit_pair_handshake(&pair, loop, unknown, client, "mx.example.test");
	assert_false(pair.client.ready);
	kit_pair_free(&pair);
	tls_free(server);
	tls_free(unknown);
	tls_free(client);
	free_pems(&p);
	free_pems(&other);
}

static void roots_are_read_at_the_first_check_by_name(void **state)
{
	(void)state;
	char file[] = "/tmp/porter-roots-XXXXXX";
	const char *why = "";
	struct pems p;
	make_pems(&p, "mx.example.test");
	int fd = mkstemp(file);
	assert_true(fd >= 0 && write(fd, "no certificate\n", 15) == 15);
	assert_int_equal(tls_load_roots("/nowhere/roots.pem"), -ENOENT);
	assert_int_equal(tls_load_roots(file), 0);
	struct tls_client_plan plan = { .check = TLS_CHECK_NAME, .must = true };
	assert_null(tls_client_new(&plan, &why));
	assert_string_equal(why, "no root certificates were loaded");
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_true(write(fd, p.cert.p, p.cert.n) == (ssize_t)p.cert.n);
	close(fd);
	unlink(file);
	struct tls_context *client = tls_client_new(&plan, &why);
	assert_non_null(client);
	tls_free(client);
	free_pems(&p);
}

static void tlsa_records_are_usable_by_rfc_7672(void **state)
{
	(void)state;
	char r[3 + 64] = { 3, 1, 1 };
	assert_true(tls_tlsa_usable(slice(r, 3 + 32)));
	assert_false(tls_tlsa_usable(slice(r, 3 + 31)));
	assert_false(tls_tlsa_usable(slice(r, 3)));
	r[0] = 1; /* PKIX-EE */
	assert_false(tls_tlsa_usable(slice(r, 3 + 32)));
	r[0] = 2;
	assert_true(tls_tlsa_usable(slice(r, 3 + 32)));
	r[1] = 2;
	assert_false(tls_tlsa_usable(slice(r, 3 + 32)));
	r[1] = 0, r[2] = 2;
	assert_true(tls_tlsa_usable(slice(r, 3 + 64)));
	r[2] = 3;
	assert_false(tls_tlsa_usable(slice(r, 3 + 64)));
}

/* -- with the keeper -------------------------------------------------------------------------------------------------------------------- */

static void rsa_pems(struct pems *p, const char *host)
{
	struct crypto_key *k = crypto_key_generate_rsa(2048);
	EVP_PKEY *key = crypto_key_raw(k);
	X509 *x = X509_new();
	p->cert = (struct buf)BUF_INIT(65536);
	p->key = (struct buf)BUF_INIT(65536);
	X509_gmtime_adj(X509_getm_notBefore(x), -10);
	X509_gmtime_adj(X509_getm_notAfter(x), 1000);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)host, -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	X509_set_pubkey(x, key);
	X509_sign(x, key, EVP_sha256());
	BIO *out = BIO_new(BIO_s_mem());
	char *text;
	PEM_write_bio_X509(out, x);
	long n = BIO_get_mem_data(out, &text);
	buf_add(&p->cert, slice(text, (size_t)n));
	BIO_free(out);
	X509_free(x);
	crypto_key_add_private_pem(k, &p->key);
	crypto_key_free(k);
}

static void handshakes_are_signed_by_the_keeper(void **state)
{
	(void)state;
	struct pems p[2];
	struct keeper_process process;
	rsa_pems(&p[0], "rsa.example.test");
	make_pems(&p[1], "ec.example.test");
	struct slice files[] = { SLICE("tls-key:0"), buf_slice(&p[0].key), SLICE("tls-key:1"), buf_slice(&p[1].key), SLICE_NONE };
	struct keeper *k = keeper_new(loop);
	keeper_attach(k, kit_keeper_start(&process, files));
	struct tls_context *server = server_of(p, 2, k, ""), *client = client_of(TLS_CHECK_NONE, NULL, 0);
	for (int i = 0; i < 6; i++) {
		struct kit_pair pair;
		kit_pair_handshake(&pair, loop, server, client, i % 2 ? "ec.example.test" : "rsa.example.test");
		assert_string_equal(pair.server.error, "");
		assert_true(pair.client.ready && pair.server.ready);
		assert_true(slice_eq(buf_slice(&pair.client.got), SLICE("answer!")));
		kit_pair_free(&pair);
	}
	kit_keeper_stop(&process);
	keeper_free(k);
	tls_free(server);
	tls_free(client);
	free_pems(&p[0]);
	free_pems(&p[1]);
}

static void a_handshake_waits_for_a_keeper_that_is_restarted(void **state)
{
	(void)state;
	struct pems p;
	struct keeper_process process;
	struct kit_pair pair;
	make_pems(&p, "mx.example.test");
	struct slice files[] = { SLICE("tls-key:0"), buf_slice(&p.key), SLICE_NONE };
	struct keeper *k = keeper_new(loop);
	struct tls_context *server = server_of(&p, 1, k, ""), *client = client_of(TLS_CHECK_NONE, NULL, 0);
	kit_pair_make(&pair, loop, server, client, "mx.example.test");
	conn_write(pair.client.conn, SLICE("hello!"));
	kit_pair_run(loop, 100);
	assert_false(pair.server.ready || pair.server.failed);
	keeper_attach(k, kit_keeper_start(&process, files));
	kit_pair_run(loop, 60000);
	assert_true(pair.server.ready);
	kit_pair_free(&pair);
	kit_pair_make(&pair, loop, server, client, "mx.example.test"); /* and one that is given up in the middle */
	kill(process.pid, SIGSTOP);
	kit_pair_run(loop, 100);
	assert_false(pair.server.ready);
	kit_pair_free(&pair);
	kill(process.pid, SIGCONT);
	kit_keeper_stop(&process);
	keeper_free(k);
	tls_free(server);
	tls_free(client);
	free_pems(&p);
}

static void a_keeper_without_the_key_fails_the_handshake(void **state)
{
	(void)state;
	struct pems p, other;
	struct keeper_process process;
	struct kit_pair pair;
	make_pems(&p, "mx.example.test");
	make_pems(&other, "mx.example.test");
	struct slice files[] = { SLICE("tls-key:0"), buf_slice(&other.key), SLICE_NONE };
	struct keeper *k = keeper_new(loop);
	keeper_attach(k, kit_keeper_start(&process, files));
	struct tls_context *server = server_of(&p, 1, k, ""), *client = client_of(TLS_CHECK_NONE, NULL, 0);
	kit_pair_handshake(&pair, loop, server, client, "mx.example.test");
	assert_false(pair.server.ready);
	assert_true(pair.server.failed || pair.client.failed);
	kit_pair_free(&pair);
	int fd = kit_file(buf_slice(&p.key)); /* a renewed key comes to a running keeper */
	kit_send(process.parent, HOUSE_FILE, SLICE("tls-key:0"), fd);
	close(fd);
	bool ready = false;
	for (int i = 0; i < 50 && !ready; i++) { /* the two channels race */
		kit_pair_handshake(&pair, loop, server, client, "mx.example.test");
		ready = pair.server.ready;
		kit_pair_free(&pair);
	}
	assert_true(ready);
	kit_keeper_stop(&process);
	keeper_free(k);
	tls_free(server);
	tls_free(client);
	free_pems(&p);
	free_pems(&other);
}

static int start(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
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
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_ends_speak),
		cmocka_unit_test(what_did_not_fit_comes_when_there_is_room),
		cmocka_unit_test(the_certificate_is_chosen_by_the_name_asked_for),
		cmocka_unit_test(dane_takes_the_published_key_and_no_other),
		cmocka_unit_test(a_name_check_wants_a_known_root_and_the_name),
		cmocka_unit_test(roots_are_read_at_the_first_check_by_name),
		cmocka_unit_test(tlsa_records_are_usable_by_rfc_7672),
		cmocka_unit_test(handshakes_are_signed_by_the_keeper),
		cmocka_unit_test(a_handshake_waits_for_a_keeper_that_is_restarted),
		cmocka_unit_test(a_keeper_without_the_key_fails_the_handshake),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
