/* milter PORT: a milter that looks at nothing and says `continue` to everything it is told: what is measured with it in between is the protocol's own cost, so that its own is kept small: one loop,
 * one read and one write for what has come together (a command with its macros). Ends with its standard input. */
#include <arpa/inet.h>
#include <errno.h>
#include <malloc.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_FRAME = 1 << 20, HEAD = 4, MAX_EVENTS = 64, MAX_ANSWERS = 4096, QUIT = 'Q' };

struct client {
	int fd;
	size_t have;
	char in[HEAD + MAX_FRAME]; /* only what is touched is memory */
};

static char answers[MAX_ANSWERS];

static size_t put_answer(char command, char *to)
{
	static const char options[17] = { 0, 0, 0, 13, 'O', 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0 }, go_on[5] = { 0, 0, 0, 1, 'c' };
	const char *from = command == 'O' ? options : go_on;
	size_t n = strchr("DAK", command) ? 0 : command == 'O' ? sizeof options : sizeof go_on;
	memcpy(to, from, n);
	return n;
}

/* Answers all whole frames. False: the end. */
static bool take_frames(struct client *c)
{
	size_t at = 0, n = 0;
	bool quit = false;
	while (!quit && c->have - at > HEAD && n + 17 < sizeof answers) {
		uint32_t length;
		memcpy(&length, c->in + at, HEAD);
		length = ntohl(length);
		if (!length || length > MAX_FRAME)
			return false;
		if (c->have - at < HEAD + length)
			break;
		quit = c->in[at + HEAD] == QUIT;
		n += quit ? 0 : put_answer(c->in[at + HEAD], answers + n);
		at += HEAD + length;
	}
	memmove(c->in, c->in + at, c->have - at);
	c->have -= at;
	return !quit && (!n || send(c->fd, answers, n, MSG_NOSIGNAL) == (ssize_t)n);
}

static void serve(struct client *c)
{
	ssize_t got = recv(c->fd, c->in + c->have, sizeof c->in - c->have, 0);
	if (got > 0)
		c->have += (size_t)got;
	if (got > 0 && take_frames(c))
		return;
	close(c->fd); /* and out of the loop */
	free(c);
}

static void welcome(int loop, int listener)
{
	int fd = accept(listener, NULL, NULL), one = 1;
	struct client *c = fd < 0 ? NULL : malloc(sizeof *c);
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = c };
	if (!c)
		return;
	c->fd = fd;
	c->have = 0;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	epoll_ctl(loop, EPOLL_CTL_ADD, fd, &e);
}

int main(int argc, char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argc > 1 ? argv[1] : "0")), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	static struct client listener, input = { .fd = 0 };
	int one = 1, loop = epoll_create1(0);
	struct epoll_event events[MAX_EVENTS], accepts = { .events = EPOLLIN, .data.ptr = &listener }, ends = { .events = EPOLLIN, .data.ptr = &input };
	mallopt(M_MMAP_THRESHOLD, 4 * MAX_FRAME); /* a client's memory is used again, not asked of the kernel for each */
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	listener.fd = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(listener.fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(listener.fd, (struct sockaddr *)&a, sizeof a) || listen(listener.fd, 1000) || epoll_ctl(loop, EPOLL_CTL_ADD, listener.fd, &accepts) || epoll_ctl(loop, EPOLL_CTL_ADD, 0, &ends))
		return 1;
	for (char byte;;) {
		int n = epoll_wait(loop, events, MAX_EVENTS, -1);
		for (int i = 0; i < n; i++)
			if (events[i].data.ptr == &listener)
				welcome(loop, listener.fd);
			else if (events[i].data.ptr != &input)
				serve(events[i].data.ptr);
			else if (read(0, &byte, 1) <= 0)
				return 0;
		if (n < 0 && errno != EINTR)
			return 1;
	}
}
