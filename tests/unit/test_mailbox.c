/* The mailbox process as an asker sees it: one question, one answer, and what lies in the Maildirs then. */
#include "tests/unit/mailbox_kit.h"
#include "tests/unit/mount_kit.h"

#include <sys/mount.h>

#define HELLO SLICE("Subject: hello\n\nHello, world.\n")

static int start(void **state)
{
	static struct kit k;
	kit_start(&k, NULL);
	*state = &k;
	return 0;
}

static int end(void **state)
{
	kit_end(*state);
	return 0;
}

static void a_message_lies_whole_under_the_name_that_was_answered(void **state)
{
	struct kit *k = *state;
	struct mailbox_leaf leaf = kit_maildir("example.test/alice");
	struct stat st;
	assert_int_equal(kit_deliver(k, "t1", &leaf, 1, HELLO, false), MAIL_OK);
	assert_int_equal(k->delivered.leaf_count, 1);
	assert_string_equal(kit_content(k, "example.test/alice", 0, &st), HELLO.p);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(kit_count(k, "example.test/alice/new"), 1);
	assert_int_equal(kit_count(k, "example.test/alice/tmp"), 0);
	assert_int_equal(kit_count(k, "example.test/alice/cur"), 0);
	assert_non_null(strstr(k->delivered.leaves[0].name.p, "_t1.host.test,S=30"));
}

static void recipients_of_one_transaction_share_one_file(void **state)
{
	struct kit *k = *state;
	struct mailbox_leaf leaves[20];
	char places[20][16];
	struct stat st;
	for (int i = 0; i < 20; i++) {
		snprintf(places[i], sizeof places[i], "d/u%d", i);
		leaves[i] = kit_maildir(places[i]);
	}
	assert_int_equal(kit_deliver(k, "t2", leaves, 20, HELLO, false), MAIL_OK);
	for (size_t i = 0; i < 20; i++)
		assert_string_equal(kit_content(k, places[i], i, &st), HELLO.p);
	assert_int_equal(st.st_nlink, 20);
}

static void a_mailbox_named_twice_gets_one_file(void **state)
{
	struct kit *k = *state;
	struct mailbox_leaf leaves[2] = { kit_maildir("d/u"), kit_maildir("d/u") };
	assert_int_equal(kit_deliver(k, "t3", leaves, 2, HELLO, false), MAIL_OK);
	assert_int_equal(kit_count(k, "d/u/new"), 1);
}

static void what_is_held_is_in_nobodys_view_until_commit(void **state)
{
	struct kit *k = *state;
	struct mailbox_leaf leaf = kit_maildir("d/u");
	assert_int_equal(kit_deliver(k, "t4", &leaf, 1, HELLO, true), MAIL_OK);
	assert_int_equal(kit_count(k, "d/u/new"), 0);
	kit_tell(k, MAILBOX_COMMIT, "t4");
	assert_int_equal(k->delivered.status.fate, MAIL_OK);
	assert_string_equal(kit_content(k, "d/u", 0, NULL), HELLO.p);
	kit_wait_idle(k);
}

static void an_abort_and_a_lost_channel_leave_nothing(void **state)
{
	struct kit *k = *state;
	struct mailbox_leaf leaf = kit_maildir("d/u");
	assert_int_equal(kit_deliver(k, "t5", &leaf, 1, HELLO, true), MAIL_OK);
	kit_tell(k, MAILBOX_ABORT, "t5");
	kit_tell(k, MAILBOX_ABORT, "unknown");
	kit_wait_idle(k);
	kit_tell(k, MAILBOX_COMMIT, "t5");
	assert_int_equal(k->delivered.status.fate, MAIL_LATER);
	assert_int_equal(kit_deliver(k, "t6", &leaf, 1, HELLO, true), MAIL_OK);
	assert_int_equal(kit_pen(k, "t7", &leaf), MAIL_OK);
	kit_disconnect(k);
	assert_int_equal(kit_count(k, "d/u/new"), 0);
	assert_int_equal(kit_count(k, "d/u/tmp"), 0);
}

