/* Slots in shared memory. A slot is its owner's from the moment that it has set the slot's word to its own number; everybody else leaves it alone, save the queue
 * process, when the owner is dead. The slots that were used last are used first, and the words of all lie together: few pages are touched, also by who looks for the
 * dead. */
#include "queue/flight.h"

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/shared.h"

enum { MAX_KNOWN = 512 };

struct slot {
	uint64_t ticket, mark;       /* the same: it is marked */
	uint32_t length, unused;
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
	uint64_t begun;
};

/* A ticket's low bits are the slot's number, plus 1. */
enum { SLOT_BITS = 14 };
_Static_assert(FLIGHT_SLOTS < 1 << SLOT_BITS, "every slot has a number");
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
	size_t size;
	void *memory = shared_map(h, SLICE("shared:flight"), flight_size(), &size);
	return memory ? flight_attach(memory, size) : NULL;
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

uint64_t flight_begin(struct flight *f, uint32_t owner, struct slice record)
{
	if (!f || record.n > FLIGHT_MAX_RECORD)
		return 0;
	uint32_t at = find(f, owner);
	if (at == FLIGHT_SLOTS)
		return 0;
	struct slot *s = &f->table->slots[at];
	memcpy(s->record, record.p, record.n);
	s->mark = 0;
	s->ticket = (((uint64_t)owner << 32 ^ ++f->begun) << SLOT_BITS) | (at + 1);
	atomic_thread_fence(memory_order_release);
	s->length = (uint32_t)record.n;
	return s->ticket;
}

/* Its number, if there is such a slot and this use of it is not over. */
static bool find_slot(const struct flight *f, uint64_t ticket, uint32_t *at)
{
	uint32_t number = (uint32_t)(ticket & ((1u << SLOT_BITS) - 1));
	if (!f || !number || number > FLIGHT_SLOTS || f->table->slots[number - 1].ticket != ticket)
		return false;
	*at = number - 1;
	return true;
}

static struct slot *slot_of(const struct flight *f, uint32_t owner, uint64_t ticket, uint32_t *at)
{
	return find_slot(f, ticket, at) && atomic_load(&f->table->owners[*at]) == owner ? &f->table->slots[*at] : NULL;
}

struct slice flight_record(const struct flight *f, uint32_t owner, uint64_t ticket)
{
	uint32_t at;
	const struct slot *s = slot_of(f, owner, ticket, &at);
	return s && s->length <= FLIGHT_MAX_RECORD ? slice(s->record, s->length) : SLICE_NONE;
}

/* The length goes before the owner, so that nobody finds an old record under a new owner. */
void flight_end(struct flight *f, uint32_t owner, uint64_t ticket)
{
	uint32_t at;
	struct slot *s = slot_of(f, owner, ticket, &at);
	if (!s)
		return;
	s->length = 0;
	atomic_store(&f->table->owners[at], 0);
	if (f->known_count < MAX_KNOWN)
		f->known[f->known_count++] = at;
}

void flight_leave(struct flight *f, uint32_t owner, uint64_t ticket)
{
	uint32_t at;
	if (slot_of(f, owner, ticket, &at))
		atomic_store(&f->table->owners[at], FLIGHT_LEFT);
}

uint64_t flight_ticket(struct slice tickets, size_t i)
{
	uint64_t ticket = 0;
	if (i < tickets.n / sizeof ticket)
		memcpy(&ticket, tickets.p + i * sizeof ticket, sizeof ticket);
	return ticket;
}

void flight_mark(struct flight *f, struct slice tickets)
{
	uint64_t ticket;
	uint32_t at;
	for (size_t i = 0; (ticket = flight_ticket(tickets, i)); i++)
		if (find_slot(f, ticket, &at))
			f->table->slots[at].mark = ticket;
}

bool flight_is_left(const struct flight *f, uint64_t ticket)
{
	uint32_t at;
	return slot_of(f, FLIGHT_LEFT, ticket, &at) != NULL;
}

void flight_reclaim(struct flight *f, const struct flight_search *search)
{
	for (uint32_t i = 0; f && i < FLIGHT_SLOTS; i++) {
		uint32_t who = atomic_load(&f->table->owners[i]);
		struct slot *s = &f->table->slots[i];
		if (!who || (search->is_dead && !search->is_dead(search->arg, who, s->ticket)))
			continue;
		uint32_t length = s->length;
		if (length && length <= FLIGHT_MAX_RECORD)
			search->each(search->arg, slice(s->record, length), s->mark == s->ticket);
		if (!search->is_dead)
			continue;
		s->length = 0;
		atomic_store(&f->table->owners[i], 0);
	}
}
