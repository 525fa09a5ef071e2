/* base/file: publishing, copying, and the hook that tests fail calls through. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"

static char path[64];
static int dir = -1;

static int setup(void **state)
{
	(void)state;
	snprintf(path, sizeof path, "/tmp/porter-file-XXXXXX");
	assert_non_null(mkdtemp(path));
	assert_int_equal(file_init(), 0);
	return file_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0, &dir);
}

static int teardown(void **state)
{
	char command[96];
	(void)state;
	file_close(&dir);
	snprintf(command, sizeof command, "rm -rf %s", path);
	return system(command);
}

static void an_unnamed_file_gets_its_name_once(void **state)
{
	int fd = -1;
	struct stat st;
	(void)state;
	assert_int_equal(file_open(dir, ".", O_RDWR | O_TMPFILE, 0600, &fd), 0);
	assert_int_equal(file_write(fd, SLICE("hello")), 0);
	assert_int_equal(file_stat_at(dir, "a", &st), -ENOENT);
	assert_int_equal(file_publish(fd, dir, "a"), 0);
	assert_int_equal(file_publish(fd, dir, "a"), -EEXIST);
	assert_int_equal(file_publish(fd, dir, "b"), 0);
	assert_int_equal(file_stat_at(dir, "a", &st), 0);
	assert_int_equal(st.st_size, 5);
	assert_int_equal(st.st_nlink, 2);
	file_close(&fd);
	assert_int_equal(fd, -1);
}

static void a_file_is_made_once(void **state)
{
	struct stat st;
	(void)state;
	assert_int_equal(file_make(dir, "a", 0600, SLICE("hello")), 0);
	assert_int_equal(file_make(dir, "a", 0600, SLICE("other")), -EEXIST);
	assert_int_equal(file_stat_at(dir, "a", &st), 0);
	assert_int_equal(st.st_size, 5);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void links_on_the_way_are_refused(void **state)
{
	int fd = -1;
	(void)state;
	assert_int_equal(file_mkdir(dir, "real", 0700), 0);
	assert_int_equal(symlinkat("real", dir, "link"), 0);
	assert_int_equal(file_mkdir(dir, "real/in", 0700), 0);
	assert_int_equal(file_open_no_links(dir, "link/in", O_RDONLY | O_DIRECTORY, &fd), -ELOOP);
	assert_int_equal(file_open_no_links(dir, "real/in", O_RDONLY | O_DIRECTORY, &fd), 0);
	file_close(&fd);
}

static void a_copy_is_the_same_bytes_and_a_short_source_is_an_error(void **state)
{
	int from = -1, to = -1;
	char text[200000], back[200000];
	(void)state;
	for (size_t i = 0; i < sizeof text; i++)
		text[i] = (char)(i * 7 + i / 1000);
	assert_int_equal(file_open(dir, "from", O_RDWR | O_CREAT, 0600, &from), 0);
	assert_int_equal(file_open(dir, "to", O_RDWR | O_CREAT, 0600, &to), 0);
	assert_int_equal(file_write(from, slice(text, sizeof text)), 0);
	assert_int_equal(file_copy(from, to, sizeof text), 0);
	assert_int_equal(pread(to, back, sizeof back, 0), sizeof back);
	assert_memory_equal(text, back, sizeof text);
	assert_int_equal(file_copy(from, to, sizeof text + 1), -EBADMSG);
	file_close(&from);
	file_close(&to);
}

static int fail_links(void *arg, enum file_call call, int fd, int where, const char *name)
{
	(void)fd;
	(void)where;
	(void)name;
	*(int *)arg += 1;
	return call == FILE_LINK ? -EIO : 0;
}

static void the_hook_sees_each_call_and_fails_the_one_it_wants(void **state)
{
	int calls = 0, fd = -1;
	struct stat st;
	(void)state;
	file_test_hook(fail_links, &calls);
	assert_int_equal(file_open(dir, "x", O_RDWR | O_CREAT, 0600, &fd), 0);
	assert_int_equal(file_link(dir, "x", dir, "y"), -EIO);
	file_test_hook(NULL, NULL);
	assert_int_equal(calls, 2);
	assert_int_equal(file_stat_at(dir, "y", &st), -ENOENT);
	file_close(&fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_unnamed_file_gets_its_name_once, setup, teardown),
		cmocka_unit_test_setup_teardown(a_file_is_made_once, setup, teardown),
		cmocka_unit_test_setup_teardown(links_on_the_way_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(a_copy_is_the_same_bytes_and_a_short_source_is_an_error, setup, teardown),
		cmocka_unit_test_setup_teardown(the_hook_sees_each_call_and_fails_the_one_it_wants, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