static void a_question_that_is_aborted_meanwhile_is_still_answered(void **state)
{
	struct kit *k = *state;
	struct mailbox_leaf leaf = kit_maildir("d/u");
	kit_send(k, "a1", &leaf, 1, HELLO, true);
	kit_tell(k, MAILBOX_ABORT, "a1");
	assert_int_equal(k->waiting, 0);
	kit_wait_idle(k);
	assert_int_equal(kit_count(k, "d/u/new"), 0);
}

static void what_was_asked_to_commit_goes_on_when_the_channel_is_lost(void **state)
{
	struct kit *k = *state;
	struct mailbox_leaf leaf = kit_maildir("d/u");
	kit_send(k, "t8", &leaf, 1, HELLO, false);
	kit_idle(k, 0);
	kit_disconnect(k);
	assert_int_equal(kit_count(k, "d/u/new"), 1);
}

static void a_pen_is_published_itself(void **state)
{
	struct kit *k = *state;
	struct mailbox_leaf leaves[2] = { kit_maildir("d/u"), kit_maildir("d/v") };
	struct stat pen, st;
	assert_int_equal(kit_pen(k, "t9", &leaves[0]), MAIL_OK);
	for (int i = 0; i < 20000; i++)
		assert_int_equal(write(k->pen_fd, "0123456789\n", 11), 11);
	assert_int_equal(fstat(k->pen_fd, &pen), 0);
	struct mailbox_deliver m = { .transaction = SLICE("t9"), .from_pen = true, .pen_length = 220000, .leaves = leaves, .leaf_count = 2 };
	k->waiting++;
	mailbox_send_deliver(k->channel, 1, &m);
	kit_run(k);
	assert_int_equal(k->delivered.status.fate, MAIL_OK);
	kit_content(k, "d/v", 1, &st);
	assert_int_equal(st.st_size, 220000);
	assert_int_equal(st.st_ino, pen.st_ino);
}

static void a_pen_of_another_length_is_refused(void **state)
{
	struct kit *k = *state;
	struct mailbox_leaf leaf = kit_maildir("d/u");
	assert_int_equal(kit_pen(k, "t10", &leaf), MAIL_OK);
	assert_int_equal(write(k->pen_fd, "short", 5), 5);
	struct mailbox_deliver m = { .transaction = SLICE("t10"), .from_pen = true, .pen_length = 6, .leaves = &leaf, .leaf_count = 1 };
	k->waiting++;
	mailbox_send_deliver(k->channel, 1, &m);
	kit_run(k);
	assert_int_equal(k->delivered.status.fate, MAIL_LATER);
	assert_int_equal(kit_count(k, "d/u/new"), 0);
}

static void one_leaf_that_cannot_be_served_keeps_all_from_it(void **state)
{
	struct kit *k = *state;
	struct mailbox_leaf leaves[2] = { kit_maildir("d/good"), kit_maildir("d/bad") };
	char path[192];
	assert_int_equal(kit_deliver(k, "a", leaves, 1, HELLO, false), MAIL_OK);
	snprintf(path, sizeof path, "%s/d/bad", k->root);
	assert_int_equal(symlink("good", path), 0);
	assert_int_equal(kit_deliver(k, "b", leaves, 2, HELLO, false), MAIL_LATER);
	assert_int_equal(k->delivered.leaves[0].status.fate, MAIL_OK);
	assert_int_equal(k->delivered.leaves[1].status.fate, MAIL_LATER);
	assert_int_equal(kit_count(k, "d/good/new"), 1);
}

static void no_place_leads_out_of_the_mail_root(void **state)
{
	struct kit *k = *state;
	static const char *const places[] = { "..", "../x", "a/../../x", "a/./b", "a//b", "", "/", "/../x", "a/..", "." };
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		struct mailbox_leaf leaf = kit_maildir(places[i]);
		if (leaf.place.n == 0)
			continue;
		assert_int_equal(kit_deliver(k, "p", &leaf, 1, HELLO, false), MAIL_LATER);
		assert_int_equal(kit_ask(k, &leaf, 1), MAIL_LATER);
	}
}

