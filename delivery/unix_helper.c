/* Asking for a connected Unix socket, and the few lines that run on the other side of the chroot. */
#include "delivery/unix_helper.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/house.h"
#include "base/ipc.h"
#include "base/mem.h"

enum { OPENED = 1, MAX_OPEN = 64, PATIENCE_MS = 10000 };

struct request {
	struct request *next;
	struct unix_helper *owner;
	uint64_t id;
	struct ipc *channel;
	void (*opened)(void *arg, int fd);
	void *arg;
};

struct unix_helper {
	struct house *house;
	struct request *requests;
	uint64_t next_id;
	size_t count;
};

struct unix_helper *unix_helper_new(struct house *h)
{
	struct unix_helper *u = MEM_NEW(struct unix_helper);
	u->house = h;
	u->next_id = UINT64_C(1) << 40; /* others of this process ask for helpers, too */
	return u;
}

static void take_out(struct request *r)
{
	struct request **at = &r->owner->requests;
	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	r->owner->count--;
	ipc_free(r->channel);
}

void unix_helper_free(struct unix_helper *u)
{
	if (!u)
		return;
	while (u->requests) {
		struct request *r = u->requests;
		take_out(r);
		mem_free(r);
	}
	mem_free(u);
}

static void finish(struct request *r, int fd)
{
	take_out(r);
	r->opened(r->arg, fd);
	mem_free(r);
}

static int on_message(void *arg, struct ipc *from, struct ipc_message *m)
{
	(void)from;
	if (m->type != OPENED || m->fd < 0)
		return -EPROTO;
	int fd = m->fd;
	m->fd = -1;
	fcntl(fd, F_SETFL, O_NONBLOCK);
	finish(arg, fd);
	return 0;
}

static void on_close(void *arg, struct ipc *which)
{
	(void)which; /* freed with the request */
	finish(arg, -1);
}

int unix_helper_open(void *how, struct slice path, void (*opened)(void *arg, int fd), void *arg)
{
	static const struct ipc_handler handler = { on_message, on_close };
	struct unix_helper *u = how;
	int pair[2];
	if (u->count == MAX_OPEN)
		return -EAGAIN;
	int error = ipc_pair(pair);
	if (error)
		return error;
	fcntl(pair[1], F_SETFL, 0); /* the helper blocks */
	struct request *r = MEM_NEW(struct request);
	*r = (struct request){ .next = u->requests, .owner = u, .id = u->next_id++, .opened = opened, .arg = arg };
	r->channel = ipc_new(u->house->loop, pair[0], &handler, r);
	u->requests = r;
	u->count++;
	error = house_helper(u->house, r->id, SLICE("connect-unix"), SLICE_NONE, SLICE_NONE, &path, 1, pair[1]);
	close(pair[1]);
	if (error) {
		take_out(r);
		mem_free(r);
	}
	return error;
}

/* The channel's end says it all; a helper that could not even be started closes it, too. */
void unix_helper_done(struct unix_helper *u, uint64_t id, int status)
{
	if (!u || status == 0)
		return;
	for (struct request *r = u->requests; r; r = r->next)
		if (r->id == id) {
			finish(r, -1);
			return;
		}
}

int unix_helper_main(const char *path)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || strlen(path) >= sizeof to.sun_path)
		return 1;
	memcpy(to.sun_path, path, strlen(path));
	if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
		return 1;
	return ipc_send_blocking(0, OPENED, 1, SLICE_NONE, fd) < 0 ? 1 : 0;
}
