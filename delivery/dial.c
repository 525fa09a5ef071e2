/* Dialling: at most two sockets at once, those of neighbouring addresses of one host. */
#include "delivery/dial.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "base/mem.h"

enum { LINES = 2 };

struct line {
	struct dial *owner;
	int fd;                      /* -1: free */
	size_t index;
	struct loop_watch *watch;
	struct loop_timer *timer;
};

struct dial {
	struct loop *loop;
	struct dial_plan plan;
	size_t next;
	struct line lines[LINES];
	struct loop_timer *step;     /* the next address is due */
	bool opening, freed;         /* a Unix socket is being opened elsewhere */
};

static void go_on(void *arg);
static void line_timed_out(void *arg);

static void hang_up(struct line *l)
{
	loop_watch_free(l->watch);
	l->watch = NULL;
	if (l->timer)
		loop_timer_stop(l->timer);
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

static void release(struct dial *d)
{
	for (size_t i = 0; i < LINES; i++) {
		hang_up(&d->lines[i]);
		loop_timer_free(d->lines[i].timer);
	}
	loop_timer_free(d->step);
	mem_free(d);
}

void dial_cancel(struct dial *d)
{
	if (!d)
		return;
	d->freed = true;
	if (!d->opening)
		release(d);
}

static void finish(struct dial *d, int fd, size_t index)
{
	struct dial_plan p = d->plan;
	release(d);
	p.done(p.arg, fd, index);
}

static bool in_use(const struct dial *d)
{
	for (size_t i = 0; i < LINES; i++)
		if (d->lines[i].fd >= 0)
			return true;
	return d->opening;
}

static void line_failed(struct line *l, int error)
{
	struct dial *d = l->owner;
	hang_up(l);
	d->plan.failed(d->plan.arg, l->index, error);
	loop_timer_set(d->step, 0);
}

static void line_ready(void *arg, int what)
{
	struct line *l = arg;
	int error = 0;
	socklen_t n = sizeof error;
	(void)what;
	getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &n);
	if (error) {
		line_failed(l, error);
		return;
	}
	int fd = l->fd;
	l->fd = -1;
	finish(l->owner, fd, l->index);
}

static void line_timed_out(void *arg)
{
	line_failed(arg, ETIMEDOUT);
}

static int open_socket(const struct dial *d, const struct net_address *to)
{
	int one = 1, family = to->sa.any.sa_family, fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const struct net_address *from = family == AF_INET ? d->plan.from4 : family == AF_INET6 ? d->plan.from6 : NULL;
	if (fd < 0)
		return -errno;
	if (family != AF_UNIX)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if ((from && bind(fd, &from->sa.any, from->length) < 0) ||
	    (connect(fd, &to->sa.any, to->length) < 0 && errno != EINPROGRESS)) {
		int error = -errno;
		close(fd);
		return error;
	}
	return fd;
}

static void unix_opened(void *arg, int fd)
{
	struct dial *d = arg;
	d->opening = false;
	if (d->freed) {
		if (fd >= 0)
			close(fd);
		release(d);
	} else if (fd >= 0) {
		finish(d, fd, d->next - 1);
	} else {
		d->plan.failed(d->plan.arg, d->next - 1, -fd);
		loop_timer_set(d->step, 0);
	}
}

static void dial_unix(struct dial *d, const struct net_address *to)
{
	d->opening = true;
	int error = d->plan.open_unix(d->plan.how, slice_of(to->sa.un.sun_path), unix_opened, d);
	if (error) {
		d->opening = false;
		d->plan.failed(d->plan.arg, d->next - 1, -error);
		loop_timer_set(d->step, 0);
	}
}

static void dial_one(struct dial *d, struct line *l)
{
	const struct net_address *to = &d->plan.targets[d->next].address;
	l->index = d->next++;
	if (to->sa.any.sa_family == AF_UNIX && d->plan.open_unix) {
		dial_unix(d, to);
		return;
	}
	int fd = open_socket(d, to);
	if (fd < 0) {
		line_failed(l, -fd);
		return;
	}
	l->fd = fd;
	l->watch = loop_watch_new(d->loop, fd, line_ready, l);
	loop_watch_set(l->watch, LOOP_WRITE);
	loop_timer_set(l->timer, d->plan.timeout_ms);
	loop_timer_set(d->step, DIAL_STAGGER_MS);
}

/* May the next address be tried beside what is under way? */
static bool is_neighbour(const struct dial *d)
{
	return slice_eq(d->plan.targets[d->next].host, d->plan.targets[d->next - 1].host);
}

static void go_on(void *arg)
{
	struct dial *d = arg;
	bool busy = in_use(d);
	if (d->next == d->plan.count) {
		if (!busy)
			finish(d, -1, 0);
		return;
	}
	if (busy && (d->opening || !is_neighbour(d)))
		return;
	for (size_t i = 0; i < LINES; i++)
		if (d->lines[i].fd < 0) {
			dial_one(d, &d->lines[i]);
			return;
		}
}

struct dial *dial_start(struct loop *l, const struct dial_plan *p)
{
	struct dial *d = MEM_NEW(struct dial);
	*d = (struct dial){ .loop = l, .plan = *p };
	for (size_t i = 0; i < LINES; i++) {
		d->lines[i] = (struct line){ .owner = d, .fd = -1 };
		d->lines[i].timer = loop_timer_new(l, line_timed_out, &d->lines[i]);
	}
	d->step = loop_timer_new(l, go_on, d);
	loop_timer_set(d->step, 0);
	return d;
}
