#ifndef TESTS_UNIT_LOAD_KIT_H
#define TESTS_UNIT_LOAD_KIT_H
/* Load for a mailbox process that will be killed or cut off from power: it runs in a child, every message knows its number and its length, and
 * what was promised is remembered. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/ipc.h"
#include "base/log.h"
#include "base/loop.h"
#include "delivery/mailbox.h"
#include "delivery/mailbox_proto.h"

enum { WINDOW = 20, MAILBOXES = 7, MAX_SIZE = 30000, MAX_MESSAGES = 200000 };

static char root[128];             /* the mail root */
static struct loop *loop;
static struct ipc *channel;
static uint64_t sent;
static bool order_unknown;         /* the server shall not see that its disk keeps order */
static bool promised[MAX_MESSAGES];
static unsigned promise_count; /* how many of them are true */

static size_t make_message(uint64_t n, char out[MAX_SIZE])
{
	size_t size = 100 + n * 7919 % (MAX_SIZE - 200);
	memset(out, 'a' + (int)(n % 26), size);
	int head = snprintf(out, 64, "N: %llu %zu\n", (unsigned long long)n, size);
	out[head] = '\n';
	out[size - 1] = '\n';
	return size;
}

/* To two mailboxes, d/uX and d/vX. */
static void send_one(void)
{
	static char content[MAX_SIZE];
	char place[16], other[16], id[24];
	struct mailbox_leaf leaves[2] = { { .kind = LEAF_MAILDIR }, { .kind = LEAF_MAILDIR } };
	snprintf(place, sizeof place, "d/u%d", (int)(sent % MAILBOXES));
	snprintf(other, sizeof other, "d/v%d", (int)(sent % MAILBOXES));
	leaves[0].place = slice_of(place);
	leaves[1].place = slice_of(other);
	snprintf(id, sizeof id, "n%llu", (unsigned long long)sent);
	struct mailbox_deliver m = { .transaction = slice_of(id), .leaves = leaves, .leaf_count = 2 };
	m.content = slice(content, make_message(sent, content));
	mailbox_send_deliver(channel, sent++, &m);
}

static int load_on_message(void *arg, struct ipc *from, struct ipc_message *m)
{
	struct arena mem = ARENA_INIT(1 << 20);
	struct mailbox_delivered d;
	(void)arg, (void)from;
	if (m->type != MAILBOX_DELIVERED)
		return 0;
	assert_int_equal(mailbox_get_delivered(m->payload, &mem, &d), 0);
	promised[m->id] = d.status.fate == MAIL_OK;
	promise_count += promised[m->id];
	arena_free(&mem);
	if (sent < MAX_MESSAGES)
		send_one();
	return 0;
}

static void load_on_close(void *arg, struct ipc *which)
{
	(void)arg;
	ipc_free(which);
	loop_stop(loop);
}

static _Noreturn void serve(int fd)
{
	struct loop *l = loop_new();
	struct mailbox *m;
	struct mailbox_setup setup = { .mail_root = slice_of(root), .host = SLICE("host.test") };
	log_set_level(LOG_ERROR);
	if (order_unknown)
		file_test_order(false);
	if (mailbox_new(l, &setup, &m) == 0) {
		mailbox_add_peer(m, fd);
		loop_run(l);
	}
	_exit(1);
}

/* Starts a mailbox process and WINDOW transactions; every answer starts the next. */
static pid_t load_start(void)
{
	static const struct ipc_handler handler = { load_on_message, load_on_close };
	int fds[2];
	assert_int_equal(ipc_pair(fds), 0);
	pid_t child = fork();
	if (child == 0) {
		close(fds[0]);
		serve(fds[1]);
	}
	close(fds[1]);
	loop = loop_new();
	channel = ipc_new(loop, fds[0], &handler, NULL);
	for (int i = 0; i < WINDOW; i++)
		send_one();
	return child;
}

static int count_entries(const char *path)
{
	DIR *d = opendir(path);
	int n = 0;
	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

/* Every file in this new/ is whole; counts how often each message is there. */
static void check_mailbox(const char *place, uint8_t *copies)
{
	static char text[MAX_SIZE], wanted[MAX_SIZE];
	char path[512];
	unsigned long long n;
	const struct dirent *e;
	snprintf(path, sizeof path, "%s/%s/tmp", root, place);
	assert_in_range(count_entries(path), 0, 2); /* "." and ".." */
	snprintf(path, sizeof path, "%s/%s/new", root, place);
	DIR *d = opendir(path);
	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		int fd = openat(dirfd(d), e->d_name, O_RDONLY | O_CLOEXEC);
		ssize_t size = read(fd, text, sizeof text);
		close(fd);
		assert_true(size > 0 && sscanf(text, "N: %llu ", &n) == 1 && n < MAX_MESSAGES);
		assert_int_equal(size, make_message(n, wanted));
		assert_memory_equal(text, wanted, (size_t)size);
		copies[n]++;
	}
	if (d)
		closedir(d);
}

/* What was promised is in both mailboxes; nothing is there more than once in each. Returns how many were promised. */
static uint64_t check_all(const bool *promises)
{
	static uint8_t copies[MAX_MESSAGES];
	uint64_t kept = 0;
	char place[8];
	memset(copies, 0, sizeof copies);
	for (int i = 0; i < MAILBOXES * 2; i++) {
		snprintf(place, sizeof place, "d/%c%d", i % 2 ? 'u' : 'v', i / 2 % 10);
		check_mailbox(place, copies);
	}
	for (uint64_t n = 0; n < sent; n++) {
		kept += promises[n];
		assert_true(copies[n] <= 2);
		if (promises[n])
			assert_int_equal(copies[n], 2);
	}
	return kept;
}
#endif
