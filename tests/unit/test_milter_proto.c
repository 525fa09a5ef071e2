/* The milter protocol as bytes: what filters may send, and what they may not. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "smtpd/milter_changes.h"
#include "smtpd/milter_proto.h"

static int read_bytes(const char *p, size_t n, struct milter_reply *out, size_t *used)
{
	struct slice in = slice(p, n);
	const char *why = NULL;
	int got = milter_reply_read(&in, out, &why);
	assert_true(got >= 0 || why);
	if (used)
		*used = n - in.n;
	return got;
}
#define READ(literal, out) read_bytes(literal, sizeof(literal) - 1, out, NULL)

static void every_reply_of_the_protocol_is_read(void **state)
{
	struct milter_reply r;
	(void)state;
	assert_int_equal(READ("\0\0\0\1c", &r), 1);
	assert_int_equal(r.kind, MILTER_SAYS_CONTINUE);
	assert_int_equal(READ("\0\0\0\x10" "i\0\0\0\1X-A\0 value\0", &r), 1);
	assert_true(r.index == 1 && slice_eq(r.name, SLICE("X-A")) && slice_eq(r.value, SLICE(" value")));
	assert_int_equal(READ("\0\0\0\x08" "hX\0abcd\0", &r), 1);
	assert_int_equal(READ("\0\0\0\x05" "+<a>\0", &r), 1);
	assert_int_equal(READ("\0\0\0\x05" "e<a>\0", &r), 1);
	assert_true(r.value.n == 0);
	assert_int_equal(READ("\0\0\0\x08" "e<a>\0xy\0", &r), 1);
	assert_true(slice_eq(r.value, SLICE("xy")));
	assert_int_equal(READ("\0\0\0\4bxyz", &r), 1);
	assert_true(slice_eq(r.value, SLICE("xyz")));
	assert_int_equal(READ("\0\0\0\rO\0\0\0\6\0\0\1\xff\0\x1f\xff\xff", &r), 1);
	assert_true(r.version == 6 && r.actions == 0x1ff && r.options == 0x1fffff);
	assert_int_equal(READ("\0\0\0\x12O\0\0\0\6\0\0\1\xff\0\x1f\xff\xff\0\0\0\0", &r), 0);
	assert_int_equal(READ("\0\0\0\x12O\0\0\0\6\0\0\1\xff\0\x1f\xff\xff\0\0\0\0\0", &r), 1);
}

static void nonsense_is_told_from_what_is_not_whole(void **state)
{
	struct milter_reply r;
	(void)state;
	assert_int_equal(READ("", &r), 0);
	assert_int_equal(READ("\0\0\0", &r), 0);
	assert_int_equal(READ("\0\0\0\5+<a>", &r), 0);
	assert_int_equal(READ("\0\0\0\0", &r), -EPROTO);
	assert_int_equal(READ("\xff\xff\xff\xff", &r), -EPROTO);
	assert_int_equal(READ("\0\x10\0\0b", &r), -EPROTO);
	assert_int_equal(READ("\0\0\0\1Z", &r), -EPROTO);
	assert_int_equal(READ("\0\0\0\2cx", &r), -EPROTO);
	assert_int_equal(READ("\0\0\0\5+<ab>", &r), -EPROTO);
	assert_int_equal(READ("\0\0\0\x06+<a>\0x", &r), -EPROTO);
	assert_int_equal(READ("\0\0\0\3hX\0", &r), -EPROTO);
	assert_int_equal(READ("\0\0\0\4i\0\0\0", &r), -EPROTO);
	assert_int_equal(READ("\0\0\0\5O\0\0\0\6", &r), -EPROTO);
	assert_int_equal(READ("HTTP/1.1 400 Bad Request", &r), -EPROTO);
}

static void every_prefix_and_every_changed_byte_is_survived(void **state)
{
	static const char good[] = "\0\0\0\x10" "i\0\0\0\1X-A\0 value\0\0\0\0\1c\0\0\0\5+<a>\0\0\0\0\x0eyfourxx\0xxxxx\0";
	(void)state;
	for (size_t n = 0; n < sizeof good; n++) {
		for (int bit = 0; bit < 8; bit++) {
			char *copy = malloc(sizeof good - 1);
			memcpy(copy, good, sizeof good - 1);
			if (n < sizeof good - 1)
				copy[n] = (char)(copy[n] ^ (1 << bit));
			struct slice in = slice(copy, sizeof good - 1);
			struct milter_reply r;
			const char *why;
			while (milter_reply_read(&in, &r, &why) > 0)
				;
			free(copy);
		}
		char *copy = malloc(n ? n : 1);
		memcpy(copy, good, n < sizeof good - 1 ? n : sizeof good - 1);
		struct slice in = slice(copy, n < sizeof good - 1 ? n : sizeof good - 1);
		struct milter_reply r;
		const char *why;
		while (milter_reply_read(&in, &r, &why) > 0)
			;
		free(copy);
	}
}

static void what_is_written_has_the_form_of_libmilter(void **state)
{
	struct buf b = BUF_INIT(1000);
	struct net_ip ip;
	const struct slice words[] = { SLICE_INIT("<a@b>"), SLICE_INIT("SIZE=1") }, macros[] = { SLICE_INIT("i"), SLICE_INIT("ID"), SLICE_INIT("x"), SLICE_INIT("") };
	(void)state;
	assert_int_equal(milter_put_negotiate(&b, 1, 2), 0);
	assert_true(slice_eq(buf_slice(&b), SLICE("\0\0\0\rO\0\0\0\6\0\0\0\1\0\0\0\2")));
	buf_clear(&b);
	assert_true(net_ip_parse(SLICE("192.0.2.1"), &ip));
	assert_int_equal(milter_put_connect(&b, SLICE("h"), &ip, 258), 0);
	assert_true(slice_eq(buf_slice(&b), SLICE("\0\0\0\x10" "Ch\0" "4\1\2" "192.0.2.1\0")));
	buf_clear(&b);
	assert_int_equal(milter_put_words(&b, MILTER_MAIL, words, 2), 0);
	assert_true(slice_eq(buf_slice(&b), SLICE("\0\0\0\x0eM<a@b>\0SIZE=1\0")));
	buf_clear(&b);
	assert_int_equal(milter_put_macros(&b, MILTER_MAIL, macros, 4), 0);
	assert_true(slice_eq(buf_slice(&b), SLICE("\0\0\0\7DMi\0ID\0")));
	buf_clear(&b);
	assert_int_equal(milter_put_words(&b, MILTER_HELO, &(struct slice){ "a\0b", 3 }, 1), 0);
	assert_true(slice_eq(buf_slice(&b), SLICE("\0\0\0\3Ha\0")));
	buf_free(&b);
}

static void a_frame_that_does_not_fit_is_taken_back(void **state)
{
	struct buf b = BUF_INIT(12);
	(void)state;
	assert_int_equal(milter_put_empty(&b, MILTER_ABORT), 0);
	assert_int_equal(milter_put_words(&b, MILTER_HELO, &SLICE("a long name"), 1), -EMSGSIZE);
	assert_int_equal(b.n, 5);
	buf_free(&b);
}

static void change(struct buf *head, enum milter_reply_kind kind, uint32_t index, const char *name, const char *value, const char *expected)
{
	struct milter_reply r = { .kind = kind, .index = index, .name = slice_of(name), .value = slice_of(value) };
	assert_int_equal(milter_head_change(head, &r), 0);
	if (!slice_eq(buf_slice(head), slice_of(expected)))
		print_error("%.*s\n", SLICE_FMT(buf_slice(head)));
	assert_true(slice_eq(buf_slice(head), slice_of(expected)));
}

static void header_fields_are_added_inserted_changed_and_removed(void **state)
{
	struct buf h = BUF_INIT(1000);
	(void)state;
	buf_add_cstr(&h, "A: 1\r\nB: 2\r\n 3\r\na: 4\r\n\r\n");
	change(&h, MILTER_SAYS_ADD_HEADER, 0, "C", "5", "A: 1\r\nB: 2\r\n 3\r\na: 4\r\nC: 5\r\n\r\n");
	change(&h, MILTER_SAYS_CHANGE_HEADER, 2, "A", "6", "A: 1\r\nB: 2\r\n 3\r\nA: 6\r\nC: 5\r\n\r\n");
	change(&h, MILTER_SAYS_CHANGE_HEADER, 1, "b", "", "A: 1\r\nA: 6\r\nC: 5\r\n\r\n");
	change(&h, MILTER_SAYS_CHANGE_HEADER, 9, "b", "", "A: 1\r\nA: 6\r\nC: 5\r\n\r\n");
	change(&h, MILTER_SAYS_CHANGE_HEADER, 9, "D", "n\n\tfold\nnot", "A: 1\r\nA: 6\r\nC: 5\r\nD: n\r\n\tfold\r\n not\r\n\r\n");
	change(&h, MILTER_SAYS_INSERT_HEADER, 1, "E", " 7", "E: 7\r\nA: 1\r\nA: 6\r\nC: 5\r\nD: n\r\n\tfold\r\n not\r\n\r\n");
	change(&h, MILTER_SAYS_INSERT_HEADER, 3, "F", "8\r\n\r\nBcc: x", "E: 7\r\nA: 1\r\nF: 8\r\n Bcc: x\r\nA: 6\r\nC: 5\r\nD: n\r\n\tfold\r\n not\r\n\r\n");
	struct milter_reply bad = { .kind = MILTER_SAYS_ADD_HEADER, .name = SLICE("a b"), .value = SLICE("x") };
	assert_int_equal(milter_head_change(&h, &bad), -EINVAL);
	buf_free(&h);
	buf_add_cstr(&h, "\r\n");
	change(&h, MILTER_SAYS_ADD_HEADER, 0, "C", "5", "C: 5\r\n\r\n");
	buf_free(&h);
}

static void a_head_past_its_ceiling_stays_as_it_was(void **state)
{
	struct buf h = BUF_INIT(20);
	struct milter_reply r = { .kind = MILTER_SAYS_ADD_HEADER, .name = SLICE("Name"), .value = SLICE("much too long") };
	(void)state;
	buf_add_cstr(&h, "A: 1\r\n\r\n");
	assert_int_equal(milter_head_change(&h, &r), -EMSGSIZE);
	assert_true(slice_eq(buf_slice(&h), SLICE("A: 1\r\n\r\n")));
	buf_free(&h);
}

static void a_new_body_has_no_bare_ends_and_no_nul(void **state)
{
	struct buf b = BUF_INIT(100);
	(void)state;
	assert_int_equal(milter_body_clean(SLICE("a\r\nb\nc\rd\0e\r\r\n"), &b), 0);
	assert_true(slice_eq(buf_slice(&b), SLICE("a\r\nb\r\nc\r\nd e\r\n\r\n")));
	buf_clear(&b);
	assert_int_equal(milter_body_clean(SLICE("x"), &b), 0);
	assert_true(slice_eq(buf_slice(&b), SLICE("x\r\n")));
	buf_free(&b);
}

static void changes_are_bounded(void **state)
{
	struct milter_changes c;
	struct milter_reply r = { .kind = MILTER_SAYS_ADD_HEADER }, body = { .kind = MILTER_SAYS_REPLACE_BODY, .value = SLICE("0123456789") };
	int error = 0;
	(void)state;
	milter_changes_init(&c, 95);
	for (int i = 0; i < MILTER_MAX_CHANGES; i++)
		assert_int_equal(milter_changes_note(&c, SLICE("frame"), &r), 0);
	assert_int_equal(milter_changes_note(&c, SLICE("frame"), &r), -EMSGSIZE);
	for (int i = 0; i < 10; i++)
		error = milter_changes_note(&c, SLICE("frame"), &body);
	assert_int_equal(error, -EMSGSIZE);
	milter_changes_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_reply_of_the_protocol_is_read),
		cmocka_unit_test(nonsense_is_told_from_what_is_not_whole),
		cmocka_unit_test(every_prefix_and_every_changed_byte_is_survived),
		cmocka_unit_test(what_is_written_has_the_form_of_libmilter),
		cmocka_unit_test(a_frame_that_does_not_fit_is_taken_back),
		cmocka_unit_test(header_fields_are_added_inserted_changed_and_removed),
		cmocka_unit_test(a_head_past_its_ceiling_stays_as_it_was),
		cmocka_unit_test(a_new_body_has_no_bare_ends_and_no_nul),
		cmocka_unit_test(changes_are_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
