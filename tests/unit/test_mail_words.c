/* Paths, parameters and replies: tables of what is one and what isn't. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/mail_param.h"
#include "base/mail_path.h"
#include "base/mail_reply.h"

static struct arena mem;

/* -- paths ------------------------------------------------------------------------------------------------------------------------------------ */

static void paths_are_read_whole_or_not_at_all(void **state)
{
	static const struct { const char *in, *local, *domain; } rows[] = {
		{ "<a@b.test>", "a", "b.test" },
		{ "<A.b+C@B.Test>", "A.b+C", "b.test" },
		{ "<>", "", "" },
		{ "<postmaster>", "postmaster", "" },
		{ "<PostMaster>", "PostMaster", "" },
		{ "<\"a b\"@b.test>", "a b", "b.test" },
		{ "<\"a\\\"b\"@b.test>", "a\"b", "b.test" },
		{ "<\"a@c\"@b.test>", "a@c", "b.test" },
		{ "<@one.test,@two.test:a@b.test>", "a", "b.test" },
		{ "<a@[192.0.2.1]>", "a", "[192.0.2.1]" },
		{ "<a@[IPv6:2001:DB8::1]>", "a", "[ipv6:2001:db8::1]" },
		{ "<j\xc3\xbcrgen@b\xc3\xbc" "cher.test>", "j\xc3\xbcrgen", "b\xc3\xbc" "cher.test" },
		{ "<a%c@b.test>", "a%c", "b.test" }, { "<-oX@b.test>", "-oX", "b.test" }, { "<${run{id}}@b.test>", "${run{id}}", "b.test" },
		{ "<a>", NULL, NULL }, { "a@b.test", NULL, NULL }, { "<a@b.test", NULL, NULL }, { "<@b.test>", NULL, NULL }, { "<a@>", NULL, NULL },
		{ "<a b@c.test>", NULL, NULL }, { "<a..b@c.test>", NULL, NULL }, { "<.a@c.test>", NULL, NULL }, { "<a.@c.test>", NULL, NULL },
		{ "<a@b..c>", NULL, NULL }, { "<a@-b.test>", NULL, NULL }, { "<a@b-.test>", NULL, NULL }, { "<a@b.test.>", NULL, NULL },
		{ "<\"a@b.test>", NULL, NULL }, { "<\"a\tb\"@b.test>", NULL, NULL }, { "<a@[1.2.3]>", NULL, NULL }, { "<a@[IPv6:1.2.3.4]>", NULL, NULL },
		{ "<;sleep 10;>", NULL, NULL }, { "<|id>", NULL, NULL }, { "<a@b.test\n>", NULL, NULL }, { "<@a.test>", NULL, NULL }, { "<@a.test:>", NULL, NULL },
		{ "<\xff@b.test>", NULL, NULL }, { "", NULL, NULL }, { "<", NULL, NULL },
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct slice in = slice_of(rows[i].in), before = in;
		struct mail_path p = { 0 };
		const char *why = NULL;
		int error = mail_path_parse(&in, &mem, &p, &why);
		if (!rows[i].local) {
			assert_int_equal(error, -EINVAL);
			assert_non_null(why);
			assert_ptr_equal(in.p, before.p);
			assert_null(p.local_part.p);
			continue;
		}
		assert_int_equal(error, 0);
		assert_int_equal(in.n, 0);
		assert_true(slice_eq(p.local_part, slice_of(rows[i].local)));
		assert_true(slice_eq(p.domain, slice_of(rows[i].domain)));
	}
}

static void lengths_of_paths_have_limits(void **state)
{
	static const struct { size_t local, label_count; bool good; } rows[] = { { 64, 1, true }, { 65, 1, true }, { 255, 1, true }, { 256, 1, false }, { 255, 64, true }, { 255, 66, false }, { 1, 127, true }, { 1, 128, true }, { 1, 129, false }, { 1, 4000, false } };
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct buf b = BUF_INIT(20000);
		buf_add_byte(&b, '<');
		for (size_t k = 0; k < rows[i].local; k++)
			buf_add_byte(&b, 'a');
		buf_add_byte(&b, '@');
		for (size_t k = 0; k < rows[i].label_count; k++)
			buf_add_cstr(&b, k ? ".b" : "c");
		buf_add_byte(&b, '>');
		struct slice in = buf_slice(&b);
		struct mail_path p;
		const char *why;
		assert_int_equal(mail_path_parse(&in, &mem, &p, &why), rows[i].good ? 0 : -EINVAL);
		buf_free(&b);
	}
}

