/* The file sync: each form of a line, and what is wrong with others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "ctl/sync_source.h"

static struct arena mem = ARENA_INIT(64 << 10);

static const char *read(const char *value, struct sync_source *s)
{
	arena_reset(&mem);
	memset(s, 0, sizeof *s);
	return sync_source_read(slice_of(value), &mem, s);
}

static void a_command_has_its_path_its_arguments_and_its_time(void **state)
{
	(void)state;
	struct sync_source s;
	assert_null(read("command every=30m /usr/local/bin/list-recipients", &s));
	assert_true(!s.is_ldap && s.every_s == 1800);
	assert_string_equal(s.argv[0], "/usr/local/bin/list-recipients");
	assert_null(s.argv[1]);
	assert_null(read("command /bin/x \"two words\" \"a \\\"b\\\"\" c=d", &s));
	assert_int_equal(s.every_s, 3600);
	assert_string_equal(s.argv[1], "two words");
	assert_string_equal(s.argv[2], "a \"b\"");
	assert_string_equal(s.argv[3], "c=d");
	assert_null(s.argv[4]);
}

static void a_directory_has_what_its_words_say_and_the_usual_for_the_rest(void **state)
{
	(void)state;
	struct sync_source s;
	assert_null(read("ldap every=1h url=ldap://ad.example.org base=\"dc=example,dc=org\"", &s));
	assert_true(s.is_ldap && s.every_s == 3600 && !s.ldap.start_tls && !s.password_file && !s.ldap.bind);
	assert_string_equal(s.ldap.base, "dc=example,dc=org");
	assert_string_equal(s.ldap.attributes, "proxyAddresses mail");
	assert_null(read("ldap url=ldaps://h base=dc=x filter=\"(&(a=b)(c=d))\" attribute=\"mail uid\" value=\"quota=1G maildir\" bind=cn=p password-file=pw page=250 starttls", &s));
	assert_true(s.ldap.start_tls && s.ldap.page == 250);
	assert_string_equal(s.ldap.filter, "(&(a=b)(c=d))");
	assert_string_equal(s.ldap.value, "quota=1G maildir");
	assert_string_equal(s.password_file, "pw");
}

static void other_lines_are_told(void **state)
{
	(void)state;
	static const struct {
		const char *line, *why;
	} rows[] = {
		{ "", "a source is" }, { "rsync /x", "a source is" }, { "command", "absolute path" }, { "command bin/x", "absolute path" }, { "command every=soon /bin/x", "every=" },
		{ "command every=31d /bin/x", "every=" }, { "ldap url=ldap://x", "at least url= and base=" }, { "ldap base=x", "at least" }, { "ldap url=l base=b shape=round", "ldap takes" },
		{ "ldap url=l base=b page=many", "ldap takes" }, { "ldap url=l base=b page=100001", "ldap takes" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sync_source s;
		const char *why = read(rows[i].line, &s);
		if (!why || !strstr(why, rows[i].why))
			fail_msg("%s: %s", rows[i].line, why ? why : "taken");
	}
}

static void a_command_has_sixty_four_words_at_most(void **state)
{
	(void)state;
	struct sync_source s;
	char line[400] = "command /bin/x";
	for (int i = 0; i < 63; i++)
		strcat(line, " a");
	assert_null(read(line, &s));
	assert_null(s.argv[SYNC_MAX_ARGV]);
	strcat(line, " a");
	assert_non_null(read(line, &s));
}

static void a_maps_name_is_no_path(void **state)
{
	(void)state;
	struct slice out;
	assert_null(sync_source_key(NULL, SLICE("inner-recipients"), &mem, &out));
	assert_non_null(sync_source_key(NULL, SLICE("../passwd"), &mem, &out));
	assert_non_null(sync_source_key(NULL, SLICE(".hidden"), &mem, &out));
	assert_non_null(sync_source_key(NULL, SLICE(""), &mem, &out));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_command_has_its_path_its_arguments_and_its_time), cmocka_unit_test(a_directory_has_what_its_words_say_and_the_usual_for_the_rest),
		cmocka_unit_test(other_lines_are_told), cmocka_unit_test(a_command_has_sixty_four_words_at_most), cmocka_unit_test(a_maps_name_is_no_path),
	};
	int failed = cmocka_run_group_tests_name("sync_source", tests, NULL, NULL);
	arena_free(&mem);
	return failed;
}
