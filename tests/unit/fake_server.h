/* A server that plays a script: a child process that listens on loopback. Lines of the script: "S: text" is sent with CRLF, "s: text" as it is (\r \n \0
 * decoded), "C: text" expects a line that begins so, "C*" reads to CRLF.CRLF, "P: n" reads n bytes, "wait ms", "close", "next" begins the script of the next
 * connection (the last one is played again). What it heard is kept: fake_heard. */
#ifndef TESTS_FAKE_SERVER_H
#define TESTS_FAKE_SERVER_H
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FAKE_HEARD = 1 << 20 };
struct fake {
	pid_t pid;
	int port;
	struct fake_shared {
		size_t n, connections, ended;
		char wrong[512];
		char bytes[FAKE_HEARD];
	} *heard;
};

static void fake_wrong(struct fake *f, const char *wanted, const char *got)
{
	if (!f->heard->wrong[0])
		snprintf(f->heard->wrong, sizeof f->heard->wrong, "wanted %.200s, got %.200s", wanted, got);
}

static bool fake_read(struct fake *f, int fd, char *line, size_t size)
{
	size_t n = 0;
	while (n + 1 < size) {
		struct pollfd p = { fd, POLLIN, 0 };
		if (poll(&p, 1, 60000) <= 0 || recv(fd, line + n, 1, 0) != 1)
			return false;
		if (f->heard->n < FAKE_HEARD)
			f->heard->bytes[f->heard->n++] = line[n];
		n++;
		if (n >= 2 && line[n - 1] == '\n' && line[n - 2] == '\r')
			break;
	}
	line[n] = '\0';
	return true;
}

static size_t fake_decode(const char *from, char *to)
{
	size_t n = 0;
	for (; *from; from++)
		if (*from == '\\' && from[1])
			to[n++] = *++from == 'r' ? '\r' : *from == 'n' ? '\n' : *from == '0' ? '\0' : *from;
		else
			to[n++] = *from;
	return n;
}

static void fake_say(int fd, const char *p, size_t n)
{
	if (send(fd, p, n, MSG_NOSIGNAL) < 0)
		return;
}

/* One line of the script; false: the connection ends. */
static bool fake_step(struct fake *f, int fd, const char *line)
{
	char text[4096];
	if (line[0] == 'S') {
		int n = snprintf(text, sizeof text, "%s\r\n", line + 3);
		fake_say(fd, text, (size_t)n);
	} else if (line[0] == 's') {
		fake_say(fd, text, fake_decode(line + 3, text));
	} else if (line[0] == 'C' && line[1] == ':') {
		if (!fake_read(f, fd, text, sizeof text)) {
			fake_wrong(f, line + 3, "the end");
			return false;
		}
		if (strncmp(text, line + 3, strlen(line + 3)) != 0)
			fake_wrong(f, line + 3, text);
	} else if (line[0] == 'C') {
		do
			if (!fake_read(f, fd, text, sizeof text))
				return false;
		while (strcmp(text, ".\r\n") != 0);
	} else if (line[0] == 'P') {
		for (int left = atoi(line + 3); left > 0; left--)
			if (recv(fd, text, 1, 0) != 1)
				return false;
			else if (f->heard->n < FAKE_HEARD)
				f->heard->bytes[f->heard->n++] = text[0];
	} else if (strncmp(line, "wait", 4) == 0) {
		usleep((unsigned)atoi(line + 5) * 1000);
	} else {
		return false;
	}
	return true;
}

static const char *fake_play(struct fake *f, int fd, const char *script)
{
	char line[4096];
	bool on = true;
	while (*script) {
		size_t n = strcspn(script, "\n");
		memcpy(line, script, n);
		line[n] = '\0';
		script += n + (script[n] == '\n');
		if (strcmp(line, "next") == 0)
			return script;
		if (on)
			on = fake_step(f, fd, line);
	}
	return NULL;
}

static void fake_serve(struct fake *f, int listener, const char *script)
{
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		f->heard->connections++;
		const char *next = fake_play(f, fd, script);
		/* what the client still says is read, so that closing does not reset */
		shutdown(fd, SHUT_WR);
		f->heard->ended++;
		char rest[4096];
		struct pollfd p = { fd, POLLIN, 0 };
		while (poll(&p, 1, 500) > 0 && recv(fd, rest, sizeof rest, 0) > 0)
			;
		close(fd);
		if (next)
			script = next;
	}
}

/* A socket that listens on 127.0.0.last and this port (0: any), or -1. */
static int fake_listen(unsigned last, int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(0x7f000000u | last) };
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (port) /* who listened there before may have been the first to close */
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 16) == 0)
		return fd;
	close(fd);
	return -1;
}

/* On a socket that listens. */
static struct fake fake_start_on(int fd, const char *script)
{
	struct fake f = { .heard = mmap(NULL, sizeof *f.heard, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0) };
	struct sockaddr_in a;
	socklen_t n = sizeof a;
	if (fd < 0 || getsockname(fd, (struct sockaddr *)&a, &n) < 0)
		abort();
	f.port = ntohs(a.sin_port);
	f.pid = fork();
	if (f.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fake_serve(&f, fd, script);
		_exit(0);
	}
	close(fd);
	return f;
}

static inline struct fake fake_start(const char *script)
{
	return fake_start_on(fake_listen(1, 0), script);
}

static void fake_stop(struct fake *f)
{
	kill(f->pid, SIGKILL);
	waitpid(f->pid, NULL, 0);
	munmap(f->heard, sizeof *f->heard);
}

static inline bool fake_heard(const struct fake *f, const char *text)
{
	return memmem(f->heard->bytes, f->heard->n, text, strlen(text)) != NULL;
}
#endif
