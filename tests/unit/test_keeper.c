/* The keeper: what it signs, what it refuses, and that nonsense on one channel hurts nobody (security-kit S11). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/keeper_keys.h"
#include "base/keeper_proto.h"
#include "base/text.h"
#include "base/tls_key.h"
#include "tests/unit/keeper_kit.h"

#include <poll.h>

static struct loop *loop;

static void only_what_a_handshake_signs_is_signed_for_tls(void **state)
{
	(void)state;
	char data[400];
	memset(data, ' ', 64);
	memcpy(data + 64, "TLS 1.3, server CertificateVerify", 34);
	memset(data + 98, 7, 48);
	assert_true(tls_key_may_sign(slice(data, 98 + 32)) && tls_key_may_sign(slice(data, 98 + 48)));
	assert_false(tls_key_may_sign(slice(data, 98 + 20)) || tls_key_may_sign(slice(data, 98 + 64)));
	memcpy(data + 64, "TLS 1.3, client CertificateVerify", 34);
	assert_false(tls_key_may_sign(slice(data, 98 + 32)));
	memset(data, 9, sizeof data); /* RFC 8422, 5.4: randoms, named curve x25519, 32 bytes */
	data[64] = 3, data[65] = 0, data[66] = 29, data[67] = 32;
	assert_true(tls_key_may_sign(slice(data, 68 + 32)));
	assert_false(tls_key_may_sign(slice(data, 68 + 31)) || tls_key_may_sign(slice(data, 68 + 33)));
	data[64] = 1; /* explicit curves are nobody's */
	assert_false(tls_key_may_sign(slice(data, 68 + 32)));
	assert_false(tls_key_may_sign(SLICE("From: a@b\r\n")) || tls_key_may_sign(SLICE("")));
}

static void keys_for_tags_go_round(void **state)
{
	(void)state;
	struct buf text = BUF_INIT(8192), next = BUF_INIT(8192);
	struct keeper_mac_key k;
	for (int i = 0; i < 12; i++) {
		buf_clear(&next);
		assert_int_equal(keeper_keys_rotate(buf_slice(&text), i % 2 ? SLICE("batv") : SLICE("srs"), 3, &next), 0);
		buf_clear(&text);
		buf_add(&text, buf_slice(&next));
	}
	unsigned seen[2] = { 0, 0 }, first[2] = { 99, 99 };
	struct slice rest = buf_slice(&text);
	while (keeper_keys_next(&rest, &k) > 0) {
		int which = slice_eq(k.purpose, SLICE("batv"));
		if (!seen[which]++)
			first[which] = k.number;
	}
	assert_true(seen[0] == 3 && seen[1] == 3 && first[0] == 5 && first[1] == 5);
	static const char *const bad[] = { "srs", "srs 1", "srs x 00", "srs 1 00", "srs 10 0011223344556677889900112233445566778899001122334455667788990011" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		rest = slice_of(bad[i]);
		assert_int_equal(keeper_keys_next(&rest, &k), -EINVAL);
	}
	buf_free(&text);
	buf_free(&next);
}

struct heard {
	int error;
	unsigned number;
	struct buf out;
	bool done;
};

static void hear(void *arg, int error, struct slice out, unsigned number)
{
	struct heard *h = arg;
	h->error = error;
	h->number = number;
	h->done = true;
	buf_clear(&h->out);
	buf_add(&h->out, out);
	loop_stop(loop);
}

static void wait_for(struct heard *h)
{
	h->done = false;
	kit_pair_run(loop, 60000);
	assert_true(h->done);
}

static void dkim_and_tags_are_signed_by_name(void **state)
{
	(void)state;
	struct keeper_process process;
	struct crypto_key *rsa = crypto_key_generate_rsa(2048), *ed = crypto_key_generate_ed25519();
	struct buf rsa_pem = BUF_INIT(8192), ed_pem = BUF_INIT(8192), public = BUF_INIT(2048);
	struct heard h = { .out = BUF_INIT(4096) };
	uint8_t digest[32], mac[32];
	crypto_key_add_private_pem(rsa, &rsa_pem);
	crypto_key_add_private_pem(ed, &ed_pem);
	struct slice files[] = { SLICE("dkim-key:r._domainkey.a.test"), buf_slice(&rsa_pem), SLICE("dkim-key:e._domainkey.a.test"), buf_slice(&ed_pem), SLICE("mac-keys"),
		SLICE("srs 4 0000000000000000000000000000000000000000000000000000000000000001\nsrs 3 0000000000000000000000000000000000000000000000000000000000000002\n"),
		SLICE("dkim-key:broken"), SLICE("no key"), SLICE_NONE };
	struct keeper *k = keeper_new(loop);
	keeper_attach(k, kit_keeper_start(&process, files));
	crypto_sha256(SLICE("message"), digest);
	struct slice d = slice((const char *)digest, 32);
	keeper_sign_dkim(k, SLICE("r._domainkey.a.test"), d, hear, &h);
	wait_for(&h);
	assert_true(h.error == 0 && crypto_verify_digest(rsa, d, buf_slice(&h.out)));
	keeper_sign_dkim(k, SLICE("e._domainkey.a.test"), d, hear, &h);
	wait_for(&h);
	crypto_key_add_public_der(ed, &public);
	struct crypto_key *ed_public = crypto_key_ed25519_public(buf_slice(&public));
	assert_true(h.error == 0 && crypto_verify_digest(ed_public, d, buf_slice(&h.out)));
	keeper_sign_dkim(k, SLICE("x._domainkey.a.test"), d, hear, &h);
	wait_for(&h);
	assert_int_equal(h.error, -ENOENT);
	keeper_sign_dkim(k, SLICE("r._domainkey.a.test"), SLICE("short"), hear, &h);
	wait_for(&h);
	assert_int_equal(h.error, -EINVAL);
	keeper_mac(k, SLICE("srs"), -1, 256, SLICE("tag"), hear, &h);
	wait_for(&h);
	static const char newest[32] = { [31] = 1 }, older[32] = { [31] = 2 };
	crypto_hmac_sha256(slice(newest, 32), SLICE("tag"), mac);
	assert_true(h.error == 0 && h.number == 4 && slice_eq(buf_slice(&h.out), slice((const char *)mac, 32)));
	keeper_mac(k, SLICE("srs"), 3, 1, SLICE("tag"), hear, &h);
	wait_for(&h);
	crypto_hmac_sha1(slice(older, 32), SLICE("tag"), mac);
	assert_true(h.error == 0 && h.number == 3 && slice_eq(buf_slice(&h.out), slice((const char *)mac, 20)));
	keeper_mac(k, SLICE("srs"), 7, 256, SLICE("tag"), hear, &h);
	wait_for(&h);
	assert_int_equal(h.error, -ENOENT);
	uint8_t id[32];
	tls_key_id_of(rsa, id); /* a DKIM key signs no handshake, whatever it is asked */
	keeper_sign_tls(k, id, 0x0804, SLICE("x"), hear, &h);
	wait_for(&h);
	assert_int_equal(h.error, -EINVAL);
	kit_keeper_stop(&process);
	keeper_free(k);
	crypto_key_free(rsa);
	crypto_key_free(ed);
	crypto_key_free(ed_public);
	buf_free(&rsa_pem);
	buf_free(&ed_pem);
	buf_free(&public);
	buf_free(&h.out);
}

