/* The map header: lines that are rules, lines that are not, and patterns that never end. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "maps/header_rule.h"
#include "maps/map.h"

static void rules_and_what_is_none(void **state)
{
	(void)state;
	assert_null(header_rule_check(SLICE("subject /watches/i refuse 554 5.7.1 No.")));
	assert_null(header_rule_check(SLICE("* !^X-Worm: a/b!  tag worm")));
	assert_null(header_rule_check(SLICE("x /a\\/b/ accept")));
	assert_non_null(header_rule_check(SLICE("")));
	assert_non_null(header_rule_check(SLICE("subject")));
	assert_non_null(header_rule_check(SLICE("subject /a refuse")));
	assert_non_null(header_rule_check(SLICE("subject /a/x refuse")));
	assert_non_null(header_rule_check(SLICE("subject /(/ refuse")));
	assert_non_null(header_rule_check(SLICE("subject /a/")));
	assert_non_null(header_rule_check(SLICE("subject /a/ by-pass spf")));
	assert_non_null(header_rule_check(SLICE("subject /a\\")));
}

static struct header_rules *rules_of(const char *text, uint32_t limit, struct map_set **set)
{
	char top[] = "/tmp/porter-header-XXXXXX", path[100], command[100];
	struct complaints wrong = { 0 };
	enum answer a;
	assert_non_null(mkdtemp(top));
	snprintf(path, sizeof path, "%s/header", top);
	FILE *f = fopen(path, "w");
	fputs(text, f);
	fclose(f);
	assert_int_equal(map_set_read(slice_of(top), &wrong, set), 0);
	struct header_rules *r = header_rules_new(*set, limit, &a);
	assert_int_equal(a, FOUND);
	snprintf(command, sizeof command, "%s/header", top);
	remove(command);
	remove(top);
	return r;
}

static void the_first_rule_that_matches_is_found_then_the_next(void **state)
{
	struct map_set *set;
	struct header_rules *r = rules_of("# none\nsubject /b+c/i tag one\n* /^Subject: a/ refuse 554 5.7.1 No\nother /x/ tag never\n", 10000, &set);
	const struct access *a;
	size_t from = 0;
	(void)state;
	assert_int_equal(header_rules_look(r, SLICE("SUBJECT"), SLICE("nothing"), &from, &a), ABSENT);
	from = 0;
	assert_int_equal(header_rules_look(r, SLICE("Subject"), SLICE("aBBc"), &from, &a), FOUND);
	assert_true(a->tag_count == 1 && slice_eq(a->tags[0], SLICE("one")));
	assert_int_equal(header_rules_line(r, from), 2);
	assert_int_equal(header_rules_look(r, SLICE("Subject"), SLICE("aBBc"), &from, &a), FOUND);
	assert_int_equal(a->verdict, ACCESS_REFUSE);
	assert_int_equal(a->status.code, 554);
	assert_int_equal(header_rules_look(r, SLICE("Subject"), SLICE("aBBc"), &from, &a), ABSENT);
	header_rules_free(r);
	map_set_close(set);
}

static void a_pattern_that_never_ends_is_unsure(void **state)
{
	struct map_set *set;
	struct header_rules *r = rules_of("subject /^(a+)+$/ refuse\n", 1000, &set);
	const struct access *a;
	size_t from = 0;
	(void)state;
	assert_int_equal(header_rules_look(r, SLICE("subject"), SLICE("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"), &from, &a), UNSURE);
	header_rules_free(r);
	map_set_close(set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules_and_what_is_none),
		cmocka_unit_test(the_first_rule_that_matches_is_found_then_the_next),
		cmocka_unit_test(a_pattern_that_never_ends_is_unsure),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
