/* Records between smtpd and mailbox: what was written is read back; nothing else is taken. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "base/field.h"
#include "delivery/mailbox_proto.h"

static struct mailbox_leaf leaf = { LEAF_MAILDIR, SLICE_INIT("d/u"), SLICE_INIT("u@d"), 5, UINT64_MAX };

static void assert_slice(struct slice a, struct slice b)
{
	assert_true(slice_eq(a, b));
}

static void assert_leaf(const struct mailbox_leaf *l)
{
	assert_int_equal(l->kind, leaf.kind);
	assert_slice(l->place, leaf.place);
	assert_slice(l->address, leaf.address);
	assert_true(l->quota_bytes == 5 && l->quota_messages == UINT64_MAX);
}

static void put_sample(struct buf *out)
{
	struct mailbox_leaf leaves[3] = { leaf, leaf, leaf };
	struct mailbox_deliver m = { .transaction = SLICE("t-1"), .reverse_path = SLICE("a@b"), .hold = true, .leaves = leaves, .leaf_count = 3 };
	assert_int_equal(mailbox_put_deliver(out, &m), 0);
	buf_add(out, SLICE("content\n"));
}

static void deliver_comes_back_with_its_leaves_and_content(void **state)
{
	struct buf b = BUF_INIT(100000);
	struct arena mem = ARENA_INIT(0);
	struct mailbox_deliver got;
	(void)state;
	put_sample(&b);
	assert_int_equal(mailbox_get_deliver(buf_slice(&b), &mem, &got), 0);
	assert_slice(got.transaction, SLICE("t-1"));
	assert_slice(got.reverse_path, SLICE("a@b"));
	assert_true(got.hold && !got.from_pen);
	assert_slice(got.content, SLICE("content\n"));
	assert_int_equal(got.leaf_count, 3);
	assert_leaf(&got.leaves[2]);
	arena_free(&mem);
	buf_free(&b);
}

static void an_answer_comes_back_with_each_leafs_status(void **state)
{
	struct buf b = BUF_INIT(100000);
	struct arena mem = ARENA_INIT(0);
	struct mailbox_leaf_result results[2] = { { MAIL_STATUS_OK, SLICE("name") }, { MAIL_STATUS(MAIL_LATER, 452, 2, 2, "Full"), SLICE_NONE } };
	struct mailbox_delivered m = { MAIL_STATUS(MAIL_LATER, 452, 2, 2, "Full"), results, 2 }, got;
	(void)state;
	assert_int_equal(mailbox_put_delivered(&b, &m), 0);
	assert_int_equal(mailbox_get_delivered(buf_slice(&b), &mem, &got), 0);
	assert_int_equal(got.status.code, 452);
	assert_int_equal(got.leaf_count, 2);
	assert_slice(got.leaves[0].name, SLICE("name"));
	assert_int_equal(got.leaves[1].status.enhanced[1], 2);
	assert_slice(got.leaves[1].status.text, SLICE("Full"));
	arena_free(&mem);
	buf_free(&b);
}

static void the_small_records_come_back(void **state)
{
	struct buf b = BUF_INIT(10000);
	struct arena mem = ARENA_INIT(0);
	struct mailbox_ask ask = { leaf, 77, SLICE("1mabc") };
	struct mailbox_pen pen = { SLICE("t"), leaf, 99 };
	struct mailbox_state disk = { UINT64_MAX, 7, true };
	struct slice forward[2] = { SLICE("x@y"), SLICE("z") }, id;
	struct mailbox_asked asked = { MAIL_STATUS_OK, forward, 2, true };
	(void)state;
	assert_int_equal(mailbox_put_ask(&b, &ask), 0);
	assert_int_equal(mailbox_get_ask(buf_slice(&b), &ask), 0);
	assert_leaf(&ask.leaf);
	assert_int_equal(ask.size, 77);
	assert_slice(ask.find, SLICE("1mabc"));
	buf_clear(&b);
	assert_int_equal(mailbox_put_pen(&b, &pen), 0);
	assert_int_equal(mailbox_get_pen(buf_slice(&b), &pen), 0);
	assert_int_equal(pen.size, 99);
	buf_clear(&b);
	assert_int_equal(mailbox_put_state(&b, &disk), 0);
	assert_int_equal(mailbox_get_state(buf_slice(&b), &disk), 0);
	assert_true(disk.free_bytes == UINT64_MAX && disk.free_inodes == 7 && disk.read_only);
	buf_clear(&b);
	assert_int_equal(mailbox_put_asked(&b, &asked), 0);
	assert_int_equal(mailbox_get_asked(buf_slice(&b), &mem, &asked), 0);
	assert_int_equal(asked.forward_count, 2);
	assert_slice(asked.forward[1], SLICE("z"));
	assert_true(asked.found);
	buf_clear(&b);
	assert_int_equal(mailbox_put_transaction(&b, SLICE("abc-9")), 0);
	assert_int_equal(mailbox_get_transaction(buf_slice(&b), &id), 0);
	assert_slice(id, SLICE("abc-9"));
	arena_free(&mem);
	buf_free(&b);
}

static void a_transaction_id_is_fit_for_a_file_name(void **state)
{
	static const char *const bad[] = { "", "a/b", "..", "a.b", "a b", "a\n", "123456789012345678901234567890123", "\xc3\xa4" };
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct buf b = BUF_INIT(100);
		struct slice id;
		mailbox_put_transaction(&b, slice_of(bad[i]));
		assert_int_equal(mailbox_get_transaction(buf_slice(&b), &id), -EPROTO);
		buf_free(&b);
	}
}

static void no_remote_leaf_and_no_status_that_lies_is_taken(void **state)
{
	struct buf b = BUF_INIT(10000);
	struct mailbox_ask ask = { leaf, 1, SLICE_NONE };
	struct mail_status s = { MAIL_OK, 450, { 0, 0 }, SLICE_NONE };
	(void)state;
	ask.leaf.kind = LEAF_HOP;
	mailbox_put_ask(&b, &ask);
	assert_int_equal(mailbox_get_ask(buf_slice(&b), &ask), -EPROTO);
	buf_clear(&b);
	mailbox_put_status(&b, &s);
	assert_int_equal(mailbox_get_status(buf_slice(&b), &s), -EPROTO);
	buf_free(&b);
}

static void too_many_leaves_and_too_much_content_are_refused(void **state)
{
	struct buf b = BUF_INIT(4 << 20);
	struct arena mem = ARENA_INIT(0);
	static struct mailbox_leaf leaves[MAILBOX_MAX_LEAVES + 1];
	static char content[MAILBOX_MAX_INLINE + 1];
	struct mailbox_deliver m = { .transaction = SLICE("t"), .leaves = leaves, .leaf_count = MAILBOX_MAX_LEAVES + 1 };
	(void)state;
	for (size_t i = 0; i <= MAILBOX_MAX_LEAVES; i++)
		leaves[i] = leaf;
	mailbox_put_deliver(&b, &m);
	assert_int_equal(mailbox_get_deliver(buf_slice(&b), &mem, &m), -EPROTO);
	buf_clear(&b);
	m.leaf_count = 1;
	mailbox_put_deliver(&b, &m);
	buf_add(&b, slice(content, sizeof content));
	assert_int_equal(mailbox_get_deliver(buf_slice(&b), &mem, &m), -EPROTO);
	arena_free(&mem);
	buf_free(&b);
}

static void cut_and_flipped_records_never_crash_a_reader(void **state)
{
	struct buf b = BUF_INIT(100000);
	struct mailbox_deliver d;
	struct mailbox_delivered e;
	struct mailbox_ask a;
	struct mail_status s;
	(void)state;
	put_sample(&b);
	for (int round = 0; round < 20000; round++) {
		struct arena mem = ARENA_INIT(1 << 20);
		char *copy = malloc(b.n);
		size_t n = (size_t)rand() % b.n;
		memcpy(copy, b.p, b.n);
		for (int flips = rand() % 4; flips > 0; flips--)
			copy[(size_t)rand() % b.n] ^= (char)(1 << rand() % 8);
		struct slice in = slice(copy, round % 2 ? n : b.n);
		mailbox_get_deliver(in, &mem, &d);
		mailbox_get_delivered(in, &mem, &e);
		mailbox_get_ask(in, &a);
		mailbox_get_status(in, &s);
		free(copy);
		arena_free(&mem);
	}
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(deliver_comes_back_with_its_leaves_and_content),
		cmocka_unit_test(an_answer_comes_back_with_each_leafs_status),
		cmocka_unit_test(the_small_records_come_back),
		cmocka_unit_test(a_transaction_id_is_fit_for_a_file_name),
		cmocka_unit_test(no_remote_leaf_and_no_status_that_lies_is_taken),
		cmocka_unit_test(too_many_leaves_and_too_much_content_are_refused),
		cmocka_unit_test(cut_and_flipped_records_never_crash_a_reader),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
