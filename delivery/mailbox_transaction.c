/* Two-phase commit among the parcels of one transaction. Every step is asked of some parcels; when the last of them has answered,
 * `advance` looks at what was and decides what is next. */
#include "delivery/mailbox_transaction.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "delivery/mailbox_status.h"
#include "delivery/maildir.h"
#include "delivery/mailbox_sort.h"

/* Inline content of all transactions that may wait for the disk at a time; past it the answer is 451. */
enum { MAX_WAITING_BYTES = 256 << 20 };

struct transaction {
	struct transaction_house *house;
	const struct transaction_owner *owner;
	void *arg;
	enum transaction_state state;
	bool hold, aborted, orphan;
	bool asked;               /* `question` waits for its answer: each gets one */
	uint64_t question;
	char id[MAILBOX_MAX_TRANSACTION + 1];

	struct pen pen;
	struct mailbox_store *pen_store;
	struct syncer_job pen_job;
	char *pen_place;

	struct arena mem;
	struct parcel_content content;
	struct mailbox_leaf *leaves;
	struct mailbox_leaf_result *results;
	size_t leaf_count;
	struct parcel **parcels;
	size_t parcel_count, waiting;
	struct mail_status status;
};

struct transaction *mailbox_transaction_new(struct transaction_house *house, struct slice id, const struct transaction_owner *owner, void *arg)
{
	struct transaction *t = MEM_NEW(struct transaction);
	assert(id.n <= MAILBOX_MAX_TRANSACTION);
	t->house = house;
	t->owner = owner;
	t->arg = arg;
	t->state = TRANSACTION_PEN;
	t->pen = PEN_NONE;
	memcpy(t->id, id.p, id.n);
	return t;
}

struct slice mailbox_transaction_id(const struct transaction *t)
{
	return slice_of(t->id);
}

/* A pen outlives its transaction until the syncer's thread has closed it: the last close of a large unnamed file frees its blocks. */
struct pen_drop_job {
	struct syncer_job job;
	struct pen pen;
};

static int drop_pen(struct syncer_job *j)
{
	pen_drop(&((struct pen_drop_job *)j)->pen);
	return 0;
}

static void pen_dropped(struct syncer_job *j)
{
	mem_free(j);
}

static void drop_pen_later(struct transaction *t)
{
	static const struct syncer_verbs verbs = { .write = drop_pen, .done = pen_dropped };
	if (t->pen.fd < 0)
		return;
	struct pen_drop_job *d = MEM_NEW(struct pen_drop_job);
	d->job = (struct syncer_job){ .verbs = &verbs, .goal = SYNCER_RUN };
	d->pen = t->pen;
	t->pen = PEN_NONE;
	syncer_add(t->pen_store->syncer, &d->job);
}

static void end(struct transaction *t)
{
	t->owner->over(t->arg, t);
	for (size_t i = 0; i < t->parcel_count; i++)
		t->parcels[i]->kind->free(t->parcels[i]);
	t->house->waiting_bytes -= t->content.bytes.n;
	drop_pen_later(t);
	mem_free(t->pen_place);
	mem_free(t->parcels);
	arena_free(&t->mem);
	mem_free(t);
}

static void log_leaf(const struct transaction *t, size_t i)
{
	const struct mailbox_leaf_result *r = &t->results[i];
	log_event(LOG_INFO, "delivered", LOG_STR("id", mailbox_transaction_id(t)), LOG_STR("to", t->leaves[i].address), LOG_STR("mailbox", t->leaves[i].place),
	          LOG_STR("file", r->name), LOG_UINT("size", t->content.length), LOG_END);
}

/* What a system user's process does, the one that asked it says. */
static void log_outcome(const struct transaction *t)
{
	if (t->house->home)
		return;
	if (t->status.fate != MAIL_OK)
		log_event(LOG_WARN, "not-delivered", LOG_STR("id", mailbox_transaction_id(t)), LOG_UINT("code", t->status.code), LOG_STR("why", t->status.text),
		          LOG_END);
	for (size_t i = 0; i < t->leaf_count && t->status.fate == MAIL_OK; i++)
		log_leaf(t, i);
}

static void answer(struct transaction *t)
{
	struct mailbox_delivered d = { t->status, t->results, t->leaf_count };
	if (!t->orphan && t->asked)
		t->owner->delivered(t->arg, t->question, &d);
	t->asked = false;
}

static void finish(struct transaction *t)
{
	if (!t->aborted)
		log_outcome(t);
	answer(t);
	end(t);
}

/* Tells the step to all parcels that did not fail and that commit first, or not first; the answers come later through on_step.
 * Returns how many. */
