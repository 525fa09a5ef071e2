/* mbox files: quoting, locks, cutting back, and the whole way through the mailbox process. */
#include "tests/unit/mailbox_kit.h"

#include <sys/file.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "delivery/mbox.h"
#include "delivery/mbox_find.h"

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

static struct mailbox_leaf mbox_leaf(const char *place)
{
	return (struct mailbox_leaf){ LEAF_MBOX, slice_of(place), SLICE("u@example.test"), 0, 0 };
}

static const char *read_file(const struct kit *k, const char *name)
{
	static char text[1 << 20];
	char path[256];
	snprintf(path, sizeof path, "%s/%s", k->root, name);
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (fd >= 0)
		close(fd);
	if (n < 0)
		return NULL;
	text[n] = '\0';
	return text;
}

static void write_file(const struct kit *k, const char *name, const char *text)
{
	char path[256];
	snprintf(path, sizeof path, "%s/%s", k->root, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static int root_of(const struct kit *k)
{
	int fd = open(k->root, O_RDONLY | O_DIRECTORY);
	assert_true(fd >= 0);
	return fd;
}

static void a_message_is_appended_behind_a_from_line(void **state)
{
	struct kit *k = *state;
	struct mailbox_leaf leaf = mbox_leaf("d/u.mbox");
	assert_int_equal(kit_deliver(k, "m1", &leaf, 1, SLICE("A: b\n\ntext\n"), false), MAIL_OK);
	assert_int_equal(kit_deliver(k, "m2", &leaf, 1, SLICE("A: c\n\nno end"), false), MAIL_OK);
	kit_wait_idle(k);
	kit_idle(k, 200);
	const char *text = read_file(k, "d/u.mbox");
	assert_int_equal(strncmp(text, "From MAILER-DAEMON ", 19), 0);
	assert_non_null(strstr(text, "\nA: b\n\ntext\n\nFrom MAILER-DAEMON "));
	assert_non_null(strstr(text, "\nA: c\n\nno end\n\n"));
	assert_null(read_file(k, "d/u.mbox.lock"));
}

/* However the content is cut into pieces, each line that looks like a separator gets one '>'. */
static void from_lines_are_quoted_wherever_the_pieces_end(void **state)
{
	struct kit *k = *state;
	static const char content[] = "From x\nFrom\n>From y\n>>From z\nFrom: a\n From b\n>>x\nFro\n>>Fron \nxFrom \nFrom";
	static const char wanted[] = ">From x\nFrom\n>>From y\n>>>From z\nFrom: a\n From b\n>>x\nFro\n>>Fron \nxFrom \nFrom\n\n";
	int root = root_of(k);
	for (size_t piece = 1; piece < sizeof content; piece++) {
		struct mbox m;
		struct slice rest = slice_of(content);
		assert_int_equal(mbox_open(&m, root, SLICE("q"), 0), 0);
		assert_int_equal(mbox_begin(&m, SLICE("a@b"), 0), 0);
		for (; rest.n; rest = slice_skip(rest, piece))
			assert_int_equal(mbox_write(&m, slice_head(rest, piece)), 0);
		assert_int_equal(mbox_end(&m), 0);
		assert_string_equal(strchr(read_file(k, "q"), '\n') + 1, wanted);
		assert_int_equal(mbox_cut_back(&m), 0);
		mbox_close(&m);
	}
	close(root);
}

static void the_sender_cannot_break_out_of_the_from_line(void **state)
{
	struct kit *k = *state;
	struct mbox m;
	int root = root_of(k);
	assert_int_equal(mbox_open(&m, root, SLICE("s"), 0), 0);
	assert_int_equal(mbox_begin(&m, SLICE("\"a b\nFrom c\"@d"), 0), 0);
	mbox_close(&m);
	assert_string_equal(read_file(k, "s"), "From \"a_b_From_c\"@d Thu Jan  1 00:00:00 1970\n");
	close(root);
}

static void a_held_message_is_locked_and_cut_back_by_abort(void **state)
{
	struct kit *k = *state;
	struct mailbox_leaf leaf = mbox_leaf("u");
	write_file(k, "u", "From x\nold\n\n");
	assert_int_equal(kit_deliver(k, "h", &leaf, 1, SLICE("new\n"), true), MAIL_OK);
	assert_non_null(strstr(read_file(k, "u.lock"), "porter 12\n"));
	kit_tell(k, MAILBOX_ABORT, "h");
	kit_wait_idle(k);
	assert_string_equal(read_file(k, "u"), "From x\nold\n\n");
	assert_null(read_file(k, "u.lock"));
}

static void an_mbox_and_maildirs_commit_together_or_not_at_all(void **state)
{
	struct kit *k = *state;
	struct mailbox_leaf leaves[3] = { mbox_leaf("u"), kit_maildir("d/v"), mbox_leaf("u") };
	assert_int_equal(kit_deliver(k, "b1", leaves, 3, SLICE("x\n"), false), MAIL_OK);
	kit_wait_idle(k);
	kit_idle(k, 200);
	assert_int_equal(kit_count(k, "d/v/new"), 1);
	char before[4096];
	snprintf(before, sizeof before, "%s", read_file(k, "u"));
	leaves[1].quota_messages = 1;
	assert_int_equal(kit_deliver(k, "b2", leaves, 3, SLICE("x\n"), false), MAIL_LATER);
	kit_wait_idle(k);
	kit_idle(k, 200);
	assert_string_equal(read_file(k, "u"), before);
	assert_int_equal(kit_count(k, "d/v/new"), 1);
}

static void both_kinds_of_foreign_locks_are_respected(void **state)
{
	struct kit *k = *state;
	struct mbox m;
	char path[256];
	int root = root_of(k);
	write_file(k, "u", "");
	snprintf(path, sizeof path, "%d\n", (int)getppid());
	write_file(k, "u.lock", path);
	assert_int_equal(mbox_open(&m, root, SLICE("u"), 150), -EBUSY);
	snprintf(path, sizeof path, "%s/u.lock", k->root);
	assert_int_equal(unlink(path), 0);
	snprintf(path, sizeof path, "%s/u", k->root);
	int fd = open(path, O_RDWR);
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
	assert_int_equal(mbox_open(&m, root, SLICE("u"), 150), -EBUSY);
	close(fd);
	assert_int_equal(mbox_open(&m, root, SLICE("u"), 150), 0);
	mbox_close(&m);
	close(root);
}

static void what_a_crash_left_unpromised_is_cut_off_by_the_next_one(void **state)
{
	struct kit *k = *state;
	struct mbox m;
	char note[64];
	int root = root_of(k);
	pid_t child = fork();
	if (child == 0)
		_exit(0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	write_file(k, "u", "From x\nkept\n\nFrom y\ntorn");
	snprintf(note, sizeof note, "%d\nporter 13\n", (int)child);
	write_file(k, "u.lock", note);
	assert_int_equal(mbox_open(&m, root, SLICE("u"), 1000), 0);
	assert_string_equal(read_file(k, "u"), "From x\nkept\n\n");
	mbox_close(&m);
	snprintf(note, sizeof note, "%d\n", (int)child);
	write_file(k, "u.lock", note);
	assert_int_equal(mbox_open(&m, root, SLICE("u"), 1000), 0);
	assert_string_equal(read_file(k, "u"), "From x\nkept\n\n");
	mbox_close(&m);
	close(root);
}

/* Porter has the file's own lock while it has the dotlock: whoever gets the one may break the other, and no process that was given the dead one's pid holds it alive. */
static void a_porters_lock_is_broken_by_who_has_the_files_own_lock(void **state)
{
	struct kit *k = *state;
	struct mbox m;
	char note[64];
	int root = root_of(k);
	write_file(k, "u", "From x\nkept\n\nFrom y\ntorn");
	snprintf(note, sizeof note, "%d\nporter 13\n", (int)getppid());
	write_file(k, "u.lock", note);
	assert_int_equal(mbox_open(&m, root, SLICE("u"), 1000), 0);
	assert_string_equal(read_file(k, "u"), "From x\nkept\n\n");
	snprintf(note, sizeof note, "%d\nporter\n", (int)getpid());
	assert_string_equal(read_file(k, "u.lock"), note); /* also while nothing is written */
	mbox_close(&m);
	snprintf(note, sizeof note, "%d\nporter\n", (int)getppid());
	write_file(k, "u.lock", note);
	assert_int_equal(mbox_open(&m, root, SLICE("u"), 1000), 0);
	assert_string_equal(read_file(k, "u"), "From x\nkept\n\n");
	mbox_close(&m);
	snprintf(note, sizeof note, "%d\nporter 20\n", (int)getppid());
	write_file(k, "u.lock", note);
	assert_int_equal(mbox_open(&m, root, SLICE("u"), 1000), 0);
	assert_string_equal(read_file(k, "u"), "From x\nkept\n\n"); /* nothing is cut on by zeros */
	mbox_close(&m);
	close(root);
}

static int open_beside_lock(const struct kit *k, const char *text, int64_t age_s)
{
	struct mbox m;
	char path[256];
	int root = root_of(k);
	struct timespec t[2] = { { .tv_sec = clock_wall_s() - age_s }, { .tv_sec = clock_wall_s() - age_s } };
	snprintf(path, sizeof path, "%s/u.lock", k->root);
	write_file(k, "u.lock", text);
	assert_int_equal(utimensat(AT_FDCWD, path, t, 0), 0);
	int error = mbox_open(&m, root, SLICE("u"), 150);
	if (error == 0)
		mbox_close(&m);
	close(root);
	return error;
}

/* As liblockfile and procmail have it. What a client left half written, or another host's, names nobody here. */
static void a_lock_that_names_no_living_process_is_broken_after_five_minutes(void **state)
{
	struct kit *k = *state;
	static const char *const nobody[] = { "", "0", "\n", "hello", "99999999:elsewhere\n", "99999999\nporter 1" };
	char alive[2][64];
	write_file(k, "u", "From x\nkept\n\n");
	for (size_t i = 0; i < sizeof nobody / sizeof *nobody; i++) {
		if (i < 5)
			assert_int_equal(open_beside_lock(k, nobody[i], 250), -EBUSY);
		assert_int_equal(open_beside_lock(k, nobody[i], 310), 0);
		assert_string_equal(read_file(k, "u"), "From x\nkept\n\n");
	}
	snprintf(alive[0], sizeof alive[0], "%d\n", (int)getppid());
	snprintf(alive[1], sizeof alive[1], "%d:host", (int)getppid());
	assert_int_equal(open_beside_lock(k, alive[0], 100000), -EBUSY);
	assert_int_equal(open_beside_lock(k, alive[1], 100000), -EBUSY);
}

static void a_pipe_in_a_locks_place_stops_nobody(void **state)
{
	struct kit *k = *state;
	struct mbox m;
	char path[256];
	int root = root_of(k);
	snprintf(path, sizeof path, "%s/u.lock", k->root);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(mbox_open(&m, root, SLICE("u"), 150), -EBUSY);
	close(root);
}

static bool has(int root, const char *transaction)
{
	bool found = false;
	assert_int_equal(mbox_find(root, SLICE("u"), slice_of(transaction), 1000, &found), 0);
	return found;
}

static void a_message_is_found_by_its_transaction_wherever_the_pieces_end(void **state)
{
	static char text[600 << 10];
	static const char field[] = "Received: by h (Porter) id 1mabcdefgh;";
	struct stat st;
	char path[256];
	int root = root_of(*state);
	snprintf(path, sizeof path, "%s/u", ((struct kit *)*state)->root);
	assert_false(has(root, "1mabcdefgh"));
	assert_int_equal(stat(path, &st), -1); /* nothing is made for a question */
	for (size_t i = 0; i < 60; i++) {
		size_t last = sizeof text - sizeof field, border = sizeof text - 1 - (256 << 10);
		size_t at = i == 0 ? 0 : i == 1 ? last : border + 5 - i;
		memset(text, 'x', sizeof text - 1);
		memcpy(text + at, field, sizeof field - 1);
		write_file(*state, "u", text);
		assert_true(has(root, "1mabcdefgh"));
		assert_false(has(root, "1mabcdefgi"));
	}
	snprintf(path, sizeof path, "%s/u.lock", ((struct kit *)*state)->root);
	assert_int_equal(stat(path, &st), -1);
	close(root);
}

static void what_was_not_promised_when_it_was_lost_is_not_found(void **state)
{
	char note[64];
	int root = root_of(*state);
	pid_t child = fork();
	if (child == 0)
		_exit(0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	write_file(*state, "u", "From x\nkept\n\nFrom y\nReceived: by h (Porter) id 1mtorn;");
	snprintf(note, sizeof note, "%d\nporter 13\n", (int)child);
	write_file(*state, "u.lock", note);
	assert_false(has(root, "1mtorn"));
	close(root);
}

static int fail_sync(void *arg, enum file_call call, int fd, int dir, const char *name)
{
	(void)arg, (void)fd, (void)dir, (void)name;
	return call == FILE_SYNC ? -EIO : 0;
}

static void what_is_found_counts_only_when_it_is_synced(void **state)
{
	bool found = false;
	int root = root_of(*state);
	write_file(*state, "u", "From x\nReceived: by h (Porter) id 1mabc;\n\n");
	file_test_hook(fail_sync, NULL);
	assert_int_equal(mbox_find(root, SLICE("u"), SLICE("1mabc"), 1000, &found), -EIO);
	file_test_hook(NULL, NULL);
	assert_false(found);
	assert_true(has(root, "1mabc"));
	close(root);
}

static int count_folder_syncs(void *arg, enum file_call call, int fd, int dir, const char *name)
{
	struct stat st;
	(void)dir, (void)name;
	if (call == FILE_SYNC && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
		__atomic_add_fetch((int *)arg, 1, __ATOMIC_SEQ_CST);
	return 0;
}

/* Whoever made it may not have come so far: a lock that was left behind, an attempt that failed. */
static void the_name_of_an_empty_file_is_made_durable_with_its_first_message(void **state)
{
	struct kit *k = *state;
	struct mailbox_leaf leaf = mbox_leaf("u"), empty = mbox_leaf("v");
	int syncs = 0;
	write_file(k, "u.lock", "1\nporter\n");
	write_file(k, "v", "");
	file_test_hook(count_folder_syncs, &syncs);
	assert_int_equal(kit_deliver(k, "m1", &leaf, 1, SLICE("A: b\n\ntext\n"), false), MAIL_OK);
	assert_int_equal(__atomic_load_n(&syncs, __ATOMIC_SEQ_CST), 1);
	assert_int_equal(kit_deliver(k, "m2", &empty, 1, SLICE("A: b\n\ntext\n"), false), MAIL_OK);
	assert_int_equal(__atomic_load_n(&syncs, __ATOMIC_SEQ_CST), 2);
	assert_int_equal(kit_deliver(k, "m3", &leaf, 1, SLICE("A: b\n\ntext\n"), false), MAIL_OK);
	assert_int_equal(__atomic_load_n(&syncs, __ATOMIC_SEQ_CST), 2);
	kit_wait_idle(k);
	kit_idle(k, 50);
	file_test_hook(NULL, NULL);
}

static void links_and_pipes_are_not_mailboxes(void **state)
{
	struct kit *k = *state;
	char path[256];
	snprintf(path, sizeof path, "%s/pipe", k->root);
	assert_int_equal(mkfifo(path, 0600), 0);
	snprintf(path, sizeof path, "%s/link", k->root);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	struct mailbox_leaf leaves[2] = { mbox_leaf("pipe"), mbox_leaf("link") };
	assert_int_equal(kit_ask(k, &leaves[0], 1), MAIL_LATER);
	assert_int_equal(kit_ask(k, &leaves[1], 1), MAIL_LATER);
	assert_int_equal(kit_deliver(k, "l1", &leaves[0], 1, SLICE("x\n"), false), MAIL_LATER);
	assert_int_equal(kit_deliver(k, "l2", &leaves[1], 1, SLICE("x\n"), false), MAIL_LATER);
}

/* Below the mail root folders are made, elsewhere they must be there: what RCPT promises the dot can keep. */
static void a_file_whose_folder_is_missing_and_is_not_ours_to_make_is_told_at_rcpt(void **state)
{
	struct kit *k = *state;
	struct mailbox_leaf ours = mbox_leaf("new/folder/u"), theirs = mbox_leaf("/no/such/folder/u"), maildir = kit_maildir("/no/such/folder/u");
	assert_int_equal(kit_ask(k, &ours, 1), MAIL_OK);
	assert_int_equal(kit_ask(k, &theirs, 1), MAIL_LATER);
	assert_int_equal(kit_ask(k, &maildir, 1), MAIL_LATER);
	assert_int_equal(kit_deliver(k, "f1", &ours, 1, SLICE("x\n"), false), MAIL_OK);
	assert_int_equal(kit_deliver(k, "f2", &theirs, 1, SLICE("x\n"), false), MAIL_LATER);
}

static void a_quota_holds_for_the_files_size(void **state)
{
	struct kit *k = *state;
	struct mailbox_leaf leaf = mbox_leaf("u");
	leaf.quota_bytes = 20;
	assert_int_equal(kit_ask(k, &leaf, 20), MAIL_OK);
	assert_int_equal(kit_ask(k, &leaf, 21), MAIL_LATER);
	write_file(k, "u", "0123456789");
	assert_int_equal(kit_ask(k, &leaf, 11), MAIL_LATER);
	assert_int_equal(kit_deliver(k, "q", &leaf, 1, SLICE("more than ten bytes\n"), false), MAIL_LATER);
	assert_int_equal(k->delivered.status.code, 452);
	kit_wait_idle(k);
	assert_string_equal(read_file(k, "u"), "0123456789");
}

static int fail_call(void *arg, enum file_call call, int fd, int dir, const char *name)
{
	(void)call, (void)fd, (void)dir, (void)name;
	return __atomic_sub_fetch((int *)arg, 1, __ATOMIC_SEQ_CST) == -1 ? -EIO : 0;
}

static void any_failing_call_leaves_the_file_as_it_was_or_the_message_whole(void **state)
{
	struct kit *k = *state;
	struct mailbox_leaf leaf = mbox_leaf("u");
	int kept = 0, n, countdown = 0;
	write_file(k, "u", "From x\nold\n\n");
	for (n = 0; countdown <= -1 || n == 0; n++) {
		char before[8192];
		snprintf(before, sizeof before, "%s", read_file(k, "u"));
		countdown = n;
		file_test_hook(fail_call, &countdown);
		bool taken = kit_deliver(k, "f", &leaf, 1, SLICE("new\n"), false) == MAIL_OK;
		int left = __atomic_load_n(&countdown, __ATOMIC_SEQ_CST);
		kit_wait_idle(k);
		kit_idle(k, 50);
		file_test_hook(NULL, NULL);
		kept += taken;
		size_t now = strlen(read_file(k, "u"));
		assert_true(taken ? now > strlen(before) : now == strlen(before));
		if (left > 0)
			break;
	}
	assert_true(n > 10 && kept > 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)
	const struct CMUnitTest tests[] = {
		TEST(a_message_is_appended_behind_a_from_line),
		TEST(from_lines_are_quoted_wherever_the_pieces_end),
		TEST(the_sender_cannot_break_out_of_the_from_line),
		TEST(a_held_message_is_locked_and_cut_back_by_abort),
		TEST(an_mbox_and_maildirs_commit_together_or_not_at_all),
		TEST(both_kinds_of_foreign_locks_are_respected),
		TEST(what_a_crash_left_unpromised_is_cut_off_by_the_next_one),
		TEST(a_porters_lock_is_broken_by_who_has_the_files_own_lock),
		TEST(a_lock_that_names_no_living_process_is_broken_after_five_minutes),
		TEST(a_pipe_in_a_locks_place_stops_nobody),
		TEST(a_message_is_found_by_its_transaction_wherever_the_pieces_end),
		TEST(what_was_not_promised_when_it_was_lost_is_not_found),
		TEST(what_is_found_counts_only_when_it_is_synced),
		TEST(the_name_of_an_empty_file_is_made_durable_with_its_first_message),
		TEST(links_and_pipes_are_not_mailboxes),
		TEST(a_file_whose_folder_is_missing_and_is_not_ours_to_make_is_told_at_rcpt),
		TEST(a_quota_holds_for_the_files_size),
		TEST(any_failing_call_leaves_the_file_as_it_was_or_the_message_whole),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
