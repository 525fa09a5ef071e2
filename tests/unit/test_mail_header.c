#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <errno.h>
#include <cmocka.h>

#include "base/mail_address.h"
#include "base/mail_date.h"
#include "base/mail_header.h"
#include "base/mem.h"

static void same(struct slice got, struct slice want)
{
	if (!slice_eq(got, want))
		fail_msg("got \"%.*s\", want \"%.*s\"", SLICE_FMT(got), SLICE_FMT(want));
}

static void fields_are_cut_with_their_folds_and_line_ends(void **state)
{
	(void)state;
	struct arena mem = ARENA_INIT(1 << 20);
	struct mail_header h;
	struct slice m = SLICE("Subject : a\r\n b\r\nX-\0\xff:\r\nno field\r\n fold\r\nTo:x\n\r\nbody\r\n");
	assert_int_equal(mail_header_parse(m, 100, &mem, &h), 0);
	assert_int_equal(h.count, 3);
	assert_int_equal(h.bad, 1);
	same(h.fields[0].name, SLICE("Subject"));
	same(h.fields[0].value, SLICE(" a\r\n b"));
	same(h.fields[0].raw, SLICE("Subject : a\r\n b\r\n"));
	same(mail_field_unfold(&h.fields[0], &mem), SLICE("a b"));
	same(h.fields[1].name, SLICE("X-\0\xff"));
	same(h.fields[1].value, SLICE(""));
	same(h.fields[2].raw, SLICE("To:x\n"));
	same(h.body, SLICE("body\r\n"));
	assert_int_equal(h.section.n, m.n - 8);
	assert_ptr_equal(mail_header_find(&h, SLICE("TO"), 0), &h.fields[2]);
	assert_null(mail_header_find(&h, SLICE("TO"), 3));
	assert_int_equal(mail_header_count(&h, SLICE("subject")), 1);
	arena_free(&mem);
}

static void a_message_may_be_all_header_or_all_body(void **state)
{
	(void)state;
	struct arena mem = ARENA_INIT(1 << 20);
	struct mail_header h;
	assert_int_equal(mail_header_parse(SLICE("A: b"), 100, &mem, &h), 0);
	assert_int_equal(h.count, 1);
	assert_null(h.body.p);
	same(h.section, SLICE("A: b"));
	assert_int_equal(mail_header_parse(SLICE("\r\nA: b\r\n"), 100, &mem, &h), 0);
	assert_int_equal(h.count, 0);
	same(h.section, SLICE(""));
	same(h.body, SLICE("A: b\r\n"));
	assert_int_equal(mail_header_parse(SLICE(""), 100, &mem, &h), 0);
	assert_int_equal(h.count, 0);
	assert_int_equal(mail_header_parse(SLICE(" fold\r\nA: b\r\n"), 100, &mem, &h), 0);
	assert_int_equal(h.bad, 1);
	assert_int_equal(h.count, 1);
	assert_int_equal(mail_header_parse(SLICE("A:1\nA:2\nA:3\n\n"), 2, &mem, &h), -E2BIG);
	assert_int_equal(mail_header_end(SLICE("A: b\r\n\r\nc")), 8);
	assert_int_equal(mail_header_end(SLICE("A: b\r\n\r")), 0);
	assert_int_equal(mail_header_end(SLICE("\nc")), 1);
	arena_free(&mem);
}