/* The other end hung up: nothing more can be read. */
static bool is_cut(int fd)
{
	char drop[4096];
	struct pollfd p = { fd, POLLIN, 0 };
	for (int i = 0; i < 1000 && poll(&p, 1, 5000) == 1; i++) {
		ssize_t n = recv(fd, drop, sizeof drop, 0);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return true;
	}
	return false;
}

static void nonsense_on_a_channel_cuts_that_channel_alone(void **state)
{
	(void)state;
	struct keeper_process process;
	struct crypto_key *ed = crypto_key_generate_ed25519();
	struct buf pem = BUF_INIT(8192);
	struct heard h = { .out = BUF_INIT(4096) };
	char noise[512];
	uint8_t digest[32] = { 0 };
	crypto_key_add_private_pem(ed, &pem);
	struct slice files[] = { SLICE("dkim-key:e._domainkey.a.test"), buf_slice(&pem), SLICE_NONE };
	struct keeper *k = keeper_new(loop);
	keeper_attach(k, kit_keeper_start(&process, files));
	for (int round = 0; round < 40; round++) {
		int fds[2];
		assert_int_equal(ipc_pair(fds), 0);
		kit_send(process.parent, HOUSE_PEER, SLICE("smtpd"), fds[1]);
		close(fds[1]);
		crypto_random(noise, sizeof noise);
		size_t n = sizeof noise;
		if (round % 4 == 1)
			memcpy(noise, "\xff\xff\xff\xff", 4);                       /* a length past every ceiling */
		else if (round % 4 == 2)
			memcpy(noise, "\0\0\0\x20\0\1\0\0\0\0\0\0\0\0\0\1", 16);    /* a good head, fields of noise */
		else if (round % 4 == 3)
			memcpy(noise, "\0\0\0\x05\0\x63\0\0\0\0\0\0\0\0\0\1\1\0\0\0\0", 21), n = 21; /* a kind of question that there isn't */
		assert_int_equal(send(fds[0], noise, n, MSG_NOSIGNAL), n);
		if (round % 4)
			assert_true(is_cut(fds[0]));
		close(fds[0]);
	}
	keeper_sign_dkim(k, SLICE("e._domainkey.a.test"), slice((const char *)digest, 32), hear, &h);
	wait_for(&h);
	assert_int_equal(h.error, 0);
	kit_keeper_stop(&process);
	keeper_free(k);
	crypto_key_free(ed);
	buf_free(&pem);
	buf_free(&h.out);
}

static void questions_have_an_end_when_nobody_answers(void **state)
{
	(void)state;
	struct keeper *k = keeper_new(loop);
	struct heard h = { .out = BUF_INIT(4096) }, cancelled = { .out = BUF_INIT(64) };
	uint8_t key[32] = { 0 };
	char big[KEEPER_MAX_DATA + 1000];
	memset(big, 'x', sizeof big);
	struct keeper_question *q = keeper_sign_dkim(k, SLICE("a"), SLICE("b"), hear, &cancelled);
	keeper_sign_tls(k, key, 1, slice(big, sizeof big), hear, &h);
	keeper_cancel(q);
	wait_for(&h);
	assert_true(h.error == -EMSGSIZE && !cancelled.done);
	keeper_free(k);
	buf_free(&h.out);
}

static int start(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	log_open(2, LOG_FORM_TEXT, "test");
	log_set_level(LOG_ERROR);
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
		cmocka_unit_test(only_what_a_handshake_signs_is_signed_for_tls),
		cmocka_unit_test(keys_for_tags_go_round),
		cmocka_unit_test(dkim_and_tags_are_signed_by_name),
		cmocka_unit_test(nonsense_on_a_channel_cuts_that_channel_alone),
		cmocka_unit_test(questions_have_an_end_when_nobody_answers),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
