#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <errno.h>
#include <cmocka.h>

#include "base/dmarc_report.h"
#include "base/inflate.h"
#include "base/mail_mime.h"

static void what_is_written_is_read(void **state)
{
	(void)state;
	struct arena mem = ARENA_INIT(1 << 20);
	struct dmarc_report_row rows[2] = {
		{ SLICE("192.0.2.1"), 7, SLICE("reject"), SLICE("fail"), SLICE("fail"), SLICE("local_policy"), SLICE("x.test"), SLICE("<&>.test"), SLICE("d.test"), SLICE("s"),
		  SLICE("fail"), SLICE("x.test"), SLICE("softfail") },
		{ SLICE("2001:db8::1"), 1, SLICE("pass"), SLICE("pass"), SLICE("fail"), SLICE(""), SLICE("x.test"), SLICE(""), SLICE(""), SLICE(""), SLICE(""), SLICE(""), SLICE("") },
	};
	struct dmarc_report r = { SLICE("Org"), SLICE("a@b.test"), SLICE("id1"), 100, 200, SLICE("x.test"), SLICE("reject"), SLICE("none"), SLICE("none"), SLICE("r"), SLICE("s"),
		                  SLICE("n"), SLICE("treewalk"), rows, 2 }, got;
	struct buf xml = BUF_INIT(1 << 16), packed = BUF_INIT(1 << 16), again = BUF_INIT(1 << 16);
	const char *why = "";
	assert_int_equal(dmarc_report_write(&r, &xml), 0);
	assert_int_equal(deflate_gzip(buf_slice(&xml), &packed), 0);
	assert_int_equal(inflate_any(buf_slice(&packed), &again), 0);
	assert_true(slice_eq(buf_slice(&xml), buf_slice(&again)));
	assert_int_equal(dmarc_report_read(buf_slice(&again), &mem, &got, &why), 0);
	assert_int_equal(got.row_count, 2);
	assert_int_equal(got.begin_s, 100);
	assert_int_equal(got.rows[0].count, 7);
	assert_true(slice_eq(got.rows[0].envelope_from, SLICE("<&>.test")));
	assert_true(slice_eq(got.rows[0].dkim, SLICE("fail")));
	assert_true(slice_eq(got.rows[0].dkim_domain, SLICE("d.test")));
	assert_true(slice_eq(got.rows[0].spf_result, SLICE("softfail")));
	assert_true(slice_eq(got.rows[1].disposition, SLICE("pass")));
	assert_true(slice_eq(got.p, SLICE("reject")));
	again.max = again.n - 1 + 0;
	buf_clear(&again);
	assert_int_equal(inflate_any(buf_slice(&packed), &again), -E2BIG);
	buf_clear(&again);
	again.max = 1 << 16;
	assert_int_equal(inflate_any(slice(packed.p, packed.n / 2), &again), -EINVAL);
	buf_free(&xml);
	buf_free(&packed);
	buf_free(&again);
	arena_free(&mem);
}

static void what_is_no_report_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"", "<feedback>", "<a></b>", "<!DOCTYPE x [<!ENTITY a \"b\">]><feedback></feedback>", "<feedback><record></feedback></record>", "text", "<", "<>", "<a", "<a/",
		"<feedback></feedback>", "<a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a>", "<!-- ", "<?x", "</a>", "<feedback/>",
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct arena mem = ARENA_INIT(1 << 16);
		struct dmarc_report r;
		const char *why = NULL;
		if (dmarc_report_read(slice_of(bad[i]), &mem, &r, &why) == 0 || !why)
			fail_msg("%s", bad[i]);
		arena_free(&mem);
	}
}

static bool on_part(void *arg, const struct mail_part *p)
{
	struct buf *out = arg, text = BUF_INIT(1000);
	mail_mime_decode(p, &text);
	buf_addf(out, "%u %.*s %.*s [%.*s]\n", p->depth, SLICE_FMT(p->type), SLICE_FMT(p->filename), SLICE_FMT(slice_trim(buf_slice(&text))));
	buf_free(&text);
	return true;
}

static void parts_are_found_and_decoded(void **state)
{
	(void)state;
	struct arena mem = ARENA_INIT(1 << 20);
	struct buf out = BUF_INIT(4096);
	const char *m = "Content-Type: multipart/mixed;\r\n boundary=\"a b\"\r\n\r\npreamble\r\n--a b\r\n\r\nplain\r\n--a b\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n"
	                "--c\r\nContent-Type: text/HTML\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\na=3Db=\r\nc=ZZ\r\n--c--\r\nepilogue\r\n--a b\r\n"
	                "Content-Type: application/gzip; name=x.gz\r\nContent-Transfer-Encoding: BASE64\r\n\r\naGVs\r\nbG8=\r\n--a b--\r\n";
	assert_int_equal(mail_mime_each(slice_of(m), &mem, on_part, &out), 0);
	assert_true(slice_eq(buf_slice(&out), SLICE("1 text/plain  [plain]\n2 text/html  [a=bc=ZZ]\n1 application/gzip x.gz [hello]\n")));
	buf_clear(&out);
	assert_int_equal(mail_mime_each(SLICE("Subject: x\n\nonly\n"), &mem, on_part, &out), 0);
	assert_true(slice_eq(buf_slice(&out), SLICE("0 text/plain  [only]\n")));
	buf_free(&out);
	arena_free(&mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(what_is_no_report_is_refused),
		cmocka_unit_test(parts_are_found_and_decoded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
