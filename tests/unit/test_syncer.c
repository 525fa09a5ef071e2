/* Group commit with jobs that only take notes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "base/syncer.h"

enum { MAX_JOBS = 700 };

struct note_job {
	struct syncer_job job;
	int written, started, awaited, content_synced, published, names_synced, retracted, settled, done;
	int write_error, await_error, publish_error, content_error, names_error;
};

static struct loop *loop;
static struct syncer *syncer;
static int folder, left;
static struct note_job jobs[MAX_JOBS];
static int syncs_to_fail, whole_syncs, order_syncs;

static struct note_job *of(struct syncer_job *j)
{
	return (struct note_job *)j;
}

static int on_write(struct syncer_job *j)
{
	of(j)->written++;
	return of(j)->write_error;
}

static int on_start(struct syncer_job *j)
{
	of(j)->started++;
	return 0;
}

static int on_await(struct syncer_job *j)
{
	of(j)->awaited++;
	return of(j)->await_error;
}

static int on_publish(struct syncer_job *j)
{
	assert_int_equal(of(j)->retracted, 0);
	of(j)->published++;
	return of(j)->publish_error;
}

static int on_content(struct syncer_job *j)
{
	of(j)->content_synced++;
	return of(j)->content_error;
}

static int on_names(struct syncer_job *j)
{
	of(j)->names_synced++;
	return of(j)->names_error;
}

static void on_retract(struct syncer_job *j)
{
	of(j)->retracted++;
}

static void on_settled(struct syncer_job *j)
{
	of(j)->settled++;
}

static void on_done(struct syncer_job *j)
{
	of(j)->done++;
	if (--left == 0)
		loop_stop(loop);
}

static const struct syncer_verbs verbs = { on_write, on_start, on_await, on_publish, on_content, on_names, on_retract, on_settled, on_done };

static int count_whole(void *arg, enum file_call call, int fd, int dir, const char *name)
{
	(void)arg, (void)fd, (void)dir, (void)name;
	if (call != FILE_SYNC_STORE && call != FILE_SYNC_ORDER)
		return 0;
	__atomic_add_fetch(call == FILE_SYNC_ORDER ? &order_syncs : &whole_syncs, 1, __ATOMIC_SEQ_CST);
	return __atomic_load_n(&syncs_to_fail, __ATOMIC_SEQ_CST) > 0 && __atomic_sub_fetch(&syncs_to_fail, 1, __ATOMIC_SEQ_CST) >= 0 ? -EIO : 0;
}

static int begin(bool ordered)
{
	loop = loop_new();
	folder = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct syncer_store store = { folder, ordered, true, 1000, 1 };
	syncer = syncer_new(loop, &store, "test");
	memset(jobs, 0, sizeof jobs);
	syncs_to_fail = whole_syncs = order_syncs = 0;
	file_test_hook(count_whole, NULL);
	return folder < 0;
}

static int setup(void **state)
{
	(void)state;
	return begin(false);
}

static int setup_ordered(void **state)
{
	(void)state;
	return begin(true);
}

static int teardown(void **state)
{
	(void)state;
	syncer_free(syncer);
	file_test_hook(NULL, NULL);
	loop_free(loop);
	return close(folder);
}

static void add(size_t i, enum syncer_goal goal)
{
	jobs[i].job.verbs = &verbs;
	jobs[i].job.goal = goal;
	jobs[i].job.names = 1;
	left++;
	syncer_add(syncer, &jobs[i].job);
}

static void a_lone_job_is_synced_by_its_own(void **state)
{
	(void)state;
	add(0, SYNCER_DELIVER);
	loop_run(loop);
	assert_int_equal(jobs[0].job.error, 0);
	assert_true(jobs[0].content_synced == 1 && jobs[0].names_synced == 1 && jobs[0].settled == 1 && jobs[0].retracted == 0);
	assert_int_equal(whole_syncs, 0);
}

static void many_jobs_share_syncs_and_each_comes_back_once(void **state)
{
	struct syncer_counts counts;
	(void)state;
	for (size_t i = 0; i < MAX_JOBS; i++)
		add(i, SYNCER_DELIVER);
	loop_run(loop);
	for (size_t i = 0; i < MAX_JOBS; i++)
		assert_true(jobs[i].done == 1 && jobs[i].job.error == 0 && jobs[i].written == 1 && jobs[i].published == 1 && jobs[i].settled == 1);
	syncer_count(syncer, &counts);
	assert_int_equal(counts.jobs, MAX_JOBS);
	assert_true(counts.cycles < 20);
	assert_true(whole_syncs > 0);
}

static void each_goal_goes_its_way_and_no_further(void **state)
{
	(void)state;
	add(0, SYNCER_RUN);
	add(1, SYNCER_PREPARE);
	add(2, SYNCER_COMMIT);
	loop_run(loop);
	assert_true(jobs[0].written == 1 && jobs[0].published == 0 && jobs[0].settled == 0);
	assert_true(jobs[1].written == 1 && jobs[1].published == 0 && jobs[1].settled == 0);
	assert_true(jobs[2].written == 0 && jobs[2].published == 1 && jobs[2].settled == 1);
}

static void a_failed_write_or_publish_fails_that_job_alone(void **state)
{
	(void)state;
	jobs[1].write_error = -ENOSPC;
	jobs[2].publish_error = -EEXIST;
	for (size_t i = 0; i < 4; i++)
		add(i, SYNCER_DELIVER);
	loop_run(loop);
	assert_true(jobs[0].job.error == 0 && jobs[3].job.error == 0);
	assert_true(jobs[1].job.error == -ENOSPC && jobs[1].published == 0);
	assert_true(jobs[2].job.error == -EEXIST && jobs[2].settled == 0);
}

static void a_failed_sync_fails_all_that_stood_on_it_and_takes_it_back(void **state)
{
	(void)state;
	syncs_to_fail = 1;
	for (size_t i = 0; i < 50; i++)
		add(i, SYNCER_PREPARE);
	loop_run(loop);
	size_t failed = 0;
	for (size_t i = 0; i < 50; i++) {
		assert_int_equal(jobs[i].retracted, jobs[i].job.error ? 1 : 0);
		failed += jobs[i].job.error == -EIO;
	}
	assert_true(failed >= 2);
	for (size_t i = 0; i < 50; i++)
		jobs[i].job.error = jobs[i].retracted = 0;
	syncs_to_fail = 1;
	for (size_t i = 0; i < 50; i++)
		add(i, SYNCER_COMMIT);
	loop_run(loop);
	failed = 0;
	for (size_t i = 0; i < 50; i++) {
		assert_true(jobs[i].job.error ? jobs[i].retracted == 1 && jobs[i].settled == 0 : jobs[i].settled == 1);
		failed += jobs[i].job.error == -EIO;
	}
	assert_true(failed >= 2);
}

static void a_failed_sync_of_one_file_fails_that_job_alone(void **state)
{
	(void)state;
	jobs[0].content_error = -EIO;
	add(0, SYNCER_DELIVER);
	loop_run(loop);
	assert_true(jobs[0].job.error == -EIO && jobs[0].retracted == 1 && jobs[0].published == 0);
	jobs[1].names_error = -EIO;
	add(1, SYNCER_DELIVER);
	loop_run(loop);
	assert_true(jobs[1].job.error == -EIO && jobs[1].retracted == 1 && jobs[1].published == 1 && jobs[1].settled == 0);
}

/* -- a store that keeps order -- */

