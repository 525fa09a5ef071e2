/* given: an SMTP client for `make bench-signed` that sends messages made beforehand, one a connection, many connections side by side, and prints one JSON object.
 *
 *	given FILE SERVER SESSIONS MESSAGES SOURCE...
 *
 * FILE holds messages one behind the other, each {length, 4 bytes, big-endian} and its bytes as they go on the wire, the final dot included. They are sent in turn, from
 * sender@outside.test to user0 ... user999@example.test. One thread, epoll; a 4xx or a lost connection is tried again, at most TRIES times. Times are CLOCK_MONOTONIC seconds. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { USERS = 1000, TRIES = 50, PAUSE_US = 20000, PATIENCE_S = 300, MOST_TEXTS = 100000 };
enum step { GREETING, EHLO, MAIL, RCPT, DATA, DOT };

struct session {
	int fd, message;                /* fd -1: none; message -1: it has its answer */
	enum step step;
	double began;
	char in[4096];
	size_t in_n;
	const char *out;                /* what is left to send */
	size_t out_n;
	char line[128];
};

struct text {
	const char *p;
	size_t n;
};

static struct text texts[MOST_TEXTS];
static size_t text_count;
static struct sockaddr_in server, sources[64];
static size_t source_count, next_source;
static int epoll, messages, *again, again_count, fresh, settled, open_sessions;
static unsigned char *tries;
static double *latencies, first, last;
static int ok, refused, lost;
static char sample[200];

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void read_texts(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY);
	if (fd < 0 || fstat(fd, &st) < 0)
		die(path);
	const unsigned char *at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0), *end = at + st.st_size;
	while (end - at > 4 && text_count < MOST_TEXTS) {
		size_t n = (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
		if (n > (size_t)(end - at - 4))
			break;
		texts[text_count++] = (struct text){ (const char *)at + 4, n };
		at += 4 + n;
	}
	if (!text_count)
		die("no messages");
}

static int take(void)
{
	return again_count ? again[--again_count] : fresh < messages ? fresh++ : -1;
}

static void settle(struct session *s, int code)
{
	int m = s->message;
	s->message = -1;
	if (m < 0)
		return;
	if (code / 100 != 2 && !*sample)
		snprintf(sample, sizeof sample, "%.*s", (int)strcspn(s->in, "\r\n"), code ? s->in : "lost");
	if (code / 100 != 2 && code / 100 != 5 && ++tries[m] < TRIES) {
		again[again_count++] = m;
		usleep(PAUSE_US); /* a server that can't just now is let alone for a moment */
		return;
	}
	settled++;
	if (code / 100 != 2) {
		refused++;
		return;
	}
	last = now();
	latencies[ok++] = last - s->began;
}

static void flush(struct session *s)
{
	while (s->out_n) {
		ssize_t n = send(s->fd, s->out, s->out_n, MSG_NOSIGNAL);
		if (n < 0)
			break;
		s->out += n;
		s->out_n -= (size_t)n;
	}
	struct epoll_event e = { .events = s->out_n ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = s };
	epoll_ctl(epoll, EPOLL_CTL_MOD, s->fd, &e);
}

static void say(struct session *s, const char *line)
{
	s->out = s->line;
	s->out_n = (size_t)snprintf(s->line, sizeof s->line, "%s\r\n", line);
	flush(s);
}

static void close_session(struct session *s)
{
	close(s->fd);
	s->fd = -1;
	open_sessions--;
}

static void reply(struct session *s, int code)
{
	char line[64];
	if (code / 100 != (s->step == DATA ? 3 : 2) || s->step == DOT) {
		settle(s, code);
		say(s, "QUIT");
		close_session(s);
		return;
	}
	switch (s->step++) {
	case GREETING:
		say(s, "EHLO c.load.test");
		return;
	case EHLO:
		say(s, "MAIL FROM:<sender@outside.test>");
		return;
	case MAIL:
		snprintf(line, sizeof line, "RCPT TO:<user%u@example.test>", (unsigned)s->message * 2654435761u % USERS);
		say(s, line);
		return;
	case RCPT:
		say(s, "DATA");
		return;
	case DATA:
		s->out = texts[(size_t)s->message % text_count].p;
		s->out_n = texts[(size_t)s->message % text_count].n;
		flush(s);
		return;
	case DOT:
		return;
	}
}

