#ifndef BASE_CONN_STATE_H
#define BASE_CONN_STATE_H
/* What a connection is inside, for the files that make it up: conn.c (its life, what it waits for, its phases), conn_plain.c (the bare socket as a transport) and
 * conn_finish.c (the orderly end). Nobody else includes this. */
#include "base/conn.h"
#include "base/conn_transport.h"

enum phase { CONNECTING, HANDSHAKING, OPEN, SHUTTING, DEAD };

struct conn {
	struct loop *loop;
	int fd;
	enum phase phase;
	bool paused, freed, finishing, lingering;
	bool resuming;                   /* what our own buffers hold will be handed on in a round of its own */
	bool ended;                      /* the peer has sent its last byte; it may still read */
	bool is_bulk;                    /* the last read filled all it could */
	unsigned holds;                  /* frames and queued calls that go on using it; the last one releases it */
	const struct conn_handler *handler;
	void *arg;
	struct buf in, out;
	size_t in_taken;                 /* of in's bytes, what was consumed; they go with the next read. All: both are 0 */
	size_t out_sent;                 /* of out's bytes, what the kernel has */
	struct transport plain, *transport;
	struct loop_watch *watch, *async_watch;
	struct loop_timer *timer;
	uint64_t timeout_ms;
	enum transport_want read_wants, write_wants; /* what the last step waited for; TRANSPORT_DONE nothing special */
	const char *error;
	struct conn *next, **link;       /* while it finishes: in the list of conn_finish.c */
};

extern const struct transport_methods conn_plain_methods;

/* A frame that goes on using c holds it. The end of the outermost one releases it, goes on to finish it, or waits for what comes next. */
void conn_state_hold(struct conn *c);
void conn_state_let_go(struct conn *c);
void conn_state_release(struct conn *c);
void conn_state_update_interest(struct conn *c);
/* Writes as much as the transport takes. */
enum transport_want conn_state_write(struct conn *c, const char *p, size_t n, size_t *sent);
bool conn_state_is_error(enum transport_want want);
/* The steps of conn_finish: send what waits, close_notify, then close, at once or when the peer has ended, too. May release c. */
void conn_state_finish_step(struct conn *c);
/* c is about to be released: the list of those that finish forgets it. */
void conn_state_forget(struct conn *c);
#endif
