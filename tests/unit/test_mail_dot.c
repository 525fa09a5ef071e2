/* The end of content: every form of security-kit T1 cut at every place, against a slow reader that knows nothing but the rule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/mail_dot.h"

struct got {
	struct buf bytes;
	size_t runs;
};

static void take(void *arg, struct slice s)
{
	struct got *g = arg;
	assert_true(s.n > 0);
	assert_int_equal(buf_add(&g->bytes, s), 0);
	g->runs++;
}

/* Reads `in` in two pieces, then byte by byte. Returns how many bytes were taken up to the end, or 0 when there is none. */
static size_t read_cut(struct slice in, size_t cut, struct got *g, struct mail_dot *d)
{
	struct mail_dot_sink sink = { take, g };
	struct slice first = slice_head(in, cut), second = slice_skip(in, cut);
	mail_dot_begin(d, false);
	buf_clear(&g->bytes);
	if (first.n && mail_dot_data(d, &first, &sink))
		return cut - first.n;
	if (second.n && mail_dot_data(d, &second, &sink))
		return in.n - second.n;
	return 0;
}

static void nothing_but_crlf_dot_crlf_ends_content(void **state)
{
	static const struct slice forms[] = {
		SLICE_INIT("\n.\n"), SLICE_INIT("\n.\r"), SLICE_INIT("\r.\n"), SLICE_INIT("\r.\r"), SLICE_INIT("\n.\r\n"), SLICE_INIT("\r.\r\n"), SLICE_INIT("\r\n.\n"),
		SLICE_INIT("\r\n.\r"), SLICE_INIT("\r\n\0.\r\n"), SLICE_INIT("\r\n.\0\r\n"), SLICE_INIT("\r\n.\r\r\n"), SLICE_INIT("\r\r\n.\r\r\n")
	};
	(void)state;
	for (size_t f = 0; f < sizeof forms / sizeof forms[0]; f++) {
		struct buf in = BUF_INIT(1000);
		struct got g = { BUF_INIT(1000), 0 };
		buf_add(&in, SLICE("a"));
		buf_add(&in, forms[f]);
		buf_add(&in, SLICE("QUIT\r\n.\r\n"));
		for (size_t cut = 0; cut <= in.n; cut++) {
			struct mail_dot d;
			assert_int_equal(read_cut(buf_slice(&in), cut, &g, &d), in.n);
			assert_int_not_equal(d.spoil, MAIL_DOT_CLEAN);
		}
		buf_free(&in);
		buf_free(&g.bytes);
	}
}

static void dots_are_unstuffed_cut_at_every_place(void **state)
{
	static const struct { struct slice in, out; } rows[] = {
		{ SLICE_INIT(".\r\n"), SLICE_INIT("") },
		{ SLICE_INIT("\r\n.\r\n"), SLICE_INIT("\r\n") },
		{ SLICE_INIT("a\r\n..\r\n.\r\n"), SLICE_INIT("a\r\n.\r\n") },
		{ SLICE_INIT("..\r\n.x\r\n...\r\n.\r\n"), SLICE_INIT(".\r\nx\r\n..\r\n") },
		{ SLICE_INIT(". \r\n.\t\r\n.\r\n"), SLICE_INIT(" \r\n\t\r\n") },
		{ SLICE_INIT("a.b\r\nc.\r\n.\r\n"), SLICE_INIT("a.b\r\nc.\r\n") },
	};
	(void)state;
	for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
		struct got g = { BUF_INIT(1000), 0 };
		for (size_t cut = 0; cut <= rows[r].in.n; cut++) {
			struct mail_dot d;
			assert_int_equal(read_cut(rows[r].in, cut, &g, &d), rows[r].in.n);
			assert_int_equal(d.spoil, MAIL_DOT_CLEAN);
			assert_true(slice_eq(buf_slice(&g.bytes), rows[r].out));
		}
		buf_free(&g.bytes);
	}
}

/* RFC 6409, for those who log in: LF becomes CRLF before the end is looked for; CR alone and NUL spoil as ever. */
static void a_lenient_reader_turns_lf_into_crlf_first(void **state)
{
	static const struct { struct slice in, out, left; enum mail_dot_spoil spoil; } rows[] = {
		{ SLICE_INIT("a\nb\n.\nMAIL"), SLICE_INIT("a\r\nb\r\n"), SLICE_INIT("MAIL"), MAIL_DOT_CLEAN },
		{ SLICE_INIT("a\n..b\r\n.\r\nMAIL"), SLICE_INIT("a\r\n.b\r\n"), SLICE_INIT("MAIL"), MAIL_DOT_CLEAN },
		{ SLICE_INIT("a\n.\r\nMAIL"), SLICE_INIT("a\r\n"), SLICE_INIT("MAIL"), MAIL_DOT_CLEAN },
		{ SLICE_INIT("a\r\n.\nMAIL"), SLICE_INIT("a\r\n"), SLICE_INIT("MAIL"), MAIL_DOT_CLEAN },
		{ SLICE_INIT(".\n"), SLICE_INIT(""), SLICE_INIT(""), MAIL_DOT_CLEAN },
		{ SLICE_INIT("a\r.\rb\n.\n"), SLICE_INIT(""), SLICE_INIT(""), MAIL_DOT_BARE_CR },
		{ SLICE_INIT("a\n\0.\n.\n"), SLICE_INIT(""), SLICE_INIT(""), MAIL_DOT_NUL },
	};
	(void)state;
	for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++)
		for (size_t cut = 0; cut <= rows[r].in.n; cut++) {
			struct got g = { BUF_INIT(1000), 0 };
			struct mail_dot_sink sink = { take, &g };
			struct mail_dot d;
			struct slice first = slice_head(rows[r].in, cut), rest = rows[r].in;
			mail_dot_begin(&d, true);
			bool over = mail_dot_data(&d, &first, &sink);
			rest = slice_skip(rest, cut - first.n);
			over = over || mail_dot_data(&d, &rest, &sink);
			assert_true(over);
			assert_int_equal(d.spoil, rows[r].spoil);
			assert_true(slice_eq(rest, rows[r].left));
			if (d.spoil == MAIL_DOT_CLEAN)
				assert_true(slice_eq(buf_slice(&g.bytes), rows[r].out));
			buf_free(&g.bytes);
		}
}

