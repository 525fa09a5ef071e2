/* Vacation (RFC 3834): the text of who is away, whom it leaves alone, and the reply. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "queue/vacation.h"

enum { NOW = 1800000000 /* 2027-01-15 */ };
static struct arena mem = ARENA_INIT(1 << 20);

static struct mail_header header_of(const char *text)
{
	struct mail_header h;
	assert_int_equal(mail_header_parse(slice_of(text), 100, &mem, &h), 0);
	return h;
}

static void the_text_begins_behind_its_head(void **state)
{
	(void)state;
	static const struct { const char *file, *subject, *body; uint64_t days; bool fits; } rows[] = {
		{ "Subject: away\nDays: 3\n\nBack: in May\n", "away", "Back: in May\n", 3, true },
		{ "Back in May\n", "", "Back in May\n", 7, true },
		{ "Subject: away\nBack in May\n", "away", "Back in May\n", 7, true },
		{ "Dear friend: I am away\n\nBob\n", "", "Dear friend: I am away\n\nBob\n", 7, true },
		{ "\nBack\n", "", "Back\n", 7, true },
		{ "Subject: away\r\n\r\nBack\r\n", "away", "Back\r\n", 7, true },
		{ "Subject: away", "away", "", 7, true },
		{ "", "", "", 7, true },
		{ "From: 2027-01-15\nUntil: 2027-01-15\n\nx\n", "", "x\n", 7, true },
		{ "From: 2027-01-16\n\nx\n", "", "x\n", 7, false },
		{ "Until: 2027-01-14\n\nx\n", "", "x\n", 7, false },
		{ "Days: 0\n\nx\n", "", "Days: 0\n\nx\n", 7, true },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct vacation v;
		vacation_read(slice_of(rows[i].file), NOW, &v);
		if (!slice_eq(v.subject, slice_of(rows[i].subject)) || !slice_eq(v.body, slice_of(rows[i].body)) || v.days != rows[i].days || v.fits != rows[i].fits)
			fail_msg("row %zu: \"%.*s\" \"%.*s\" %d %d", i, SLICE_FMT(v.subject), SLICE_FMT(v.body), (int)v.days, v.fits);
	}
}

static void lists_robots_and_addresses_of_no_person_are_left_alone(void **state)
{
	(void)state;
	static const struct { const char *header, *from; bool automatic; } rows[] = {
		{ "From: a@x.test\n", "a@x.test", false },
		{ "Auto-Submitted: no\n", "a@x.test", false },
		{ "Auto-Submitted: No (really)\n", "a@x.test", false },
		{ "Auto-Submitted: auto-replied\n", "a@x.test", true },
		{ "Auto-Submitted: no\nAuto-Submitted: auto-generated; x=y\n", "a@x.test", true },
		{ "Auto-Submitted: notified\n", "a@x.test", true },
		{ "Precedence: first-class\n", "a@x.test", false },
		{ "Precedence: first-class\nprecedence: Bulk\n", "a@x.test", true },
		{ "Precedence: junk (so to speak)\n", "a@x.test", true },
		{ "Precedence:\n list\n", "a@x.test", true },
		{ "List-Id: <l.x.test>\n", "a@x.test", true },
		{ "List-Post: <mailto:l@x.test>\n", "a@x.test", true },
		{ "List-Help: <mailto:l@x.test>\n", "a@x.test", true },
		{ "Listing: of things\n", "a@x.test", false },
		{ "Subject: x\n", "owner-list@x.test", true },
		{ "Subject: x\n", "List-Request@x.test", true },
		{ "Subject: x\n", "list-owner@x.test", true },
		{ "Subject: x\n", "MAILER-DAEMON@x.test", true },
		{ "Subject: x\n", "no-reply@x.test", true },
		{ "Subject: x\n", "majordomo@x.test", true },
		{ "Subject: x\n", "homeowner@x.test", false },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct mail_header h = header_of(rows[i].header);
		if (vacation_is_automatic(&h, slice_of(rows[i].from), &mem) != rows[i].automatic)
			fail_msg("%s from %s", rows[i].header, rows[i].from);
	}
}

static void only_who_is_named_answers(void **state)
{
	(void)state;
	static const struct { const char *header; bool named; } rows[] = {
		{ "To: bob@example.test\n", true },
		{ "To: \"B, ob\" <Bob@Example.TEST>, x@y.test\n", true },
		{ "To: x@y.test\nCc: friends: x@y.test,\n bob@example.test;\n", true },
		{ "To: x@y.test\nTo: bob@example.test\n", true },
		{ "Resent-Bcc: bob@example.test\n", true },
		{ "To: notbob@example.test\n", false },
		{ "To: bob@example.test.evil.test\n", false },
		{ "To: \"bob@example.test\" <x@y.test>\n", false },
		{ "From: bob@example.test\nSubject: bob@example.test\n", false },
		{ "To: undisclosed-recipients:;\n", false },
		{ "Subject: x\n", false },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct mail_header h = header_of(rows[i].header);
		if (vacation_names(&h, SLICE("bob@example.test"), &mem) != rows[i].named)
			fail_msg("%s", rows[i].header);
	}
}

