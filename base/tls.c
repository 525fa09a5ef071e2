/* TLS contexts: what servers show and what clients demand. One SSL_CTX serves certificates of the same name; clients share two, one with and one
 * without roots, since reading the system's roots costs more than a handshake. */
#include "base/tls_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"

enum { SET_MEM = 256 << 10, MAX_CHAIN = 10, PLAN_MEM = 128 << 10 };
#define CIPHERS_1_2 "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!aNULL:!PSK:!SRP:!aDSS"

const char *tls_last_error(void)
{
	unsigned long e = ERR_peek_last_error();
	ERR_clear_error();
	const char *text = e ? ERR_reason_error_string(e) : NULL;
	return text ? text : "TLS failed";
}

static SSL_CTX *new_ctx(bool server, const char **why)
{
	SSL_CTX *c = server ? SSL_CTX_new_ex(tls_library(), "?provider=default", TLS_server_method()) : SSL_CTX_new(TLS_client_method());
	if (!c) {
		*why = tls_last_error();
		return NULL;
	}
	SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
	/* An end without close_notify is as good as one with it: SMTP frames its own content. */
	SSL_CTX_set_options(c, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_num_tickets(c, 0); /* security-kit S15 */
	SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_read_ahead(c, 1); /* a record in one system call */
	SSL_CTX_set_cipher_list(c, server ? CIPHERS_1_2 : "DEFAULT:!aNULL:!PSK:!SRP:!aDSS");
	return c;
}

/* -- servers ---------------------------------------------------------------------------------------------------------------------- */

void tls_set_drop(struct tls_set *s)
{
	if (!s || --s->count)
		return;
	for (size_t i = 0; i < s->group_count; i++)
		SSL_CTX_free(s->groups[i]);
	arena_free(&s->mem);
	mem_free(s);
}

/* Exact, or by the wildcard of its parent. */
static SSL_CTX *find_host(const struct tls_set *s, struct slice name)
{
	struct slice parent = slice_skip(name, slice_find(name, '.'));
	for (size_t i = 0; i < s->host_count; i++) {
		struct slice host = s->hosts[i].name;
		if (slice_eq_nocase(host, name) || (parent.n && slice_starts(host, SLICE("*.")) && slice_eq_nocase(slice_skip(host, 1), parent)))
			return s->hosts[i].ctx;
	}
	return NULL;
}

static int choose_certificate(SSL *ssl, int *alert, void *arg)
{
	(void)alert;
	const struct tls_set *s = arg;
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	SSL_CTX *ctx = name ? find_host(s, slice_of(name)) : NULL;
	if (ctx && ctx != SSL_get_SSL_CTX(ssl))
		SSL_set_SSL_CTX(ssl, ctx);
	return SSL_TLSEXT_ERR_OK;
}

/* RFC 7301, 3.2: a client that speaks none of our protocols gets the alert no_application_protocol, and no session (security-kit S13). */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_n, const unsigned char *in, unsigned in_n, void *arg)
{
	(void)ssl;
	const struct tls_set *s = arg;
	for (struct slice rest = slice((const char *)in, in_n); rest.n;) {
		size_t n = (unsigned char)rest.p[0];
		struct slice offered = slice_head(slice_skip(rest, 1), n);
		for (struct slice ours = s->alpn; ours.n;)
			if (slice_eq(slice_cut(ours, ' ', &ours), offered)) {
				*out = (const unsigned char *)offered.p;
				*out_n = (unsigned char)offered.n;
				return SSL_TLSEXT_ERR_OK;
			}
		rest = slice_skip(rest, n + 1);
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* Whoever it is may come in: what the certificate is worth is decided by its fingerprint. */
static int take_any_certificate(int good, X509_STORE_CTX *c)
{
	(void)good, (void)c;
	return 1;
}

static size_t read_chain(struct slice pem, X509 *chain[MAX_CHAIN])
{
	BIO *in = BIO_new_mem_buf(pem.n ? pem.p : "", (int)pem.n);
	size_t n = 0;
	while (in && n < MAX_CHAIN && (chain[n] = PEM_read_bio_X509(in, NULL, NULL, (void *)"")))
		n++;
	BIO_free(in);
	ERR_clear_error();
	return n;
}

/* The names of a certificate: DNS names of its subjectAltName, else the common name (RFC 6125, 6.4.4). */
static size_t read_names(X509 *cert, struct arena *mem, struct slice *names, size_t max)
{
	size_t n = 0;
	GENERAL_NAMES *alt = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	for (int i = 0; i < sk_GENERAL_NAME_num(alt) && n < max; i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(alt, i);
		if (g->type == GEN_DNS)
			names[n++] = text_lower(mem, slice((const char *)ASN1_STRING_get0_data(g->d.dNSName), (size_t)ASN1_STRING_length(g->d.dNSName)));
	}
	GENERAL_NAMES_free(alt);
	char cn[256];
	int length = n ? 0 : X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, cn, sizeof cn);
	if (length > 0)
		names[n++] = text_lower(mem, slice(cn, (size_t)length));
	return n;
}

static const char *use_key(SSL_CTX *ctx, const struct tls_certificate *c, X509 *leaf, struct keeper *keeper)
{
	EVP_PKEY *key;
	if (c->key_pem.n) {
		BIO *in = BIO_new_mem_buf(c->key_pem.p, (int)c->key_pem.n);
		key = PEM_read_bio_PrivateKey(in, NULL, NULL, (void *)"");
		BIO_free(in);
	} else {
		key = tls_remote_key(X509_get0_pubkey(leaf), keeper);
	}
	const char *why = !key ? "the private key can't be read" : SSL_CTX_use_PrivateKey(ctx, key) == 1 ? NULL : "the private key is not the certificate's";
	EVP_PKEY_free(key);
	ERR_clear_error();
	return why;
}

static const char *use_chain(SSL_CTX *ctx, X509 **chain, size_t n)
{
	if (SSL_CTX_use_certificate(ctx, chain[0]) != 1)
		return tls_last_error();
	for (size_t i = 1; i < n; i++)
		if (SSL_CTX_add1_chain_cert(ctx, chain[i]) != 1)
			return tls_last_error();
	return NULL;
}

static SSL_CTX *new_group(struct tls_set *s, bool ask, const char **why)
{
	SSL_CTX *ctx = new_ctx(true, why);
	if (!ctx)
		return NULL;
	SSL_CTX_set_tlsext_servername_callback(ctx, choose_certificate);
	SSL_CTX_set_tlsext_servername_arg(ctx, s);
	if (s->alpn.n)
		SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, s);
	if (ask)
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, take_any_certificate);
	s->groups[s->group_count++] = ctx;
	return ctx;
}

