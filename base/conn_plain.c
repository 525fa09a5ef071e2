/* The bare socket as a transport: what a connection reads and writes by while it has no TLS. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/conn_state.h"

static enum transport_want from_errno(void)
{
	return errno == EAGAIN || errno == EINTR ? TRANSPORT_WANT_READ : TRANSPORT_FAILED;
}

static enum transport_want plain_read(struct transport *t, char *to, size_t size, size_t *n)
{
	ssize_t got = recv(t->fd, to, size, 0);
	if (got < 0)
		return from_errno();
	*n = (size_t)got;
	return got == 0 ? TRANSPORT_CLOSED : TRANSPORT_DONE;
}

static enum transport_want plain_write(struct transport *t, const char *from, size_t size, size_t *n)
{
	ssize_t sent = send(t->fd, from, size, MSG_NOSIGNAL);
	if (sent < 0)
		return from_errno() == TRANSPORT_FAILED ? TRANSPORT_FAILED : TRANSPORT_WANT_WRITE;
	*n = (size_t)sent;
	return TRANSPORT_DONE;
}

static const char *plain_error(const struct transport *t)
{
	(void)t;
	return strerror(errno);
}

static void plain_free(struct transport *t)
{
	(void)t; /* part of its connection */
}

const struct transport_methods conn_plain_methods = { .read = plain_read, .write = plain_write, .error = plain_error, .free = plain_free };

void conn_acknowledge(const struct conn *c)
{
	int one = 1;
	setsockopt(c->fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one); /* on a Unix socket it fails, and there is nothing to be done */
}
