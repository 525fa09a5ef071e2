/* Frames over a stream socket pair. Small frames are sent at once with one sendmsg; what the kernel does not take waits in
 * order, each piece with its own copy of the descriptor. Received descriptors queue up beside the bytes: the frame that
 * announces one takes the oldest. */
#include "base/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"

enum {
	HEAD = 16,
	FLAG_FD = 1,
	MAX_WAITING_FDS = 64,           /* received and not yet asked for */
	MAX_PENDING = 64 << 20,         /* to be sent; past it the peer counts as gone */
	READ_SIZE = 64 << 10
};

struct piece {
	struct piece *next;
	size_t sent, n;
	int fd;                         /* goes with the first byte; -1 none */
	char bytes[];
};

struct ipc {
	struct loop *loop;
	struct loop_watch *watch;
	int fd;
	const struct ipc_handler *handler;
	void *arg;
	struct buf in;
	int fds[MAX_WAITING_FDS];
	size_t fd_count;
	struct piece *out, **out_last;
	size_t pending;
	bool cut;                       /* the peer is gone or was cut off; on_close is due or done */
	bool mute;                      /* the peer takes nothing any more; what it said before is still heard */
	bool busy;                      /* a callback runs: freeing waits for its end */
	bool freed;
};

static void put16(unsigned char *p, unsigned v)
{
	p[0] = (unsigned char)(v >> 8), p[1] = (unsigned char)v;
}

static void put32(unsigned char *p, uint32_t v)
{
	put16(p, v >> 16), put16(p + 2, v & 0xffff);
}

static unsigned get16(const unsigned char *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static uint32_t get32(const unsigned char *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put_head(unsigned char head[HEAD], uint16_t type, uint64_t id, size_t length, int fd)
{
	put32(head, (uint32_t)length);
	put16(head + 4, type);
	put16(head + 6, fd >= 0 ? FLAG_FD : 0);
	put32(head + 8, (uint32_t)(id >> 32));
	put32(head + 12, (uint32_t)id);
}

/* One sendmsg; a descriptor rides on its first byte. Returns bytes sent or -errno. */
static ssize_t send_some(int to, struct iovec *parts, size_t count, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct msghdr m = { .msg_iov = parts, .msg_iovlen = count };
	if (fd >= 0) {
		m.msg_control = control.bytes;
		m.msg_controllen = sizeof control.bytes;
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(c), &fd, sizeof fd);
	}
	ssize_t n;
	do
		n = sendmsg(to, &m, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static void free_pieces(struct ipc *c)
{
	while (c->out) {
		struct piece *next = c->out->next;
		if (c->out->fd >= 0)
			close(c->out->fd);
		mem_free(c->out);
		c->out = next;
	}
	c->out_last = &c->out;
	c->pending = 0;
}

static void release(struct ipc *c)
{
	loop_watch_free(c->watch);
	close(c->fd);
	while (c->fd_count)
		close(c->fds[--c->fd_count]);
	free_pieces(c);
	buf_free(&c->in);
	mem_free(c);
}

void ipc_free(struct ipc *c)
{
	if (!c)
		return;
	c->freed = true;
	if (!c->busy)
		release(c);
}

static void tell_closed(void *arg)
{
	struct ipc *c = arg;
	c->busy = false;
	if (c->freed)
		release(c);
	else
		c->handler->on_close(c->arg, c);
}

/* on_close is told in a round of its own, never from inside a caller's ipc_send. */
static void cut_off(struct ipc *c)
{
	if (c->cut)
		return;
	c->cut = true;
	c->busy = true; /* until tell_closed has run */
	loop_watch_set(c->watch, 0);
	free_pieces(c);
	loop_later(c->loop, tell_closed, c);
}

/* A peer that died takes nothing, but what it has sent counts: it is read to its end, which cuts the channel off. */
static void go_mute(struct ipc *c)
{
	c->mute = true;
	free_pieces(c);
}

static void interest(struct ipc *c)
{
	if (!c->cut)
		loop_watch_set(c->watch, LOOP_READ | (c->out ? LOOP_WRITE : 0));
}

/* Receives what is there, bytes and descriptors. 0, -EAGAIN, or an error that ends the channel. */
static int receive_some(int from, struct buf *in, int *fds, size_t *fd_count)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * MAX_WAITING_FDS)];
		struct cmsghdr align;
	} control;
	char *room = buf_room(in, READ_SIZE);
	if (!room)
		return -EMSGSIZE;
	struct iovec part = { room, READ_SIZE };
	struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes };
	ssize_t n = recvmsg(from, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	int result = n == 0 ? -EPIPE : m.msg_flags & MSG_CTRUNC ? -EPROTO : 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
			if (*fd_count < MAX_WAITING_FDS) {
				fds[(*fd_count)++] = fd;
			} else {
				close(fd);
				result = -EPROTO;
			}
		}
	}
	buf_used(in, (size_t)n);
	return result;
}