static const char *add_certificate(struct tls_set *s, const struct tls_certificate *c, bool ask)
{
	X509 *chain[MAX_CHAIN];
	struct slice names[TLS_SET_NAMES];
	const char *why = NULL;
	size_t n = read_chain(c->chain_pem, chain);
	if (!n)
		return "no certificate in the file";
	size_t count = read_names(chain[0], &s->mem, names, TLS_SET_NAMES - s->host_count);
	SSL_CTX *ctx = count ? find_host(s, names[0]) : NULL;
	bool joined = ctx != NULL;
	if (!ctx)
		ctx = new_group(s, ask, &why);
	if (ctx && !(why = use_chain(ctx, chain, n)))
		why = use_key(ctx, c, chain[0], s->keeper);
	for (size_t i = 0; !why && !joined && i < count; i++)
		s->hosts[s->host_count++] = (struct tls_host){ names[i], ctx };
	for (size_t i = 0; i < n; i++)
		X509_free(chain[i]);
	return why;
}

static struct tls_set *set_new(const struct tls_server_plan *plan, const char **why)
{
	struct tls_set *s = MEM_NEW(struct tls_set);
	s->count = 1;
	s->keeper = plan->keeper;
	s->mem.max = SET_MEM;
	s->alpn = arena_copy(&s->mem, plan->alpn);
	*why = plan->count ? NULL : "no certificate is configured";
	if (plan->count > TLS_MAX_CERTIFICATES)
		*why = "too many certificates";
	for (size_t i = 0; !*why && i < plan->count; i++)
		*why = add_certificate(s, &plan->certificates[i], plan->ask_certificate);
	if (!*why)
		return s;
	tls_set_drop(s);
	return NULL;
}

struct tls_context *tls_server_new(const struct tls_server_plan *plan, const char **why)
{
	struct tls_set *set = set_new(plan, why);
	if (!set)
		return NULL;
	struct tls_context *t = MEM_NEW(struct tls_context);
	t->count = 1;
	t->set = set;
	return t;
}

int tls_server_reload(struct tls_context *t, const struct tls_server_plan *plan, const char **why)
{
	struct tls_set *set = set_new(plan, why);
	if (!set)
		return -EINVAL;
	tls_set_drop(t->set);
	t->set = set;
	return 0;
}

struct tls_context *tls_hold(struct tls_context *t)
{
	t->count++;
	return t;
}

void tls_free(struct tls_context *t)
{
	if (!t || --t->count)
		return;
	tls_set_drop(t->set);
	SSL_CTX_free(t->client);
	arena_free(&t->mem);
	mem_free(t);
}

/* -- clients ---------------------------------------------------------------------------------------------------------------------- */

static SSL_CTX *rooted, *rootless;
static int roots_fd = -1;

int tls_load_roots(const char *file)
{
	static const char *const usual[] = { "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
		"/etc/ssl/cert.pem", NULL };
	for (const char *const *one = usual; !*file && *one; one++)
		if (access(*one, R_OK) == 0)
			file = *one;
	int fd, error = *file ? file_open(AT_FDCWD, file, O_RDONLY, 0, &fd) : -ENOENT;
	if (error)
		return error;
	file_close(&roots_fd);
	roots_fd = fd;
	SSL_CTX_free(rooted);
	rooted = NULL;
	return 0;
}

