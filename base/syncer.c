/* Group commit. Two lists cross between the loop and the thread under one lock: what has arrived, and what is finished. Inside a
 * cycle three lists tell where a job stands: `durable` (written and synced by the last cycle, to be published), `written` and `published`
 * (by this cycle, waiting for its sync). */
#include "base/syncer.h"

#include <assert.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"

/* Jobs begun in one cycle: bounds the descriptors that are open and the time until the first answer. */
enum { MAX_BATCH = 512 };
/* After this long without a syncfs its cost is guessed lower, so that a bad moment (a backup) is not remembered for ever. */
enum { FORGET_MS = 10000 };
/* The cost of a syncfs grows with what is dirty: one average for each power of two of calls it would spare. */
enum { SIZES = 20 };

struct job_list {
	struct syncer_job *first, **end;
};

struct syncer {
	struct loop *loop;
	struct loop_watch *watch;
	struct syncer_store store;
	pthread_t thread;
	int wake_fd;                    /* eventfd: jobs are finished */
	size_t waiting;                 /* the loop's */

	pthread_mutex_t lock;           /* over the next four */
	pthread_cond_t arrival;
	struct job_list arrived, finished;
	bool stop;
	struct syncer_counts counts;    /* written by the thread under the lock */

	struct job_list durable, written, published; /* the thread's, from here on */
	bool has_finished;              /* in this cycle */
	uint64_t file_us, syncfs_us[SIZES], syncfs_tried_ms[SIZES];
};

static void list_init(struct job_list *l)
{
	l->first = NULL;
	l->end = &l->first;
}

static void list_add(struct job_list *l, struct syncer_job *j)
{
	j->next = NULL;
	*l->end = j;
	l->end = &j->next;
}

static struct syncer_job *list_take(struct job_list *l)
{
	struct syncer_job *j = l->first;
	if (j == NULL)
		return NULL;
	l->first = j->next;
	if (l->first == NULL)
		l->end = &l->first;
	return j;
}

static void finish(struct syncer *s, struct syncer_job *j, int error)
{
	j->error = error;
	s->has_finished = true;
	pthread_mutex_lock(&s->lock);
	s->counts.jobs++;
	s->counts.failed += error != 0;
	list_add(&s->finished, j);
	pthread_mutex_unlock(&s->lock);
}

static void wake_loop(struct syncer *s)
{
	uint64_t one = 1;
	if (!s->has_finished)
		return;
	s->has_finished = false;
	ssize_t n = write(s->wake_fd, &one, sizeof one);
	assert(n == (ssize_t)sizeof one);
}

/* Takes up to MAX_BATCH arrived jobs. Waits for one unless the thread has something else to do. False: stop, and nothing is left. */
static bool take_batch(struct syncer *s, struct job_list *out)
{
	list_init(out);
	pthread_mutex_lock(&s->lock);
	while (!s->stop && s->arrived.first == NULL && s->durable.first == NULL)
		pthread_cond_wait(&s->arrival, &s->lock);
	for (int n = 0; n < MAX_BATCH && s->arrived.first; n++)
		list_add(out, list_take(&s->arrived));
	pthread_mutex_unlock(&s->lock);
	return out->first || s->durable.first;
}

static void publish(struct syncer *s, struct syncer_job *j)
{
	int error = j->verbs->publish(j);
	if (error)
		finish(s, j, error);
	else
		list_add(&s->published, j);
}

static void begin(struct syncer *s, struct syncer_job *j)
{
	if (j->goal == SYNCER_COMMIT) {
		publish(s, j);
		return;
	}
	int error = j->error = j->verbs->write(j);
	if (error || j->goal == SYNCER_RUN)
		finish(s, j, error);
	else
		list_add(&s->written, j);
}

static uint64_t count_calls(const struct syncer *s)
{
	uint64_t calls = 0;
	for (const struct syncer_job *j = s->written.first; j; j = j->next)
		calls++;
	for (const struct syncer_job *j = s->published.first; j; j = j->next)
		calls += j->names;
	return calls;
}

/* A moving average that follows within about eight samples. */
static void learn(uint64_t *average_us, uint64_t sample_us)
{
	*average_us = (*average_us * 7 + sample_us) / 8 + 1;
}

