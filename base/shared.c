/* Memory that processes share. */
#include "base/shared.h"

#include <errno.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/house.h"

enum { SPIN_LIMIT = 1 << 14 };  /* after so many looks who holds it is taken for dead */
enum { NEW, MAKING, READY };

void *shared_map(struct house *h, struct slice name, size_t least, size_t *size)
{
	struct stat st;
	int fd = house_take_file(h, name);
	if (fd < 0)
		return NULL;
	bool whole = fstat(fd, &st) == 0 && st.st_size > 0 && (size_t)st.st_size >= least;
	void *memory = whole ? mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
	close(fd);
	if (memory == MAP_FAILED)
		return NULL;
	*size = (size_t)st.st_size;
	return memory;
}

void *shared_own(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return memory == MAP_FAILED ? NULL : memory;
}

int shared_mend(int fd, uint32_t form)
{
	struct shared_head head;
	ssize_t n = pread(fd, &head, sizeof head, 0);
	if (n < 0)
		return -errno;
	unsigned state = atomic_load(&head.state);
	if ((size_t)n < sizeof head || state == NEW || (state == READY && head.form == form))
		return 0;
	return ftruncate(fd, 0) < 0 ? -errno : 1;
}

bool shared_begin(struct shared_head *head, uint32_t form)
{
	unsigned expected = NEW;
	if (atomic_compare_exchange_strong(&head->state, &expected, MAKING)) {
		head->key = hash_key_random();
		head->form = form;
		atomic_store(&head->state, READY);
	}
	for (unsigned looks = 0; atomic_load(&head->state) != READY && looks < SPIN_LIMIT; looks++)
		sched_yield();
	return atomic_load(&head->state) == READY && head->form == form;
}

void shared_lock(atomic_uint *lock)
{
	for (unsigned looks = 0; atomic_exchange_explicit(lock, 1, memory_order_acquire); looks++) {
		if (looks > SPIN_LIMIT)
			return;
		sched_yield();
	}
}

void shared_unlock(atomic_uint *lock)
{
	atomic_store_explicit(lock, 0, memory_order_release);
}
