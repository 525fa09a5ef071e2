/* milter PORT: a milter that looks at nothing and says `continue` to everything it is told: what is measured with it in between is the protocol's own cost. One thread a connection; ends with
 * its standard input. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_FRAME = 1 << 20 };

static bool read_all(int fd, void *to, size_t n)
{
	for (size_t at = 0; at < n;) {
		ssize_t got = recv(fd, (char *)to + at, n - at, 0);
		if (got <= 0)
			return false;
		at += (size_t)got;
	}
	return true;
}

static bool answer(int fd, char command)
{
	static const char options[17] = { 0, 0, 0, 13, 'O', 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0 }, go_on[5] = { 0, 0, 0, 1, 'c' };
	if (strchr("DAK", command))
		return true;
	return command == 'O' ? send(fd, options, sizeof options, MSG_NOSIGNAL) == sizeof options : send(fd, go_on, sizeof go_on, MSG_NOSIGNAL) == sizeof go_on;
}

static void *serve(void *arg)
{
	int fd = (int)(intptr_t)arg, one = 1;
	char *frame = malloc(MAX_FRAME);
	uint32_t length;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	while (frame && read_all(fd, &length, sizeof length) && (length = ntohl(length)) && length <= MAX_FRAME && read_all(fd, frame, length) && frame[0] != 'Q')
		if (!answer(fd, frame[0]))
			break;
	free(frame);
	close(fd);
	return NULL;
}

static void *end_with_input(void *arg)
{
	char byte;
	(void)arg;
	while (read(0, &byte, 1) > 0)
		;
	_exit(0);
}

int main(int argc, char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argc > 1 ? argv[1] : "0")), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
	pthread_t thread;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 1000) || pthread_create(&thread, NULL, end_with_input, NULL))
		return 1;
	for (int c; (c = accept(fd, NULL, NULL)) >= 0;)
		if (!pthread_create(&thread, NULL, serve, (void *)(intptr_t)c))
			pthread_detach(thread);
		else
			close(c);
	return 1;
}
