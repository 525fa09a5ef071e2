/* The end of content: every form of security-kit T1 cut at every place, against a slow reader that knows nothing but the rule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
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

/* -- long input: many bytes at a time ---------------------------------------------------------------------------------------------------------- */

/* What the rule says of one input without an end in it, a byte at a time: what is handed on of content by DATA, up to the first byte that spoils. */
static enum mail_dot_spoil model(struct slice in, struct buf *out)
{
	bool line_start = true;
	for (size_t i = 0; i < in.n; i++) {
		char c = in.p[i];
		bool crlf = c == '\r' && i + 1 < in.n && in.p[i + 1] == '\n';
		if (c == '\0' || c == '\n' || (c == '\r' && !crlf))
			return c == '\0' ? MAIL_DOT_NUL : c == '\n' ? MAIL_DOT_BARE_LF : MAIL_DOT_BARE_CR;
		if (crlf)
			buf_add(out, SLICE("\r\n")), i++;
		else if (!line_start || c != '.')
			buf_add_byte(out, c);
		line_start = crlf;
	}
	return MAIL_DOT_CLEAN;
}

static void make_long(char *bytes, size_t n)
{
	size_t rare = 1 + (size_t)rand() % 400, line = 0, length = 1 + (size_t)rand() % 200;
	for (size_t i = 0; i < n; i++) {
		bytes[i] = line == 0 && rand() % 8 == 0 ? '.' : line + 2 == length ? '\r' : line + 1 == length ? '\n' : 'a';
		if (rand() % 8 == 0 && (size_t)rand() % rare == 0)
			bytes[i] = "\r\n.\0b"[rand() % 5];
		line = line + 1 == length ? 0 : line + 1;
	}
	memcpy(bytes + n - 3, "x\r\n", 3);
}

static void long_content_is_what_a_slow_reader_finds(void **state)
{
	(void)state;
	srand(2);
	for (int round = 0; round < 20000; round++) {
		char bytes[700];
		size_t n = 3 + (size_t)rand() % (sizeof bytes - 3);
		make_long(bytes, n);
		struct slice in = slice(bytes, n);
		if (slice_starts(in, SLICE(".\r\n")) || slice_find_slice(in, SLICE("\r\n.\r\n")) < n)
			continue;
		struct got g = { BUF_INIT(1000), 0 };
		struct buf wanted = BUF_INIT(1000);
		struct mail_dot d;
		assert_int_equal(read_cut(in, (size_t)rand() % (n + 1), &g, &d), 0);
		assert_int_equal(d.spoil, model(in, &wanted));
		if (d.spoil == MAIL_DOT_CLEAN)
			assert_true(slice_eq(buf_slice(&g.bytes), buf_slice(&wanted)));
		buf_free(&wanted);
		buf_free(&g.bytes);
	}
}

/* By BDAT dots are nothing special: each line end becomes CRLF. */
static void long_chunks_are_what_a_slow_reader_finds(void **state)
{
	(void)state;
	srand(3);
	for (int round = 0; round < 20000; round++) {
		char bytes[700];
		size_t n = 3 + (size_t)rand() % (sizeof bytes - 3), cut = (size_t)rand() % n;
		make_long(bytes, n);
		struct got g = { BUF_INIT(2000), 0 };
		struct mail_dot_sink sink = { take, &g };
		struct buf wanted = BUF_INIT(2000);
		struct mail_dot d;
		bool nul = memchr(bytes, '\0', n) != NULL;
		mail_dot_begin(&d, false);
		mail_dot_chunk(&d, slice(bytes, cut), false, &sink);
		mail_dot_chunk(&d, slice(bytes + cut, n - cut), true, &sink);
		for (size_t i = 0; i < n; i++) {
			if (bytes[i] != '\r' && bytes[i] != '\n')
				buf_add_byte(&wanted, bytes[i]);
			else if (bytes[i] == '\r' || i == 0 || bytes[i - 1] != '\r')
				buf_add_cstr(&wanted, "\r\n");
		}
		assert_int_equal(d.spoil, nul ? MAIL_DOT_NUL : MAIL_DOT_CLEAN);
		if (!nul)
			assert_true(slice_eq(buf_slice(&g.bytes), buf_slice(&wanted)));
		buf_free(&wanted);
		buf_free(&g.bytes);
	}
}

static double cpu_s(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void pass(void *arg, struct slice s)
{
	*(size_t *)arg += s.n;
}

/* Line ends of a wrong kind cost more than text, a byte, but no more the more there are: 64 KiB of them took half a second a MiB once, in the loop. */
static void no_content_is_read_twice(void **state)
{
	static const struct slice patterns[] = { SLICE_INIT("\n"), SLICE_INIT("\r"), SLICE_INIT("\0"), SLICE_INIT("a\n"), SLICE_INIT("\r\n.."), SLICE_INIT("\r\n.\n"), SLICE_INIT("a") };
	enum { LONG = 1 << 20, SHORT = 1 << 10 };
	char *bytes = malloc(LONG);
	(void)state;
	assert_non_null(bytes);
	for (size_t k = 0; k < sizeof patterns / sizeof patterns[0]; k++) {
		double at_once = 0, in_pieces = 0;
		size_t got = 0;
		struct mail_dot_sink sink = { pass, &got };
		for (size_t i = 0; i < LONG; i++)
			bytes[i] = patterns[k].p[i % patterns[k].n];
		for (int chunk = 0; chunk < 2; chunk++)
			for (size_t piece = SHORT; piece <= LONG; piece *= LONG / SHORT) {
				struct mail_dot d;
				double began = cpu_s();
				mail_dot_begin(&d, false);
				for (size_t i = 0; i < LONG; i += piece) {
					struct slice in = slice(bytes + i, piece);
					if (chunk)
						mail_dot_chunk(&d, in, false, &sink);
					else
						assert_false(mail_dot_data(&d, &in, &sink));
				}
				*(piece == LONG ? &at_once : &in_pieces) += cpu_s() - began;
			}
		assert_true(at_once < 20 * in_pieces + .02);
	}
	free(bytes);
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
		cmocka_unit_test(long_content_is_what_a_slow_reader_finds),
		cmocka_unit_test(long_chunks_are_what_a_slow_reader_finds),
		cmocka_unit_test(no_content_is_read_twice),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
