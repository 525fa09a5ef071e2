/* Mailboxes, asked as the mailbox process would be. */
#include "ctl/explain_mailbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/ipc.h"
#include "base/log.h"
#include "base/proc.h"
#include "delivery/mailbox_ask.h"
#include "delivery/mailbox_settings.h"
#include "delivery/mailbox_status.h"
#include "delivery/mbox_parcel.h"
#include "delivery/quota.h"
#include "delivery/system_parcel.h"

enum { SYSTEM_MS = 30000 };

static struct mailbox_leaf question_leaf(const struct leaf *l)
{
	return (struct mailbox_leaf){ l->kind, l->place, l->address, l->quota_bytes, l->quota_messages };
}

/* A Maildir that is not there yet is empty. */
static int ask_maildir(const struct leaf *l, int root, uint64_t size)
{
	struct quota_limits limits = { l->quota_bytes, l->quota_messages };
	if (!limits.bytes && !limits.messages)
		return 0;
	struct quota_table *t = quota_new(root, 1);
	int error = quota_check(t, l->place, &limits, size);
	quota_free(t);
	return error == -ENOENT ? 0 : error;
}

static int ask_below_root(const struct leaf *l, uint64_t size, struct arena *mem)
{
	int root, error = file_open(AT_FDCWD, arena_cstr(mem, mailbox_settings.mail_root), O_RDONLY | O_DIRECTORY, 0, &root);
	if (error)
		return error;
	struct mailbox_leaf leaf = question_leaf(l);
	error = l->kind == LEAF_MAILDIR ? ask_maildir(l, root, size) : l->kind == LEAF_MBOX ? mbox_ask(root, &leaf, size) : mailbox_ask_program(arena_cstr(mem, l->place));
	file_close(&root);
	return error;
}

/* A system user ------------------------------------------------------------------------------------------------------------------------- */

static _Noreturn void be_user(const char *user, int channel)
{
	const char *home = "/";
	if (dup2(channel, STDIN_FILENO) < 0)
		_exit(75);
	close_range(STDERR_FILENO + 1, ~0u, 0);
	if (proc_become(user, &home) < 0 || setenv("HOME", home, 1) < 0 || chdir(home) < 0)
		_exit(75);
	log_set_level(LOG_ERROR);
	_exit(system_user_main());
}

static int talk_with(int fd, const struct leaf *l, uint64_t size, struct arena *mem, struct mailbox_asked *out)
{
	struct buf question = BUF_INIT(16 << 10), answer = BUF_INIT(IPC_MAX_PAYLOAD);
	struct mailbox_ask ask = { .leaf = question_leaf(l), .size = size, .find = SLICE("") };
	struct ipc_message m;
	mailbox_put_ask(&question, &ask);
	int error = ipc_send_blocking(fd, MAILBOX_ASK, 1, buf_slice(&question), -1);
	do
		error = error ? error : ipc_receive_blocking(fd, SYSTEM_MS, &m, &answer);
	while (!error && m.type != MAILBOX_ASKED);
	struct slice payload = error ? SLICE_NONE : arena_copy(mem, m.payload); /* the answer's texts are views into it */
	error = error ? error : payload.p ? mailbox_get_asked(payload, mem, out) : -ENOMEM;
	buf_free(&question);
	buf_free(&answer);
	return error;
}

static int ask_system(const struct leaf *l, uint64_t size, struct arena *mem, struct mailbox_asked *out)
{
	int fds[2], status, error = ipc_pair(fds);
	if (error)
		return error;
	char *user = arena_cstr(mem, l->place);
	pid_t pid = fork();
	if (pid == 0)
		be_user(user, fds[1]);
	close(fds[1]);
	error = pid < 0 ? -errno : talk_with(fds[0], l, size, mem, out);
	close(fds[0]);
	if (pid > 0)
		waitpid(pid, &status, 0);
	return error ? -ENOENT : 0; /* as for one who could not be become */
}

void explain_mailbox(const struct leaf *leaf, uint64_t size, struct arena *mem, struct mailbox_asked *out)
{
	*out = (struct mailbox_asked){ .forward_count = 0 };
	int error = leaf->kind == LEAF_SYSTEM ? ask_system(leaf, size, mem, out) : ask_below_root(leaf, size, mem);
	if (leaf->kind != LEAF_SYSTEM || error)
		out->status = mailbox_status_of(error);
}
