/* Bytes: views, readers and settings. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/scan.h"
#include "base/setting.h"
#include "base/slice.h"
#include "base/text.h"

static void views_are_compared_by_bytes_and_fold_ascii_alone(void **state)
{
	(void)state;
	assert_true(slice_eq(SLICE_NONE, SLICE("")));
	assert_false(slice_eq(SLICE("a"), SLICE("A")));
	assert_true(slice_eq_nocase(SLICE("Alice@Z["), SLICE("aLICE@z[")));
	assert_false(slice_eq_nocase(SLICE("\xc3\x84"), SLICE("\xc3\xa4")));
	assert_true(slice_cmp(SLICE("ab"), SLICE("abc")) < 0 && slice_cmp(SLICE("b"), SLICE("abc")) > 0 && slice_cmp(SLICE("\xff"), SLICE("a")) > 0);
	assert_true(slice_starts(SLICE("abc"), SLICE("ab")) && !slice_starts(SLICE("a"), SLICE("ab")) && slice_starts_nocase(SLICE("ABc"), SLICE("ab")));
	assert_true(slice_ends(SLICE("abc"), SLICE("bc")) && !slice_ends(SLICE("c"), SLICE("bc")) && slice_ends_nocase(SLICE("aBC"), SLICE("bc")));
	assert_true(slice_eq_secret(SLICE("same"), SLICE("same")) && !slice_eq_secret(SLICE("same"), SLICE("sane")) && !slice_eq_secret(SLICE("a"), SLICE("ab")));
	assert_true(slice_is_ascii(SLICE("a~")) && !slice_is_ascii(SLICE("\x80")));
}

static void views_are_cut_and_never_leave_their_bytes(void **state)
{
	struct slice s = SLICE("key=value=more"), rest;
	(void)state;
	assert_true(slice_find(s, '=') == 3 && slice_rfind(s, '=') == 9 && slice_find(s, '!') == s.n && slice_rfind(s, '!') == s.n);
	assert_true(slice_find_slice(s, SLICE("value")) == 4 && slice_find_slice(s, SLICE("valued")) == s.n);
	assert_true(slice_eq(slice_cut(s, '=', &rest), SLICE("key")) && slice_eq(rest, SLICE("value=more")));
	assert_true(slice_eq(slice_cut(s, '!', &s), SLICE("key=value=more")) && s.p == NULL);
	s = SLICE("end=");
	assert_true(slice_eq(slice_cut(s, '=', &rest), SLICE("end")) && rest.n == 0 && rest.p != NULL);
	assert_true(slice_eq(slice_skip(SLICE("abc"), 9), SLICE("")) && slice_eq(slice_head(SLICE("abc"), 9), SLICE("abc")));
	assert_true(slice_eq(slice_trim(SLICE(" \t\r\n a b \n")), SLICE("a b")) && slice_trim(SLICE(" \n")).n == 0);
}

static void readers_take_what_is_there_and_leave_all_else(void **state)
{
	struct slice in = SLICE("MAIL 18446744073709551615 ff\r\nlast"), line;
	uint64_t n = 7;
	(void)state;
	assert_true(!scan_byte(&in, 'x') && scan_word(&in, SLICE("mail")) && scan_blanks(&in) == 1);
	struct slice before = in;
	assert_true(!scan_uint(&in, 1000, &n) && n == 7 && in.p == before.p && in.n == before.n);
	assert_true(scan_uint(&in, UINT64_MAX, &n) && n == UINT64_MAX && scan_byte(&in, ' '));
	assert_true(!scan_hex(&in, 3, &n) && scan_hex(&in, 2, &n) && n == 255);
	assert_true(scan_line(&in, &line) && line.n == 0 && scan_line(&in, &line) && slice_eq(line, SLICE("last")) && !scan_line(&in, &line));
}

static void numbers_have_ends_and_units(void **state)
{
	uint64_t n = 7;
	(void)state;
	assert_true(scan_uint_all(SLICE("42"), 42, &n) && n == 42);
	assert_true(!scan_uint_all(SLICE("43"), 42, &n) && !scan_uint_all(SLICE("4x"), 42, &n) && !scan_uint_all(SLICE(""), 42, &n) && !scan_uint_all(SLICE("-1"), 42, &n));
	assert_true(!scan_uint_all(SLICE("18446744073709551616"), UINT64_MAX, &n));
	assert_true(scan_size_all(SLICE("64k"), UINT64_MAX, &n) && n == 65536 && scan_size_all(SLICE("2G"), UINT64_MAX, &n) && n == 2ULL << 30);
	assert_true(!scan_size_all(SLICE("18446744073709551615G"), UINT64_MAX, &n) && !scan_size_all(SLICE("1kk"), UINT64_MAX, &n) && !scan_size_all(SLICE("k"), UINT64_MAX, &n));
	assert_true(scan_span_all(SLICE("2w"), UINT64_MAX, &n) && n == 14 * 86400 && scan_span_all(SLICE("30"), UINT64_MAX, &n) && n == 30);
	assert_true(!scan_span_all(SLICE("9d"), 86400, &n) && !scan_span_all(SLICE("1y"), UINT64_MAX, &n));
}

/* -- settings -- */

