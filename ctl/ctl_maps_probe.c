/* A small blocking SMTP dialogue for prove --probe: greeting, EHLO, MAIL FROM:<>, RCPT, QUIT. */
#include "ctl/ctl_maps_probe.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/general_settings.h"
#include "base/scan.h"
#include "base/unique.h"
#include "maps/map_value.h"

enum { PATIENCE_MS = 10000, MAX_REPLY = 16384 };

struct dialogue {
	int fd;
	uint64_t until_ms;
	char text[MAX_REPLY];
	size_t n;
};

/* One reply, all its lines; its code, or 0. */
static unsigned hear(struct dialogue *d)
{
	d->n = 0;
	for (;;) {
		uint64_t now = clock_mono_ms();
		struct pollfd p = { .fd = d->fd, .events = POLLIN };
		if (now >= d->until_ms || poll(&p, 1, (int)(d->until_ms - now)) <= 0 || d->n == sizeof d->text)
			return 0;
		ssize_t got = read(d->fd, d->text + d->n, sizeof d->text - d->n);
		if (got <= 0)
			return 0;
		d->n += (size_t)got;
		struct slice rest = slice(d->text, d->n), line;
		if (d->text[d->n - 1] != '\n')
			continue;
		while (scan_line(&rest, &line))
			if (line.n >= 3 && (line.n == 3 || line.p[3] != '-')) {
				uint64_t code;
				return scan_uint_all(slice_head(line, 3), 999, &code) ? (unsigned)code : 0;
			}
	}
}

static unsigned say(struct dialogue *d, const char *format, ...) __attribute__((format(printf, 2, 3)));

static unsigned say(struct dialogue *d, const char *format, ...)
{
	char line[1024];
	va_list args;
	va_start(args, format);
	int n = vsnprintf(line, sizeof line, format, args);
	va_end(args);
	if (n <= 0 || n >= (int)sizeof line || send(d->fd, line, (size_t)n, MSG_NOSIGNAL) != n)
		return 0;
	return hear(d);
}

static int dial(const char *host, unsigned port, int ms)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *all = NULL;
	char service[8];
	int fd = -1;
	snprintf(service, sizeof service, "%u", port);
	if (getaddrinfo(host, service, &hints, &all) != 0)
		return -1;
	for (struct addrinfo *a = all; a && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (fd < 0 || connect(fd, a->ai_addr, a->ai_addrlen) == 0)
			continue;
		struct pollfd p = { .fd = fd, .events = POLLOUT };
		int wrong = 0;
		socklen_t size = sizeof wrong;
		if (errno != EINPROGRESS || poll(&p, 1, ms) <= 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &wrong, &size) < 0 || wrong) {
			close(fd);
			fd = -1;
		}
	}
	freeaddrinfo(all);
	return fd;
}

/* The code that RCPT for a random name got; 0: none was heard. */
static unsigned ask_hop(struct ctl *c, struct slice place, struct slice domain)
{
	struct slice host;
	uint16_t port;
	if (!prove_place_host(place, &host, &port))
		return 0;
	bool lmtp = slice_starts(place, SLICE("lmtp:"));
	struct dialogue d = { .fd = dial(arena_cstr(&c->mem, host), port, PATIENCE_MS / 2), .until_ms = clock_mono_ms() + PATIENCE_MS };
	struct unique name = unique_new();
	if (d.fd < 0)
		return 0;
	unsigned code = hear(&d);
	if (code == 220)
		code = say(&d, "%s %.*s\r\n", lmtp ? "LHLO" : "EHLO", SLICE_FMT(general_settings.hostname));
	if (code == 250)
		code = say(&d, "MAIL FROM:<>\r\n");
	unsigned rcpt = code == 250 ? say(&d, "RCPT TO:<probe-%s@%.*s>\r\n", name.text, SLICE_FMT(domain)) : 0;
	say(&d, "QUIT\r\n");
	close(d.fd);
	return rcpt;
}

struct probing {
	struct ctl *c;
	struct arena mem;
	void (*found)(void *arg, const struct prove_finding *f);
	void *arg;
	struct prove_summary *sum;
	enum prove_grade worst;
};

static void tell(struct probing *p, enum prove_grade grade, const struct map_entry *e, struct slice text)
{
	struct prove_finding f = { grade, SLICE("domains"), e->line, e->key, text, SLICE("") };
	p->found(p->arg, &f);
	*(grade == PROVE_NOTE ? &p->sum->notes : grade == PROVE_UNSURE ? &p->sum->unsure : &p->sum->refuted) += 1;
	if (grade > p->worst)
		p->worst = grade;
}

static bool each_domain(void *arg, const struct map_entry *e)
{
	struct probing *p = arg;
	struct map_domain d;
	if (e->key.p[0] == '.' || map_domain_parse(e->value, &p->mem, &d) || d.kind != DOMAIN_RELAY)
		return true;
	unsigned code = ask_hop(p->c, d.target, e->key);
	if (code >= 200 && code < 300)
		tell(p, PROVE_REFUTED, e, SLICE("the next hop takes a recipient of a random name: it accepts everybody and would have to report later; name a map of recipients there, or mend it"));
	else if (code < 500)
		tell(p, PROVE_UNSURE, e, slice_starts(d.target, SLICE("mx:")) ? SLICE("the next hop stands behind an MX, which a probe does not ask") :
		     SLICE("the next hop did not say whether it takes a recipient of a random name"));
	arena_reset(&p->mem);
	return true;
}

enum prove_grade maps_probe(struct ctl *c, struct map_set *set, void (*found)(void *arg, const struct prove_finding *f), void *arg, struct prove_summary *sum)
{
	struct probing p = { .c = c, .mem = ARENA_INIT(1 << 20), .found = found, .arg = arg, .sum = sum };
	if (map_each(set, MAP_DOMAINS, each_domain, &p) == UNSURE)
		p.worst = PROVE_UNSURE;
	arena_free(&p.mem);
	return p.worst;
}
