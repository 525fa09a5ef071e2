#ifndef TESTS_UNIT_MAILBOX_KIT_H
#define TESTS_UNIT_MAILBOX_KIT_H
/* For tests of the mailbox process: one in this process, on a folder of its own, with a channel to it; and a way to ask and wait. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/ipc.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "delivery/mailbox.h"
#include "delivery/mailbox_proto.h"

struct kit {
	char root[128];
	struct loop *loop;
	struct mailbox *mailbox;
	struct ipc *channel;
	unsigned waiting;              /* answers */
	struct arena mem;
	struct buf payload;            /* of the last answer */
	struct mailbox_delivered delivered;
	struct mailbox_asked asked;
	struct mail_status pen_status;
	int pen_fd;
	struct helper_starter helpers; /* set before kit_open */
	void (*on_delivered)(struct kit *k, uint64_t id, const struct mailbox_delivered *d); /* may be NULL */
};

static inline int kit_answer(struct kit *k, const struct ipc_message *m, struct slice payload)
{
	switch (m->type) {
	case MAILBOX_STATE:
		return 0;
	case MAILBOX_ASKED:
		assert_int_equal(mailbox_get_asked(payload, &k->mem, &k->asked), 0);
		break;
	case MAILBOX_PEN_READY:
		assert_int_equal(mailbox_get_status(payload, &k->pen_status), 0);
		break;
	case MAILBOX_DELIVERED:
		assert_int_equal(mailbox_get_delivered(payload, &k->mem, &k->delivered), 0);
		if (k->on_delivered)
			k->on_delivered(k, m->id, &k->delivered);
		break;
	default:
		fail_msg("message type %u", m->type);
	}
	k->waiting--;
	return 0;
}

static int kit_on_message(void *arg, struct ipc *from, struct ipc_message *m)
{
	struct kit *k = arg;
	(void)from;
	buf_clear(&k->payload);
	buf_add(&k->payload, m->payload);
	if (m->fd >= 0) {
		k->pen_fd = m->fd;
		m->fd = -1;
	}
	kit_answer(k, m, buf_slice(&k->payload));
	if (k->waiting == 0)
		loop_stop(k->loop);
	return 0;
}

static void kit_on_close(void *arg, struct ipc *which)
{
	struct kit *k = arg;
	ipc_free(which);
	k->channel = NULL;
	k->waiting = 0;
	loop_stop(k->loop);
}

static inline void kit_connect(struct kit *k)
{
	static const struct ipc_handler handler = { kit_on_message, kit_on_close };
	int fds[2];
	assert_int_equal(ipc_pair(fds), 0);
	mailbox_add_peer(k->mailbox, fds[1]);
	k->channel = ipc_new(k->loop, fds[0], &handler, k);
}

/* Where: a folder to be made below; NULL for /tmp. */
static __attribute__((noinline)) void kit_open(struct kit *k, const char *where)
{
	snprintf(k->root, sizeof k->root, "%s/porter-mailbox-XXXXXX", where ? where : "/tmp");
	assert_non_null(mkdtemp(k->root));
	log_set_level(LOG_ERROR);
	buf_init(&k->payload, 4 << 20);
	k->pen_fd = -1;
	k->loop = loop_new();
	struct mailbox_setup setup = { .mail_root = slice_of(k->root), .host = SLICE("host.test"), .program_user = SLICE("nobody"), .helpers = k->helpers };
	assert_int_equal(mailbox_new(k->loop, &setup, &k->mailbox), 0);
	kit_connect(k);
}

static inline void kit_start(struct kit *k, const char *where)
{
	memset(k, 0, sizeof *k);
	kit_open(k, where);
}

static inline void kit_run(struct kit *k)
{
	if (k->waiting)
		loop_run(k->loop);
	assert_int_equal(k->waiting, 0);
}

static void kit_stop_loop(void *arg)
{
	loop_stop(((struct kit *)arg)->loop);
}

/* Runs the loop for a while, for things that have no answer. */
static inline void kit_idle(struct kit *k, uint64_t ms)
{
	struct loop_timer *t = loop_timer_new(k->loop, kit_stop_loop, k);
	loop_timer_set(t, ms);
	loop_run(k->loop);
	loop_timer_free(t);
}

