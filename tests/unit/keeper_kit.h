/* For tests: the process `keeper` as the parent would start it, and a pair of connections in one loop. */
#ifndef TESTS_KEEPER_KIT_H
#define TESTS_KEEPER_KIT_H
#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/conn.h"
#include "base/crypto.h"
#include "base/field.h"
#include "base/house.h"
#include "base/ipc.h"
#include "base/keeper.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/tls.h"

struct keeper_process {
	pid_t pid;
	int parent; /* our end of descriptor 3 */
};

static int kit_file(struct slice text)
{
	int fd = memfd_create("key", MFD_CLOEXEC);
	assert(write(fd, text.p, text.n) == (ssize_t)text.n);
	return fd;
}

static void kit_send(int fd, unsigned type, struct slice name, int pass)
{
	struct buf b = BUF_INIT(10000);
	if (name.n)
		field_add(&b, type == HOUSE_PEER ? HOUSE_TAG_ROLE : HOUSE_TAG_NAME, name);
	assert(ipc_send_blocking(fd, (uint16_t)type, 1, buf_slice(&b), pass) == 0);
	buf_free(&b);
}

/* files: name, text, name, text, ... SLICE_NONE. Returns our channel to it. */
static int kit_keeper_start(struct keeper_process *p, const struct slice *files)
{
	int up[2], peer[2];
	assert(socketpair(AF_UNIX, SOCK_STREAM, 0, up) == 0 && ipc_pair(peer) == 0);
	p->pid = fork();
	if (p->pid == 0) {
		struct house h;
		dup2(up[1], 3);
		log_open(2, LOG_FORM_TEXT, "keeper");
		int error = house_begin(&h);
		_exit(error ? 99 : keeper_main(&h));
	}
	close(up[1]);
	p->parent = up[0];
	kit_send(p->parent, HOUSE_START, SLICE_NONE, -1);
	for (; files->n; files += 2) {
		int fd = kit_file(files[1]);
		kit_send(p->parent, HOUSE_FILE, files[0], fd);
		close(fd);
	}
	kit_send(p->parent, HOUSE_PEER, SLICE("smtpd"), peer[1]);
	close(peer[1]);
	kit_send(p->parent, HOUSE_GO, SLICE_NONE, -1);
	return peer[0];
}

static void kit_keeper_stop(struct keeper_process *p)
{
	int status;
	kit_send(p->parent, HOUSE_STOP, SLICE_NONE, -1);
	waitpid(p->pid, &status, 0);
	assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	close(p->parent);
}

/* One end of a pair of connections, and what happened there. */
struct kit_end {
	struct loop *loop;
	struct conn *conn;
	enum conn_event last;
	unsigned events;
	bool ready, failed;
	struct buf got;
	char error[200];
	struct tls_info info;
	char protocol[20], name[100], alpn[20], why[200];
};

static void kit_data(void *arg, struct conn *c)
{
	struct kit_end *e = arg;
	buf_add(&e->got, conn_input(c));
	conn_consume(c, conn_input(c).n);
	if (e->got.n && e->got.p[e->got.n - 1] == '!')
		loop_stop(e->loop);
}

static void kit_event(void *arg, struct conn *c, enum conn_event what)
{
	struct kit_end *e = arg;
	e->last = what;
	e->events++;
	if (what == CONN_TLS_READY) {
		e->ready = true;
		e->info = *conn_tls_info(c);
		snprintf(e->name, sizeof e->name, "%.*s", SLICE_FMT(e->info.name));
		snprintf(e->alpn, sizeof e->alpn, "%.*s", SLICE_FMT(e->info.alpn));
		snprintf(e->why, sizeof e->why, "%s", e->info.why);
	} else {
		e->failed = true;
		snprintf(e->error, sizeof e->error, "%.*s", SLICE_FMT(conn_error(c)));
		loop_stop(e->loop);
	}
}

static const struct conn_handler kit_handler = { kit_data, kit_event, NULL };
static const struct conn_limits kit_limits = { 1 << 20, 1 << 20 };

struct kit_pair {
	struct kit_end server, client;
};

static void kit_timeout(void *arg)
{
	loop_stop(arg);
}

static void kit_pair_run(struct loop *l, unsigned ms)
{
	struct loop_timer *t = loop_timer_new(l, kit_timeout, l);
	loop_timer_set(t, ms);
	loop_run(l);
	loop_timer_free(t);
}

/* A handshake between two contexts, and one word each way. */
static inline void kit_pair_make_with(struct kit_pair *p, struct loop *l, struct tls_context *server, struct tls_context *client, const char *name,
                                      const struct conn_limits *limits, const struct conn_handler *handler)
{
	int fds[2];
	assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
	*p = (struct kit_pair){ .server = { .loop = l, .got = BUF_INIT(1 << 20) }, .client = { .loop = l, .got = BUF_INIT(1 << 20) } };
	p->server.conn = conn_new(l, fds[0], limits, handler, &p->server);
	p->client.conn = conn_new(l, fds[1], &kit_limits, &kit_handler, &p->client);
	assert(conn_start_tls(p->server.conn, server, SLICE_NONE) == 0);
	assert(conn_start_tls(p->client.conn, client, slice_of(name)) == 0);
}

static inline void kit_pair_make(struct kit_pair *p, struct loop *l, struct tls_context *server, struct tls_context *client, const char *name)
{
	kit_pair_make_with(p, l, server, client, name, &kit_limits, &kit_handler);
}

static inline void kit_pair_free(struct kit_pair *p)
{
	conn_free(p->server.conn);
	conn_free(p->client.conn);
	buf_free(&p->server.got);
	buf_free(&p->client.got);
}

static inline void kit_pair_handshake(struct kit_pair *p, struct loop *l, struct tls_context *server, struct tls_context *client, const char *name)
{
	kit_pair_make(p, l, server, client, name);
	conn_write(p->client.conn, SLICE("hello!"));
	kit_pair_run(l, 60000);
	if (p->server.ready && !p->client.failed && !p->server.failed) {
		conn_write(p->server.conn, SLICE("answer!"));
		kit_pair_run(l, 60000);
	}
}
#endif