static struct { bool on; uint64_t count, bytes, seconds; struct slice text, word, domain, path, list; } got;
static const char *no_x(struct slice v)
{
	return slice_find(v, 'x') < v.n ? "no x here" : NULL;
}
static const struct setting rows[] = {
	{ "on", SETTING_BOOL, offsetof(__typeof__(got), on), "no", 0, 0, NULL, NULL, "A." },
	{ "count", SETTING_UINT, offsetof(__typeof__(got), count), "5", 1, 10, NULL, NULL, "B." },
	{ "bytes", SETTING_SIZE, offsetof(__typeof__(got), bytes), "1M", 0, 1 << 30, NULL, NULL, "C." },
	{ "seconds", SETTING_SPAN, offsetof(__typeof__(got), seconds), "5m", 0, 86400, NULL, NULL, "D." },
	{ "text", SETTING_TEXT, offsetof(__typeof__(got), text), "", 0, 0, NULL, NULL, "E." },
	{ "word", SETTING_WORD, offsetof(__typeof__(got), word), "red", 0, 0, "red green", NULL, "F." },
	{ "domain", SETTING_DOMAIN, offsetof(__typeof__(got), domain), "example.org", 0, 0, NULL, NULL, "G." },
	{ "path", SETTING_PATH, offsetof(__typeof__(got), path), "mail", 0, 0, NULL, NULL, "H." },
	{ "list", SETTING_LIST, offsetof(__typeof__(got), list), "", 0, 0, NULL, no_x, "I." },
};
static struct setting_table table = { "test", rows, sizeof rows / sizeof rows[0], &got };

static int read_settings(struct slice text, struct complaints *wrong, struct arena *mem, bool some)
{
	struct setting_table *const tables[] = { &table };
	*wrong = (struct complaints){ BUF_INIT(64 << 10), 0 };
	return (some ? setting_read_some : setting_read)(text, SLICE("porter.conf"), SLICE("/etc/porter"), tables, 1, mem, wrong);
}

static void settings_have_defaults_and_take_values(void **state)
{
	struct complaints wrong;
	struct arena mem = ARENA_INIT(64 << 10);
	(void)state;
	assert_int_equal(read_settings(SLICE("# none\n"), &wrong, &mem, false), 0);
	assert_true(!got.on && got.count == 5 && got.bytes == 1 << 20 && got.seconds == 300 && slice_eq(got.word, SLICE("red")));
	assert_true(slice_eq(got.path, SLICE("/etc/porter/mail")));
	assert_int_equal(read_settings(SLICE("on yes\ncount\t10 # ten\nbytes 64k\nseconds 2h\ntext a  b\nword green\ndomain MX.Example.ORG\npath /srv\nlist a b\n"), &wrong, &mem, false), 0);
	assert_true(got.on && got.count == 10 && got.bytes == 65536 && got.seconds == 7200 && slice_eq(got.word, SLICE("green")));
	assert_true(slice_eq(got.domain, SLICE("mx.example.org")) && slice_eq(got.path, SLICE("/srv")) && slice_eq(got.list, SLICE("a b")));
	complaint_free(&wrong);
	arena_free(&mem);
}

static void complaints_are_told_by_file_and_line(void **state)
{
	(void)state;
	struct complaints wrong = { 0 }, more = { 0 };
	complaint_add(&wrong, SLICE("routes"), 10, "late");
	complaint_add(&wrong, SLICE("routes"), 9, "early");
	complaint_add(&wrong, SLICE("aliases"), 100, "first in line: %d", 1);
	complaint_add(&wrong, SLICE("aliases"), 100, "second in line");
	complaint_add(&wrong, SLICE("routes"), 9, "early: too");
	complaint_add(&wrong, SLICE("route"), 11, "a shorter name");
	complaint_add(&more, SLICE("domains"), 2, "joined");
	complaint_join(&wrong, &more);
	assert_true(slice_eq(buf_slice(&wrong.text), SLICE("aliases:100: first in line: 1\naliases:100: second in line\ndomains:2: joined\nroute:11: a shorter name\n"
	                                                   "routes:9: early\nroutes:9: early: too\nroutes:10: late\n")));
	assert_int_equal(wrong.count, 7);
	complaint_free(&wrong);
	complaint_free(&more);
	for (size_t i = 1; i <= 1000; i++) /* whatever the order in which they are found, the first 50 are shown */
		complaint_add(&wrong, SLICE("recipients"), i * 5 % 1001, "x");
	assert_int_equal(wrong.count, 1000);
	struct slice rest = buf_slice(&wrong.text);
	for (size_t i = 1; i <= 50; i++) {
		char want[32];
		snprintf(want, sizeof want, "recipients:%zu: x", i);
		assert_true(slice_eq(slice_cut(rest, '\n', &rest), slice_of(want)));
	}
	assert_int_equal(rest.n, 0);
	complaint_free(&wrong);
}

