/* JSON told by path; what is none; bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/json.h"

static bool tell(void *arg, struct slice path, enum json_kind kind, struct slice value)
{
	static const char marks[] = "snTFN";
	buf_addf(arg, "%.*s=%c%.*s;", SLICE_FMT(path), marks[kind], SLICE_FMT(value));
	return !slice_eq(value, SLICE("stop"));
}

static int read_it(const char *text, struct buf *out)
{
	struct arena mem = ARENA_INIT(1 << 20);
	buf_clear(out);
	int error = json_each(slice_of(text), &mem, tell, out);
	buf_add_byte(out, '\0');
	arena_free(&mem);
	return error;
}

static void scalars_are_told_by_path(void **state)
{
	(void)state;
	struct buf b = BUF_INIT(65536);
	assert_int_equal(read_it("{\"a\":{\"b\":[1,-2.5e3,\"x\\n\\u00e9\\ud83d\\ude00\"],\"c\":true},\"d\":null,\"e\":[],\"f\":{},\"g\":false} ", &b), 0);
	assert_string_equal(b.p, "a.b.0=n1;a.b.1=n-2.5e3;a.b.2=sx\n\xc3\xa9\xf0\x9f\x98\x80;a.c=Ttrue;d=Nnull;g=Ffalse;");
	assert_int_equal(read_it("\"\\ud83d x\"", &b), 0);
	assert_string_equal(b.p, "=s\xef\xbf\xbd x;");
	assert_int_equal(read_it("[\"a\",\"stop\",\"c\"", &b), 0); /* enough was heard */
	assert_string_equal(b.p, "0=sa;1=sstop;");
	buf_free(&b);
}

static void what_is_no_json_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = { "", "{", "[1,]", "{\"a\"}", "{\"a\":1,}", "[1 2]", "\"a", "\"\\x\"", "\"\\u12\"", "nul", "{a:1}", "[1]x", "\"a\tb\"", "[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]" };
	struct buf b = BUF_INIT(65536);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (read_it(bad[i], &b) != -EPROTO)
			fail_msg("taken: %s", bad[i]);
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(scalars_are_told_by_path), cmocka_unit_test(what_is_no_json_is_refused) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
