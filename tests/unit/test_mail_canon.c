#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/mail_body.h"
#include "base/mail_canon.h"
#include "base/mem.h"

static void into(void *arg, const char *p, size_t n)
{
	assert_int_equal(buf_add(arg, slice(p, n)), 0);
}

/* RFC 6376, 3.4.3 and 3.4.4, word by word: line by line over the whole body. */
static void plainly(enum mail_canon form, struct slice body, struct buf *out)
{
	struct buf lines = BUF_INIT(1 << 20);
	size_t keep = 0;
	while (body.n) {
		size_t end = slice_find_slice(body, SLICE("\r\n"));
		struct slice line = slice_head(body, end);
		body = slice_skip(body, end + 2);
		struct buf b = BUF_INIT(1 << 20);
		for (size_t i = 0; i < line.n; i++) {
			bool blank = line.p[i] == ' ' || line.p[i] == '\t';
			if (form == CANON_SIMPLE || !blank)
				buf_add_byte(&b, line.p[i]);
			else if (!(i && (line.p[i - 1] == ' ' || line.p[i - 1] == '\t')))
				buf_add_byte(&b, ' ');
		}
		while (form == CANON_RELAXED && b.n && b.p[b.n - 1] == ' ')
			b.n--;
		buf_add(&lines, buf_slice(&b));
		buf_add(&lines, SLICE("\r\n"));
		if (b.n)
			keep = lines.n;
		buf_free(&b);
	}
	buf_add(out, slice(lines.p, keep));
	if (form == CANON_SIMPLE && keep == 0)
		buf_add(out, SLICE("\r\n"));
	buf_free(&lines);
}

static void streamed(enum mail_canon form, struct slice body, unsigned seed, struct buf *out)
{
	struct mail_canon_body c = { .form = form, .sink = into, .arg = out };
	unsigned most = seed % 4 == 0 ? 1 : seed % 4 == 1 ? 3 : seed % 4 == 2 ? 40 : 5000;
	while (body.n) {
		size_t n = 1 + (size_t)rand_r(&seed) % most;
		mail_canon_add(&c, slice_head(body, n));
		body = slice_skip(body, n);
	}
	mail_canon_end(&c);
}

static void check(struct slice body, unsigned seed)
{
	for (int form = 0; form < 2; form++) {
		struct buf want = BUF_INIT(1 << 20), got = BUF_INIT(1 << 20);
		plainly((enum mail_canon)form, body, &want);
		streamed((enum mail_canon)form, body, seed, &got);
		if (!slice_eq(buf_slice(&want), buf_slice(&got)))
			fail_msg("form %d seed %u body \"%.*s\" want \"%.*s\" got \"%.*s\"", form, seed, SLICE_FMT(body), SLICE_FMT(buf_slice(&want)), SLICE_FMT(buf_slice(&got)));
		buf_free(&want);
		buf_free(&got);
	}
}

static void a_body_cut_anywhere_has_one_canonical_form(void **state)
{
	(void)state;
	static const char *const bodies[] = {
		"", "\r\n", "\r\n\r\n", " \r\n\t\r\n", "a", "a\r\n", "a\r\n\r\n\r\n", " a  b \t c \r\n", "\r\n\r\na\r\n \r\n\r\nb\r\n\r\n", "a \r\n", "\ta\tb\r\n",
		"a\r\n ", "abcdefghijklmnopqrstuvwxyz0123456789 abcdefghijklmnopqrstuvwxyz0123456789\r\nabcdefghijklmnopqrstuvwxyz\r\n\r\n",
	};
	for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
		for (unsigned seed = 0; seed < 40; seed++)
			check(slice_of(bodies[i]), seed);
}

static void random_bodies_do_too(void **state)
{
	(void)state;
	static const char *const pieces[] = { "\r\n", "\r\n", " ", "\t", "  ", "a", "word", "\xc3\xa4", "\r\n\r\n", " \r\n", "a longer run of text without anything special in it",
		                              "=20", "\t \t", ".", "x y z" };
	for (unsigned seed = 1; seed < 20000; seed++) {
		unsigned r = seed;
		struct buf b = BUF_INIT(1 << 16);
		for (unsigned n = (unsigned)rand_r(&r) % (seed % 50 ? 30 : 900); n; n--)
			buf_add_cstr(&b, pieces[(size_t)rand_r(&r) % (sizeof pieces / sizeof *pieces)]);
		check(buf_slice(&b), seed);
		buf_free(&b);
	}
}

/* Thousands of empty lines, which go many at a time, with a word, blanks or half a line end somewhere between them. */
static void long_runs_of_empty_lines_do_too(void **state)
{
	static const char *const between[] = { "", "x", " ", "x\r\n ", "\r", "\n", "a \r\n\t", "\r\r\n" };
	(void)state;
	for (unsigned seed = 1; seed <= 300; seed++) {
		struct buf body = BUF_INIT(1 << 20);
		unsigned at = seed;
		for (unsigned runs = 1 + (unsigned)rand_r(&at) % 4; runs; runs--) {
			for (unsigned n = (unsigned)rand_r(&at) % 1500; n; n--)
				buf_add(&body, SLICE("\r\n"));
			buf_add_cstr(&body, between[(unsigned)rand_r(&at) % 8]);
		}
		buf_add(&body, SLICE("\r\n"));
		check(buf_slice(&body), seed);
		buf_free(&body);
	}
}

static void put_field(enum mail_canon form, const char *raw, const char *want)
{
	struct slice in = slice_of(raw);
	struct mail_field f;
	struct buf b = BUF_INIT(1000);
	assert_int_equal(mail_field_next(&in, &f), MAIL_FIELD);
	mail_canon_field(form, &f, SLICE_NONE, false, into, &b);
	assert_true(slice_eq(buf_slice(&b), slice_of(want)));
	buf_free(&b);
}