static void all_wrong_settings_are_told_at_once_with_their_lines(void **state)
{
	struct complaints wrong;
	struct arena mem = ARENA_INIT(64 << 10);
	(void)state;
	assert_int_equal(read_settings(SLICE("on perhaps\ncount 11\nbytes 1T\nword blue\nnothing 1\ncount 2\nlist axb\ndomain a..b\n"), &wrong, &mem, false), -EINVAL);
	assert_int_equal(wrong.count, 8);
	for (int line = 1; line <= 8; line++) {
		char where[32];
		snprintf(where, sizeof where, "porter.conf:%d: ", line);
		assert_true(slice_find_slice(buf_slice(&wrong.text), slice_of(where)) < wrong.text.n);
	}
	complaint_free(&wrong);
	assert_int_equal(read_settings(SLICE("nothing 1\non yes\n"), &wrong, &mem, true), 0);
	complaint_free(&wrong);
	arena_free(&mem);
}

static void is_written(int (*add)(struct buf *out, struct slice s), struct slice text, const char *want)
{
	struct buf b = BUF_INIT(200);
	assert_int_equal(add(&b, text), 0);
	if (!slice_eq(buf_slice(&b), slice_of(want)))
		fail_msg("%.*s, not %s", SLICE_FMT(buf_slice(&b)), want);
	buf_free(&b);
}

static void what_a_stranger_wrote_is_shown_without_its_power(void **state)
{
	(void)state;
	is_written(text_add_escaped, SLICE(""), "");
	is_written(text_add_escaped, SLICE("plain ~"), "plain ~");
	is_written(text_add_escaped, SLICE("a\\b\"c\r\n\td"), "a\\\\b\\\"c\\r\\n\\td");
	is_written(text_add_escaped, SLICE("\x1b[2J\x7f!"), "\\x1b[2J\\x7f!");
	is_written(text_add_escaped, SLICE("\xc3\xa4 \xc2\x9b \xff\xc3"), "\xc3\xa4 \\xc2\\x9b \\xff\\xc3");
	is_written(text_add_escaped, SLICE("\xe2\x80\xae\xe2\x80\x93\xe2\x81\xa6\xe2\x80\xa8"), "\\xe2\\x80\\xae\xe2\x80\x93\\xe2\\x81\\xa6\\xe2\\x80\\xa8");
	is_written(text_add_json, SLICE("\xe2\x80\xae\xe2\x80\x93\xe2\x81\xa6\xc2\x9b"), "\"\\u202e\xe2\x80\x93\\u2066\\u009b\"");
	is_written(text_add_json, SLICE("plain ~"), "\"plain ~\"");
	is_written(text_add_json, SLICE("a\\b\"c\n\x1b\x7f"), "\"a\\\\b\\\"c\\u000a\\u001b\\u007f\"");
	is_written(text_add_json, SLICE("\xc3\xa4\xffz"), "\"\xc3\xa4\\ufffdz\"");
}

static void formatted_text_ends_at_the_ceiling_and_writes_nothing_past_it(void **state)
{
	struct buf b = BUF_INIT(20);
	(void)state;
	assert_int_equal(buf_addf(&b, "%s", "0123456789"), 0);
	assert_int_equal(buf_addf(&b, "%s", "012345678"), 0); /* and its NUL */
	assert_int_equal(buf_addf(&b, "%s", "x"), -EMSGSIZE);
	assert_true(buf_full(&b) && slice_eq(buf_slice(&b), SLICE("0123456789012345678")));
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(views_are_compared_by_bytes_and_fold_ascii_alone),
		cmocka_unit_test(views_are_cut_and_never_leave_their_bytes),
		cmocka_unit_test(readers_take_what_is_there_and_leave_all_else),
		cmocka_unit_test(numbers_have_ends_and_units),
		cmocka_unit_test(what_a_stranger_wrote_is_shown_without_its_power),
		cmocka_unit_test(formatted_text_ends_at_the_ceiling_and_writes_nothing_past_it),
		cmocka_unit_test(settings_have_defaults_and_take_values),
		cmocka_unit_test(all_wrong_settings_are_told_at_once_with_their_lines),
		cmocka_unit_test(complaints_are_told_by_file_and_line),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
