/* A message on its way into one mbox file. Locks are waited for, so each step runs in a worker of the slow ones, never in a syncer. */
#include "delivery/mbox_parcel.h"

#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pen.h"
#include "delivery/mailbox_status.h"
#include "delivery/mbox.h"

enum { LOCK_WAIT_MS = 25000, PIECE = 65536 };

struct mbox_parcel {
	struct parcel base;
	struct worker *slow;
	int root;
	enum parcel_step step;
	int error;
	bool open;
	struct mbox file;
	const struct mailbox_leaf *leaf;
};

static int write_pen(struct mbox *file, const struct pen *pen, uint64_t length)
{
	char *piece = mem_new(PIECE);
	uint64_t at = 0;
	int error = pen_check_length(pen, length);
	while (error == 0 && at < length) {
		ssize_t n = pread(pen->fd, piece, PIECE, (off_t)at);
		if (n <= 0)
			error = n < 0 ? -errno : -EIO;
		else
			error = mbox_write(file, slice(piece, (size_t)n));
		at += n > 0 ? (uint64_t)n : 0;
	}
	mem_free(piece);
	return error;
}

static int append(struct mbox_parcel *p)
{
	const struct parcel_content *c = p->base.content;
	if (p->leaf->quota_bytes && p->file.length + c->length > p->leaf->quota_bytes)
		return -EDQUOT;
	int error = mbox_begin(&p->file, c->reverse_path, clock_wall_s());
	if (error == 0)
		error = c->pen ? write_pen(&p->file, c->pen, c->length) : mbox_write(&p->file, c->bytes);
	if (error == 0)
		error = mbox_end(&p->file);
	if (error)
		mbox_cut_back(&p->file);
	return error;
}

static void close_file(struct mbox_parcel *p)
{
	if (p->open)
		mbox_close(&p->file);
	p->open = false;
}

static int prepare(struct mbox_parcel *p)
{
	int error = mbox_open(&p->file, p->root, p->leaf->place, LOCK_WAIT_MS);
	if (error)
		return error;
	p->open = true;
	error = append(p);
	if (error)
		close_file(p);
	return error;
}

/* The lock is kept: another parcel may yet fail, and then this one is cut back. */
static int commit(struct mbox_parcel *p)
{
	int error = mbox_keep(&p->file);
	if (error) {
		mbox_cut_back(&p->file);
		close_file(p);
	}
	return error;
}

static int undo(struct mbox_parcel *p)
{
	mbox_cut_back(&p->file);
	close_file(p);
	return 0;
}

static void work(void *arg)
{
	struct mbox_parcel *p = arg;
	switch (p->step) {
	case PARCEL_PREPARE:
		p->error = prepare(p);
		return;
	case PARCEL_COMMIT:
		p->error = commit(p);
		return;
	case PARCEL_DELIVER:
		p->error = prepare(p);
		if (p->error == 0)
			p->error = commit(p);
		return;
	case PARCEL_UNDO:
		p->error = undo(p);
		return;
	}
}

static void done(void *arg)
{
	struct mbox_parcel *p = arg;
	parcel_answer(&p->base, mailbox_status_of(p->error));
}

static void start(struct parcel *base, enum parcel_step step)
{
	struct mbox_parcel *p = (struct mbox_parcel *)base;
	p->step = step;
	worker_add(p->slow, work, done, p);
}

static void unlock(void *arg)
{
	close_file(arg);
}

static void unlocked(void *arg)
{
	struct mbox_parcel *p = arg;
	mem_free(p->base.leaves);
	mem_free(p->base.results);
	mem_free(p);
}

static void free_parcel(struct parcel *base)
{
	worker_add(((struct mbox_parcel *)base)->slow, unlock, unlocked, base);
}

static const struct parcel_kind mbox_kind = { start, free_parcel, false };

struct parcel *mbox_parcel_new(int root, struct worker *slow, const struct parcel_content *content, const struct mailbox_leaf *leaf,
                               struct mailbox_leaf_result *result)
{
	struct mbox_parcel *p = MEM_NEW(struct mbox_parcel);
	parcel_init(&p->base, &mbox_kind, content, leaf, result);
	p->leaf = leaf;
	p->root = root;
	p->slow = slow;
	return &p->base;
}

int mbox_ask(int root, const struct mailbox_leaf *leaf, uint64_t size)
{
	uint64_t there;
	int error = mbox_size(root, leaf->place, &there);
	if (error)
		return error;
	return leaf->quota_bytes && there + size > leaf->quota_bytes ? -EDQUOT : 0;
}