static void fields_have_the_forms_of_the_rfc(void **state)
{
	(void)state;
	put_field(CANON_RELAXED, "A: X\r\n", "a:X\r\n"); /* 3.4.5 */
	put_field(CANON_RELAXED, "B : Y\t\r\n\tZ  \r\n", "b:Y Z\r\n");
	put_field(CANON_SIMPLE, "A: X\r\n", "A: X\r\n");
	put_field(CANON_SIMPLE, "B : Y\t\n\tZ  \n", "B : Y\t\r\n\tZ  \r\n");
	put_field(CANON_RELAXED, "Empty:\r\n", "empty:\r\n");
	put_field(CANON_RELAXED, "Folded:\r\n \t\r\n x", "folded:x\r\n");
}

/* RFC 6376, 3.4.2, word by word; without: a part of the value that counts as empty. */
static void plainly_relaxed(const struct mail_field *f, struct slice without, struct buf *out)
{
	bool gap = false, begun = false;
	for (size_t i = 0; i < f->name.n; i++)
		buf_add_byte(out, (char)(f->name.p[i] >= 'A' && f->name.p[i] <= 'Z' ? f->name.p[i] + 32 : f->name.p[i]));
	buf_add_byte(out, ':');
	for (const char *p = f->value.p; p < f->value.p + f->value.n; p++) {
		if (without.p && p >= without.p && p < without.p + without.n)
			continue;
		if (strchr(" \t\r\n", *p)) {
			gap = true;
			continue;
		}
		if (gap && begun)
			buf_add_byte(out, ' ');
		buf_add_byte(out, *p);
		begun = true;
		gap = false;
	}
}

static void random_fields_have_the_form_of_a_walk_byte_by_byte(void **state)
{
	(void)state;
	static const char *const pieces[] = { " ", "  ", "\t", "\r\n ", "\n\t", "a", "word", "sixteen bytes of", "exactly seventeen", "\xc3\xa4", "two words", "=", ";", "\r x", "0123456789abcdef0123456789abcdef" };
	for (unsigned seed = 1; seed < 20000; seed++) {
		unsigned r = seed;
		struct buf b = BUF_INIT(1 << 16), want = BUF_INIT(1 << 16), got = BUF_INIT(1 << 16);
		for (unsigned n = 1 + (unsigned)rand_r(&r) % 70; n; n--)
			buf_add_byte(&b, (char)("aBcZ-@[`{0"[rand_r(&r) % 10]));
		buf_add_byte(&b, ':');
		for (unsigned n = (unsigned)rand_r(&r) % (seed % 20 ? 12 : 900); n; n--)
			buf_add_cstr(&b, pieces[(size_t)rand_r(&r) % (sizeof pieces / sizeof *pieces)]);
		buf_add_cstr(&b, "\r\n");
		struct slice in = buf_slice(&b), without = SLICE_NONE;
		struct mail_field f;
		assert_int_equal(mail_field_next(&in, &f), MAIL_FIELD);
		if (seed % 3 == 0 && f.value.n) {
			size_t at = (size_t)rand_r(&r) % f.value.n;
			without = slice_head(slice_skip(f.value, at), (size_t)rand_r(&r) % (f.value.n - at + 1));
		}
		plainly_relaxed(&f, without, &want);
		mail_canon_field(CANON_RELAXED, &f, without, true, into, &got);
		if (!slice_eq(buf_slice(&want), buf_slice(&got)))
			fail_msg("seed %u field \"%.*s\" want \"%.*s\" got \"%.*s\"", seed, SLICE_FMT(buf_slice(&b)), SLICE_FMT(buf_slice(&want)), SLICE_FMT(buf_slice(&got)));
		buf_free(&b);
		buf_free(&want);
		buf_free(&got);
	}
}

static void one_pass_makes_all_digests_and_keeps_to_lengths(void **state)
{
	(void)state;
	struct mail_body *b = mail_body_new();
	struct mail_digest d;
	int simple = mail_body_want(b, CANON_SIMPLE, false, MAIL_BODY_WHOLE), relaxed = mail_body_want(b, CANON_RELAXED, false, MAIL_BODY_WHOLE);
	int part = mail_body_want(b, CANON_SIMPLE, false, 2), beyond = mail_body_want(b, CANON_SIMPLE, true, 100);
	assert_int_equal(mail_body_want(b, CANON_SIMPLE, false, MAIL_BODY_WHOLE), simple);
	for (uint64_t i = 3; i < 11; i++)
		assert_true(mail_body_want(b, CANON_SIMPLE, false, i) >= 0);
	assert_int_equal(mail_body_want(b, CANON_SIMPLE, false, 99), -1);
	mail_body_add(b, SLICE("\r\n"));
	mail_body_end(b);
	assert_true(mail_body_digest(b, simple, &d)); /* SHA-256 of CRLF, and of nothing */
	assert_int_equal(d.bytes[0], 0x7e);
	assert_true(mail_body_digest(b, relaxed, &d));
	assert_int_equal(d.bytes[0], 0xe3);
	assert_true(mail_body_digest(b, part, &d));
	assert_false(mail_body_digest(b, beyond, &d));
	mail_body_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_body_cut_anywhere_has_one_canonical_form),
		cmocka_unit_test(random_bodies_do_too),
		cmocka_unit_test(long_runs_of_empty_lines_do_too),
		cmocka_unit_test(fields_have_the_forms_of_the_rfc),
		cmocka_unit_test(random_fields_have_the_form_of_a_walk_byte_by_byte),
		cmocka_unit_test(one_pass_makes_all_digests_and_keeps_to_lengths),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
