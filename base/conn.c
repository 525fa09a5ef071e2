/* A byte stream by events. The socket is written to at once and read when it is ready; interest in writing exists only while the
 * kernel is full. Buffers are made when bytes are there and freed when the last is gone, so an idle connection is this struct and an event. */
#include "base/conn.h"

#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "base/conn_state.h"
#include "base/mem.h"
#include "base/net.h"

enum { READ_SIZE = 16 << 10 };

static void ready(void *arg, int what);

/* -- life ---------------------------------------------------------------------------------------------------------------------- */

static void stop_everything(struct conn *c)
{
	loop_watch_free(c->watch);
	loop_watch_free(c->async_watch);
	loop_timer_free(c->timer);
	c->watch = c->async_watch = NULL;
	c->timer = NULL;
	if (c->transport)
		c->transport->methods->free(c->transport);
	c->transport = NULL;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->phase = DEAD;
}

void conn_state_release(struct conn *c)
{
	stop_everything(c);
	conn_state_forget(c);
	buf_free(&c->in);
	buf_free(&c->out);
	mem_free(c);
}

void conn_state_hold(struct conn *c)
{
	c->holds++;
}

void conn_state_let_go(struct conn *c)
{
	if (--c->holds)
		return;
	if (c->freed)
		conn_state_release(c);
	else if (c->finishing)
		conn_state_finish_step(c);
	else
		conn_state_update_interest(c);
}

void conn_free(struct conn *c)
{
	if (!c || c->freed)
		return;
	c->freed = true;
	stop_everything(c);
	if (!c->holds)
		conn_state_release(c);
}

/* Nothing is told of c any more, and no step is due for it. */
static bool is_over(const struct conn *c)
{
	return c->freed || c->finishing || c->phase == DEAD;
}

static void tell(struct conn *c, enum conn_event what)
{
	if (!c->freed && !c->finishing)
		c->handler->on_event(c->arg, c, what);
}

static void fail(struct conn *c, enum conn_event what, const char *why)
{
	c->error = why;
	c->phase = DEAD;
	conn_state_update_interest(c);
	tell(c, what);
}

static void timed_out(void *arg)
{
	struct conn *c = arg;
	conn_state_hold(c);
	c->error = "timed out";
	if (c->phase == OPEN)
		tell(c, CONN_TIMEOUT);
	else
		fail(c, CONN_TIMEOUT, c->error);
	conn_state_let_go(c);
}

void conn_set_timeout(struct conn *c, uint64_t ms)
{
	c->timeout_ms = ms;
	if (!c->timer && ms)
		c->timer = loop_timer_new(c->loop, timed_out, c);
	if (ms)
		loop_timer_set(c->timer, ms);
	else if (c->timer)
		loop_timer_stop(c->timer);
}

static void progress(struct conn *c)
{
	if (c->timeout_ms)
		loop_timer_set(c->timer, c->timeout_ms);
}

static struct conn *make(struct loop *l, int fd, const struct conn_limits *limits, const struct conn_handler *h, void *arg)
{
	struct conn *c = MEM_NEW(struct conn);
	*c = (struct conn){ .loop = l, .fd = fd, .phase = OPEN, .handler = h, .arg = arg };
	buf_init(&c->in, limits->max_input);
	buf_init(&c->out, limits->max_output);
	c->plain = (struct transport){ &conn_plain_methods, fd };
	c->transport = &c->plain;
	c->watch = loop_watch_new(l, fd, ready, c);
	return c;
}

struct conn *conn_new(struct loop *l, int fd, const struct conn_limits *limits, const struct conn_handler *h, void *arg)
{
	struct conn *c = make(l, fd, limits, h, arg);
	conn_state_update_interest(c);
	return c;
}

