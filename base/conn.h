#ifndef BASE_CONN_H
#define BASE_CONN_H
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/loop.h"
#include "base/slice.h"

/* A byte stream to a peer over TCP or a Unix socket, plain or inside TLS, by events. It owns the socket, both buffers and the
 * TLS state; protocol code sees bytes. An idle connection holds no buffer (house rule: an idle session costs < 12 KiB).
 *
 * Reading: on_data is called with what lies in the input buffer; the callee consumes from its front with conn_consume. While
 * conn_pause_reading is on nothing is read, so a client that is ahead waits in the kernel. The input never grows past `max_input`.
 * Writing: conn_write queues, up to max_output, then fails with -EMSGSIZE; on_drained tells when all is handed to the kernel.
 * Errors: on_event with one of the CONN_ words; after CONN_FAILED only conn_free may be called. CONN_CLOSED: nothing more will come; who has ended only his own
 * half may still read what is written (in the clear; inside TLS it is the end). CONN_TIMEOUT of an open connection leaves it open, and its clock stopped. */
struct conn;
struct tls_context; /* base/tls.h */

enum conn_event {
	CONN_CONNECTED,     /* conn_connect succeeded */
	CONN_TLS_READY,     /* handshake done */
	CONN_TLS_FAILED,    /* handshake failed: conn_error says why; the connection is unusable */
	CONN_CLOSED,        /* the peer ended it in order */
	CONN_FAILED,        /* error: conn_error says why */
	CONN_TIMEOUT        /* nothing came or went for the time set by conn_set_timeout */
};

struct conn_handler {
	void (*on_data)(void *arg, struct conn *c);
	void (*on_event)(void *arg, struct conn *c, enum conn_event what);
	void (*on_drained)(void *arg, struct conn *c); /* may be NULL */
};

struct conn_limits {
	size_t max_input, max_output;
};

/* Takes an accepted or connected non-blocking socket. */
struct conn *conn_new(struct loop *l, int fd, const struct conn_limits *limits, const struct conn_handler *h, void *arg);

/* Starts to connect; the result comes as CONN_CONNECTED or CONN_FAILED/CONN_TIMEOUT. bind_to may be NULL. */
struct net_address;
struct conn *conn_connect(struct loop *l, const struct net_address *to, const struct net_address *bind_to,
                          const struct conn_limits *limits, const struct conn_handler *h, void *arg, int *error);

/* Closes at once; what is not sent yet is lost. NULL is fine. May be called inside the connection's own callbacks. */
void conn_free(struct conn *c);
/* Sends what waits (TLS close_notify too), at most `ms`, then closes; no callback comes any more. */
void conn_finish(struct conn *c, uint64_t ms);

struct slice conn_input(const struct conn *c);
void conn_consume(struct conn *c, size_t n);
void conn_pause_reading(struct conn *c, bool paused);
int conn_write(struct conn *c, struct slice s);
size_t conn_output_pending(const struct conn *c);
/* More is to come, and nothing will be said before it is there: what was heard is acknowledged now. A peer without TCP_NODELAY that answers piece by piece holds each piece
 * back until the one before it is acknowledged (RFC 896), which the kernel puts off for 40 ms (RFC 1122, 4.2.3.2). */
void conn_acknowledge(const struct conn *c);

/* Milliseconds without progress in the direction that is waited for; 0 is never. Resets the clock. */
void conn_set_timeout(struct conn *c, uint64_t ms);

/* TLS as server or client on this stream. The input buffer must be empty (S2): else -EPROTO and nothing happens.
 * For a client name is the server's name for SNI and checking (may be empty). */
int conn_start_tls(struct conn *c, struct tls_context *context, struct slice name);
bool conn_is_tls(const struct conn *c);
struct tls_info;
const struct tls_info *conn_tls_info(const struct conn *c); /* NULL before CONN_TLS_READY */

/* Why it failed, one phrase for the log. */
struct slice conn_error(const struct conn *c);
int conn_fd(const struct conn *c);
#endif