static void a_path_prints_as_it_can_be_read_again(void **state)
{
	static const char *const rows[] = { "a@b.test", "\"a b\"@b.test", "\"a\\\"\\\\b\"@b.test", "\"a..b\"@b.test", "\"\"@b.test", "a@[192.0.2.1]" };
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct mail_path p;
		const char *why;
		struct buf b = BUF_INIT(400);
		assert_int_equal(mail_path_parse_address(slice_of(rows[i]), &mem, &p, &why), 0);
		assert_int_equal(mail_path_print(&b, &p), 0);
		assert_true(slice_eq(buf_slice(&b), slice_of(rows[i])));
		buf_free(&b);
	}
}

/* -- parameters --------------------------------------------------------------------------------------------------------------------------------- */

static void parameters_are_read_one_by_one(void **state)
{
	struct slice in = SLICE(" SIZE=10  BODY=8BITMIME SMTPUTF8");
	struct mail_param p;
	(void)state;
	assert_int_equal(mail_param_next(&in, &p), 1);
	assert_true(slice_eq(p.keyword, SLICE("SIZE")) && slice_eq(p.value, SLICE("10")) && p.has_value);
	assert_int_equal(mail_param_next(&in, &p), 1);
	assert_int_equal(mail_param_next(&in, &p), 1);
	assert_true(slice_eq(p.keyword, SLICE("SMTPUTF8")) && !p.has_value);
	assert_int_equal(mail_param_next(&in, &p), 0);
	static const char *const bad[] = { "SIZE=1", " =1", " -A=1", " A==1", " A=", " A=1=2", " A=\x01", " A b=\x7f" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct slice s = slice_of(bad[i]);
		int result;
		do
			result = mail_param_next(&s, &p);
		while (result == 1);
		assert_int_equal(result, -EINVAL);
	}
}

static void sizes_never_overflow(void **state)
{
	uint64_t n = 7;
	(void)state;
	assert_true(mail_param_size(SLICE("0"), &n) && n == 0);
	assert_true(mail_param_size(SLICE("1234"), &n) && n == 1234);
	assert_true(mail_param_size(SLICE("99999999999999999999"), &n) && n == INT64_MAX);
	assert_false(mail_param_size(SLICE("-1"), &n));
	assert_false(mail_param_size(SLICE(""), &n));
	assert_false(mail_param_size(SLICE("999999999999999999999"), &n));
	assert_false(mail_param_size(SLICE("1k"), &n));
}

