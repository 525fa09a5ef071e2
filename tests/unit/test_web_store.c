/* The store of checks: kept over a restart, bounded, and begun anew when it is damaged. */
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

#include "base/log.h"
#include "ctl/web_store.h"

static char folder[64];

static struct web_record record(const char *domain)
{
	struct web_record r = { .state = WEB_FINISHED, .asked_s = 1000 };
	web_record_random(r.id, WEB_ID);
	web_record_random(r.token, WEB_TOKEN);
	snprintf(r.domain, sizeof r.domain, "%s", domain);
	r.rows[RNDR_FORWARD] = (struct web_row){ .verdict = RNDR_BOUNCED, .note = "note", .returns = 2, .back_bytes = 777, .body_back = true };
	return r;
}

static void a_record_is_the_same_after_a_restart(void **state)
{
	(void)state;
	struct loop *l = loop_new();
	struct web_store *s;
	struct web_record r = record("example.org"), got;
	assert_int_equal(web_store_open(l, folder, &s), 0);
	assert_int_equal(web_store_put(s, &r, NULL, NULL), 0);
	web_store_close(s);
	assert_int_equal(web_store_open(l, folder, &s), 0);
	assert_true(web_store_get(s, slice_of(r.id), &got));
	assert_memory_equal(&r, &got, sizeof r);
	assert_false(web_store_get(s, SLICE("abcdefghijklmnopqrstuvwxyz"), &got));
	web_store_close(s);
	loop_free(l);
}

static void a_damaged_database_is_begun_anew(void **state)
{
	(void)state;
	char path[100];
	struct loop *l = loop_new();
	struct web_store *s;
	struct web_record r = record("example.net"), got;
	snprintf(path, sizeof path, "%s/checks.db", folder);
	FILE *f = fopen(path, "w");
	for (int i = 0; i < 2000; i++)
		fputs("rubbish ", f);
	fclose(f);
	assert_int_equal(web_store_open(l, folder, &s), 0);
	assert_int_equal(web_store_put(s, &r, NULL, NULL), 0);
	assert_true(web_store_get(s, slice_of(r.id), &got));
	web_store_close(s);
	loop_free(l);
}

static void a_record_with_a_byte_too_many_or_too_few_is_refused(void **state)
{
	(void)state;
	struct web_record r = record("example.org"), got;
	struct buf b = BUF_INIT(32768);
	assert_int_equal(web_record_put(&b, &r), 0);
	assert_int_equal(web_record_get(buf_slice(&b), &got), 0);
	for (size_t n = 0; n < b.n; n++)
		assert_int_equal(web_record_get(slice(b.p, n), &got), -EPROTO);
	buf_add_byte(&b, 'x');
	assert_int_equal(web_record_get(buf_slice(&b), &got), -EPROTO);
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_record_is_the_same_after_a_restart),
		cmocka_unit_test(a_damaged_database_is_begun_anew),
		cmocka_unit_test(a_record_with_a_byte_too_many_or_too_few_is_refused),
	};
	log_open(STDERR_FILENO, LOG_FORM_TEXT, "test");
	snprintf(folder, sizeof folder, "/tmp/porter-store-XXXXXX");
	if (!mkdtemp(folder))
		return 1;
	int failed = cmocka_run_group_tests_name("web_store", tests, NULL, NULL);
	char command[100];
	snprintf(command, sizeof command, "rm -rf %s", folder);
	return system(command) ? 1 : failed;
}