struct conn *conn_connect(struct loop *l, const struct net_address *to, const struct net_address *bind_to,
                          const struct conn_limits *limits, const struct conn_handler *h, void *arg, int *error)
{
	int one = 1, fd = socket(to->sa.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		*error = -errno;
		return NULL;
	}
	if (to->sa.any.sa_family != AF_UNIX)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if ((bind_to && bind(fd, &bind_to->sa.any, bind_to->length) < 0) ||
	    (connect(fd, &to->sa.any, to->length) < 0 && errno != EINPROGRESS)) {
		*error = -errno;
		close(fd);
		return NULL;
	}
	struct conn *c = make(l, fd, limits, h, arg);
	c->phase = CONNECTING;
	conn_state_update_interest(c);
	return c;
}

/* -- interest -------------------------------------------------------------------------------------------------------------------- */

static bool is_full(const struct conn *c)
{
	return c->in.n - c->in_taken >= c->in.max;
}

static int watch_for(const struct conn *c)
{
	int what = 0;
	switch (c->phase) {
	case CONNECTING:
		return LOOP_WRITE;
	case HANDSHAKING:
	case SHUTTING:
		return c->read_wants == TRANSPORT_WANT_WRITE ? LOOP_WRITE : c->read_wants == TRANSPORT_WANT_ASYNC ? 0 : LOOP_READ;
	case OPEN:
		if (c->lingering)
			return LOOP_READ;
		if (!c->paused && !c->finishing && !c->ended && !is_full(c))
			what |= c->read_wants == TRANSPORT_WANT_WRITE ? LOOP_WRITE : LOOP_READ;
		if (conn_output_pending(c))
			what |= c->write_wants == TRANSPORT_WANT_READ ? LOOP_READ : LOOP_WRITE;
		return what;
	case DEAD:
		return 0;
	}
	return 0;
}

void conn_state_update_interest(struct conn *c)
{
	if (c->watch)
		loop_watch_set(c->watch, watch_for(c));
}

/* -- writing ------------------------------------------------------------------------------------------------------------------- */

enum transport_want conn_state_write(struct conn *c, const char *p, size_t n, size_t *sent)
{
	enum transport_want want = TRANSPORT_DONE;
	*sent = 0;
	while (*sent < n && want == TRANSPORT_DONE) {
		size_t moved = 0;
		want = c->transport->methods->write(c->transport, p + *sent, n - *sent, &moved);
		*sent += moved;
	}
	c->write_wants = want;
	if (*sent)
		progress(c);
	return want;
}

static const char *error_of(const struct conn *c, enum transport_want want)
{
	return want == TRANSPORT_CLOSED ? "the peer closed the connection" : c->transport->methods->error(c->transport);
}

bool conn_state_is_error(enum transport_want want)
{
	return want == TRANSPORT_FAILED || want == TRANSPORT_CLOSED;
}

/* A failure that was met inside a caller's conn_write is told in a round of its own. */
static void tell_write_failure(void *arg)
{
	struct conn *c = arg;
	tell(c, CONN_FAILED);
	conn_state_let_go(c);
}

static int write_failed(struct conn *c, enum transport_want want)
{
	c->error = error_of(c, want);
	c->phase = DEAD;
	conn_state_update_interest(c);
	conn_state_hold(c);
	loop_later(c->loop, tell_write_failure, c);
	return -EPIPE;
}

int conn_write(struct conn *c, struct slice s)
{
	if (is_over(c))
		return -EPIPE;
	if (s.n > c->out.max - conn_output_pending(c))
		return -EMSGSIZE;
	size_t sent = 0;
	if (c->phase == OPEN && c->out.n == 0) {
		enum transport_want want = conn_state_write(c, s.p, s.n, &sent);
		if (conn_state_is_error(want))
			return write_failed(c, want);
	}
	if (sent == s.n)
		return 0;
	buf_drop(&c->out, c->out_sent);
	c->out_sent = 0;
	buf_add(&c->out, slice_skip(s, sent));
	conn_state_update_interest(c);
	return 0;
}

size_t conn_output_pending(const struct conn *c)
{
	return c->out.n - c->out_sent;
}