static void addresses_are_read_or_refused(void **state)
{
	(void)state;
	static const struct { const char *in, *want; } rows[] = {
		{ "ann@example.org", "|ann|example.org" },
		{ " \"Ann, B.\" <ann@EXAMPLE.org> (c(d)e)", "Ann, B.|ann|example.org" },
		{ "John Q. Public <j.q@x.test>", "John Q. Public|j.q|x.test" },
		{ "a@b, c@d", "|a|b;|c|d" },
		{ "Team: a@b, C <c@d>;, e@f", "|a|b;C|c|d;|e|f" },
		{ "undisclosed:;", "" },
		{ "root", "|root|" },
		{ "\"a b\"@x", "|a b|x" },
		{ "\"a\\\"b\" . c@[192.0.2.1]", "|a\"b.c|[192.0.2.1]" },
		{ "<@x,@y:ann@z>", "|ann|z" },
		{ "j\xc3\xb6rg@\xc3\xb6.test", "|j\xc3\xb6rg|\xc3\xb6.test" },
		{ "a (x) @ (y) b . c", "|a|b.c" },
		{ "", "" },
		{ "a@b <c@d>", NULL },
		{ "a@b c", NULL },
		{ "<c@d> x", NULL },
		{ "<>", NULL },
		{ "a b@c", NULL },
		{ "a@b.", NULL },
		{ "a@.b", NULL },
		{ "a..b@c", NULL },
		{ "(open a@b", NULL },
		{ "\"open a@b", NULL },
		{ "a@[b", NULL },
		{ "a@\"b\"", NULL },
		{ "<a@b", NULL },
		{ "x: y: a@b;;", NULL },
		{ "x: a@b", NULL },
		{ "((((((((((((((((((a))))))))))))))))))a@b", NULL },
		{ "@b", NULL },
		{ "a@@b", NULL },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct arena mem = ARENA_INIT(1 << 20);
		struct mail_address *a = NULL;
		size_t n = 0;
		struct buf got = BUF_INIT(4096);
		int failed = mail_address_parse(slice_of(rows[i].in), 10, &mem, &a, &n);
		for (size_t k = 0; !failed && k < n; k++) {
			if (k)
				buf_add_byte(&got, ';');
			buf_addf(&got, "%.*s|%.*s|%.*s", SLICE_FMT(a[k].name), SLICE_FMT(a[k].local_part), SLICE_FMT(a[k].domain));
		}
		if (!rows[i].want != (failed != 0))
			fail_msg("%s: %d, got %.*s", rows[i].in, failed, SLICE_FMT(buf_slice(&got)));
		if (rows[i].want)
			same(buf_slice(&got), slice_of(rows[i].want));
		buf_free(&got);
		arena_free(&mem);
	}
}

static void dates_are_read_and_printed(void **state)
{
	(void)state;
	static const struct { const char *in; int64_t want; int zone; } rows[] = {
		{ "Wed, 25 Nov 2026 02:31:09 +0100", 1795570269, 60 },
		{ "25 Nov 2026 01:31:09 GMT", 1795570269, 0 },
		{ "Wed, 25 Nov 2026 01:31 -0000 (x)", 1795570260, 0 },
		{ "Tue, 24 Nov 26 20:31:09 EST", 1795570269, -300 },
		{ "Thu, 1 Jan 1970 00:00:00 +0000", 0, 0 },
		{ "Mon, 29 Feb 2016 23:59:60 +0000", 1456790400, 0 },
		{ "1 Jan 69 00:00:00 Z", -31536000, 0 },
		{ "Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", 880127706, -360 },
		{ "29 Feb 2026 00:00:00 +0000", -1, 9999 },
		{ "Wed, 25 Nov 2026 25:31:09 +0100", -1, 9999 },
		{ "Wed, 25 Nov 2026 02:31:09 +01000", -1, 9999 },
		{ "2026-11-25", -1, 9999 },
		{ "", -1, 9999 },
		{ "Wed, 99999999999999999999 Nov 2026 02:31:09 +0100", -1, 9999 },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int64_t t = -1;
		int zone = 9999;
		bool good = mail_date_parse(slice_of(rows[i].in), &t, &zone);
		if (good != (rows[i].zone != 9999) || t != rows[i].want || zone != rows[i].zone)
			fail_msg("%s: %d %lld %d", rows[i].in, good, (long long)t, zone);
	}
	struct buf b = BUF_INIT(200);
	mail_date_print(&b, 1795570269, 60);
	same(buf_slice(&b), SLICE("Wed, 25 Nov 2026 02:31:09 +0100"));
	buf_clear(&b);
	mail_date_print(&b, -1, -90);
	same(buf_slice(&b), SLICE("Wed, 31 Dec 1969 22:29:59 -0130"));
	buf_clear(&b);
	mail_date_print_iso(&b, 1795570269);
	same(buf_slice(&b), SLICE("2026-11-25T01:31:09Z"));
	int64_t t;
	assert_true(mail_date_parse_iso(SLICE("2026-11-25T02:31:09.5+01:00"), &t));
	assert_int_equal(t, 1795570269);
	assert_false(mail_date_parse_iso(SLICE("2026-11-25T02:31:09"), &t));
	assert_false(mail_date_parse_iso(SLICE("2026-11-31T02:31:09Z"), &t));
	for (int64_t day = -800000; day < 2000000; day += 13) {
		int64_t y;
		unsigned m, d;
		mail_date_civil(day, &y, &m, &d);
		assert_int_equal(mail_date_days(y, m, d), day);
	}
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_are_cut_with_their_folds_and_line_ends),
		cmocka_unit_test(a_message_may_be_all_header_or_all_body),
		cmocka_unit_test(addresses_are_read_or_refused),
		cmocka_unit_test(dates_are_read_and_printed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
