#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/loop.h"
#include "base/unique.h"
#include "queue/roll.h"

enum { COUNT = 5, MAX_TEXT = 1 << 20 };
static char root[64];
static struct loop *loop;
static struct spool *spool;
static struct unique ids[COUNT];

static int set_up(void **state)
{
	int dir;
	(void)state;
	snprintf(root, sizeof root, "/tmp/porter-roll-XXXXXX");
	assert_non_null(mkdtemp(root));
	loop = loop_new();
	assert_int_equal(file_open(AT_FDCWD, root, O_RDONLY | O_DIRECTORY, 0, &dir), 0);
	assert_int_equal(spool_open(loop, dir, &spool), 0);
	for (int i = 0; i < COUNT; i++) {
		ids[i] = unique_new();
		memcpy(ids[i].text, "0000", 4);
		ids[i].text[4] = (char)('0' + i);
	}
	return 0;
}

static int tear_down(void **state)
{
	char command[128];
	(void)state;
	spool_close(spool);
	loop_free(loop);
	snprintf(command, sizeof command, "rm -r %s", root);
	return system(command);
}

static struct roll_entry entry(int i, struct taken_group groups[2])
{
	groups[0] = (struct taken_group){ .place = SLICE("mx:far.test"), .recipients = 3, .attempts = 7, .next_s = 1234567 };
	groups[1] = (struct taken_group){ .place = SLICE("[192.0.2.1]:25"), .recipients = 1, .attempts = 255, .next_s = 0 };
	return (struct roll_entry){ .mark = { 1000u + (unsigned)i, 400, 1700000000, 999999999 },
		.taken = { .id = unique_slice(&ids[i]), .sender = SLICE("alice@example.test"), .priority = (int8_t)(i - 2), .held = i == 1, .wants_settling = i == 2, .look_s = 1800000000 + i, .groups = groups, .group_count = (size_t)(i % 3) } };
}

static void make(struct buf *out)
{
	struct taken_group groups[2];
	roll_begin(out);
	for (int i = 0; i < COUNT; i++) {
		struct roll_entry e = entry(i, groups);
		assert_int_equal(roll_add(out, &e), 0);
	}
	roll_end(out);
}

static int parse_copy(struct slice text, struct roll *out)
{
	struct buf copy = BUF_INIT(MAX_TEXT);
	buf_add(&copy, text);
	int error = roll_parse(&copy, true, out);
	buf_free(&copy);
	return error;
}

static void assert_refused(struct slice text)
{
	struct roll r;
	assert_int_equal(parse_copy(text, &r), -EBADMSG);
	assert_int_equal(r.count, 0);
	assert_null(roll_find(&r, unique_slice(&ids[0])));
}

static void what_is_written_is_read(void **state)
{
	struct buf text = BUF_INIT(MAX_TEXT);
	struct roll r;
	struct unique stranger = unique_new();
	(void)state;
	make(&text);
	assert_int_equal(roll_write(spool, SLICE("zz"), buf_slice(&text)), 0);
	assert_int_equal(roll_read(spool, SLICE("zz"), &r), 0);
	assert_int_equal(r.count, COUNT);
	for (int i = 0; i < COUNT; i++) {
		struct taken_group groups[2];
		struct roll_entry wanted = entry(i, groups);
		const struct roll_entry *e = roll_find(&r, unique_slice(&ids[i]));
		assert_non_null(e);
		assert_true(roll_holds(e, &wanted.mark));
		assert_true(slice_eq(e->taken.sender, wanted.taken.sender));
		assert_int_equal(e->taken.priority, wanted.taken.priority);
		assert_int_equal(e->taken.held, wanted.taken.held);
		assert_int_equal(e->taken.look_s, wanted.taken.look_s);
		assert_int_equal(e->taken.wants_settling, wanted.taken.wants_settling);
		assert_int_equal(e->taken.group_count, wanted.taken.group_count);
		for (size_t g = 0; g < e->taken.group_count; g++) {
			assert_true(slice_eq(e->taken.groups[g].place, groups[g].place));
			assert_int_equal(e->taken.groups[g].recipients, groups[g].recipients);
			assert_int_equal(e->taken.groups[g].attempts, groups[g].attempts);
			assert_int_equal(e->taken.groups[g].next_s, groups[g].next_s);
		}
	}
	assert_null(roll_find(&r, unique_slice(&stranger)));
	roll_free(&r);
	assert_int_equal(roll_remove(spool, SLICE("zz")), 0);
	assert_int_equal(roll_read(spool, SLICE("zz"), &r), -ENOENT);
	buf_free(&text);
}

static void an_altered_byte_anywhere_refuses_the_roll(void **state)
{
	struct buf text = BUF_INIT(MAX_TEXT);
	(void)state;
	make(&text);
	for (size_t i = 0; i < text.n; i++) {
		text.p[i] ^= 4;
		assert_refused(buf_slice(&text));
		text.p[i] ^= 4;
	}
	buf_free(&text);
}