static void readable(struct session *s)
{
	ssize_t n = read(s->fd, s->in + s->in_n, sizeof s->in - 1 - s->in_n);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		lost++;
		settle(s, 0);
		close_session(s);
		return;
	}
	s->in_n += (size_t)n;
	s->in[s->in_n] = '\0';
	char *end;
	while (s->fd >= 0 && (end = strchr(s->in, '\n'))) {
		if (end - s->in < 4 || s->in[3] != '-')
			reply(s, atoi(s->in));
		s->in_n -= (size_t)(end + 1 - s->in);
		memmove(s->in, end + 1, s->in_n + 1);
	}
}

static void open_session(struct session *s)
{
	int one = 1;
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->fd < 0)
		die("socket");
	setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	setsockopt(s->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
	if (source_count && bind(s->fd, (struct sockaddr *)&sources[next_source++ % source_count], sizeof *sources) < 0)
		die("bind");
	s->step = GREETING;
	s->in_n = s->out_n = 0;
	s->began = now();
	first = first ? first : s->began;
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = s };
	epoll_ctl(epoll, EPOLL_CTL_ADD, s->fd, &e);
	open_sessions++;
	if (connect(s->fd, (struct sockaddr *)&server, sizeof server) < 0 && errno != EINPROGRESS) {
		lost++;
		settle(s, 0);
		close_session(s);
	}
}

static int by_value(const void *a, const void *b)
{
	const double *l = a, *r = b;
	return *l < *r ? -1 : *l > *r;
}

static void work(struct session *all, int count)
{
	struct epoll_event e[256];
	for (double end = now() + PATIENCE_S; (settled < messages || open_sessions) && now() < end;) {
		for (int i = 0; i < count && (again_count || fresh < messages); i++)
			if (all[i].fd < 0 && (all[i].message = take()) >= 0)
				open_session(&all[i]);
		int n = epoll_wait(epoll, e, 256, 20);
		for (int i = 0; i < n; i++) {
			struct session *s = e[i].data.ptr;
			if (s->fd >= 0 && e[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
				readable(s);
			if (s->fd >= 0 && e[i].events & EPOLLOUT)
				flush(s);
		}
	}
}

int main(int argc, char **argv)
{
	if (argc < 5 || argc - 5 > 64)
		return fprintf(stderr, "usage: given FILE SERVER SESSIONS MESSAGES [SOURCE...]\n"), 2;
	read_texts(argv[1]);
	server = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(25) };
	inet_aton(argv[2], &server.sin_addr);
	int sessions = atoi(argv[3]);
	messages = atoi(argv[4]);
	for (int i = 5; i < argc; i++, source_count++) {
		sources[source_count].sin_family = AF_INET;
		inet_aton(argv[i], &sources[source_count].sin_addr);
	}
	struct session *all = calloc((size_t)sessions, sizeof *all);
	again = calloc((size_t)messages, sizeof *again), tries = calloc((size_t)messages, 1), latencies = calloc((size_t)messages, sizeof *latencies);
	if (!all || !again || !tries || !latencies || (epoll = epoll_create1(EPOLL_CLOEXEC)) < 0)
		die("start");
	for (int i = 0; i < sessions; i++)
		all[i].fd = all[i].message = -1;
	work(all, sessions);
	qsort(latencies, (size_t)ok, sizeof *latencies, by_value);
	for (char *p = sample; *p; p++)
		*p = *p == '"' || *p == '\\' || (unsigned char)*p < 32 ? '\'' : *p;
	printf("{\"messages\":%d,\"ok\":%d,\"refused\":%d,\"lost\":%d,\"unfinished\":%d,\"t_first\":%.6f,\"t_last\":%.6f,\"t_end\":%.6f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"refusal\":\"%s\"}\n",
	       messages, ok, refused, lost, messages - settled, first, last, now(), ok ? latencies[ok / 2] * 1e3 : 0, ok ? latencies[(int)((ok - 1) * .99)] * 1e3 : 0, sample);
	return 0;
}