static inline void kit_wait_idle(struct kit *k)
{
	for (int i = 0; i < 30000 && mailbox_busy(k->mailbox); i++)
		kit_idle(k, 2);
	assert_int_equal(mailbox_busy(k->mailbox), 0);
}

static inline void kit_disconnect(struct kit *k)
{
	ipc_free(k->channel);
	k->channel = NULL;
	kit_idle(k, 5);
	kit_wait_idle(k);
}

static inline void kit_end(struct kit *k)
{
	char command[160];
	if (k->pen_fd >= 0)
		close(k->pen_fd);
	ipc_free(k->channel);
	mailbox_free(k->mailbox);
	loop_free(k->loop);
	arena_free(&k->mem);
	buf_free(&k->payload);
	snprintf(command, sizeof command, "rm -rf %s", k->root);
	assert_int_equal(system(command), 0);
}

static inline struct mailbox_leaf kit_maildir(const char *place)
{
	return (struct mailbox_leaf){ LEAF_MAILDIR, slice_of(place), SLICE("u@example.test"), 0, 0 };
}

/* Asks and goes on; kit_run waits for all answers. */
static inline void kit_send(struct kit *k, const char *id, struct mailbox_leaf *leaves, size_t count, struct slice content, bool hold)
{
	static uint64_t question;
	struct mailbox_deliver m = { .transaction = slice_of(id), .hold = hold, .content = content, .leaves = leaves, .leaf_count = count };
	k->waiting++;
	assert_int_equal(mailbox_send_deliver(k->channel, ++question, &m), 0);
}

/* The fate, and the reply code in k->delivered. */
static inline enum mail_fate kit_deliver(struct kit *k, const char *id, struct mailbox_leaf *leaves, size_t count, struct slice content, bool hold)
{
	kit_send(k, id, leaves, count, content, hold);
	kit_run(k);
	return k->delivered.status.fate;
}

static inline void kit_tell(struct kit *k, enum mailbox_message what, const char *id)
{
	struct buf record = BUF_INIT(256);
	mailbox_put_transaction(&record, slice_of(id));
	k->waiting += what == MAILBOX_COMMIT;
	assert_int_equal(ipc_send(k->channel, (uint16_t)what, 7, buf_slice(&record), -1), 0);
	buf_free(&record);
	kit_run(k);
}

static inline enum mail_fate kit_ask(struct kit *k, const struct mailbox_leaf *leaf, uint64_t size)
{
	struct mailbox_ask m = { *leaf, size, SLICE_NONE };
	struct buf record = BUF_INIT(4096);
	mailbox_put_ask(&record, &m);
	k->waiting++;
	assert_int_equal(ipc_send(k->channel, MAILBOX_ASK, 8, buf_slice(&record), -1), 0);
	buf_free(&record);
	kit_run(k);
	return k->asked.status.fate;
}

/* k->pen_fd is a pen then, if MAIL_OK. */
static inline enum mail_fate kit_pen(struct kit *k, const char *id, const struct mailbox_leaf *leaf)
{
	struct mailbox_pen m = { slice_of(id), *leaf, 0 };
	struct buf record = BUF_INIT(4096);
	mailbox_put_pen(&record, &m);
	k->waiting++;
	assert_int_equal(ipc_send(k->channel, MAILBOX_PEN, 9, buf_slice(&record), -1), 0);
	buf_free(&record);
	kit_run(k);
	return k->pen_status.fate;
}

/* Files in a folder below the root; 0 if it isn't there. */
static inline int kit_count(const struct kit *k, const char *folder)
{
	char path[256];
	snprintf(path, sizeof path, "%s/%s", k->root, folder);
	DIR *d = opendir(path);
	int n = 0;
	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n ? n - 2 : 0;
}

/* The content of the file that the last answer names for leaf i. */
static inline char *kit_content(const struct kit *k, const char *place, size_t i, struct stat *st)
{
	char path[512];
	static char text[1 << 20];
	snprintf(path, sizeof path, "%s/%s/new/%.*s", k->root, place, SLICE_FMT(k->delivered.leaves[i].name));
	int fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	ssize_t n = read(fd, text, sizeof text - 1);
	assert_true(n >= 0);
	text[n] = '\0';
	if (st)
		assert_int_equal(fstat(fd, st), 0);
	close(fd);
	return text;
}
#endif
