/* kill -9 of the mailbox process under load, at random moments: what was answered is there and whole, what lies there is whole, and nothing lies
 * in tmp/. (The same through SMTP, for every process: tests/kill.) */
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

#include "base/ipc.h"
#include "base/log.h"
#include "base/loop.h"
#include "delivery/mailbox.h"
#include "delivery/mailbox_proto.h"

enum { ROUNDS = 10, WINDOW = 20, MAILBOXES = 7, MAX_SIZE = 30000, MAX_MESSAGES = 200000 };

static char root[64];
static struct loop *loop;
static struct ipc *channel;
static uint64_t sent;
static bool promised[MAX_MESSAGES];

/* A message knows its number and its length, so that a torn one is seen. */
static size_t make_message(uint64_t n, char out[MAX_SIZE])
{
	size_t size = 100 + n * 7919 % (MAX_SIZE - 200);
	memset(out, 'a' + (int)(n % 26), size);
	int head = snprintf(out, 64, "N: %llu %zu\n", (unsigned long long)n, size);
	out[head] = '\n';
	out[size - 1] = '\n';
	return size;
}

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
	struct mailbox_deliver m = { .transaction = slice_of(id), .content = slice(content, make_message(sent, content)), .leaves = leaves, .leaf_count = 2 };
	mailbox_send_deliver(channel, sent++, &m);
}

static int on_message(void *arg, struct ipc *from, struct ipc_message *m)
{
	struct arena mem = ARENA_INIT(1 << 20);
	struct mailbox_delivered d;
	(void)arg, (void)from;
	if (m->type != MAILBOX_DELIVERED)
		return 0;
	assert_int_equal(mailbox_get_delivered(m->payload, &mem, &d), 0);
	promised[m->id] = d.status.fate == MAIL_OK;
	arena_free(&mem);
	if (sent < MAX_MESSAGES)
		send_one();
	return 0;
}

static void on_close(void *arg, struct ipc *which)
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
	if (mailbox_new(l, &setup, &m) == 0) {
		mailbox_add_peer(m, fd);
		loop_run(l);
	}
	_exit(1);
}

static void kill_it(void *arg)
{
	kill(*(pid_t *)arg, SIGKILL);
}

static void one_round(void)
{
	static const struct ipc_handler handler = { on_message, on_close };
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
	struct loop_timer *t = loop_timer_new(loop, kill_it, &child);
	loop_timer_set(t, 5 + (uint64_t)rand() % 80);
	for (int i = 0; i < WINDOW; i++)
		send_one();
	loop_run(loop);
	loop_timer_free(t);
	loop_free(loop);
	assert_int_equal(waitpid(child, NULL, 0), child);
}

/* Every file in this new/ is whole; counts how often each message is there. */
static void check_folder(const char *name, uint8_t *copies)
{
	static char text[MAX_SIZE], wanted[MAX_SIZE];
	char path[512];
	unsigned long long n;
	snprintf(path, sizeof path, "%s/d/%s/tmp", root, name);
	DIR *d = opendir(path);
	while (d && (readdir(d))) /* "." and ".." alone */
		copies[MAX_MESSAGES]++;
	if (d)
		closedir(d);
	snprintf(path, sizeof path, "%s/d/%s/new", root, name);
	d = opendir(path);
	const struct dirent *e;
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

static void what_was_answered_survives_a_kill_and_nothing_is_torn(void **state)
{
	static uint8_t copies[MAX_MESSAGES + 1];
	char command[128], name[8];
	uint64_t kept = 0;
	(void)state;
	snprintf(root, sizeof root, "/tmp/porter-kill-XXXXXX");
	assert_non_null(mkdtemp(root));
	srand((unsigned)getpid());
	for (int i = 0; i < ROUNDS; i++)
		one_round();
	for (int i = 0; i < MAILBOXES * 2; i++) {
		snprintf(name, sizeof name, "%c%d", i % 2 ? 'u' : 'v', i / 2);
		check_folder(name, copies);
	}
	assert_int_equal(copies[MAX_MESSAGES], MAILBOXES * 2 * 2); /* no leftovers */
	for (uint64_t n = 0; n < sent; n++) {
		kept += promised[n];
		assert_true(copies[n] <= 2);
		if (promised[n])
			assert_int_equal(copies[n], 2);
	}
	assert_true(kept > ROUNDS);
	snprintf(command, sizeof command, "rm -rf %s", root);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_answered_survives_a_kill_and_nothing_is_torn),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