static void an_absolute_place_is_served_where_it_is_there(void **state)
{
	struct kit *k = *state;
	char place[192];
	snprintf(place, sizeof place, "%s/elsewhere", k->root);
	struct mailbox_leaf leaf = kit_maildir(place);
	assert_int_equal(kit_deliver(k, "e", &leaf, 1, HELLO, false), MAIL_LATER);
	assert_int_equal(mkdir(place, 0700), 0);
	assert_int_equal(kit_deliver(k, "f", &leaf, 1, HELLO, false), MAIL_OK);
	assert_int_equal(kit_count(k, "elsewhere/new"), 1);
}

static void a_full_mailbox_is_452_at_ask_and_in_prepare_and_a_reader_makes_room(void **state)
{
	struct kit *k = *state;
	struct mailbox_leaf leaf = kit_maildir("d/q");
	char path[512];
	leaf.quota_messages = 2;
	assert_int_equal(kit_ask(k, &leaf, 100), MAIL_OK);
	assert_int_equal(kit_deliver(k, "q1", &leaf, 1, HELLO, false), MAIL_OK);
	assert_int_equal(kit_deliver(k, "q2", &leaf, 1, HELLO, false), MAIL_OK);
	assert_int_equal(kit_ask(k, &leaf, 100), MAIL_LATER);
	assert_int_equal(k->asked.status.code, 452);
	assert_int_equal(k->asked.status.enhanced[0], 2);
	assert_int_equal(k->asked.status.enhanced[1], 2);
	assert_int_equal(kit_deliver(k, "q3", &leaf, 1, HELLO, false), MAIL_LATER);
	assert_int_equal(k->delivered.status.code, 452);
	assert_int_equal(kit_count(k, "d/q/new"), 2);
	snprintf(path, sizeof path, "rm %s/d/q/new/*q1*", k->root);
	assert_int_equal(system(path), 0);
	assert_int_equal(kit_ask(k, &leaf, 100), MAIL_OK);
	assert_int_equal(kit_deliver(k, "q4", &leaf, 1, HELLO, false), MAIL_OK);
}

static void two_at_once_do_not_both_take_the_last_place(void **state)
{
	struct kit *k = *state;
	struct mailbox_leaf leaf = kit_maildir("d/q");
	char id[16];
	leaf.quota_bytes = 3 * HELLO.n;
	for (int i = 0; i < 10; i++) {
		snprintf(id, sizeof id, "x%d", i);
		kit_send(k, id, &leaf, 1, HELLO, false);
	}
	kit_run(k);
	assert_int_equal(kit_count(k, "d/q/new"), 3);
}

static void an_aborted_transaction_gives_its_room_back(void **state)
{
	struct kit *k = *state;
	struct mailbox_leaf leaf = kit_maildir("d/q");
	leaf.quota_messages = 1;
	assert_int_equal(kit_deliver(k, "h", &leaf, 1, HELLO, true), MAIL_OK);
	assert_int_equal(kit_ask(k, &leaf, 1), MAIL_LATER);
	kit_tell(k, MAILBOX_ABORT, "h");
	assert_int_equal(kit_ask(k, &leaf, 1), MAIL_OK);
	assert_int_equal(kit_deliver(k, "i", &leaf, 1, HELLO, false), MAIL_OK);
}

static void nonsense_cuts_the_peer_off_and_nobody_else(void **state)
{
	struct kit *k = *state;
	struct mailbox_leaf leaf = kit_maildir("d/u");
	for (uint16_t type = MAILBOX_ASK; type < MAILBOX_STATE + 3; type++) {
		k->waiting = 1;
		ipc_send(k->channel, type, 1, SLICE("\x01\x00\x00\x00\xff nonsense"), -1);
		kit_run(k);
		assert_null(k->channel);
		kit_connect(k);
	}
	assert_int_equal(kit_deliver(k, "n", &leaf, 1, HELLO, false), MAIL_OK);
}

static void the_report_names_each_file_system_and_its_work(void **state)
{
	struct kit *k = *state;
	struct buf out = BUF_INIT(10000);
	struct mailbox_leaf leaf = kit_maildir("d/u");
	assert_int_equal(kit_deliver(k, "r", &leaf, 1, HELLO, false), MAIL_OK);
	mailbox_report(k->mailbox, &out);
	buf_add_byte(&out, '\0');
	assert_non_null(strstr(out.p, "{\"open\":0,\"free_bytes\":"));
	assert_non_null(strstr(out.p, "\"jobs\":1,\"failed\":0,\"cycles\":2,"));
	buf_free(&out);
}