static void a_torn_roll_is_refused_at_any_length(void **state)
{
	struct buf text = BUF_INIT(MAX_TEXT);
	(void)state;
	make(&text);
	for (size_t n = 0; n < text.n; n++)
		assert_refused(slice_head(buf_slice(&text), n));
	buf_add(&text, SLICE("x"));
	assert_refused(buf_slice(&text));
	buf_free(&text);
}

/* Whoever can write there could make the checksum right. */
static void nonsense_with_a_right_checksum_is_refused(void **state)
{
	struct buf text = BUF_INIT(MAX_TEXT), good = BUF_INIT(MAX_TEXT);
	struct taken_group groups[2];
	(void)state;
	make(&good);
	for (int kind = 0; kind < 5; kind++) {
		struct roll_entry e = entry(2, groups);
		roll_begin(&text);
		if (kind == 0)
			roll_add(&text, &(struct roll_entry){ .taken = { .id = SLICE("../../etc/passwd") } });
		if (kind == 1)          /* nobody waits there */
			groups[0].recipients = 0;
		roll_add(&text, &e);
		if (kind == 2)          /* twice, so in no order */
			roll_add(&text, &e);
		if (kind == 3)
			buf_add(&text, SLICE("\x01\x7f\xff\xff\xff"));
		if (kind == 4)          /* more than there are */
			memset(text.p + 8, 0x7f, 8);
		roll_end(&text);
		assert_refused(buf_slice(&text));
	}
	good.p[7] = 99;                 /* of another version */
	assert_refused(buf_slice(&good));
	buf_free(&text);
	buf_free(&good);
}

static void a_link_a_folder_and_somebody_elses_roll_are_refused(void **state)
{
	struct buf text = BUF_INIT(MAX_TEXT);
	struct roll r;
	char path[200], other[200];
	(void)state;
	make(&text);
	assert_int_equal(roll_write(spool, SLICE("aa"), buf_slice(&text)), 0);
	snprintf(path, sizeof path, "%s/rolls/aa", root);
	snprintf(other, sizeof other, "%s/rolls/bb", root);
	assert_int_equal(symlink(path, other), 0);
	assert_int_equal(roll_read(spool, SLICE("bb"), &r), -EBADMSG);
	snprintf(other, sizeof other, "%s/rolls/cc", root);
	assert_int_equal(mkdir(other, 0700), 0);
	assert_int_equal(roll_read(spool, SLICE("cc"), &r), -EBADMSG);
	if (geteuid() == 0) {
		assert_int_equal(chown(path, 12345, 12345), 0);
		assert_int_equal(roll_read(spool, SLICE("aa"), &r), -EBADMSG);
	}
	assert_int_equal(roll_read(spool, SLICE("a/"), &r), -ENOENT);
	buf_free(&text);
}

static void mark(const char *path, struct roll_mark *out)
{
	struct stat st;
	assert_int_equal(lstat(path, &st), 0);
	assert_true(roll_mark_of(spool, &st, out));
}

/* The clock of a file system may be coarse: wait until it has moved on. */
static void let_time_pass(void)
{
	usleep(20000);
}

static void whatever_changes_a_file_changes_its_marks(void **state)
{
	struct roll_entry e = { .mark = { 0 } };
	struct roll_mark m;
	struct stat st;
	char path[200], other[200];
	(void)state;
	snprintf(path, sizeof path, "%s/file", root);
	snprintf(other, sizeof other, "%s/other", root);
	FILE *f = fopen(path, "w");
	fputs("content", f);
	fclose(f);
	mark(path, &e.mark);
	assert_int_equal(lstat(path, &st), 0);
	mark(path, &m);
	assert_true(roll_holds(&e, &m));
	let_time_pass();
	f = fopen(path, "r+");          /* the same size, and its time set back */
	fputs("CONTENT", f);
	fclose(f);
	struct timespec times[2] = { st.st_atim, st.st_mtim };
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
	mark(path, &m);
	assert_false(roll_holds(&e, &m));
	mark(path, &e.mark);
	let_time_pass();
	f = fopen(other, "w");          /* another file of that name */
	fputs("CONTENT", f);
	fclose(f);
	assert_int_equal(utimensat(AT_FDCWD, other, times, 0), 0);
	assert_int_equal(rename(other, path), 0);
	mark(path, &m);
	assert_false(roll_holds(&e, &m));
	assert_int_equal(symlink("/etc/passwd", other), 0);
	assert_int_equal(lstat(other, &st), 0);
	assert_false(roll_mark_of(spool, &st, &m));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_written_is_read),
		TEST(an_altered_byte_anywhere_refuses_the_roll),
		TEST(a_torn_roll_is_refused_at_any_length),
		TEST(nonsense_with_a_right_checksum_is_refused),
		TEST(a_link_a_folder_and_somebody_elses_roll_are_refused),
		TEST(whatever_changes_a_file_changes_its_marks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