/* All certificates of the file; false: there is none. */
static bool add_roots(X509_STORE *store)
{
	BIO *in = BIO_new_fd(roots_fd, BIO_NOCLOSE);
	bool any = false;
	if (in && lseek(roots_fd, 0, SEEK_SET) == 0)
		for (X509 *x; (x = PEM_read_bio_X509_AUX(in, NULL, NULL, NULL)); X509_free(x))
			any |= X509_STORE_add_cert(store, x) == 1;
	BIO_free(in);
	ERR_clear_error();
	return any;
}

/* Read when somebody wants the first check by name: a system's roots take a megabyte. */
static SSL_CTX *with_roots(const char **why)
{
	if (rooted)
		return rooted;
	SSL_CTX *c = roots_fd >= 0 ? new_ctx(false, why) : NULL;
	if (c && add_roots(SSL_CTX_get_cert_store(c)))
		return rooted = c;
	SSL_CTX_free(c);
	*why = "no root certificates were loaded";
	return NULL;
}

/* Without a check any TLS is better than none: old keys of old servers are taken, too (RFC 7435). DANE says which key it wants. */
static SSL_CTX *without_roots(const char **why)
{
	if (!rootless && (rootless = new_ctx(false, why))) {
		SSL_CTX_set_security_level(rootless, 1);
		SSL_CTX_dane_enable(rootless);
		SSL_CTX_dane_set_flags(rootless, DANE_FLAG_NO_DANE_EE_NAMECHECKS); /* RFC 7672, 3.1.1 */
	}
	return rootless;
}

static SSL_CTX *shared_ctx(const struct tls_client_plan *plan, const char **why)
{
	SSL_CTX *c = plan->check == TLS_CHECK_NAME ? with_roots(why) : without_roots(why);
	if (c)
		SSL_CTX_up_ref(c);
	return c;
}

/* A client with a certificate of its own gets an SSL_CTX of its own, with the shared one's roots. */
static SSL_CTX *own_ctx(const struct tls_client_plan *plan, const char **why)
{
	SSL_CTX *from = shared_ctx(plan, why), *c = from ? new_ctx(false, why) : NULL;
	X509 *chain[MAX_CHAIN];
	if (!c) {
		SSL_CTX_free(from);
		return NULL;
	}
	if (plan->check == TLS_CHECK_NAME)
		SSL_CTX_set1_cert_store(c, SSL_CTX_get_cert_store(from));
	SSL_CTX_set_security_level(c, SSL_CTX_get_security_level(from));
	SSL_CTX_dane_enable(c);
	SSL_CTX_dane_set_flags(c, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
	SSL_CTX_free(from);
	size_t n = read_chain(plan->chain_pem, chain);
	const struct tls_certificate own = { plan->chain_pem, plan->key_pem };
	*why = n ? use_chain(c, chain, n) : "no certificate in the file";
	if (!*why)
		*why = plan->key_pem.n ? use_key(c, &own, chain[0], NULL) : "no private key";
	for (size_t i = 0; i < n; i++)
		X509_free(chain[i]);
	if (!*why)
		return c;
	SSL_CTX_free(c);
	return NULL;
}

static const struct slice *copy_all(struct arena *mem, const struct slice *from, size_t n)
{
	struct slice *to = ARENA_ARRAY(mem, struct slice, n);
	for (size_t i = 0; to && i < n; i++)
		to[i] = arena_copy(mem, from[i]);
	return to;
}

struct tls_context *tls_client_new(const struct tls_client_plan *plan, const char **why)
{
	if (plan->name_count > TLS_MAX_NAMES || plan->tlsa_count > TLS_MAX_TLSA) {
		*why = "too many names or TLSA records";
		return NULL;
	}
	SSL_CTX *ctx = plan->chain_pem.n ? own_ctx(plan, why) : shared_ctx(plan, why);
	if (!ctx)
		return NULL;
	struct tls_context *t = MEM_NEW(struct tls_context);
	t->count = 1;
	t->client = ctx;
	t->mem.max = PLAN_MEM;
	t->plan = *plan;
	t->plan.names = copy_all(&t->mem, plan->names, plan->name_count);
	t->plan.tlsa = copy_all(&t->mem, plan->tlsa, plan->tlsa_count);
	t->plan.chain_pem = t->plan.key_pem = SLICE_NONE;
	return t;
}

bool tls_tlsa_usable(struct slice r)
{
	if (r.n < 4 || (r.p[0] != 2 && r.p[0] != 3) || (r.p[1] != 0 && r.p[1] != 1))
		return false;
	return r.p[2] == 1 ? r.n == 3 + 32 : r.p[2] == 2 ? r.n == 3 + 64 : r.p[2] == 0;
}