static int take_fd(int *fds, size_t *count)
{
	int fd = fds[0];
	memmove(fds, fds + 1, --*count * sizeof *fds);
	return fd;
}

/* The frame at the front of in: 1 and *m, 0 if it is not whole yet, -EPROTO. */
static int next_frame(struct slice in, int *fds, size_t *fd_count, struct ipc_message *m)
{
	if (in.n < HEAD)
		return 0;
	const unsigned char *p = (const unsigned char *)in.p;
	uint32_t length = get32(p);
	unsigned flags = get16(p + 6);
	if (length > IPC_MAX_PAYLOAD || flags & ~(unsigned)FLAG_FD)
		return -EPROTO;
	if (in.n - HEAD < length)
		return 0;
	if (flags & FLAG_FD && *fd_count == 0)
		return -EPROTO;
	*m = (struct ipc_message){ .type = (uint16_t)get16(p + 4), .id = (uint64_t)get32(p + 8) << 32 | get32(p + 12),
		                   .payload = slice(in.p + HEAD, length), .fd = flags & FLAG_FD ? take_fd(fds, fd_count) : -1 };
	return 1;
}

/* Hands on every whole frame. The buffer is not touched while a callback holds a view of it. */
static void dispatch(struct ipc *c)
{
	size_t used = 0;
	struct ipc_message m;
	int result = 0;
	c->busy = true;
	while (!c->freed && !c->cut && (result = next_frame(slice_skip(buf_slice(&c->in), used), c->fds, &c->fd_count, &m)) == 1) {
		used += HEAD + m.payload.n;
		result = c->handler->on_message(c->arg, c, &m);
		if (m.fd >= 0)
			close(m.fd);
		if (result < 0)
			break;
	}
	if (c->cut)
		return; /* a send inside the callback failed: tell_closed comes and clears busy */
	c->busy = false;
	if (c->freed) {
		release(c);
		return;
	}
	buf_drop(&c->in, used);
	if (c->in.n == 0)
		buf_free(&c->in); /* an idle channel holds no buffer */
	if (result < 0)
		cut_off(c);
}

static void flush(struct ipc *c)
{
	while (c->out) {
		struct piece *p = c->out;
		struct iovec part = { p->bytes + p->sent, p->n - p->sent };
		ssize_t n = send_some(c->fd, &part, 1, p->sent ? -1 : p->fd);
		if (n == -EAGAIN)
			return;
		if (n < 0) {
			go_mute(c);
			return;
		}
		p->sent += (size_t)n;
		c->pending -= (size_t)n;
		if (p->sent < p->n)
			return;
		c->out = p->next;
		if (!c->out)
			c->out_last = &c->out;
		if (p->fd >= 0)
			close(p->fd);
		mem_free(p);
	}
}

static void ready(void *arg, int what)
{
	struct ipc *c = arg;
	if (what & LOOP_WRITE)
		flush(c);
	if (!c->cut && what & LOOP_READ) {
		int result = receive_some(c->fd, &c->in, c->fds, &c->fd_count);
		if (result == 0) {
			dispatch(c);
			return; /* c may be gone; interest follows every send by itself */
		}
		if (result != -EAGAIN)
			cut_off(c);
	}
	interest(c);
}

struct ipc *ipc_new(struct loop *l, int fd, const struct ipc_handler *handler, void *arg)
{
	struct ipc *c = MEM_NEW(struct ipc);
	*c = (struct ipc){ .loop = l, .fd = fd, .handler = handler, .arg = arg };
	buf_init(&c->in, HEAD + IPC_MAX_PAYLOAD + READ_SIZE);
	c->out_last = &c->out;
	int flags = fcntl(fd, F_GETFL);
	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	c->watch = loop_watch_new(l, fd, ready, c);
	interest(c);
	return c;
}

/* What of the frame's three parts lies behind the first `sent` bytes, as a piece that waits. */
static int keep(struct ipc *c, const struct iovec parts[3], size_t sent, int fd)
{
	size_t total = parts[0].iov_len + parts[1].iov_len + parts[2].iov_len, at = 0;
	int copy = sent == 0 && fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
	if (c->pending + total > MAX_PENDING || (sent == 0 && fd >= 0 && copy < 0)) {
		if (copy >= 0)
			close(copy);
		cut_off(c);
		return -EPIPE;
	}
	struct piece *p = mem_new(sizeof *p + total);
	for (int i = 0; i < 3; i++) {
		if (parts[i].iov_len)
			memcpy(p->bytes + at, parts[i].iov_base, parts[i].iov_len);
		at += parts[i].iov_len;
	}
	p->n = total, p->sent = sent, p->fd = copy;
	*c->out_last = p;
	c->out_last = &p->next;
	c->pending += total - sent;
	interest(c);
	return 0;
}