static void where_order_is_kept_one_sync_serves_contents_and_names(void **state)
{
	struct syncer_counts counts;
	(void)state;
	for (size_t i = 0; i < MAX_JOBS; i++)
		add(i, i % 5 == 0 ? SYNCER_PREPARE : i % 5 == 1 ? SYNCER_COMMIT : SYNCER_DELIVER);
	loop_run(loop);
	for (size_t i = 0; i < MAX_JOBS; i++) {
		int content = i % 5 != 1, name = i % 5 != 0;
		assert_true(jobs[i].done == 1 && jobs[i].job.error == 0 && jobs[i].started == content && jobs[i].awaited == content);
		assert_true(jobs[i].published == name && jobs[i].settled == name && jobs[i].retracted == 0);
		assert_true(jobs[i].content_synced == 0 && jobs[i].names_synced == 0);
	}
	syncer_count(syncer, &counts);
	assert_true(order_syncs > 0 && order_syncs < 20 && whole_syncs == 0);
	assert_int_equal(counts.order_syncs, order_syncs);
}

static void content_that_does_not_arrive_gets_no_name(void **state)
{
	(void)state;
	jobs[1].await_error = -ENOSPC;
	jobs[2].write_error = -EDQUOT;
	jobs[3].publish_error = -EEXIST;
	for (size_t i = 0; i < 5; i++)
		add(i, SYNCER_DELIVER);
	loop_run(loop);
	assert_true(jobs[0].job.error == 0 && jobs[4].job.error == 0);
	assert_true(jobs[1].job.error == -ENOSPC && jobs[1].published == 0 && jobs[1].retracted == 1);
	assert_true(jobs[2].job.error == -EDQUOT && jobs[2].awaited == 0);
	assert_true(jobs[3].job.error == -EEXIST && jobs[3].settled == 0);
}

static void a_failed_sync_of_the_mark_takes_all_of_its_cycle_back(void **state)
{
	size_t failed = 0;
	(void)state;
	syncs_to_fail = 1;
	for (size_t i = 0; i < 50; i++)
		add(i, i % 2 ? SYNCER_DELIVER : SYNCER_PREPARE);
	loop_run(loop);
	for (size_t i = 0; i < 50; i++) {
		assert_int_equal(jobs[i].retracted, jobs[i].job.error ? 1 : 0);
		assert_int_equal(jobs[i].settled, i % 2 && !jobs[i].job.error);
		failed += jobs[i].job.error == -EIO;
	}
	assert_true(failed >= 1);
}

static void the_end_waits_for_what_is_under_way(void **state)
{
	(void)state;
	for (size_t i = 0; i < 100; i++)
		add(i, SYNCER_DELIVER);
	while (syncer_waiting(syncer))
		syncer_drain(syncer);
	for (size_t i = 0; i < 100; i++)
		assert_int_equal(jobs[i].done, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_lone_job_is_synced_by_its_own),
		TEST(many_jobs_share_syncs_and_each_comes_back_once),
		TEST(each_goal_goes_its_way_and_no_further),
		TEST(a_failed_write_or_publish_fails_that_job_alone),
		TEST(a_failed_sync_fails_all_that_stood_on_it_and_takes_it_back),
		TEST(a_failed_sync_of_one_file_fails_that_job_alone),
		cmocka_unit_test_setup_teardown(where_order_is_kept_one_sync_serves_contents_and_names, setup_ordered, teardown),
		cmocka_unit_test_setup_teardown(content_that_does_not_arrive_gets_no_name, setup_ordered, teardown),
		cmocka_unit_test_setup_teardown(a_failed_sync_of_the_mark_takes_all_of_its_cycle_back, setup_ordered, teardown),
		TEST(the_end_waits_for_what_is_under_way),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