static size_t tell(struct transaction *t, enum parcel_step step, bool first)
{
	size_t told = 0;
	for (size_t i = 0; i < t->parcel_count; i++) {
		struct parcel *p = t->parcels[i];
		if (p->failed || p->kind->commits_first != first)
			continue;
		t->waiting++;
		told++;
		p->kind->start(p, step);
	}
	return told;
}

static const struct parcel *find_failed(const struct transaction *t)
{
	for (size_t i = 0; i < t->parcel_count; i++)
		if (t->parcels[i]->failed)
			return t->parcels[i];
	return NULL;
}

/* It did not run: in an answer that says no, a program's own yes says that it did. */
static void refuse_first(struct transaction *t, struct mail_status why)
{
	for (size_t i = 0; i < t->leaf_count; i++)
		if (t->leaves[i].kind == LEAF_PROGRAM && t->results[i].status.fate == MAIL_OK)
			t->results[i].status = why;
}

/* Takes back what stands. A program that ran can't be taken back, and is not told. */
static void undo(struct transaction *t, struct mail_status why)
{
	if (t->state != TRANSACTION_COMMITTING)
		refuse_first(t, why);
	t->state = TRANSACTION_UNDOING;
	t->status = why;
	if (tell(t, PARCEL_UNDO, false) == 0)
		finish(t);
}

static void commit_rest(struct transaction *t)
{
	t->state = TRANSACTION_COMMITTING;
	if (tell(t, PARCEL_COMMIT, false) == 0) {
		t->status = MAIL_STATUS_OK;
		finish(t);
	}
}

static void commit(struct transaction *t)
{
	t->state = TRANSACTION_COMMITTING_FIRST;
	if (tell(t, PARCEL_COMMIT, true) == 0)
		commit_rest(t);
}

static void prepared(struct transaction *t)
{
	if (t->aborted) {
		undo(t, MAIL_STATUS_UNSURE("Aborted"));
	} else if (t->hold) {
		t->state = TRANSACTION_HELD;
		t->status = MAIL_STATUS_OK;
		answer(t);
	} else {
		commit(t);
	}
}

/* All that were told a step have answered. */
static void advance(struct transaction *t)
{
	const struct parcel *failed = find_failed(t);
	if (failed && t->state != TRANSACTION_UNDOING) {
		undo(t, failed->status);
		return;
	}
	switch (t->state) {
	case TRANSACTION_OPENING:
	case TRANSACTION_PEN:
	case TRANSACTION_HELD:
		assert(!"no step was told");
		return;
	case TRANSACTION_PREPARING:
		prepared(t);
		return;
	case TRANSACTION_COMMITTING_FIRST:
		commit_rest(t);
		return;
	case TRANSACTION_COMMITTING:
		t->status = MAIL_STATUS_OK;
		finish(t);
		return;
	case TRANSACTION_UNDOING:
		finish(t);
		return;
	}
}

static void on_step(void *arg, struct parcel *p)
{
	struct transaction *t = arg;
	(void)p;
	if (--t->waiting == 0)
		advance(t);
}

/* The content outlives the question that brought it. */
static void keep_content(struct transaction *t, const struct mailbox_deliver *m)
{
	t->content.transaction = mailbox_transaction_id(t);
	t->content.reverse_path = arena_copy(&t->mem, m->reverse_path);
	t->content.bytes = arena_copy(&t->mem, m->content);
	t->content.pen = m->from_pen ? &t->pen : NULL;
	t->content.length = m->from_pen ? m->pen_length : m->content.n;
	t->house->waiting_bytes += m->content.n;
}

static void keep_leaves(struct transaction *t, const struct mailbox_deliver *m)
{
	t->leaf_count = m->leaf_count;
	t->leaves = ARENA_ARRAY(&t->mem, struct mailbox_leaf, m->leaf_count);
	t->results = ARENA_ARRAY(&t->mem, struct mailbox_leaf_result, m->leaf_count);
	for (size_t i = 0; i < m->leaf_count; i++) {
		t->leaves[i] = m->leaves[i];
		t->leaves[i].place = arena_copy(&t->mem, m->leaves[i].place);
		t->leaves[i].address = arena_copy(&t->mem, m->leaves[i].address);
		t->results[i].status = MAIL_STATUS_OK;
	}
}

static void refuse(struct transaction *t, struct mail_status why)
{
	for (size_t i = 0; i < t->leaf_count; i++)
		t->results[i].status = why;
	t->status = why;
	finish(t);
}

static void start(struct transaction *t)
{
	bool alone = t->parcel_count == 1 && !t->hold && !t->parcels[0]->kind->commits_first;
	for (size_t i = 0; i < t->parcel_count; i++) {
		t->parcels[i]->on_step = on_step;
		t->parcels[i]->arg = t;
	}
	if (alone) {
		t->state = TRANSACTION_COMMITTING;
		tell(t, PARCEL_DELIVER, false);
	} else {
		t->state = TRANSACTION_PREPARING;
		if (tell(t, PARCEL_PREPARE, false) == 0)
			prepared(t);
	}
}

