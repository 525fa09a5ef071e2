/* The map header: lines that are rules, lines that are not, and patterns that never end. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
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

static double cpu_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* The limit of one match counts anew at each place where it may begin: a long value without a match costs as many times as much. */
static void all_that_a_message_costs_has_a_limit(void **state)
{
	enum { FIELDS = 16, LONG = 60000, LIMIT_MS = 20, SLOW_FACTOR = 4 };
	struct map_set *set;
	struct header_rules *r = rules_of("* /(?:a+)+[^ab]/ refuse\nsubject /yes/ refuse\n", 10000, &set);
	const struct access *a;
	enum answer last = ABSENT;
	char *value = malloc(LONG);
	size_t from = 0;
	(void)state;
	for (size_t i = 0; i < LONG; i++)
		value[i] = i % 12 < 11 ? 'a' : 'b';
	double began = cpu_ms();
	header_rules_begin(r, LIMIT_MS);
	for (int i = 0; i < FIELDS && last == ABSENT; i++) {
		from = 0;
		last = header_rules_look(r, SLICE("Subject"), slice(value, LONG), &from, &a);
	}
	double spent = cpu_ms() - began;
	assert_int_equal(last, UNSURE);
	assert_true(header_rules_are_spent(r));
	if (spent > LIMIT_MS * SLOW_FACTOR)
		fail_msg("%.1f ms", spent);
	header_rules_begin(r, LIMIT_MS);
	from = 0;
	assert_int_equal(header_rules_look(r, SLICE("Subject"), SLICE("yes"), &from, &a), FOUND);
	assert_false(header_rules_are_spent(r));
	free(value);
	header_rules_free(r);
	map_set_close(set);
}

static void a_long_value_is_looked_at_in_pieces_that_nobody_sees(void **state)
{
	struct map_set *set;
	struct header_rules *r = rules_of("subject /(?<=xy)needle(?=z)/ tag a\nsubject /\\xc3\\xa4Z/ tag b\nsubject /\xc3\xa4Z/u tag c\nsubject /^needle/ tag d\n", 10000, &set);
	const struct access *a;
	char value[1200];
	(void)state;
	for (size_t at = 3; at < sizeof value - 20; at++) {
		size_t from = 0;
		memset(value, '\xa4', sizeof value); /* no UTF-8, and the second byte of a letter */
		memcpy(value + at - 2, "xyneedlez", 9);
		memcpy(value + at + 8, "\xc3\xa4Z", 3);
		for (const char *tag = "abc"; *tag; tag++) {
			assert_int_equal(header_rules_look(r, SLICE("subject"), slice(value, sizeof value), &from, &a), FOUND);
			assert_int_equal(a->tags[0].p[0], *tag);
		}
		assert_int_equal(header_rules_look(r, SLICE("subject"), slice(value, sizeof value), &from, &a), ABSENT);
	}
	header_rules_free(r);
	map_set_close(set);
}

static void a_rule_that_finds_again_in_a_message_is_no_news(void **state)
{
	struct map_set *set;
	struct header_rules *r = rules_of("* /a/ tag a\n", 10000, &set);
	const struct access *a;
	(void)state;
	for (int message = 0; message < 3; message++) {
		header_rules_begin(r, 20);
		for (int i = 0; i < 3; i++) {
			size_t from = 0;
			assert_int_equal(header_rules_look(r, SLICE("subject"), SLICE("a"), &from, &a), FOUND);
			assert_int_equal(header_rules_is_news(r, from), i == 0);
		}
	}
	header_rules_free(r);
	map_set_close(set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules_and_what_is_none),
		cmocka_unit_test(the_first_rule_that_matches_is_found_then_the_next),
		cmocka_unit_test(a_pattern_that_never_ends_is_unsure),
		cmocka_unit_test(all_that_a_message_costs_has_a_limit),
		cmocka_unit_test(a_long_value_is_looked_at_in_pieces_that_nobody_sees),
		cmocka_unit_test(a_rule_that_finds_again_in_a_message_is_no_news),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