static void flush(struct conn *c)
{
	size_t sent;
	if (c->out.n == 0)
		return;
	enum transport_want want = conn_state_write(c, c->out.p + c->out_sent, conn_output_pending(c), &sent);
	c->out_sent += sent;
	if (conn_state_is_error(want)) {
		fail(c, CONN_FAILED, error_of(c, want));
		return;
	}
	if (conn_output_pending(c))
		return;
	buf_free(&c->out);
	c->out_sent = 0;
	if (c->handler->on_drained && !is_over(c))
		c->handler->on_drained(c->arg, c);
}

/* -- reading --------------------------------------------------------------------------------------------------------------------- */

struct slice conn_input(const struct conn *c)
{
	return slice_skip(buf_slice(&c->in), c->in_taken);
}

static void hand_on(struct conn *c)
{
	if (c->paused || c->in.n == 0 || is_over(c))
		return;
	c->handler->on_data(c->arg, c);
	if (c->in.n == 0)
		buf_free(&c->in);
}

/* A short command goes by way of a scratch area, so that it costs a short buffer. */
static enum transport_want read_little(struct conn *c, size_t room)
{
	char scratch[READ_SIZE];
	size_t n = 0;
	enum transport_want want = c->transport->methods->read(c->transport, scratch, room < sizeof scratch ? room : sizeof scratch, &n);
	if (n)
		buf_add(&c->in, slice(scratch, n));
	c->is_bulk = n == sizeof scratch && c->transport == &c->plain; /* TLS gives no more at once */
	return want;
}

/* Who has just filled that area is sending much: as much as there is room for is read at once, to where it stays. */
static enum transport_want read_much(struct conn *c, size_t room)
{
	size_t n = 0;
	enum transport_want want = c->transport->methods->read(c->transport, buf_room(&c->in, room), room, &n);
	buf_used(&c->in, n);
	c->is_bulk = n >= READ_SIZE;
	if (!c->is_bulk)
		buf_fit(&c->in);
	return want;
}

/* One read into the room that is left. */
static enum transport_want read_some(struct conn *c)
{
	buf_drop(&c->in, c->in_taken); /* once for many lines */
	c->in_taken = 0;
	size_t room = c->in.max - c->in.n;
	return c->is_bulk ? read_much(c, room) : read_little(c, room);
}

static size_t transport_holds(const struct conn *c)
{
	return c->transport && c->transport->methods->buffered ? c->transport->methods->buffered(c->transport) : 0;
}

/* Reads once, and again while the transport itself holds bytes, since those make no event. */
static void take_in(struct conn *c)
{
	do {
		if (is_over(c) || c->phase != OPEN || is_full(c) || c->paused || c->ended)
			return;
		enum transport_want want = read_some(c);
		c->read_wants = want;
		if (want == TRANSPORT_CLOSED && c->transport == &c->plain) {
			c->ended = true;
			c->error = error_of(c, want);
			tell(c, CONN_CLOSED);
			return;
		}
		if (conn_state_is_error(want)) {
			fail(c, want == TRANSPORT_CLOSED ? CONN_CLOSED : CONN_FAILED, error_of(c, want));
			return;
		}
		if (want != TRANSPORT_DONE)
			return;
		progress(c);
		hand_on(c);
	} while (transport_holds(c));
}

static void resume(void *arg)
{
	struct conn *c = arg;
	c->resuming = false;
	hand_on(c);
	if (!is_over(c) && transport_holds(c))
		take_in(c);
	conn_state_let_go(c);
}

/* What waits in our own buffers makes no event. */
static void resume_later(struct conn *c)
{
	if (c->resuming)
		return;
	c->resuming = true;
	conn_state_hold(c);
	loop_later(c->loop, resume, c);
}