/* RFC 6533, 3 */
static void utf8_addresses_have_an_escaped_form_and_come_back(void **state)
{
	static const struct {
		const char *address, *escaped, *kept;
	} rows[] = {
		{ "gr\xc3\xb6\xc3\x9f" "e@x.test", "gr\\x{F6}\\x{DF}e@x.test", "gr\xc3\xb6\xc3\x9f" "e@x.test" },
		{ "a+b=c\\ d@x.test", "a\\x{2B}b\\x{3D}c\\x{5C}\\x{20}d@x.test", "a\\x{2B}b\\x{3D}c\\x{5C}\\x{20}d@x.test" },
		{ "\xc2\xa0\xdf\xbf\xe0\xa0\x80\xef\xbf\xbd", "\\x{A0}\\x{7FF}\\x{800}\\x{FFFD}", "\xc2\xa0\xdf\xbf\xe0\xa0\x80\xef\xbf\xbd" },
		{ "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", "\\x{10000}\\x{10FFFF}", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf" },
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		for (int utf8 = 0; utf8 < 2; utf8++) {
			struct buf original = BUF_INIT(200), value = BUF_INIT(200);
			struct slice out = SLICE_NONE;
			buf_addf(&original, "utf-8;%s", rows[i].address);
			mail_param_add_orcpt(&value, buf_slice(&original), utf8);
			assert_true(slice_eq(slice_skip(buf_slice(&value), 6), slice_of(utf8 ? rows[i].kept : rows[i].escaped)));
			assert_true(mail_param_orcpt(buf_slice(&value), &mem, &out) && slice_eq(out, buf_slice(&original)));
			buf_free(&original);
			buf_free(&value);
		}
	static const char *const wrong[] = { "\\x{F6", "\\x{f6}", "\\x{0F6}", "\\x{41}", "\\x{0A}", "\\x{7F}", "\\x{}", "\\x{D800}", "\\x{110000}", "\\x", "\\y", "\xc3", "\xff" };
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		struct buf value = BUF_INIT(200);
		struct slice out;
		buf_addf(&value, "utf-8;a%s", wrong[i]);
		assert_false(mail_param_orcpt(buf_slice(&value), &mem, &out));
		buf_free(&value);
	}
}

static void decoded_parameters_are_printable(void **state)
{
	struct slice out;
	unsigned bits;
	struct mail_by by;
	int priority;
	(void)state;
	assert_true(mail_param_envid(SLICE("QQ+2B1"), &mem, &out) && slice_eq(out, SLICE("QQ+1")));
	assert_false(mail_param_envid(SLICE("x+0D+0Ay"), &mem, &out));
	assert_false(mail_param_envid(SLICE("x+00"), &mem, &out));
	assert_false(mail_param_envid(SLICE(""), &mem, &out));
	assert_true(mail_param_orcpt(SLICE("rfc822;ann+40x@b.test"), &mem, &out) && slice_eq(out, SLICE("rfc822;ann@x@b.test")));
	assert_false(mail_param_orcpt(SLICE("rfc822;x+0Ay"), &mem, &out));
	assert_false(mail_param_orcpt(SLICE("rfc822"), &mem, &out));
	assert_false(mail_param_orcpt(SLICE("rfc 822;x"), &mem, &out));
	assert_false(mail_param_orcpt(SLICE("rfc822;x+C3+B6"), &mem, &out));
	assert_true(mail_param_notify(SLICE("SUCCESS,delay"), &bits) && bits == (2 | 8));
	assert_true(mail_param_notify(SLICE("NEVER"), &bits) && bits == 1);
	assert_false(mail_param_notify(SLICE("NEVER,SUCCESS"), &bits));
	assert_false(mail_param_notify(SLICE(""), &bits));
	assert_false(mail_param_notify(SLICE("SUCCESS,"), &bits));
	assert_true(mail_param_by(SLICE("120;R"), &by) && by.seconds == 120 && by.return_mode && !by.trace);
	assert_true(mail_param_by(SLICE("-5;N"), &by) && by.seconds == -5 && !by.return_mode);
	assert_true(mail_param_by(SLICE("+5;NT"), &by) && by.seconds == 5 && !by.return_mode && by.trace);
	assert_false(mail_param_by(SLICE("-5;R"), &by) || mail_param_by(SLICE("0;R"), &by) || mail_param_by(SLICE("5;RX"), &by) || mail_param_by(SLICE("+-5;N"), &by));
	assert_false(mail_param_by(SLICE("9999999999;N"), &by));
	assert_true(mail_param_priority(SLICE("-9"), &priority) && priority == -9);
	assert_false(mail_param_priority(SLICE("10"), &priority) || mail_param_priority(SLICE("00"), &priority) || mail_param_priority(SLICE("-0"), &priority) || mail_param_priority(SLICE("+1"), &priority) || mail_param_priority(SLICE(""), &priority));
	assert_true(mail_param_priority(SLICE("0"), &priority) && priority == 0);
}

/* -- replies --------------------------------------------------------------------------------------------------------------------------------------- */

/* 1: whole, with this code and number of lines; 0: not yet; -EPROTO: hang up. */
static void replies_are_read_by_their_lines(void **state)
{
	static const struct { const char *in; int result; unsigned code; size_t lines; } rows[] = {
		{ "250 Ok\r\n", 1, 250, 1 }, { "250\r\n", 1, 250, 1 }, { "250-a\r\n250-b\r\n250 c\r\n", 1, 250, 3 }, { "250 a\n", 1, 250, 1 },
		{ "553-\r\n553\r\n", 1, 553, 2 },
		{ "", 0, 0, 0 }, { "2", 0, 0, 0 }, { "250 Ok", 0, 0, 0 }, { "250-a\r\n", 0, 0, 0 }, { "250-a\r\n250", 0, 0, 0 },
		{ "5\r\n", -EPROTO, 0, 0 }, { "55\r\n", -EPROTO, 0, 0 }, { "\r\n", -EPROTO, 0, 0 }, { "250-a\r\n550 b\r\n", -EPROTO, 0, 0 }, { "hello\r\n", -EPROTO, 0, 0 },
		{ "250_x\r\n", -EPROTO, 0, 0 }, { "199 x\r\n", -EPROTO, 0, 0 }, { "600 x\r\n", -EPROTO, 0, 0 }, { "250-a\r\n\r\n", -EPROTO, 0, 0 },
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct slice in = slice_of(rows[i].in);
		struct mail_reply r = { 0 };
		const char *why = "";
		assert_int_equal(mail_reply_read(&in, &mem, &r, &why), rows[i].result);
		assert_int_equal(r.code, rows[i].code);
		assert_int_equal(r.count, rows[i].lines);
		assert_int_equal(in.n, rows[i].result == 1 ? 0 : strlen(rows[i].in));
	}
}

static void replies_without_end_are_bounded(void **state)
{
	struct buf b = BUF_INIT(4 << 20);
	struct mail_reply r;
	const char *why = "";
	(void)state;
	for (int i = 0; i < MAIL_REPLY_MAX_LINES + 1; i++)
		buf_add_cstr(&b, "250-x\r\n");
	struct slice in = buf_slice(&b);
	assert_int_equal(mail_reply_read(&in, &mem, &r, &why), -EPROTO);
	buf_clear(&b);
	for (int i = 0; i < MAIL_REPLY_MAX_LINE + 10; i++)
		buf_add_byte(&b, i < 3 ? '2' : 'x');
	in = buf_slice(&b);
	assert_int_equal(mail_reply_read(&in, &mem, &r, &why), -EPROTO);
	buf_free(&b);
}

static void a_reply_becomes_a_status_of_one_clean_line(void **state)
{
	struct slice in = SLICE("550-5.1.1 No\x1b such\r\n550 5.1.1 user\r\n");
	struct mail_reply r;
	const char *why = "";
	(void)state;
	assert_int_equal(mail_reply_read(&in, &mem, &r, &why), 1);
	struct mail_status s = mail_reply_status(&r, &mem);
	assert_int_equal(s.fate, MAIL_NEVER);
	assert_int_equal(s.enhanced[0] * 10 + s.enhanced[1], 11);
	assert_true(slice_eq(s.text, SLICE("No  such / user")));
}

static void no_text_makes_a_second_line(void **state)
{
	struct buf b = BUF_INIT(1000);
	struct mail_status s = MAIL_STATUS(MAIL_NEVER, 550, 1, 1, "bad\r\n250 ok");
	const struct slice lines[] = { SLICE_INIT("one\n"), SLICE_INIT("two") };
	(void)state;
	mail_reply_add(&b, &s);
	assert_true(slice_eq(buf_slice(&b), SLICE("550 5.1.1 bad  250 ok\r\n")));
	buf_clear(&b);
	mail_reply_add_lines(&b, 250, lines, 2);
	assert_true(slice_eq(buf_slice(&b), SLICE("250-one \r\n250 two\r\n")));
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_are_read_whole_or_not_at_all),
		cmocka_unit_test(lengths_of_paths_have_limits),
		cmocka_unit_test(a_path_prints_as_it_can_be_read_again),
		cmocka_unit_test(parameters_are_read_one_by_one),
		cmocka_unit_test(sizes_never_overflow),
		cmocka_unit_test(decoded_parameters_are_printable), cmocka_unit_test(utf8_addresses_have_an_escaped_form_and_come_back),
		cmocka_unit_test(replies_are_read_by_their_lines),
		cmocka_unit_test(replies_without_end_are_bounded),
		cmocka_unit_test(a_reply_becomes_a_status_of_one_clean_line),
		cmocka_unit_test(no_text_makes_a_second_line),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	arena_free(&mem);
	return failed;
}