static unsigned size_class(uint64_t calls)
{
	unsigned c = 63 - (unsigned)__builtin_clzll(calls | 1);
	return c < SIZES ? c : SIZES - 1;
}

static bool prefer_syncfs(struct syncer *s, uint64_t calls)
{
	unsigned c = size_class(calls);
	if (!s->store.use_syncfs || calls < 2)
		return false;
	if (clock_mono_ms() - s->syncfs_tried_ms[c] > FORGET_MS) {
		s->syncfs_us[c] /= 2;
		s->syncfs_tried_ms[c] = clock_mono_ms();
	}
	return s->syncfs_us[c] < calls * s->file_us;
}

static int sync_whole(struct syncer *s, uint64_t calls)
{
	unsigned c = size_class(calls);
	uint64_t start = clock_mono_us();
	int error = file_sync_store(s->store.fd);
	learn(&s->syncfs_us[c], clock_mono_us() - start);
	s->syncfs_tried_ms[c] = clock_mono_ms();
	return error;
}

/* Each job by its own: one that fails doesn't spoil the others. */
static void sync_each(struct job_list *list, int (*sync)(struct syncer_job *))
{
	for (struct syncer_job *j = list->first; j; j = j->next)
		j->error = sync(j);
}

static int sync_content(struct syncer_job *j)
{
	return j->verbs->sync_content(j);
}

static int sync_names(struct syncer_job *j)
{
	return j->verbs->sync_names(j);
}

static void sync_by_file(struct syncer *s, uint64_t calls)
{
	uint64_t start = clock_mono_us();
	sync_each(&s->written, sync_content);
	sync_each(&s->published, sync_names);
	learn(&s->file_us, (clock_mono_us() - start) / calls);
}

static void set_errors(struct job_list *list, int error)
{
	for (struct syncer_job *j = list->first; j; j = j->next)
		j->error = error;
}

/* Leaves in each job's error whether it is durable now. */
static void sync_batch(struct syncer *s)
{
	uint64_t calls = count_calls(s);
	if (calls == 0)
		return;
	bool whole = prefer_syncfs(s, calls);
	if (whole) {
		int error = sync_whole(s, calls);
		set_errors(&s->written, error);
		set_errors(&s->published, error);
	} else {
		sync_by_file(s, calls);
	}
	pthread_mutex_lock(&s->lock);
	s->counts.cycles++;
	s->counts.syncfs += whole;
	s->counts.file_syncs += whole ? 0 : calls;
	pthread_mutex_unlock(&s->lock);
}

static void settle(struct syncer *s)
{
	struct syncer_job *j;
	while ((j = list_take(&s->published))) {
		if (j->error)
			j->verbs->retract(j);
		else
			j->verbs->settled(j);
		finish(s, j, j->error);
	}
	while ((j = list_take(&s->written))) {
		if (j->error)
			j->verbs->retract(j);
		if (j->error || j->goal == SYNCER_PREPARE)
			finish(s, j, j->error);
		else
			list_add(&s->durable, j);
	}
}

static void cycle(struct syncer *s, struct job_list *batch)
{
	struct syncer_job *j;
	while ((j = list_take(&s->durable)))
		publish(s, j);
	while ((j = list_take(batch)))
		begin(s, j);
	sync_batch(s);
	settle(s);
}

/* The same where order is kept ----------------------------------------------------------------------------------------------------- */

/* A commit waits for the contents of this batch before it publishes: the sync shall serve all of it. */
static void begin_in_order(struct syncer *s, struct syncer_job *j)
{
	if (j->goal == SYNCER_COMMIT) {
		list_add(&s->durable, j);
		return;
	}
	begin(s, j);
}

static int content_step(struct syncer_job *j, int (*step)(struct syncer_job *))
{
	return j->error ? j->error : step ? step(j) : 0;
}

