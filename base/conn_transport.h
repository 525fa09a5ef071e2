#ifndef BASE_CONN_TRANSPORT_H
#define BASE_CONN_TRANSPORT_H
#include <stddef.h>
#include <sys/types.h>

/* What carries a connection's bytes: the socket itself, or TLS on it (base/tls_conn.c). base/conn drives any of them alike. Internal to
 * conn and tls. Every step does what it can without blocking and says what it waits for. */
enum transport_want {
	TRANSPORT_DONE,        /* read, write: *n bytes moved; handshake, shutdown: finished */
	TRANSPORT_WANT_READ,   /* call again when the socket is readable */
	TRANSPORT_WANT_WRITE,
	TRANSPORT_WANT_ASYNC,  /* call again when async_fd() is readable (the keeper's answer) */
	TRANSPORT_CLOSED,      /* the peer ended it in order */
	TRANSPORT_FAILED       /* error() says why */
};

struct transport;
struct transport_methods {
	enum transport_want (*handshake)(struct transport *t);           /* NULL: there is none */
	enum transport_want (*read)(struct transport *t, char *to, size_t size, size_t *n);
	enum transport_want (*write)(struct transport *t, const char *from, size_t size, size_t *n);
	enum transport_want (*shutdown)(struct transport *t);            /* NULL: there is none */
	size_t (*buffered)(const struct transport *t);                   /* bytes read from the socket and not handed out; NULL: none ever */
	int (*async_fd)(const struct transport *t);                      /* NULL: never waits for one */
	const char *(*error)(const struct transport *t);
	void (*free)(struct transport *t);                               /* does not close the socket */
};

/* Embedded first in each kind of transport. */
struct transport {
	const struct transport_methods *methods;
	int fd;
};

/* Made by base/tls_conn.c for conn_start_tls: a server's or a client's transport, by the context. NULL: no memory for it or bad name. */
struct tls_context;
struct tls_info;
struct slice;
struct transport *tls_transport_new(int fd, struct tls_context *context, const struct slice *name);
const struct tls_info *tls_transport_info(const struct transport *t);
#endif
