#ifndef BASE_TLS_H
#define BASE_TLS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/setting.h"
#include "base/slice.h"

/* TLS (OpenSSL behind base/tls*.c): contexts for servers and clients, which conn_start_tls takes. TLS 1.2 at least; no compression, no renegotiation,
 * no session tickets. A context is counted: who makes it frees it, connections under way keep what they use. */
struct tls_context;
void tls_free(struct tls_context *t); /* NULL is fine */
struct tls_context *tls_hold(struct tls_context *t); /* one more tls_free is due */

/* -- servers ---------------------------------------------------------------------------------------------------------------------- */

/* One certificate with its chain, leaf first, in PEM. Without key_pem the private key is the keeper's, who knows it by the public key. */
struct tls_certificate {
	struct slice chain_pem, key_pem;
};

struct keeper;
struct tls_server_plan {
	const struct tls_certificate *certificates; /* the first answers clients that name no host or one of nobody */
	size_t count;
	struct keeper *keeper;      /* base/keeper.h; outlives the context and its connections */
	bool ask_certificate;       /* ask for the client's; any is taken, tls_info says which (map `clients`, SASL EXTERNAL) */
	struct slice alpn;          /* blank-separated protocols; a client that offers only others gets an alert (S13). "": not looked at */
};

/* NULL: *why is a fixed phrase. A host name (SNI) is looked for in all certificates' names, wildcards included; certificates with the same first
 * name (RSA and ECDSA) serve together. */
struct tls_context *tls_server_new(const struct tls_server_plan *plan, const char **why);

/* New certificates for connections to come; the context stays the same pointer. On failure everything stays as it was. */
int tls_server_reload(struct tls_context *t, const struct tls_server_plan *plan, const char **why);

/* -- clients ---------------------------------------------------------------------------------------------------------------------- */

enum tls_check {
	TLS_CHECK_NONE,  /* opportunistic: any certificate */
	TLS_CHECK_NAME,  /* a chain to a known root, and one of the names */
	TLS_CHECK_DANE   /* RFC 7672: usages 2 and 3 only, by tlsa; names matter for usage 2 alone */
};

enum { TLS_MAX_NAMES = 8, TLS_MAX_TLSA = 32 };
struct tls_client_plan {
	enum tls_check check;
	bool must;                          /* the handshake fails when the check does; else tls_info says what it found */
	const struct slice *names;          /* what the certificate may be for; none: the name given to conn_start_tls. "." in front: any host of it */
	size_t name_count;
	const struct slice *tlsa;           /* rdata */
	size_t tlsa_count;
	struct slice chain_pem, key_pem;    /* our own certificate, where a route wants one; "" none */
};
struct tls_context *tls_client_new(const struct tls_client_plan *plan, const char **why);

/* The roots for TLS_CHECK_NAME, a PEM file ("": the system's); before a chroot. It is opened here and read at the first such check. Without it, or
 * with none in it, nothing verifies by name. 0 or -errno. */
int tls_load_roots(const char *file);

/* May this TLSA record be used (RFC 7672, 3.1: DANE-TA and DANE-EE with a known selector and matching type, of the right length)? */
bool tls_tlsa_usable(struct slice rdata);

/* -- what came of it --------------------------------------------------------------------------------------------------------------- */

struct tls_info {
	const char *protocol;         /* "TLSv1.3" */
	const char *cipher;           /* "TLS_AES_256_GCM_SHA384" */
	unsigned bits;
	struct slice name;            /* the host name sent by SNI; "" none */
	struct slice alpn;            /* agreed on; "" none */
	enum tls_check check;         /* clients: what was asked for */
	bool verified;                /* clients: and it held */
	const char *why;              /* clients: why not; "" */
	bool has_peer;                /* the peer showed a certificate */
	uint8_t peer_sha256[32];      /* of the certificate as DER */
};

/* Channel bindings (RFC 9266, RFC 5929). False: this connection has none of the kind. end_point: the server's certificate, whichever end we are. */
bool tls_binding_exporter(const struct tls_info *i, uint8_t out[32]);
bool tls_binding_end_point(const struct tls_info *i, struct buf *out);

/* -- settings, and where certificates come from ---------------------------------------------------------------------------------------- */

/* Setting `tls-certificates`: pairs CERT,KEY of file names; the parent opens them as root and sends "tls-cert:N" to servers, "tls-key:N" to the
 * keeper, N counting from 0 (HOUSE_FILE; again when `porterctl reload` finds them changed). */
struct tls_settings {
	struct slice certificates;
	struct slice roots;
	bool ask_certificate;
	uint64_t look_s;
	struct slice keys_directory;   /* keeper_keys.h: mac-keys, login-salt, SELECTOR._domainkey.DOMAIN.pem */
};
extern struct tls_settings tls_settings;
extern struct setting_table tls_setting_table;

enum { TLS_MAX_CERTIFICATES = 64 };
struct tls_pair {
	struct slice cert, key; /* file names, absolute */
};
/* Reads the setting. 0, or -EINVAL. */
int tls_pairs(struct slice certificates, struct slice directory, struct arena *mem, struct tls_pair *pairs, size_t *count);

/* A self-signed ECDSA P-256 certificate for host, for first starts and tests. PEM into both; key is secret: the caller writes it 0600. */
int tls_make_self_signed(struct slice host, unsigned days, struct buf *cert, struct buf *key);
#endif
