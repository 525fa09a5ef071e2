/* Asking for a connected Unix socket, and the few lines that run on the other side of the chroot. */
#include "delivery/unix_helper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/house.h"
#include "base/ipc.h"
#include "base/mem.h"

enum { OPENED = 1, MAX_OPEN = 64 };

struct request {
	struct request *next;
	struct unix_helper *owner;
	uint64_t id;
	char *path;
	bool begun;                    /* its helper is asked for; those that wait for one stand behind */
	bool ended;                    /* its helper has, having sent a connection, which comes next */
	struct ipc *channel;           /* NULL: not begun, or closed: the helper's end is told next */
	void (*opened)(void *arg, int fd);
	void *arg;
};

struct unix_helper {
	struct house *house;
	struct request *requests;      /* the oldest first */
	uint64_t next_id;
	size_t open;                   /* helpers under way */
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
	r->owner->open -= r->begun;
	ipc_free(r->channel);
}

static void release(struct request *r)
{
	mem_free(r->path);
	mem_free(r);
}

void unix_helper_free(struct unix_helper *u)
{
	if (!u)
		return;
	while (u->requests) {
		struct request *r = u->requests;
		take_out(r);
		release(r);
	}
	mem_free(u);
}

static void begin_waiting(struct unix_helper *u);

static void tell(struct request *r, int fd)
{
	take_out(r);
	r->opened(r->arg, fd);
	release(r);
}

static void finish(struct request *r, int fd)
{
	struct unix_helper *u = r->owner;
	tell(r, fd);
	begin_waiting(u);
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

/* Why, unix_helper_done says; a connection that was sent and didn't come found no descriptor free here. */
static void on_close(void *arg, struct ipc *which)
{
	struct request *r = arg;
	ipc_free(which);
	r->channel = NULL;
	if (r->ended)
		finish(r, -EAGAIN);
}

static int begin(struct request *r)
{
	static const struct ipc_handler handler = { on_message, on_close };
	struct unix_helper *u = r->owner;
	struct slice path = slice_of(r->path);
	int pair[2], error = ipc_pair(pair);
	r->begun = true;
	u->open++;
	if (error)
		return error;
	fcntl(pair[1], F_SETFL, 0); /* the helper blocks */
	r->channel = ipc_new(u->house->loop, pair[0], &handler, r);
	error = house_helper(u->house, r->id, SLICE("connect-unix"), SLICE_NONE, SLICE_NONE, &path, 1, pair[1]);
	close(pair[1]);
	return error;
}

static struct request *first_waiting(const struct unix_helper *u, const char *path)
{
	struct request *r = u->requests;
	while (r && (r->begun || (path && strcmp(r->path, path) != 0)))
		r = r->next;
	return r;
}

static void begin_waiting(struct unix_helper *u)
{
	struct request *r;
	while (u->open < MAX_OPEN && (r = first_waiting(u, NULL)) != NULL) {
		int error = begin(r);
		if (error)
			tell(r, error);
	}
}

int unix_helper_open(void *how, struct slice path, void (*opened)(void *arg, int fd), void *arg)
{
	struct unix_helper *u = how;
	struct request *r = MEM_NEW(struct request), **last = &u->requests;
	*r = (struct request){ .owner = u, .id = u->next_id++, .path = mem_copy(path.p, path.n), .opened = opened, .arg = arg };
	while (*last)
		last = &(*last)->next;
	*last = r;
	int error = u->open < MAX_OPEN ? begin(r) : 0;
	if (error) {
		take_out(r);
		release(r);
	}
	return error;
}

/* Where nobody listens, or nobody accepts, those that wait for the same socket need not find out one by one. */
static void refuse_waiting(struct unix_helper *u, const char *path)
{
	struct request *r;
	while ((r = first_waiting(u, path)) != NULL)
		tell(r, -ECONNREFUSED);
}

/* status below 0: the helper could not be started. */
void unix_helper_done(struct unix_helper *u, uint64_t id, int status)
{
	struct request *r = u ? u->requests : NULL;
	while (r && r->id != id)
		r = r->next;
	if (!r)
		return;
	r->ended = true;
	if (status == 0 && r->channel)
		return;
	char *path = mem_copy(r->path, strlen(r->path));
	finish(r, status <= 0 ? -EAGAIN : -ECONNREFUSED);
	if (status > 0)
		refuse_waiting(u, path);
	mem_free(path);
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