static const char *reply(const char *file, const char *header)
{
	static struct buf out = BUF_INIT(1 << 20);
	struct vacation v;
	struct mail_header h = header_of(header);
	vacation_read(slice_of(file), NOW, &v);
	buf_clear(&out);
	assert_int_equal(vacation_write(&out, &(struct vacation_reply){ &v, &h, SLICE("bob@example.test"), SLICE("ann@x.test"), SLICE("1d"), SLICE("mx.example.test"), NOW }, &mem), 0);
	buf_add_byte(&out, 0);
	return out.p;
}

static void holds(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no \"%s\" in:\n%s", part, text);
}

static void the_reply_is_the_users_and_its_text_a_body(void **state)
{
	(void)state;
	const char *r = reply("Subject: away\n\nBack in May.\n", "Message-ID: <m@x.test>\n");
	holds(r, "From: <bob@example.test>\r\nTo: <ann@x.test>\r\nSubject: away\r\n");
	holds(r, "In-Reply-To: <m@x.test>\r\nReferences: <m@x.test>\r\nAuto-Submitted: auto-replied\r\n");
	holds(r, "\r\nContent-Type: text/plain; charset=us-ascii\r\nContent-Transfer-Encoding: 7bit\r\n\r\nBack in May.\r\n");
	assert_null(strstr(r, "Mail delivery"));
}

static void the_subject_says_that_it_is_automatic(void **state)
{
	(void)state;
	char header[2000] = "Subject:";
	holds(reply("x\n", "Subject: lunch?\n"), "Subject: Auto: lunch?\r\n");
	holds(reply("x\n", "Subject: \xc3\xb6\n"), "Subject: =?utf-8?B?QXV0bzogw7Y=?=\r\n");
	holds(reply("x\n", "Subject: \xf6\n"), "Subject: Auto: your message\r\n");
	holds(reply("x\n", "From: a\n"), "Subject: Auto: your message\r\n");
	holds(reply("Subject: n\xc3\xa4""chste Woche\n\nx\n", "From: a\n"), "Subject: =?utf-8?B?bsOkY2hzdGUgV29jaGU=?=\r\n");
	for (int i = 0; i < 40; i++)
		strcat(header, " =?utf-8?B?w7bDtsO2?=");
	strcat(header, "\n");
	const char *r = strstr(reply("x\n", header), "Subject: Auto: ");
	assert_true(r && strchr(r, '\r') - r < 220 && memcmp(strchr(r, '\r') - 2, "?=", 2) == 0);
}

static void references_go_on(void **state)
{
	(void)state;
	holds(reply("x\n", "Message-ID: <c@x>\nReferences: <a@x>\n\t<b@x>\n"), "References: <a@x>\r\n\t<b@x>\r\n\t<c@x>\r\n");
	holds(reply("x\n", "Message-ID: <c@x>\nIn-Reply-To: <b@x>\n"), "References: <b@x>\r\n\t<c@x>\r\n");
	holds(reply("x\n", "Message-ID: <c@x>\nReferences: <a b@x> <evil\n"), "References: <c@x>\r\n");
	assert_null(strstr(reply("x\n", "References: <a@x>\n"), "References"));
}

static void text_that_is_not_plain_is_encoded(void **state)
{
	(void)state;
	char longest[3000];
	memset(longest, 'x', sizeof longest);
	longest[sizeof longest - 1] = 0;
	const char *r = reply("\nZur\xc3\xbc""ck\n.\na\rb\n", "From: a\n");
	holds(r, "charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nZur=C3=BCck\r\n.\r\na=0Db\r\n");
	holds(reply("\nZur\xfc""ck\n", "From: a\n"), "charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nZur=FCck\r\n");
	for (const char *p = reply(longest, "From: a\n"), *end; (end = strstr(p, "\r\n")); p = end + 2)
		assert_true(end - p <= 998);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_text_begins_behind_its_head), cmocka_unit_test(lists_robots_and_addresses_of_no_person_are_left_alone),
		cmocka_unit_test(only_who_is_named_answers), cmocka_unit_test(the_reply_is_the_users_and_its_text_a_body),
		cmocka_unit_test(the_subject_says_that_it_is_automatic), cmocka_unit_test(references_go_on), cmocka_unit_test(text_that_is_not_plain_is_encoded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
