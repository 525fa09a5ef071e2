/* The question at RCPT, by kind of leaf. */
#include "delivery/mailbox_ask.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "delivery/forward.h"
#include "delivery/mailbox_status.h"
#include "delivery/maildir.h"
#include "delivery/maildir_find.h"
#include "delivery/mbox_find.h"
#include "delivery/mbox_parcel.h"
#include "delivery/program_parcel.h"
#include "delivery/system_parcel.h"

enum { MAX_FORWARD_BYTES = 256 << 10, FIND_WAIT_MS = 20000, FIND_AGAIN_MS = 100 };

struct ask {
	struct syncer_job job;
	struct transaction_house *house;
	struct mailbox_store *store;
	uint64_t size;
	struct mailbox_leaf leaf;
	char *place, *find;
	struct arena mem;
	struct mailbox_asked answer;
	void (*answered)(void *arg, uint64_t id, const struct mailbox_asked *a);
	void *arg;
	uint64_t id;
	struct loop_timer *again;     /* NULL, or somebody has the mbox */
	uint64_t end_ms;
};

static void finish(struct ask *a, int error)
{
	a->answer.status = mailbox_status_of(error);
	a->answered(a->arg, a->id, &a->answer);
	loop_timer_free(a->again);
	arena_free(&a->mem);
	mem_free(a->place);
	mem_free(a->find);
	mem_free(a);
}

static int look_at_maildir(struct ask *a)
{
	struct quota_limits limits = { a->leaf.quota_bytes, a->leaf.quota_messages };
	int folder, error = store_room(&a->store->store, a->house->reserve, a->size);
	if (error == 0)
		error = maildir_open(a->house->stores->root, a->leaf.place, MAILDIR_NEW, true, &folder);
	if (error)
		return error;
	file_close(&folder);
	return quota_check(a->store->quota, a->leaf.place, &limits, a->size);
}

/* ---- in the syncer: Maildirs ---- */

static struct ask *of_job(struct syncer_job *j)
{
	return (struct ask *)((char *)j - offsetof(struct ask, job));
}

static int work_in_syncer(struct syncer_job *j)
{
	struct ask *a = of_job(j);
	if (a->find)
		return maildir_find(a->house->stores->root, a->leaf.place, slice_of(a->find), &a->answer.found);
	int error = look_at_maildir(a);
	if (error == 0 && a->leaf.kind == LEAF_SYSTEM)
		error = forward_read(a->house->stores->root, &a->mem, &a->answer.forward, &a->answer.forward_count);
	return error;
}

static void done_in_syncer(struct syncer_job *j)
{
	finish(of_job(j), j->error);
}

static const struct syncer_verbs verbs = { .write = work_in_syncer, .done = done_in_syncer };

/* ---- in a slow worker: mbox files and programs ---- */

int mailbox_ask_program(const char *program)
{
	struct stat st;
	int error = program[0] == '/' ? file_stat_at(AT_FDCWD, program, &st) : -EINVAL;
	if (error)
		return error;
	return S_ISREG(st.st_mode) || S_ISLNK(st.st_mode) ? 0 : -EINVAL;
}

static void work_slowly(void *arg)
{
	struct ask *a = arg;
	if (a->find) {
		a->job.error = mbox_find(a->house->stores->root, a->leaf.place, slice_of(a->find), 0, &a->answer.found);
		return;
	}
	a->job.error = store_room(&a->store->store, a->house->reserve, a->size);
	if (a->job.error)
		return;
	a->job.error = a->leaf.kind == LEAF_MBOX ? mbox_ask(a->house->stores->root, &a->leaf, a->size) : mailbox_ask_program(a->place); /* its own name ends at the first NUL */
}

static void done_slowly(void *arg);

static void look_again(void *arg)
{
	struct ask *a = arg;
	worker_add(a->house->slow, work_slowly, done_slowly, a);
}

/* Who has an mbox needs a worker to let it go: none waits for it. */
static void done_slowly(void *arg)
{
	struct ask *a = arg;
	if (!a->find || a->job.error != -EBUSY || clock_mono_ms() >= a->end_ms) {
		finish(a, a->job.error);
		return;
	}
	if (!a->again)
		a->again = loop_timer_new(a->house->loop, look_again, a);
	loop_timer_set(a->again, FIND_AGAIN_MS);
}

/* ---- by a process of the user ---- */

static void system_answered(void *arg, const struct mailbox_asked *answer)
{
	struct ask *a = arg;
	a->answered(a->arg, a->id, answer);
	mem_free(a->place);
	mem_free(a->find);
	mem_free(a);
}

static void in_loop(void *arg)
{
	finish(arg, -EINVAL);
}

/* A program doesn't say whose message it got; that it said yes is remembered here. */
static void ask_memory(void *arg)
{
	struct ask *a = arg;
	a->answer.found = program_has_run(a->house, slice_of(a->find));
	finish(a, 0);
}

static void start(struct ask *a)
{
	bool here = a->leaf.kind == LEAF_MAILDIR || (a->leaf.kind == LEAF_SYSTEM && a->house->home);
	if (a->leaf.kind == LEAF_SYSTEM && here)
		a->leaf.place = SLICE("Maildir");
	a->store = here ? mailbox_stores_find(a->house->stores, a->leaf.place) : mailbox_stores_root(a->house->stores);
	if (a->find && a->leaf.kind == LEAF_PROGRAM) {
		loop_later(a->house->loop, ask_memory, a);
	} else if (a->store == NULL) {
		loop_later(a->house->loop, in_loop, a);
	} else if (here) {
		a->job = (struct syncer_job){ .verbs = &verbs, .goal = SYNCER_RUN };
		syncer_add(a->store->syncer, &a->job);
	} else if (a->leaf.kind == LEAF_SYSTEM) {
		system_ask(a->house, &(struct mailbox_ask){ a->leaf, a->size, a->find ? slice_of(a->find) : SLICE_NONE }, system_answered, a);
	} else {
		worker_add(a->house->slow, work_slowly, done_slowly, a);
	}
}

void mailbox_ask_start(struct transaction_house *house, const struct mailbox_ask *question,
                       void (*answered)(void *arg, uint64_t id, const struct mailbox_asked *a), void *arg, uint64_t id)
{
	struct ask *a = MEM_NEW(struct ask);
	a->house = house;
	a->size = question->size;
	a->leaf = question->leaf;
	a->place = mem_copy(question->leaf.place.p, question->leaf.place.n);
	a->leaf.place.p = a->place;
	a->find = question->find.n ? mem_copy(question->find.p, question->find.n) : NULL;
	a->leaf.address = SLICE_NONE; /* the question ends with this call */
	a->mem.max = MAX_FORWARD_BYTES;
	a->answered = answered;
	a->arg = arg;
	a->id = id;
	a->end_ms = clock_mono_ms() + FIND_WAIT_MS;
	start(a);
}
