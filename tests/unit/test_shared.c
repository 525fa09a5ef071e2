/* Tables that processes share: who begins one, and locks whose holder has died. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/house.h"
#include "base/shared.h"

enum { ROUNDS = 20000, PROCESSES = 4 };

struct table {
	struct shared_head head;
	atomic_uint lock;
	uint64_t count;
};

static struct table *new_table(void)
{
	void *m = mmap(NULL, sizeof(struct table), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(m, MAP_FAILED);
	return m;
}

static void the_first_makes_the_key_and_others_find_it(void **state)
{
	struct table *t = new_table();
	(void)state;
	assert_true(shared_begin(&t->head, 3));
	struct hash_key key = t->head.key;
	assert_true(key.k0 || key.k1);
	assert_true(shared_begin(&t->head, 3));
	assert_memory_equal(&key, &t->head.key, sizeof key);
	munmap(t, sizeof *t);
}

static void another_form_and_one_that_was_never_finished_are_not_used(void **state)
{
	struct table *t = new_table();
	(void)state;
	assert_true(shared_begin(&t->head, 3));
	assert_false(shared_begin(&t->head, 4));
	atomic_store(&t->head.state, 1);
	assert_false(shared_begin(&t->head, 3));
	munmap(t, sizeof *t);
}

static void a_file_that_is_damaged_at_its_head_or_of_another_form_begins_anew(void **state)
{
	struct table t = { 0 };
	int fd = memfd_create("table", 0);
	(void)state;
	assert_int_equal(shared_mend(fd, 3), 0);
	assert_true(shared_begin(&t.head, 3));
	assert_int_equal(pwrite(fd, &t, sizeof t, 0), sizeof t);
	assert_int_equal(shared_mend(fd, 3), 0);
	assert_int_equal(lseek(fd, 0, SEEK_END), sizeof t);
	assert_int_equal(shared_mend(fd, 4), 1);
	assert_int_equal(lseek(fd, 0, SEEK_END), 0);
	for (unsigned damage = 1; damage < 256; damage += 127) {
		memset(&t, (int)damage, sizeof t);
		assert_int_equal(pwrite(fd, &t, sizeof t, 0), sizeof t);
		assert_int_equal(shared_mend(fd, 3), 1);
	}
	close(fd);
}

static void a_lock_keeps_processes_apart(void **state)
{
	struct table *t = new_table();
	(void)state;
	for (int i = 0; i < PROCESSES; i++)
		if (fork() == 0) {
			for (int k = 0; k < ROUNDS; k++) {
				shared_lock(&t->lock);
				t->count++;
				shared_unlock(&t->lock);
			}
			_exit(0);
		}
	while (wait(NULL) > 0)
		;
	assert_int_equal(t->count, PROCESSES * ROUNDS);
	munmap(t, sizeof *t);
}

static void a_dead_holder_holds_nobody(void **state)
{
	struct table *t = new_table();
	(void)state;
	if (fork() == 0) {
		shared_lock(&t->lock);
		_exit(0);
	}
	wait(NULL);
	shared_lock(&t->lock);
	shared_unlock(&t->lock);
	assert_int_equal(atomic_load(&t->lock), 0);
	munmap(t, sizeof *t);
}

static void a_file_is_mapped_once_and_only_when_it_is_long_enough(void **state)
{
	struct house_file files[2];
	struct house h = { .files = files, .file_count = 2 };
	size_t size = 0;
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		int fd = memfd_create("table", MFD_CLOEXEC);
		assert_true(fd >= 0);
		assert_int_equal(ftruncate(fd, 4096), 0);
		files[i] = (struct house_file){ i ? SLICE("shared:short") : SLICE("shared:whole"), fd };
	}
	char *memory = shared_map(&h, SLICE("shared:whole"), 4096, &size);
	assert_non_null(memory);
	assert_int_equal(size, 4096);
	memory[4095] = 1;
	assert_null(shared_map(&h, SLICE("shared:whole"), 4096, &size));
	assert_null(shared_map(&h, SLICE("shared:short"), 4097, &size));
	assert_null(shared_map(&h, SLICE("shared:none"), 1, &size));
	munmap(memory, size);
	char *own = shared_own(8192);
	assert_non_null(own);
	assert_int_equal(own[8191], 0);
	munmap(own, 8192);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_makes_the_key_and_others_find_it),
		cmocka_unit_test(another_form_and_one_that_was_never_finished_are_not_used),
		cmocka_unit_test(a_file_that_is_damaged_at_its_head_or_of_another_form_begins_anew),
		cmocka_unit_test(a_lock_keeps_processes_apart),
		cmocka_unit_test(a_dead_holder_holds_nobody),
		cmocka_unit_test(a_file_is_mapped_once_and_only_when_it_is_long_enough),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
