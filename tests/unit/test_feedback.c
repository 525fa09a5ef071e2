/* The store of DMARC outcomes: equal ones are counted, what is taken is gone, and every bound holds. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "queue/feedback.h"

static char path[64];
static struct feedback_store *store;

static int begin(void **state)
{
	(void)state;
	snprintf(path, sizeof path, "/tmp/porter-feedback-%d", (int)getpid());
	unlink(path);
	store = feedback_store_open(slice_of(path));
	return store ? 0 : -1;
}

static int end(void **state)
{
	(void)state;
	feedback_store_close(store);
	store = NULL;
	return unlink(path);
}

struct what {
	const char *domain, *organisation, *p, *ip, *to[2];
};

static int count(const struct what *w, int64_t day)
{
	struct slice none = SLICE("");
	struct dmarc_report_row row = { slice_of(w->ip), 0, SLICE("none"), SLICE("pass"), SLICE("pass"), none, slice_of(w->domain), none, none, none, none, none, none };
	struct feedback f = { .report = { none, none, none, 0, 0, slice_of(w->domain), slice_of(w->p), none, none, none, none, none, none, &row, 1 },
		              .organisation = slice_of(w->organisation) };
	for (size_t i = 0; i < 2 && w->to[i]; i++)
		f.to[f.to_count++] = slice_of(w->to[i]);
	return feedback_store_count(store, &f, day);
}

static const struct what one = { "a.test", "a.test", "reject", "192.0.2.1", { "r@a.test" } };

static void equal_outcomes_are_one_row(void **state)
{
	struct feedback_batch b;
	struct what other = one;
	(void)state;
	other.ip = "192.0.2.2";
	other.to[1] = "s@b.test";
	for (int i = 0; i < 300; i++)
		assert_int_equal(count(&one, 7), 0);
	assert_int_equal(count(&other, 7), 0);
	assert_int_equal(feedback_store_take(store, 7, &b), 0); /* the day isn't over */
	assert_int_equal(feedback_store_take(store, 8, &b), 1);
	assert_int_equal(b.count, 2);
	assert_int_equal(b.messages, 301);
	assert_int_equal(b.rows[0].count + b.rows[1].count, 301);
	assert_int_equal(b.first.to_count, 2); /* of all rows, each once */
	assert_int_equal(b.day, 7);
	arena_free(&b.mem);
	assert_int_equal(feedback_store_take(store, 8, &b), 0);
}

static void a_row_goes_to_all_who_were_ever_named_for_it(void **state)
{
	struct feedback_batch b;
	struct what two = one;
	(void)state;
	two.to[1] = "S@b.test";
	count(&one, 7);
	count(&two, 7);
	count(&one, 7); /* an answer from DNS did not come */
	assert_int_equal(feedback_store_take(store, 8, &b), 1);
	assert_true(b.count == 1 && b.messages == 3 && b.first.to_count == 2);
	arena_free(&b.mem);
}

static void a_report_is_of_one_domain_day_and_policy(void **state)
{
	static const struct { struct what w; int64_t day; } all[] = {
		{ { "a.test", "a.test", "reject", "192.0.2.1", { "r@a.test" } }, 7 }, { { "a.test", "a.test", "none", "192.0.2.1", { "r@a.test" } }, 7 },
		{ { "a.test", "a.test", "reject", "192.0.2.1", { "r@a.test" } }, 6 }, { { "b.test", "b.test", "reject", "192.0.2.1", { "r@b.test" } }, 7 },
	};
	struct feedback_batch b;
	int64_t last = 0;
	(void)state;
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		assert_int_equal(count(&all[i].w, all[i].day), 0);
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		assert_int_equal(feedback_store_take(store, 8, &b), 1);
		assert_int_equal(b.count, 1);
		assert_true(b.day >= last); /* the oldest first */
		last = b.day;
		arena_free(&b.mem);
	}
	assert_int_equal(feedback_store_take(store, 8, &b), 0);
}

