/* Slots in shared memory. A slot is its owner's from the moment that it has set the slot's word to its own number; everybody else leaves it alone, save the queue process, when the owner
 * is dead. The slots that were used last are used first, and the words of all lie together: few pages are touched, also by who looks for the dead. */
#include "queue/flight.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/house.h"
#include "base/mem.h"

enum { MAX_KNOWN = 512 };

struct slot {
	uint32_t length;
	char record[FLIGHT_MAX_RECORD];
};

struct table {
	_Atomic uint32_t owners[FLIGHT_SLOTS]; /* 0: free */
	struct slot slots[FLIGHT_SLOTS];
};

struct flight {
	struct table *table;
	uint32_t known[MAX_KNOWN];   /* freed by us */
	size_t known_count;
	uint32_t next;               /* where the search for a fresh one goes on */
};

_Static_assert(sizeof(struct slot) == 1024, "four slots a page, and the words are whole pages");

size_t flight_size(void)
{
	return sizeof(struct table);
}

struct flight *flight_attach(void *memory, size_t size)
{
	if (size < flight_size())
		return NULL;
	struct flight *f = MEM_NEW(struct flight);
	f->table = memory;
	f->next = (uint32_t)getpid() * 97 % FLIGHT_SLOTS;
	return f;
}

struct flight *flight_take(struct house *h)
{
	int fd = house_take_file(h, SLICE("shared:flight"));
	struct stat st;
	bool whole = fd >= 0 && fstat(fd, &st) == 0 && (size_t)st.st_size >= flight_size();
	void *memory = whole ? mmap(NULL, flight_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
	if (fd >= 0)
		close(fd);
	return memory == MAP_FAILED ? NULL : flight_attach(memory, flight_size());
}

void flight_detach(struct flight *f)
{
	mem_free(f);
}

static bool claim(struct flight *f, uint32_t at, uint32_t owner)
{
	uint32_t nobody = 0;
	return atomic_compare_exchange_strong(&f->table->owners[at], &nobody, owner);
}

/* FLIGHT_SLOTS: none is free. */
static uint32_t find(struct flight *f, uint32_t owner)
{
	while (f->known_count) {
		uint32_t at = f->known[--f->known_count];
		if (claim(f, at, owner))
			return at;
	}
	for (uint32_t tried = 0; tried < FLIGHT_SLOTS; tried++) {
		uint32_t at = f->next++ % FLIGHT_SLOTS;
		if (claim(f, at, owner))
			return at;
	}
	return FLIGHT_SLOTS;
}

uint32_t flight_begin(struct flight *f, uint32_t owner, struct slice record)
{
	if (!f || record.n > FLIGHT_MAX_RECORD)
		return 0;
	uint32_t at = find(f, owner);
	if (at == FLIGHT_SLOTS)
		return 0;
	memcpy(f->table->slots[at].record, record.p, record.n);
	atomic_thread_fence(memory_order_release);
	f->table->slots[at].length = (uint32_t)record.n;
	return at + 1;
}

static struct slot *slot_of(const struct flight *f, uint32_t owner, uint32_t slot)
{
	if (!f || !slot || slot > FLIGHT_SLOTS || atomic_load(&f->table->owners[slot - 1]) != owner)
		return NULL;
	return &f->table->slots[slot - 1];
}

struct slice flight_record(const struct flight *f, uint32_t owner, uint32_t slot)
{
	const struct slot *s = slot_of(f, owner, slot);
	return s && s->length <= FLIGHT_MAX_RECORD ? slice(s->record, s->length) : SLICE_NONE;
}

/* The length goes before the owner, so that nobody finds an old record under a new owner. */
void flight_end(struct flight *f, uint32_t owner, uint32_t slot)
{
	struct slot *s = slot_of(f, owner, slot);
	if (!s)
		return;
	s->length = 0;
	atomic_store(&f->table->owners[slot - 1], 0);
	if (f->known_count < MAX_KNOWN)
		f->known[f->known_count++] = slot - 1;
}

void flight_reclaim(struct flight *f, const struct flight_search *search)
{
	for (uint32_t i = 0; f && i < FLIGHT_SLOTS; i++) {
		uint32_t who = atomic_load(&f->table->owners[i]);
		if (!who || !search->is_dead(search->arg, who))
			continue;
		struct slot *s = &f->table->slots[i];
		uint32_t length = s->length;
		if (length && length <= FLIGHT_MAX_RECORD)
			search->each(search->arg, slice(s->record, length));
		s->length = 0;
		atomic_store(&f->table->owners[i], 0);
	}
}
