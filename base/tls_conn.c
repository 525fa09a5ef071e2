/* TLS as a connection's transport. Reads, writes and the shutdown are OpenSSL's own; the handshake may stop for the keeper, see tls_inside.h. */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/conn_transport.h"
#include "base/mem.h"
#include "base/net.h"
#include "base/tls_inside.h"

enum { MAX_SIGNATURE = 2048, MAX_HOST = 255 };

struct tls_transport {
	struct transport base;
	struct tls_set *set;            /* servers: kept while we live */
	SSL *ssl;
	const char *error;
	bool paused;                    /* the handshake's job waits on its own stack */
	struct tls_wait *wait;          /* servers, during the handshake */
	struct keeper_question *question;
	int bell;                       /* eventfd: the keeper has answered */
	struct tls_info info;
};

static struct tls_transport *of(struct transport *t)
{
	return (struct tls_transport *)t;
}

static const struct tls_transport *of_const(const struct transport *t)
{
	return (const struct tls_transport *)t;
}

/* -- the keeper ----------------------------------------------------------------------------------------------------------------------- */

static void keeper_answered(void *arg, int error, struct slice out, unsigned number)
{
	(void)number;
	struct tls_transport *t = arg;
	uint64_t one = 1;
	t->question = NULL;
	t->wait->state = error || buf_add(&t->wait->signature, out) ? TLS_WAIT_BAD : TLS_WAIT_GOOD;
	if (t->wait->state == TLS_WAIT_BAD)
		t->error = "the keeper gave no signature";
	ssize_t n = write(t->bell, &one, sizeof one);
	(void)n;
}

/* The job was paused with something to sign. False: nobody can be asked. */
static bool ask_keeper(struct tls_transport *t)
{
	struct tls_wait *w = t->wait;
	if (t->question)
		return true;
	if (t->bell < 0)
		t->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (t->bell >= 0)
		t->question = keeper_sign_tls(w->keeper, w->key, w->scheme, w->data, keeper_answered, t);
	return t->question != NULL;
}

static int step(struct tls_transport *t)
{
	ERR_clear_error();
	tls_waiting = t->wait;
	int result = SSL_do_handshake(t->ssl);
	tls_waiting = NULL;
	return result;
}

/* A job that is paused must run to its end, or its stack is lost. */
static void end_job(struct tls_transport *t)
{
	keeper_cancel(t->question);
	t->question = NULL;
	while (t->paused) {
		t->wait->state = TLS_WAIT_BAD;
		t->paused = step(t) <= 0 && SSL_get_error(t->ssl, -1) == SSL_ERROR_WANT_ASYNC;
	}
}

static void end_wait(struct tls_transport *t)
{
	if (t->bell >= 0)
		close(t->bell);
	t->bell = -1;
	if (t->wait)
		buf_free(&t->wait->signature);
	mem_free(t->wait);
	t->wait = NULL;
}

/* -- results -------------------------------------------------------------------------------------------------------------------------- */

static enum transport_want failed(struct tls_transport *t)
{
	const char *why = tls_last_error();
	long verify = SSL_is_server(t->ssl) ? X509_V_OK : SSL_get_verify_result(t->ssl);
	if (verify != X509_V_OK && t->info.check != TLS_CHECK_NONE)
		why = X509_verify_cert_error_string(verify);
	if (!t->error)
		t->error = why;
	return TRANSPORT_FAILED;
}