static void a_full_disk_is_452_and_nothing_is_left(void **state)
{
	struct kit *k = *state;
	char small[160], big[32768];
	static struct kit on_small;
	snprintf(small, sizeof small, "%s/small", k->root);
	assert_int_equal(mkdir(small, 0700), 0);
	if (mount("none", small, "tmpfs", 0, "size=128k") < 0)
		skip();
	kit_start(&on_small, small);
	memset(big, 'x', sizeof big);
	struct mailbox_leaf leaf = kit_maildir("d/u");
	int taken = 0;
	while (kit_deliver(&on_small, "big", &leaf, 1, slice(big, sizeof big), false) == MAIL_OK)
		taken++;
	assert_in_range(taken, 1, 4);
	assert_int_equal(on_small.delivered.status.code, 452);
	assert_int_equal(on_small.delivered.status.enhanced[0], 3);
	assert_int_equal(on_small.delivered.status.enhanced[1], 1);
	assert_int_equal(kit_count(&on_small, "d/u/new"), taken);
	assert_int_equal(kit_count(&on_small, "d/u/tmp"), 0);
	kit_end(&on_small);
	assert_int_equal(umount(small), 0);
}

static void maildirs_on_two_file_systems_are_all_served_or_none(void **state)
{
	struct kit *k = *state;
	static struct kit two;
	char base[160], other[192];
	snprintf(base, sizeof base, "%s/two", k->root);
	assert_int_equal(mkdir(base, 0700), 0);
	snprintf(other, sizeof other, "%s/mounted", base);
	assert_int_equal(mkdir(other, 0700), 0);
	if (mount("none", other, "tmpfs", 0, "size=48k") < 0)
		skip();
	kit_start(&two, base);
	char place[256], big[60000];
	snprintf(place, sizeof place, "%s/box", other);
	assert_int_equal(mkdir(place, 0700), 0);
	struct mailbox_leaf leaves[2] = { kit_maildir("d/u"), kit_maildir(place) };
	assert_int_equal(kit_deliver(&two, "m1", leaves, 2, HELLO, false), MAIL_OK);
	assert_int_equal(kit_count(&two, "d/u/new"), 1);
	memset(big, 'x', sizeof big);
	assert_int_equal(kit_deliver(&two, "m2", leaves, 2, slice(big, sizeof big), false), MAIL_LATER);
	assert_int_equal(two.delivered.status.code, 452);
	assert_int_equal(kit_count(&two, "d/u/new"), 1);
	kit_end(&two);
	assert_int_equal(umount(other), 0);
}

int main(void)
{
	mounts_are_our_own();
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)
	const struct CMUnitTest tests[] = {
		TEST(a_message_lies_whole_under_the_name_that_was_answered),
		TEST(recipients_of_one_transaction_share_one_file),
		TEST(a_mailbox_named_twice_gets_one_file),
		TEST(what_is_held_is_in_nobodys_view_until_commit),
		TEST(an_abort_and_a_lost_channel_leave_nothing),
		TEST(a_question_that_is_aborted_meanwhile_is_still_answered),
		TEST(what_was_asked_to_commit_goes_on_when_the_channel_is_lost),
		TEST(a_pen_is_published_itself),
		TEST(a_pen_of_another_length_is_refused),
		TEST(one_leaf_that_cannot_be_served_keeps_all_from_it),
		TEST(no_place_leads_out_of_the_mail_root),
		TEST(an_absolute_place_is_served_where_it_is_there),
		TEST(a_full_mailbox_is_452_at_ask_and_in_prepare_and_a_reader_makes_room),
		TEST(two_at_once_do_not_both_take_the_last_place),
		TEST(an_aborted_transaction_gives_its_room_back),
		TEST(nonsense_cuts_the_peer_off_and_nobody_else),
		TEST(the_report_names_each_file_system_and_its_work),
		TEST(a_full_disk_is_452_and_nothing_is_left),
		TEST(maildirs_on_two_file_systems_are_all_served_or_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
