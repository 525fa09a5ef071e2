/* How many messages a second the mailbox process makes durable, without SMTP in front: one asker keeps WINDOW transactions open.
 *
 *	commit DIR [WINDOW [SECONDS [SIZE [RECIPIENTS]]]]
 *
 * DIR is made and filled with Maildirs u0/ ... u999/; prints one line. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ipc.h"
#include "base/log.h"
#include "base/mem.h"
#include "delivery/mailbox.h"
#include "delivery/mailbox_proto.h"

enum { MAILBOXES = 1000, MAX_RECIPIENTS = 100, MAX_WINDOW = 1000 };

struct bench {
	struct loop *loop;
	struct ipc *channel;
	unsigned window, recipients, under_way;
	size_t size;
	uint64_t sent, answered, failed, start_us, end_us, worst_us;
	uint64_t sent_us[MAX_WINDOW];
	char *content;
};

static void deliver(struct bench *b, uint64_t slot)
{
	struct mailbox_leaf leaves[MAX_RECIPIENTS];
	char places[MAX_RECIPIENTS][16], id[24];
	for (unsigned i = 0; i < b->recipients; i++) {
		snprintf(places[i], sizeof places[i], "u%d", rand() % MAILBOXES);
		leaves[i] = (struct mailbox_leaf){ LEAF_MAILDIR, slice_of(places[i]), SLICE("u@example.test"), 0, 0 };
	}
	snprintf(id, sizeof id, "b%llu", (unsigned long long)b->sent++);
	struct mailbox_deliver m = { .transaction = slice_of(id), .content = slice(b->content, b->size), .leaves = leaves,
		                     .leaf_count = b->recipients };
	b->sent_us[slot] = clock_mono_us();
	b->under_way++;
	mailbox_send_deliver(b->channel, slot, &m);
}

static int on_message(void *arg, struct ipc *from, struct ipc_message *m)
{
	struct bench *b = arg;
	struct arena mem = ARENA_INIT(1 << 20);
	struct mailbox_delivered d;
	(void)from;
	if (m->type != MAILBOX_DELIVERED)
		return 0;
	b->failed += mailbox_get_delivered(m->payload, &mem, &d) < 0 || d.status.fate != MAIL_OK;
	arena_free(&mem);
	uint64_t now = clock_mono_us(), took = now - b->sent_us[m->id];
	b->worst_us = took > b->worst_us ? took : b->worst_us;
	b->answered++;
	b->under_way--;
	if (now < b->end_us)
		deliver(b, m->id);
	else if (b->under_way == 0)
		loop_stop(b->loop);
	return 0;
}

static void on_close(void *arg, struct ipc *which)
{
	(void)which;
	loop_stop(((struct bench *)arg)->loop);
}

static void serve(const char *directory, int fd)
{
	struct loop *l = loop_new();
	struct mailbox *m;
	struct mailbox_setup setup = { .mail_root = slice_of(directory), .host = SLICE("bench.test") };
	log_set_level(LOG_WARN);
	int error = mailbox_new(l, &setup, &m);
	if (error) {
		fprintf(stderr, "%s: %s\n", directory, strerror(-error));
		exit(1);
	}
	mailbox_add_peer(m, fd);
	loop_run(l);
}

int main(int argc, char **argv)
{
	static struct bench b;
	static const struct ipc_handler handler = { on_message, on_close };
	int fds[2];
	if (argc < 2 || ipc_pair(fds) < 0)
		return 2;
	pid_t child = fork();
	if (child == 0) {
		close(fds[0]);
		serve(argv[1], fds[1]);
	}
	close(fds[1]);
	b.window = argc > 2 ? (unsigned)atoi(argv[2]) : 100;
	double seconds = argc > 3 ? atof(argv[3]) : 3;
	b.size = argc > 4 ? (size_t)atol(argv[4]) : 4096;
	b.recipients = argc > 5 ? (unsigned)atoi(argv[5]) : 1;
	b.content = mem_new(b.size);
	memset(b.content, 'x', b.size);
	b.loop = loop_new();
	b.channel = ipc_new(b.loop, fds[0], &handler, &b);
	b.start_us = clock_mono_us();
	b.end_us = b.start_us + (uint64_t)(seconds * 1e6);
	for (unsigned i = 0; i < b.window; i++)
		deliver(&b, i);
	loop_run(b.loop);
	double took = (double)(clock_mono_us() - b.start_us) / 1e6;
	printf("window=%u size=%zu recipients=%u: %.0f messages/s, mean %.2f ms, worst %.1f ms, %llu failed\n", b.window, b.size, b.recipients,
	       (double)b.answered / took, took * 1e3 * b.window / (double)b.answered, (double)b.worst_us / 1e3, (unsigned long long)b.failed);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return b.failed ? 1 : 0;
}