/* All at once on their way, then each awaited. What has failed goes; of the others the prepared stay, the rest is to be published. */
static void await_contents(struct syncer *s)
{
	struct job_list written = s->written;
	if (!written.first)
		return;
	list_init(&s->written);
	for (struct syncer_job *j = written.first; j; j = j->next)
		j->error = content_step(j, j->verbs->start_content);
	for (struct syncer_job *j = written.first, *next; j; j = next) {
		next = j->next;
		j->error = content_step(j, j->verbs->await_content);
		if (j->error) {
			j->verbs->retract(j);
			finish(s, j, j->error);
		} else {
			list_add(j->goal == SYNCER_PREPARE ? &s->written : &s->durable, j);
		}
	}
}

static void sync_order(struct syncer *s)
{
	if (!s->written.first && !s->published.first)
		return;
	int error = file_sync_order(s->store.fd);
	set_errors(&s->written, error);
	set_errors(&s->published, error);
	pthread_mutex_lock(&s->lock);
	s->counts.cycles++;
	s->counts.order_syncs++;
	pthread_mutex_unlock(&s->lock);
}

static void cycle_in_order(struct syncer *s, struct job_list *batch)
{
	struct syncer_job *j;
	while ((j = list_take(batch)))
		begin_in_order(s, j);
	await_contents(s);
	while ((j = list_take(&s->durable)))
		publish(s, j);
	sync_order(s);
	settle(s);
}

static void *run(void *arg)
{
	struct syncer *s = arg;
	struct job_list batch;
	while (take_batch(s, &batch)) {
		if (s->store.ordered)
			cycle_in_order(s, &batch);
		else
			cycle(s, &batch);
		wake_loop(s);
	}
	return NULL;
}

/* In the loop: all that is finished comes back. */
static void collect(struct syncer *s)
{
	struct job_list finished;
	pthread_mutex_lock(&s->lock);
	finished.first = s->finished.first;
	list_init(&s->finished);
	pthread_mutex_unlock(&s->lock);
	while (finished.first) {
		struct syncer_job *j = finished.first;
		finished.first = j->next;
		s->waiting--;
		j->verbs->done(j);
	}
}

static void on_wake(void *arg, int what)
{
	struct syncer *s = arg;
	uint64_t n;
	(void)what;
	if (read(s->wake_fd, &n, sizeof n) < 0)
		return;
	collect(s);
}

struct syncer *syncer_new(struct loop *l, const struct syncer_store *store, const char *name)
{
	struct syncer *s = MEM_NEW(struct syncer);
	s->loop = l;
	s->store = *store;
	s->file_us = store->file_us;
	for (unsigned c = 0; c < SIZES; c++)
		s->syncfs_us[c] = store->syncfs_us;
	list_init(&s->arrived);
	list_init(&s->finished);
	list_init(&s->durable);
	list_init(&s->written);
	list_init(&s->published);
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert(s->wake_fd >= 0);
	s->watch = loop_watch_new(l, s->wake_fd, on_wake, s);
	loop_watch_set(s->watch, LOOP_READ);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->arrival, NULL);
	int error = pthread_create(&s->thread, NULL, run, s);
	assert(error == 0);
	pthread_setname_np(s->thread, name);
	return s;
}

void syncer_add(struct syncer *s, struct syncer_job *j)
{
	s->waiting++;
	pthread_mutex_lock(&s->lock);
	list_add(&s->arrived, j);
	pthread_cond_signal(&s->arrival);
	pthread_mutex_unlock(&s->lock);
}

size_t syncer_waiting(const struct syncer *s)
{
	return s->waiting;
}

void syncer_count(struct syncer *s, struct syncer_counts *out)
{
	pthread_mutex_lock(&s->lock);
	*out = s->counts;
	pthread_mutex_unlock(&s->lock);
}

void syncer_drain(struct syncer *s)
{
	struct pollfd p = { s->wake_fd, POLLIN, 0 };
	if (s->waiting && poll(&p, 1, -1) == 1)
		on_wake(s, LOOP_READ);
}

void syncer_free(struct syncer *s)
{
	if (s == NULL)
		return;
	while (s->waiting)
		syncer_drain(s);
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_signal(&s->arrival);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	loop_watch_free(s->watch);
	close(s->wake_fd);
	pthread_cond_destroy(&s->arrival);
	pthread_mutex_destroy(&s->lock);
	mem_free(s);
}
