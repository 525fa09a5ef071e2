/* The way to a service that filters. */
#include "smtpd/filter_service.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "smtpd/smtpd.h"

struct filter_dial {
	struct smtpd *smtpd;
	struct conn_limits limits;
	const struct conn_handler *handler;
	void *arg;
	void (*done)(void *arg, struct conn *c, const char *why);
	struct loop_timer *timer;
	struct loop_watch *watch;
	int fd;                      /* -1 none */
	uint64_t asked;              /* the parent's question, 0 none */
	const char *why;
};

static void release(struct filter_dial *f)
{
	if (f->asked)
		house_connect_forget(f->smtpd->house, f->asked);
	loop_watch_free(f->watch);
	loop_timer_free(f->timer);
	if (f->fd >= 0)
		close(f->fd);
	mem_free(f);
}

static void finish(struct filter_dial *f, const char *why)
{
	void (*done)(void *arg, struct conn *conn, const char *reason) = f->done;
	void *arg = f->arg;
	struct conn *c = NULL;
	if (!why) {
		c = conn_new(f->smtpd->loop, f->fd, &f->limits, f->handler, arg);
		f->fd = -1;
	}
	release(f);
	done(arg, c, why);
}

static void ready(void *arg, int what)
{
	struct filter_dial *f = arg;
	int error = 0;
	socklen_t n = sizeof error;
	(void)what;
	loop_watch_free(f->watch);
	f->watch = NULL;
	finish(f, getsockopt(f->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0 || error ? "not there" : NULL);
}

static void connected_by_parent(void *arg, int fd)
{
	struct filter_dial *f = arg;
	f->asked = 0;
	f->fd = fd < 0 ? -1 : fd;
	finish(f, fd >= 0 ? NULL : fd == -EACCES ? "not permitted" : "not there");
}

static void out_of_time(void *arg)
{
	struct filter_dial *f = arg;
	finish(f, f->why);
}

static bool begin_connect(struct filter_dial *f, const struct net_address *to)
{
	int one = 1;
	f->fd = socket(to->sa.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (f->fd < 0)
		return false;
	if (to->sa.any.sa_family != AF_UNIX)
		setsockopt(f->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (connect(f->fd, &to->sa.any, to->length) < 0 && errno != EINPROGRESS)
		return false;
	f->watch = loop_watch_new(f->smtpd->loop, f->fd, ready, f);
	loop_watch_set(f->watch, LOOP_WRITE);
	return true;
}

struct filter_dial *filter_dial(struct smtpd *d, const struct filter_service *s, const struct conn_limits *limits, const struct conn_handler *h, void *arg,
                                void (*done)(void *arg, struct conn *c, const char *why))
{
	struct filter_dial *f = MEM_NEW(struct filter_dial);
	*f = (struct filter_dial){ .smtpd = d, .limits = *limits, .handler = h, .arg = arg, .done = done, .fd = -1, .why = "no connection in time" };
	f->timer = loop_timer_new(d->loop, out_of_time, f);
	uint64_t patience = s->timeout_ms;
	if (s->address.sa.any.sa_family == AF_UNIX && d->house && d->house->privileged) {
		f->asked = house_connect(d->house, slice_of(s->address.sa.un.sun_path), connected_by_parent, f);
	} else if (!begin_connect(f, &s->address)) {
		f->why = "not there";
		patience = 1; /* the answer never comes from inside the question */
	}
	loop_timer_set(f->timer, patience);
	return f;
}

void filter_dial_cancel(struct filter_dial *f)
{
	if (f)
		release(f);
}