int mailbox_transaction_deliver(struct transaction *t, uint64_t question, const struct mailbox_deliver *m)
{
	struct mail_status why;
	if (t->state != TRANSACTION_PEN || (m->from_pen && t->pen.fd < 0))
		return -EPROTO;
	t->question = question;
	t->asked = true;
	t->hold = m->hold;
	keep_content(t, m);
	keep_leaves(t, m);
	struct parcel_sorter sorter = { t->house, &t->content, t->pen_store, t->leaves, t->results, t->leaf_count };
	if (t->house->waiting_bytes > MAX_WAITING_BYTES)
		refuse(t, mailbox_status_of(-EBUSY));
	else if (!parcel_sort(&sorter, &t->parcels, &t->parcel_count, &why))
		refuse(t, why);
	else
		start(t);
	return 0;
}

int mailbox_transaction_commit(struct transaction *t, uint64_t question)
{
	if (t->state != TRANSACTION_HELD)
		return -EPROTO;
	t->question = question;
	t->asked = true;
	commit(t);
	return 0;
}

void mailbox_transaction_abort(struct transaction *t)
{
	switch (t->state) {
	case TRANSACTION_PEN:
		end(t);
		return;
	case TRANSACTION_HELD:
		t->aborted = true;
		undo(t, MAIL_STATUS_UNSURE("Aborted"));
		return;
	case TRANSACTION_OPENING:
		t->aborted = true;
		return;
	case TRANSACTION_PREPARING:
		t->aborted = t->hold;
		return;
	case TRANSACTION_COMMITTING_FIRST:
	case TRANSACTION_COMMITTING:
	case TRANSACTION_UNDOING:
		return;
	}
}

void mailbox_transaction_orphan(struct transaction *t)
{
	t->orphan = true;
	mailbox_transaction_abort(t);
}

/* ---- the pen: opened in its file system's syncer, between two syncs ---- */

static struct transaction *of_pen_job(struct syncer_job *j)
{
	return (struct transaction *)((char *)j - offsetof(struct transaction, pen_job));
}

/* Beside what is not a Maildir the pen lies in the mail root, or its own tmp/. */
static int open_pen_folder(const struct transaction *t, enum pen_way way, int *folder)
{
	int root = t->house->stores->root;
	struct slice place = slice_of(t->pen_place);
	if (place.n)
		return maildir_open(root, place, way == PEN_UNNAMED ? MAILDIR_NEW : MAILDIR_TMP, true, folder);
	return maildir_open_folder(root, way == PEN_UNNAMED ? SLICE_NONE : SLICE("tmp"), true, folder);
}

static int open_pen(struct syncer_job *j)
{
	struct transaction *t = of_pen_job(j);
	enum pen_way way = t->pen_store->store.way;
	char name[MAILDIR_MAX_NAME];
	int folder, error = open_pen_folder(t, way, &folder);
	if (error)
		return error;
	maildir_name(name, mailbox_transaction_id(t), t->house->host, 0);
	error = pen_open(&t->pen, way, folder, name);
	file_close(&folder);
	return error;
}

static void pen_opened(struct syncer_job *j)
{
	struct transaction *t = of_pen_job(j);
	struct mail_status status = mailbox_status_of(j->error);
	t->state = TRANSACTION_PEN;
	if (t->aborted)
		status = MAIL_STATUS_UNSURE("Aborted");
	if (!t->orphan)
		t->owner->pen_ready(t->arg, t->question, &status, t->pen.fd);
	if (status.fate != MAIL_OK)
		end(t);
}

static const struct syncer_verbs pen_verbs = { .write = open_pen, .done = pen_opened };

int mailbox_transaction_pen(struct transaction *t, uint64_t question, const struct mailbox_pen *m)
{
	if (t->state != TRANSACTION_PEN)
		return -EPROTO;
	drop_pen_later(t);
	mem_free(t->pen_place);
	bool maildir = m->leaf.kind == LEAF_MAILDIR;
	t->pen_place = maildir ? mem_copy(m->leaf.place.p, m->leaf.place.n) : mem_copy("", 0);
	t->question = question;
	t->pen_store = maildir ? mailbox_stores_find(t->house->stores, m->leaf.place) : mailbox_stores_root(t->house->stores);
	if (t->pen_store == NULL) {
		struct mail_status status = mailbox_status_of(-EINVAL);
		t->owner->pen_ready(t->arg, question, &status, -1);
		end(t);
		return 0;
	}
	t->state = TRANSACTION_OPENING;
	t->pen_job = (struct syncer_job){ .verbs = &pen_verbs, .goal = SYNCER_RUN };
	syncer_add(t->pen_store->syncer, &t->pen_job);
	return 0;
}
