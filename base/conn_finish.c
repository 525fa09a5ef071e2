/* The orderly end of a connection whose protocol is done with it: nobody holds a pointer to it any more, so this file owns it until it is closed. */
#include <errno.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/conn_state.h"

static struct conn *finishing; /* of the process's one loop; what is in it when the process ends is closed by the kernel */

static void keep(struct conn *c)
{
	c->next = finishing;
	c->link = &finishing;
	if (c->next)
		c->next->link = &c->next;
	finishing = c;
}

void conn_state_forget(struct conn *c)
{
	if (!c->link)
		return;
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	c->link = NULL;
}

static void finish_timed_out(void *arg)
{
	conn_free(arg);
}

/* A socket closed with unread input sends a reset, which may overtake our last reply: read and drop until the peer is done. */
static bool lingers(struct conn *c)
{
	char drop[4096];
	ssize_t n = recv(c->fd, drop, sizeof drop, 0);
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

void conn_state_finish_step(struct conn *c)
{
	if (!c->lingering) {
		size_t sent;
		if (conn_output_pending(c)) {
			enum transport_want want = conn_state_write(c, c->out.p + c->out_sent, conn_output_pending(c), &sent);
			c->out_sent += sent;
			if (!conn_state_is_error(want) && conn_output_pending(c)) {
				conn_state_update_interest(c);
				return;
			}
		}
		int unread = 0;
		if (c->transport->methods->shutdown)
			c->transport->methods->shutdown(c->transport); /* the peer's own close_notify is not waited for */
		if (c->in.n == 0 && !c->paused && (ioctl(c->fd, FIONREAD, &unread) < 0 || unread == 0)) {
			conn_state_release(c);
			return;
		}
		shutdown(c->fd, SHUT_WR);
		c->lingering = true;
		c->paused = false;
		buf_free(&c->in);
	}
	if (lingers(c))
		conn_state_update_interest(c);
	else
		conn_state_release(c);
}

void conn_finish(struct conn *c, uint64_t ms)
{
	if (!c || c->freed || c->finishing)
		return;
	if (c->phase != OPEN) {
		conn_free(c);
		return;
	}
	c->finishing = true;
	keep(c);
	c->timeout_ms = 0;
	loop_timer_free(c->timer);
	c->timer = loop_timer_new(c->loop, finish_timed_out, c);
	loop_timer_set(c->timer, ms);
	conn_state_hold(c);
	conn_state_let_go(c); /* takes the first step, unless a frame further out will */
}
