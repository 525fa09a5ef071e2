/* Clients are taken one at a time while they wait; the loop comes back for more. Where descriptors run out, a listener rests until a session has ended or a second has passed. */
#include "smtpd/listener.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "smtpd/crowd.h"
#include "smtpd/dialog.h"
#include "smtpd/policy.h"
#include "smtpd/session.h"
#include "smtpd/smtpd_settings.h"

enum { AT_ONCE = 16, REST_MS = 1000 };

struct listener {
	struct smtpd *smtpd;
	enum listener_kind kind;
	struct slice name, address;
	int fd;
	struct loop_watch *watch;
	struct loop_timer *rest;
};

static const struct slice names[] = {
	[LISTENER_MX] = SLICE_INIT("mx"), [LISTENER_SUBMISSION] = SLICE_INIT("submission"), [LISTENER_SUBMISSIONS] = SLICE_INIT("submissions"),
	[LISTENER_LOCAL] = SLICE_INIT("local")
};

enum listener_kind listener_kind(const struct listener *l)
{
	return l->kind;
}

struct slice listener_kind_name(enum listener_kind kind)
{
	return names[kind];
}

static void send_away(struct listener *l, int fd, const struct net_address *peer, const char *why)
{
	static const char text[] = "421 4.7.0 Too many connections, try again later\r\n";
	struct buf b = BUF_INIT(128);
	ssize_t n = l->kind == LISTENER_SUBMISSIONS ? 0 : send(fd, text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)n;
	close(fd);
	l->smtpd->counts.refused_sessions++;
	net_address_print(&b, peer);
	log_event(LOG_INFO, "session-refused", LOG_STR("client", buf_slice(&b)), LOG_CSTR("why", why), LOG_END);
	buf_free(&b);
}

/* One more session is counted, or sent away. */
static bool enter(struct listener *l, const struct net_ip *ip, int fd, const struct net_address *peer)
{
	const struct crowd_limits limits = { smtpd_settings.max_sessions, smtpd_settings.max_sessions_address, smtpd_settings.max_sessions_network };
	switch (crowd_enter(l->smtpd->crowd, ip, &limits)) {
	case CROWD_COME_IN:
		return true;
	case CROWD_FULL:
		send_away(l, fd, peer, "max-sessions");
		return false;
	case CROWD_TOO_MANY:
		send_away(l, fd, peer, "max-sessions-address or max-sessions-network");
		return false;
	}
	return false;
}

static void welcome(struct listener *l, int fd, const struct net_address *peer)
{
	struct smtpd *d = l->smtpd;
	struct net_ip ip = net_ip_of(peer);
	bool exempt = policy_is_exempt(&ip);
	if (!enter(l, exempt ? NULL : &ip, fd, peer))
		return;
	struct session *s = session_new(d, l, fd, peer);
	s->counted = !exempt;
	s->counted_as = ip;
	dialog_begin(s);
}

static void rested(void *arg)
{
	struct listener *l = arg;
	loop_watch_set(l->watch, LOOP_READ);
}

static void ready(void *arg, int what)
{
	struct listener *l = arg;
	(void)what;
	for (int i = 0; i < AT_ONCE; i++) {
		struct net_address peer = { .length = sizeof peer.sa };
		int fd = accept4(l->fd, &peer.sa.any, &peer.length, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			welcome(l, fd, &peer);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			log_event(LOG_WARN, "listener-rests", LOG_STR("address", l->address), LOG_ERRNO(errno), LOG_END);
			loop_watch_set(l->watch, 0);
			loop_timer_set(l->rest, REST_MS);
		}
		return;
	}
}

struct listener *listener_new(struct smtpd *d, struct slice name, struct slice address, int fd)
{
	int one = 1;
	for (size_t i = 0; i < LISTENER_LOCAL; i++) {
		if (!slice_eq(name, names[i]))
			continue;
		struct listener *l = MEM_NEW(struct listener);
		*l = (struct listener){ .smtpd = d, .kind = (enum listener_kind)i, .name = names[i], .address = address, .fd = fd };
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* what is accepted inherits it */
		l->watch = loop_watch_new(d->loop, fd, ready, l);
		l->rest = loop_timer_new(d->loop, rested, l);
		loop_watch_set(l->watch, LOOP_READ);
		return l;
	}
	close(fd);
	return NULL;
}

void listener_free(struct listener *l)
{
	if (!l)
		return;
	loop_watch_free(l->watch);
	loop_timer_free(l->rest);
	close(l->fd);
	mem_free(l);
}

/* Users of this system are counted as if each were an address of one network, so that none of them takes the sessions of the rest or of the world. */
static struct net_ip ip_of_user(struct slice user)
{
	struct net_ip ip = { { 0xfd }, false };
	uint64_t h = UINT64_C(14695981039346656037);
	for (size_t i = 0; i < user.n; i++)
		h = (h ^ (unsigned char)user.p[i]) * UINT64_C(1099511628211);
	memcpy(ip.bytes + 8, &h, sizeof h);
	return ip;
}

/* Such clients came through the parent, one by one; this stands for what they came to. */
void listener_take_local(struct smtpd *d, struct slice user, int fd)
{
	static struct listener local = { .kind = LISTENER_LOCAL, .name = SLICE_INIT("local"), .fd = -1 };
	const struct net_ip loopback = { { [10] = 0xff, 0xff, 127, 0, 0, 1 }, true };
	struct net_address peer = net_address_of_ip(&loopback, 0);
	local.smtpd = d;
	struct net_ip as = ip_of_user(user);
	if (d->draining || d->stopping) {
		send_away(&local, fd, &peer, "ending");
		return;
	}
	if (!enter(&local, &as, fd, &peer))
		return;
	struct session *s = session_new(d, &local, fd, &peer);
	s->facts.user = arena_copy(&s->mem, user);
	s->facts.exempt = s->counted = true;
	s->counted_as = as;
	log_event(LOG_INFO, "local-session", LOG_STR("session", unique_slice(&s->facts.id)), LOG_STR("user", s->facts.user), LOG_END);
	dialog_begin(s);
}