static enum transport_want want_of(struct tls_transport *t, int result)
{
	switch (SSL_get_error(t->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		return TRANSPORT_WANT_READ;
	case SSL_ERROR_WANT_WRITE:
		return TRANSPORT_WANT_WRITE;
	case SSL_ERROR_ZERO_RETURN:
		return TRANSPORT_CLOSED;
	case SSL_ERROR_WANT_ASYNC_JOB:
		t->error = "too many handshakes wait for the keeper";
		return TRANSPORT_FAILED;
	case SSL_ERROR_SYSCALL:
		if (ERR_peek_last_error() == 0)
			t->error = "the connection was lost";
		return failed(t);
	}
	return failed(t);
}

static void describe_peer(struct tls_transport *t)
{
	X509 *peer = SSL_get1_peer_certificate(t->ssl);
	unsigned n = 0;
	if (!peer)
		return;
	t->info.has_peer = X509_digest(peer, EVP_sha256(), t->info.peer_sha256, &n) == 1;
	X509_free(peer);
}

static void describe(struct tls_transport *t)
{
	struct tls_info *i = &t->info;
	const char *name = SSL_get_servername(t->ssl, TLSEXT_NAMETYPE_host_name);
	const unsigned char *alpn;
	unsigned n;
	i->protocol = SSL_get_version(t->ssl);
	i->cipher = SSL_get_cipher_name(t->ssl);
	i->bits = (unsigned)SSL_get_cipher_bits(t->ssl, NULL);
	i->name = slice_of(name ? name : "");
	SSL_get0_alpn_selected(t->ssl, &alpn, &n);
	i->alpn = slice((const char *)alpn, n);
	describe_peer(t);
	long verify = SSL_get_verify_result(t->ssl);
	i->verified = i->check != TLS_CHECK_NONE && i->has_peer && verify == X509_V_OK;
	i->why = i->check == TLS_CHECK_NONE || i->verified ? "" : X509_verify_cert_error_string(verify);
}

/* -- methods ------------------------------------------------------------------------------------------------------------------------- */

static enum transport_want tls_handshake(struct transport *base)
{
	struct tls_transport *t = of(base);
	if (t->paused && t->wait->state == TLS_WAIT_ASKED)
		return TRANSPORT_WANT_ASYNC; /* woken by something else */
	int result = step(t);
	t->paused = result <= 0 && SSL_get_error(t->ssl, result) == SSL_ERROR_WANT_ASYNC;
	if (t->paused && ask_keeper(t))
		return TRANSPORT_WANT_ASYNC;
	if (t->paused) {
		t->error = "the keeper can't be asked";
		end_job(t);
		return TRANSPORT_FAILED;
	}
	if (result != 1)
		return want_of(t, result);
	SSL_clear_mode(t->ssl, SSL_MODE_ASYNC);
	end_wait(t);
	describe(t);
	return TRANSPORT_DONE;
}

static enum transport_want tls_read(struct transport *base, char *to, size_t size, size_t *n)
{
	struct tls_transport *t = of(base);
	ERR_clear_error();
	return SSL_read_ex(t->ssl, to, size, n) == 1 ? TRANSPORT_DONE : want_of(t, 0);
}

static enum transport_want tls_write(struct transport *base, const char *from, size_t size, size_t *n)
{
	struct tls_transport *t = of(base);
	ERR_clear_error();
	return SSL_write_ex(t->ssl, from, size, n) == 1 ? TRANSPORT_DONE : want_of(t, 0);
}

static enum transport_want tls_shutdown(struct transport *base)
{
	struct tls_transport *t = of(base);
	ERR_clear_error();
	int result = SSL_shutdown(t->ssl);
	if (result == 1)
		return TRANSPORT_DONE;
	return result == 0 ? TRANSPORT_WANT_READ : want_of(t, result);
}

static size_t tls_buffered(const struct transport *base)
{
	const struct tls_transport *t = of_const(base);
	int n = SSL_pending(t->ssl);
	return n > 0 ? (size_t)n : SSL_has_pending(t->ssl) ? 1 : 0;
}

static int tls_async_fd(const struct transport *base)
{
	return of_const(base)->bell;
}

static const char *tls_error(const struct transport *base)
{
	const char *error = of_const(base)->error;
	return error ? error : "TLS failed";
}

static void tls_transport_free(struct transport *base)
{
	struct tls_transport *t = of(base);
	end_job(t);
	end_wait(t);
	SSL_free(t->ssl);
	tls_set_drop(t->set);
	mem_free(t);
	ERR_clear_error();
}

static const struct transport_methods methods = { tls_handshake, tls_read, tls_write, tls_shutdown, tls_buffered, tls_async_fd, tls_error,
	tls_transport_free };

/* -- birth ---------------------------------------------------------------------------------------------------------------------------- */

static bool start_server(struct tls_transport *t, struct tls_set *set)
{
	t->ssl = SSL_new(set->groups[0]);
	if (!t->ssl)
		return false;
	SSL_set_accept_state(t->ssl);
	t->set = set;
	set->count++;
	if (set->keeper) {
		t->wait = MEM_NEW(struct tls_wait);
		buf_init(&t->wait->signature, MAX_SIGNATURE);
		SSL_set_mode(t->ssl, SSL_MODE_ASYNC);
	}
	return true;
}

static bool add_tlsa(SSL *ssl, struct slice r)
{
	return tls_tlsa_usable(r) &&
	       SSL_dane_tlsa_add(ssl, (uint8_t)r.p[0], (uint8_t)r.p[1], (uint8_t)r.p[2], (const unsigned char *)r.p + 3, r.n - 3) > 0;
}

/* The names that a certificate may be for; name itself where the plan has none. */
static bool set_names(SSL *ssl, const struct tls_client_plan *p, const char *name)
{
	char one[MAX_HOST + 1];
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (p->name_count == 0)
		return *name && SSL_set1_host(ssl, name) == 1;
	for (size_t i = 0; i < p->name_count; i++) {
		if (p->names[i].n == 0 || p->names[i].n > MAX_HOST)
			return false;
		memcpy(one, p->names[i].p, p->names[i].n);
		one[p->names[i].n] = '\0';
		if (SSL_add1_host(ssl, one) != 1)
			return false;
	}
	return true;
}

static bool set_check(SSL *ssl, const struct tls_client_plan *p, const char *name)
{
	size_t usable = 0;
	switch (p->check) {
	case TLS_CHECK_NONE:
		return true;
	case TLS_CHECK_NAME:
		return set_names(ssl, p, name);
	case TLS_CHECK_DANE:
		if (!*name || SSL_dane_enable(ssl, name) <= 0)
			return false;
		for (size_t i = 0; i < p->tlsa_count; i++)
			usable += add_tlsa(ssl, p->tlsa[i]);
		return usable > 0 && (p->name_count == 0 || set_names(ssl, p, name));
	}
	return false;
}

static bool start_client(struct tls_transport *t, struct tls_context *context, struct slice name)
{
	const struct tls_client_plan *p = &context->plan;
	struct net_ip ip;
	char host[MAX_HOST + 1] = "";
	bool literal = net_ip_parse(name, &ip) || slice_starts(name, SLICE("["));
	t->ssl = name.n <= MAX_HOST ? SSL_new(context->client) : NULL;
	if (!t->ssl)
		return false;
	if (name.n)
		memcpy(host, name.p, name.n);
	host[name.n] = '\0';
	SSL_set_connect_state(t->ssl);
	t->info.check = p->check;
	if (p->check != TLS_CHECK_NONE && p->must)
		SSL_set_verify(t->ssl, SSL_VERIFY_PEER, NULL);
	if (*host && !literal && SSL_set_tlsext_host_name(t->ssl, host) != 1)
		return false;
	return set_check(t->ssl, p, host);
}

struct transport *tls_transport_new(int fd, struct tls_context *context, const struct slice *name)
{
	struct tls_transport *t = MEM_NEW(struct tls_transport);
	*t = (struct tls_transport){ .base = { &methods, fd }, .bell = -1, .info = { .protocol = "", .cipher = "", .why = "" } };
	bool good = context->set ? start_server(t, context->set) : start_client(t, context, *name);
	if (good && SSL_set_fd(t->ssl, fd) == 1)
		return &t->base;
	tls_transport_free(&t->base);
	return NULL;
}

const struct tls_info *tls_transport_info(const struct transport *t)
{
	return &of_const(t)->info;
}

/* -- channel bindings -------------------------------------------------------------------------------------------------------------------- */

static SSL *ssl_of(const struct tls_info *i)
{
	return ((const struct tls_transport *)((const char *)i - offsetof(struct tls_transport, info)))->ssl;
}

/* RFC 9266: for TLS 1.2 only with the extended master secret. */
bool tls_binding_exporter(const struct tls_info *i, uint8_t out[32])
{
	static const char label[] = "EXPORTER-Channel-Binding";
	SSL *ssl = ssl_of(i);
	if (SSL_version(ssl) < TLS1_3_VERSION && SSL_get_extms_support(ssl) != 1)
		return false;
	return SSL_export_keying_material(ssl, out, 32, label, sizeof label - 1, (const unsigned char *)"", 0, 1) == 1;
}

/* RFC 5929, 4.1: the certificate's digest by its own signature's hash, MD5 and SHA-1 raised to SHA-256. */
bool tls_binding_end_point(const struct tls_info *i, struct buf *out)
{
	SSL *ssl = ssl_of(i);
	X509 *cert = SSL_is_server(ssl) ? SSL_get_certificate(ssl) : SSL_get0_peer_certificate(ssl);
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	int hash = NID_undef;
	if (!cert || !X509_get_signature_info(cert, &hash, NULL, NULL, NULL))
		return false;
	const EVP_MD *md = hash == NID_md5 || hash == NID_sha1 || hash == NID_undef ? EVP_sha256() : EVP_get_digestbynid(hash);
	return md && X509_digest(cert, md, digest, &n) == 1 && buf_add(out, slice((const char *)digest, n)) == 0;
}