static void what_follows_the_end_is_left(void **state)
{
	struct got g = { BUF_INIT(100), 0 };
	struct mail_dot_sink sink = { take, &g };
	struct mail_dot d;
	struct slice in = SLICE("x\r\n.\r\nMAIL");
	(void)state;
	mail_dot_begin(&d, false);
	assert_true(mail_dot_data(&d, &in, &sink));
	assert_true(slice_eq(in, SLICE("MAIL")));
	buf_free(&g.bytes);
}

static void chunks_become_clean_lines_cut_at_every_place(void **state)
{
	static const struct { struct slice in, out; } rows[] = {
		{ SLICE_INIT("a\nb\rc\r\nd\n\re"), SLICE_INIT("a\r\nb\r\nc\r\nd\r\n\r\ne") },
		{ SLICE_INIT("\r\n.\r\nQUIT\r\n"), SLICE_INIT("\r\n.\r\nQUIT\r\n") },
		{ SLICE_INIT("\r\r\r"), SLICE_INIT("\r\n\r\n\r\n") },
		{ SLICE_INIT("..x\r\n"), SLICE_INIT("..x\r\n") },
	};
	(void)state;
	for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++)
		for (size_t cut = 0; cut <= rows[r].in.n; cut++) {
			struct got g = { BUF_INIT(1000), 0 };
			struct mail_dot_sink sink = { take, &g };
			struct mail_dot d;
			mail_dot_begin(&d, false);
			mail_dot_chunk(&d, slice_head(rows[r].in, cut), false, &sink);
			mail_dot_chunk(&d, slice_skip(rows[r].in, cut), true, &sink);
			assert_int_equal(d.spoil, MAIL_DOT_CLEAN);
			assert_true(slice_eq(buf_slice(&g.bytes), rows[r].out));
			buf_free(&g.bytes);
		}
}

static void a_nul_spoils_a_chunk(void **state)
{
	struct got g = { BUF_INIT(100), 0 };
	struct mail_dot_sink sink = { take, &g };
	struct mail_dot d;
	(void)state;
	mail_dot_begin(&d, false);
	mail_dot_chunk(&d, SLICE("a\0b"), true, &sink);
	assert_int_equal(d.spoil, MAIL_DOT_NUL);
	buf_free(&g.bytes);
}

/* Whatever comes: the end is where the five bytes first stand (or ".CRLF" at the very front), and what is clean has no bare CR, LF or NUL. */
static void random_bytes_end_where_the_rule_says(void **state)
{
	static const char alphabet[] = "\r\n..a\0";
	(void)state;
	srand(1);
	for (int round = 0; round < 20000; round++) {
		char bytes[24];
		size_t n = 1 + (size_t)rand() % sizeof bytes;
		for (size_t i = 0; i < n; i++)
			bytes[i] = alphabet[(size_t)rand() % (sizeof alphabet - 1)];
		struct slice in = slice(bytes, n);
		size_t at = slice_find_slice(in, SLICE("\r\n.\r\n"));
		size_t wanted = slice_starts(in, SLICE(".\r\n")) ? 3 : at < n ? at + 5 : 0;
		struct got g = { BUF_INIT(1000), 0 };
		struct mail_dot d;
		assert_int_equal(read_cut(in, (size_t)rand() % (n + 1), &g, &d), wanted);
		for (size_t i = 0; d.spoil == MAIL_DOT_CLEAN && i < g.bytes.n; i++) {
			if (g.bytes.p[i] == '\n')
				assert_true(i > 0 && g.bytes.p[i - 1] == '\r');
			if (g.bytes.p[i] == '\r')
				assert_true(i + 1 < g.bytes.n && g.bytes.p[i + 1] == '\n');
			assert_int_not_equal(g.bytes.p[i], '\0');
		}
		buf_free(&g.bytes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_but_crlf_dot_crlf_ends_content),
		cmocka_unit_test(dots_are_unstuffed_cut_at_every_place),
		cmocka_unit_test(a_lenient_reader_turns_lf_into_crlf_first),
		cmocka_unit_test(what_follows_the_end_is_left),
		cmocka_unit_test(chunks_become_clean_lines_cut_at_every_place),
		cmocka_unit_test(a_nul_spoils_a_chunk),
		cmocka_unit_test(random_bytes_end_where_the_rule_says),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