int ipc_send2(struct ipc *c, uint16_t type, uint64_t id, struct slice head, struct slice body, int fd)
{
	if (c->cut || c->mute || c->freed)
		return -EPIPE;
	if (head.n > IPC_MAX_PAYLOAD || body.n > IPC_MAX_PAYLOAD - head.n)
		return -EMSGSIZE;
	unsigned char front[HEAD];
	put_head(front, type, id, head.n + body.n, fd);
	struct iovec parts[3] = { { front, HEAD }, { (void *)head.p, head.n }, { (void *)body.p, body.n } };
	size_t sent = 0;
	if (!c->out) {
		ssize_t n = send_some(c->fd, parts, 3, fd);
		if (n < 0 && n != -EAGAIN) {
			go_mute(c);
			return -EPIPE;
		}
		sent = n > 0 ? (size_t)n : 0;
	}
	return sent == HEAD + head.n + body.n ? 0 : keep(c, parts, sent, fd);
}

int ipc_send(struct ipc *c, uint16_t type, uint64_t id, struct slice payload, int fd)
{
	return ipc_send2(c, type, id, payload, SLICE_NONE, fd);
}

int ipc_pair(int fds[2])
{
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0 ? -errno : 0;
}

/* -- for processes without a loop ------------------------------------------------------------------------------------------- */

static int wait_for(int fd, short events, uint64_t until_ms)
{
	uint64_t now = clock_mono_ms();
	struct pollfd p = { fd, events, 0 };
	if (now >= until_ms)
		return -ETIMEDOUT;
	int n = poll(&p, 1, until_ms - now > 60000 ? 60000 : (int)(until_ms - now));
	return n < 0 && errno != EINTR ? -errno : 0;
}

int ipc_send_blocking(int to, uint16_t type, uint64_t id, struct slice payload, int pass_fd)
{
	unsigned char front[HEAD];
	if (payload.n > IPC_MAX_PAYLOAD)
		return -EMSGSIZE;
	put_head(front, type, id, payload.n, pass_fd);
	uint64_t until = clock_mono_ms() + 60000;
	for (size_t sent = 0; sent < HEAD + payload.n;) {
		struct iovec parts[2] = { { front, HEAD }, { (void *)payload.p, payload.n } };
		size_t in_head = sent < HEAD ? sent : HEAD, in_payload = sent - in_head;
		parts[0].iov_base = front + in_head, parts[0].iov_len -= in_head;
		if (payload.n)
			parts[1].iov_base = (char *)payload.p + in_payload, parts[1].iov_len -= in_payload;
		ssize_t n = send_some(to, parts, 2, sent ? -1 : pass_fd);
		if (n == -EAGAIN) {
			int waited = wait_for(to, POLLOUT, until);
			if (waited < 0)
				return waited;
			continue;
		}
		if (n < 0)
			return (int)n;
		sent += (size_t)n;
	}
	return 0;
}

/* Exactly n bytes into *in, and the descriptors that come with them. */
static int receive_exactly(int from, struct buf *in, size_t n, int *fd, uint64_t until_ms)
{
	while (n) {
		int waited = wait_for(from, POLLIN, until_ms);
		if (waited < 0)
			return waited;
		union {
			char bytes[CMSG_SPACE(sizeof(int) * 4)];
			struct cmsghdr align;
		} control;
		char *room = buf_room(in, n);
		if (!room)
			return -EMSGSIZE;
		struct iovec io = { room, n };
		struct msghdr m = { .msg_iov = &io, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes };
		ssize_t got = recvmsg(from, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (got <= 0)
			return got == 0 ? -EPIPE : -errno;
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
			size_t passed = c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS ? (c->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;
			for (size_t i = 0; i < passed; i++) {
				int one;
				memcpy(&one, CMSG_DATA(c) + i * sizeof one, sizeof one);
				if (*fd < 0)
					*fd = one;
				else
					close(one);
			}
		}
		buf_used(in, (size_t)got);
		n -= (size_t)got;
	}
	return 0;
}

int ipc_receive_blocking(int from, uint64_t timeout_ms, struct ipc_message *m, struct buf *payload)
{
	uint64_t until = clock_mono_ms() + timeout_ms;
	int fd = -1;
	buf_clear(payload);
	int result = receive_exactly(from, payload, HEAD, &fd, until);
	uint32_t length = result ? 0 : get32((const unsigned char *)payload->p);
	if (!result && length > IPC_MAX_PAYLOAD)
		result = -EPROTO;
	if (!result)
		result = receive_exactly(from, payload, length, &fd, until);
	int none = 0;
	size_t count = fd >= 0 ? 1 : 0;
	if (!result && next_frame(buf_slice(payload), fd >= 0 ? &fd : &none, &count, m) != 1)
		result = -EPROTO;
	if (fd >= 0 && (result || m->fd < 0))
		close(fd);
	return result;
}
