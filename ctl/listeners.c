/* Listening sockets: opened by the parent alone, before anybody serves, and kept over reloads, so that no connection that waits in a backlog is lost. Each process that
 * serves a listener has a socket of its own on the same port (SO_REUSEPORT); a process that is started again gets the socket of the one before. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/field.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/net.h"
#include "ctl/parent.h"
#include "ctl/listener_names.h"

enum { MAX_SOCKETS = 512, BACKLOG = 1024, MAX_TEXT = 100, PATIENCE_MS = 3000, PAUSE_US = 20000 };

struct socket_row {
	char name[32], address[MAX_TEXT];
	unsigned index;
	int fd;
	unsigned epoch;
};

struct listener_set {
	struct socket_row *rows;
	size_t count, room;
	uint64_t patient_until_ms;
};

static struct socket_row *find(struct listener_set *set, const char *name, const char *address, unsigned index)
{
	for (size_t i = 0; i < set->count; i++)
		if (strcmp(set->rows[i].name, name) == 0 && strcmp(set->rows[i].address, address) == 0 && set->rows[i].index == index)
			return &set->rows[i];
	return NULL;
}

/* At the start a port may still be held by a process of the one before us: a parent killed with -9 is gone before its children have heard of it. */
static int listen_patiently(const struct listener_set *set, const struct net_address *a, bool shared)
{
	int fd;
	while ((fd = net_listen(a, shared, BACKLOG)) == -EADDRINUSE && clock_mono_ms() < set->patient_until_ms)
		usleep(PAUSE_US);
	return fd;
}

static int open_one(struct parent *p, const char *name, struct slice text, unsigned index, bool shared)
{
	struct listener_set *set = p->listeners;
	char address[MAX_TEXT];
	struct net_address a;
	const char *why;
	snprintf(address, sizeof address, "%.*s", SLICE_FMT(text));
	struct socket_row *row = find(set, name, address, index);
	if (row) {
		row->epoch = p->epoch;
		return 0;
	}
	if (set->count == MAX_SOCKETS || !net_address_parse(text, 0, &a, &why))
		return -EINVAL;
	int fd = listen_patiently(set, &a, shared);
	if (fd < 0) {
		fprintf(stderr, "porterd: listen-%s %s: %s\n", name, address, strerror(-fd));
		log_event(LOG_ERROR, "listen-failed", LOG_CSTR("listener", name), LOG_CSTR("address", address), LOG_ERRNO(fd), LOG_END);
		return fd;
	}
	if (set->count == set->room) {
		set->room = set->room ? 2 * set->room : 8;
		set->rows = mem_grow(set->rows, set->room, sizeof *set->rows);
	}
	row = &set->rows[set->count++];
	*row = (struct socket_row){ .index = index, .fd = fd, .epoch = p->epoch };
	snprintf(row->name, sizeof row->name, "%s", name);
	memcpy(row->address, address, sizeof address);
	return 0;
}

static int open_list(struct parent *p, const struct listener_name *l, unsigned processes)
{
	int error = 0;
	struct slice rest = *l->setting;
	while (rest.n) {
		struct slice item = slice_cut(rest, ' ', &rest);
		for (unsigned i = 0; item.n && i < processes; i++) {
			int one = open_one(p, l->name, item, i, processes > 1);
			error = error ? error : one;
		}
	}
	return error;
}

int listeners_open(struct parent *p)
{
	if (!p->listeners) {
		p->listeners = MEM_NEW(struct listener_set);
		p->listeners->patient_until_ms = clock_mono_ms() + PATIENCE_MS;
	}
	int error = 0;
	for (size_t i = 0; i < listener_name_count; i++) {
		int one = open_list(p, &listener_names[i], listener_names[i].per_process ? p->processes : 1);
		error = error ? error : one;
	}
	struct listener_set *set = p->listeners;
	for (size_t i = 0; i < set->count;) {       /* what the settings name no more */
		if (set->rows[i].epoch == p->epoch) {
			i++;
			continue;
		}
		close(set->rows[i].fd);
		set->rows[i] = set->rows[--set->count];
	}
	return error;
}

static bool names_it(const char *list, const char *name)
{
	struct slice rest = slice_of(list);
	while (rest.n)
		if (slice_eq(slice_cut(rest, ' ', &rest), slice_of(name)))
			return true;
	return false;
}

void listeners_give(struct parent *p, struct child *c)
{
	for (size_t i = 0; p->listeners && i < p->listeners->count; i++) {
		const struct socket_row *row = &p->listeners->rows[i];
		if (!names_it(c->role->listeners, row->name) || row->index != c->index)
			continue;
		struct buf b = BUF_INIT(400);
		field_add(&b, HOUSE_TAG_NAME, slice_of(row->name));
		field_add(&b, HOUSE_TAG_ADDRESS, slice_of(row->address));
		ipc_send(c->channel, HOUSE_LISTEN, 0, buf_slice(&b), row->fd);
		buf_free(&b);
	}
}

void listeners_close(struct parent *p)
{
	for (size_t i = 0; p->listeners && i < p->listeners->count; i++)
		close(p->listeners->rows[i].fd);
	if (p->listeners)
		mem_free(p->listeners->rows);
	mem_free(p->listeners);
	p->listeners = NULL;
}