void conn_consume(struct conn *c, size_t n)
{
	c->in_taken += n;
	assert(c->in_taken <= c->in.n);
	if (c->in_taken == c->in.n)
		c->in_taken = 0, buf_clear(&c->in);
	if (c->holds || is_over(c))
		return;
	if (c->in.n == 0)
		buf_free(&c->in);
	conn_state_update_interest(c); /* a full buffer had stopped reading */
	if (!c->paused && transport_holds(c))
		resume_later(c);
}

void conn_pause_reading(struct conn *c, bool paused)
{
	if (c->paused == paused)
		return;
	c->paused = paused;
	if (is_over(c))
		return;
	conn_state_update_interest(c);
	if (!paused && (c->in.n || transport_holds(c)))
		resume_later(c);
}

/* -- phases ------------------------------------------------------------------------------------------------------------------------ */

static void connected(struct conn *c)
{
	int error = 0;
	socklen_t n = sizeof error;
	getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n);
	if (error) {
		fail(c, CONN_FAILED, strerror(error));
		return;
	}
	c->phase = OPEN;
	progress(c);
	tell(c, CONN_CONNECTED);
}

static void async_ready(void *arg, int what)
{
	(void)what;
	struct conn *c = arg;
	loop_watch_free(c->async_watch);
	c->async_watch = NULL;
	ready(c, 0);
}

/* A handshake or shutdown step that waits for the keeper's answer. */
static void wait_async(struct conn *c)
{
	int fd = c->transport->methods->async_fd(c->transport);
	if (!c->async_watch && fd >= 0) {
		c->async_watch = loop_watch_new(c->loop, fd, async_ready, c);
		loop_watch_set(c->async_watch, LOOP_READ);
	}
}

static void handshake(struct conn *c)
{
	enum transport_want want = c->transport->methods->handshake(c->transport);
	c->read_wants = want;
	if (want == TRANSPORT_WANT_ASYNC)
		wait_async(c);
	if (conn_state_is_error(want)) {
		fail(c, CONN_TLS_FAILED, error_of(c, want));
		return;
	}
	if (want != TRANSPORT_DONE)
		return;
	c->phase = OPEN;
	c->read_wants = TRANSPORT_DONE;
	progress(c);
	tell(c, CONN_TLS_READY);
	if (!is_over(c))
		flush(c); /* what was written during the handshake */
	if (!is_over(c) && transport_holds(c))
		take_in(c);
}

static void ready(void *arg, int what)
{
	struct conn *c = arg;
	(void)what;
	conn_state_hold(c);
	if (c->phase == CONNECTING)
		connected(c);
	else if (c->phase == HANDSHAKING)
		handshake(c);
	else if (c->phase == OPEN && !c->finishing) {
		flush(c);
		take_in(c);
	}
	conn_state_let_go(c);
}

/* -- TLS -------------------------------------------------------------------------------------------------------------------------- */

static void first_handshake(void *arg)
{
	struct conn *c = arg;
	if (!is_over(c) && c->phase == HANDSHAKING)
		handshake(c);
	conn_state_let_go(c);
}

int conn_start_tls(struct conn *c, struct tls_context *context, struct slice name)
{
	if (c->phase != OPEN || c->in.n || c->transport != &c->plain) /* bytes behind STARTTLS: security-kit S2 */
		return -EPROTO;
	struct transport *t = tls_transport_new(c->fd, context, &name);
	if (!t)
		return -ENOMEM;
	c->transport = t;
	c->phase = HANDSHAKING;
	c->read_wants = TRANSPORT_WANT_READ;
	conn_state_hold(c);
	loop_later(c->loop, first_handshake, c); /* a client speaks first */
	return 0;
}

bool conn_is_tls(const struct conn *c)
{
	return c->transport && c->transport != &c->plain && c->phase != HANDSHAKING;
}

const struct tls_info *conn_tls_info(const struct conn *c)
{
	return conn_is_tls(c) ? tls_transport_info(c->transport) : NULL;
}

struct slice conn_error(const struct conn *c)
{
	return slice_of(c->error ? c->error : "");
}

int conn_fd(const struct conn *c)
{
	return c->fd;
}