static void more_rows_than_a_report_holds_become_several(void **state)
{
	char ip[20], evil[251]; /* which is four times as long in XML */
	size_t rows = 0;
	int reports = 0;
	struct what w = one;
	struct feedback_batch b;
	(void)state;
	memset(evil, '<', 250);
	evil[250] = 0;
	w.ip = ip;
	w.domain = evil;
	for (unsigned i = 0; i < 9000; i++) {
		snprintf(ip, sizeof ip, "10.0.%u.%u", i >> 8, i & 255);
		assert_int_equal(count(&w, 7), 0);
	}
	for (; feedback_store_take(store, 8, &b) == 1; reports++) {
		struct buf xml = BUF_INIT(FEEDBACK_MAX_XML + 10000);
		struct dmarc_report r = b.first.report;
		rows += b.count;
		r.rows = b.rows;
		r.row_count = b.count;
		assert_int_equal(dmarc_report_write(&r, &xml), 0);
		buf_free(&xml);
		arena_free(&b.mem);
	}
	assert_int_equal(rows, 9000);
	assert_true(reports >= 2);
}

static void an_organisation_has_its_share_and_no_more(void **state)
{
	char ip[20];
	struct what w = one, other = { "b.test", "b.test", "none", "192.0.2.9", { "r@b.test" } };
	(void)state;
	w.ip = ip;
	for (unsigned i = 0; i <= FEEDBACK_MAX_ORGANISATION_ROWS; i++) {
		snprintf(ip, sizeof ip, "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
		assert_int_equal(count(&w, 7), i < FEEDBACK_MAX_ORGANISATION_ROWS ? 0 : -ENOSPC);
	}
	assert_int_equal(count(&other, 7), 0);
	w.ip = "10.0.0.1"; /* a row that is there counts on */
	assert_int_equal(count(&w, 7), 0);
}

static void what_was_counted_is_there_after_a_restart(void **state)
{
	struct feedback_batch b;
	(void)state;
	count(&one, 7);
	feedback_store_close(store);
	store = feedback_store_open(slice_of(path));
	assert_non_null(store);
	count(&one, 7);
	assert_int_equal(feedback_store_take(store, 8, &b), 1);
	assert_int_equal(b.messages, 2);
	arena_free(&b.mem);
}

static void a_damaged_file_is_begun_anew(void **state)
{
	(void)state;
	count(&one, 7);
	feedback_store_close(store);
	FILE *f = fopen(path, "w");
	assert_true(f && fputs("no database, but long enough to look like one page or two of something", f) > 0 && fclose(f) == 0);
	store = feedback_store_open(slice_of(path));
	assert_non_null(store);
	assert_int_equal(count(&one, 7), 0);
}

static void a_record_that_is_none_is_refused(void **state)
{
	static const char *const bad[] = { "", "\1", "\1\0\0\0\1a", "\3\0\0\0\1a", "\377\0\0\0\1a" };
	static const size_t lengths[] = { 0, 1, 6, 6, 6 };
	struct feedback f;
	struct dmarc_report_row row;
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(feedback_get(slice(bad[i], lengths[i]), &row, &f), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(equal_outcomes_are_one_row, begin, end),
		cmocka_unit_test_setup_teardown(a_row_goes_to_all_who_were_ever_named_for_it, begin, end),
		cmocka_unit_test_setup_teardown(a_report_is_of_one_domain_day_and_policy, begin, end),
		cmocka_unit_test_setup_teardown(more_rows_than_a_report_holds_become_several, begin, end),
		cmocka_unit_test_setup_teardown(an_organisation_has_its_share_and_no_more, begin, end),
		cmocka_unit_test_setup_teardown(what_was_counted_is_there_after_a_restart, begin, end),
		cmocka_unit_test_setup_teardown(a_damaged_file_is_begun_anew, begin, end),
		cmocka_unit_test(a_record_that_is_none_is_refused),
	};
	return cmocka_run_group_tests_name("feedback", tests, NULL, NULL);
}
