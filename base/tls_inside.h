#ifndef BASE_TLS_INSIDE_H
#define BASE_TLS_INSIDE_H
#include <openssl/ssl.h>
#include "base/keeper.h"
#include "base/tls.h"

/* What base/tls*.c share among themselves and nobody else sees: OpenSSL's own types.
 *
 * A handshake that needs a private key runs as an OpenSSL job on a stack of its own. tls_remote.c, a small provider, is asked there for a signature: it
 * leaves what is to be signed in the connection's tls_wait and pauses the job; tls_conn.c asks the keeper, and resumes the job with the answer. */
enum tls_wait_state { TLS_WAIT_NONE, TLS_WAIT_ASKED, TLS_WAIT_GOOD, TLS_WAIT_BAD };
struct tls_wait {
	enum tls_wait_state state;
	struct keeper *keeper;
	uint8_t key[32];
	unsigned scheme;          /* RFC 8446, 4.2.3 */
	struct slice data;        /* to be signed: lives on the job's stack while it is paused */
	struct buf signature;
};

/* The connection whose handshake this thread is taking a step of; NULL otherwise. */
extern _Thread_local struct tls_wait *tls_waiting;

/* The library context of servers: OpenSSL's own provider and ours. */
OSSL_LIB_CTX *tls_library(void);

/* A private key that is the keeper's: public says which. NULL: not RSA, EC or Ed25519. */
EVP_PKEY *tls_remote_key(EVP_PKEY *public, struct keeper *keeper);
void tls_key_id(EVP_PKEY *public, uint8_t out[32]);

/* What a server's listeners hand out: replaced whole by a reload, kept by connections. */
enum { TLS_SET_NAMES = 256 };
struct tls_set {
	unsigned count;
	struct keeper *keeper;
	struct arena mem;
	struct slice alpn;
	SSL_CTX *groups[TLS_MAX_CERTIFICATES];
	size_t group_count;
	struct tls_host {
		struct slice name;    /* lower case; "*.example.org" too */
		SSL_CTX *ctx;
	} hosts[TLS_SET_NAMES];
	size_t host_count;
};
void tls_set_drop(struct tls_set *s);

struct tls_context {
	unsigned count;
	struct tls_set *set;          /* servers */
	SSL_CTX *client;              /* clients: */
	struct arena mem;
	struct tls_client_plan plan;
};

const char *tls_last_error(void); /* OpenSSL's phrase for its newest error, its queue is emptied */
#endif
