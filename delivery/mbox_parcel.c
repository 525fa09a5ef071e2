/* A message on its way into one mbox file. Each step runs in a worker of the slow ones, never in a syncer. A lock is waited for in the loop: a worker that waited would be missing to who
 * has the file and is to let it go. Our own messages have a file one after the other as they came, and one that is for several takes them in the order of their names, so that no two wait for
 * each other. */
#include "delivery/mbox_parcel.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pen.h"
#include "delivery/mailbox_status.h"
#include "delivery/mbox.h"

enum { LOCK_WAIT_MS = 25000, RETRY_MS = 100, PIECE = 65536 };

enum box_state { BOX_NONE, BOX_WAITS /* for its turn */, BOX_TRIES, BOX_HELD };

struct mbox_parcel {
	struct parcel base;
	struct transaction_house *house;
	struct mbox_parcel *next;
	enum box_state state;
	struct slice place;            /* its own: it has the file for a moment longer than there is a transaction */
	struct loop_timer *timer;      /* the end of its patience; while another program has the file, the next try */
	uint64_t end_ms;
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
	int error = mbox_open(&p->file, p->house->stores->root, p->leaf->place, 0);
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

/* -- whose turn it is --------------------------------------------------------------------------------------------------------------- */

static void leave(struct mbox_parcel *p)
{
	struct mbox_parcel **at = &p->house->boxes;
	while (*at && *at != p)
		at = &(*at)->next;
	if (*at)
		*at = p->next;
	p->state = BOX_NONE;
}

static bool is_before(struct slice a, struct slice b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int order = memcmp(a.p, b.p, n);
	return order ? order < 0 : a.n < b.n;
}

/* Of one message, which stand together in the order of their names. */
static bool is_due_with(const struct mbox_parcel *q, const struct mbox_parcel *p)
{
	return q->state != BOX_HELD && q->base.content == p->base.content; /* that of one that is held may be over */
}

static bool is_free(const struct mbox_parcel *p)
{
	for (const struct mbox_parcel *q = p->house->boxes; q; q = q->next)
		if (q != p && q->state != BOX_WAITS && slice_eq(q->place, p->place))
			return false;
	return true;
}

static void done(void *arg);

static void try_all(struct transaction_house *house)
{
	const struct mbox_parcel *before = NULL;
	for (struct mbox_parcel *p = house->boxes; p; before = p, p = p->next)
		if (p->state == BOX_WAITS && !(before && is_due_with(before, p)) && is_free(p)) {
			p->state = BOX_TRIES;
			loop_timer_stop(p->timer);
			worker_add(house->slow, work, done, p);
		}
}

static void begin_patience(struct mbox_parcel *p)
{
	p->end_ms = clock_mono_ms() + LOCK_WAIT_MS;
	loop_timer_set(p->timer, LOCK_WAIT_MS);
}

/* What its message's other files took is nobody's fault. */
static void has_file(struct mbox_parcel *p)
{
	for (struct mbox_parcel *q = p->house->boxes; q; q = q->next)
		if (q->state == BOX_WAITS && is_due_with(q, p))
			begin_patience(q);
	p->state = BOX_HELD;
}

static void answer(struct mbox_parcel *p)
{
	struct transaction_house *house = p->house;
	if (p->open && p->state != BOX_HELD)
		has_file(p);
	else if (!p->open)
		leave(p);
	parcel_answer(&p->base, mailbox_status_of(p->error)); /* it may be gone */
	try_all(house);
}

static void done(void *arg)
{
	struct mbox_parcel *p = arg;
	if (p->state == BOX_TRIES && p->error == -EBUSY && clock_mono_ms() < p->end_ms)
		loop_timer_set(p->timer, RETRY_MS);
	else
		answer(p);
}

static void on_timer(void *arg)
{
	struct mbox_parcel *p = arg;
	if (p->state == BOX_TRIES) {
		worker_add(p->house->slow, work, done, p);
		return;
	}
	p->error = -EBUSY;
	answer(p);
}

static void wait_for_turn(struct mbox_parcel *p)
{
	struct mbox_parcel **at = &p->house->boxes;
	while (*at && !(is_due_with(*at, p) && is_before(p->place, (*at)->place)))
		at = &(*at)->next;
	p->next = *at;
	*at = p;
	p->state = BOX_WAITS;
	begin_patience(p);
}

static void start_waiting(void *arg)
{
	struct transaction_house *house = arg;
	house->boxes_due = false;
	try_all(house);
}

/* Not tried before all of its message's are here. */
static void start(struct parcel *base, enum parcel_step step)
{
	struct mbox_parcel *p = (struct mbox_parcel *)base;
	p->step = step;
	if (step == PARCEL_COMMIT || step == PARCEL_UNDO) {
		worker_add(p->house->slow, work, done, p);
		return;
	}
	wait_for_turn(p);
	if (!p->house->boxes_due)
		loop_later(p->house->loop, start_waiting, p->house);
	p->house->boxes_due = true;
}

static void unlock(void *arg)
{
	close_file(arg);
}

static void unlocked(void *arg)
{
	struct mbox_parcel *p = arg;
	struct transaction_house *house = p->house;
	leave(p);
	loop_timer_free(p->timer);
	mem_free((char *)p->place.p);
	mem_free(p->base.leaves);
	mem_free(p->base.results);
	mem_free(p);
	try_all(house);
}

static void free_parcel(struct parcel *base)
{
	worker_add(((struct mbox_parcel *)base)->house->slow, unlock, unlocked, base);
}

static const struct parcel_kind mbox_kind = { start, free_parcel, false };

struct parcel *mbox_parcel_new(struct transaction_house *house, const struct parcel_content *content, const struct mailbox_leaf *leaf,
                               struct mailbox_leaf_result *result)
{
	struct mbox_parcel *p = MEM_NEW(struct mbox_parcel);
	parcel_init(&p->base, &mbox_kind, content, leaf, result);
	p->leaf = leaf;
	p->place = slice(mem_copy(leaf->place.p, leaf->place.n), leaf->place.n);
	p->house = house;
	p->timer = loop_timer_new(house->loop, on_timer, p);
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
