/* Sets of entries, found by a keyed hash of the address or network; an entry is one process's count of it, and lives while that is above zero. The sum in all has a
 * row for each process. */
#include "smtpd/crowd.h"

#include <string.h>

#include "base/mem.h"
#include "base/shared.h"

enum { WAYS = 16, SETS = CROWD_ENTRIES / WAYS, V4_NETWORK = 24, V6_NETWORK = 48, FORM = 1 };

struct entry {
	uint64_t key;
	uint32_t process, count;       /* count 0: free */
};

struct set {
	atomic_uint lock;
	struct entry entries[WAYS];
};

struct row {
	_Atomic uint32_t process, count; /* process 0: free */
};

struct table {
	struct shared_head head;
	struct row rows[CROWD_PROCESSES];
	struct set sets[SETS];
};

struct crowd {
	struct table *table;
	struct row *row, spare;        /* spare: all rows are taken */
	uint32_t process;
};

size_t crowd_size(void)
{
	return sizeof(struct table);
}

static struct row *take_row(struct crowd *c)
{
	for (size_t i = 0; i < CROWD_PROCESSES; i++) {
		uint32_t nobody = 0;
		if (atomic_compare_exchange_strong(&c->table->rows[i].process, &nobody, c->process))
			return &c->table->rows[i];
	}
	return &c->spare;
}

struct crowd *crowd_attach(void *memory, size_t size, uint32_t process)
{
	struct table *t = memory;
	if (size < crowd_size() || !shared_begin(&t->head, FORM))
		return NULL;
	struct crowd *c = MEM_NEW(struct crowd);
	c->table = t;
	c->process = process;
	c->row = process ? take_row(c) : &c->spare;
	return c;
}

void crowd_detach(struct crowd *c)
{
	mem_free(c); /* its sessions have left one by one, or the parent removes them */
}

static struct net_ip network_of(const struct net_ip *ip)
{
	struct net_ip n = *ip;
	size_t keep = ip->is_v4 ? 12 + V4_NETWORK / 8 : V6_NETWORK / 8;
	memset(n.bytes + keep, 0, sizeof n.bytes - keep);
	return n;
}

/* -- one address or network --------------------------------------------------------------------------------------------------- */

static uint64_t key_of(const struct crowd *c, const struct net_ip *ip, bool network)
{
	return hash_bytes(&c->table->head.key, slice((const char *)ip->bytes, sizeof ip->bytes)) + network;
}

static struct set *set_of(struct crowd *c, uint64_t key)
{
	return &c->table->sets[(key >> 8) % SETS];
}

/* Our entry; else a free one, NULL: none is left. *sum: what all processes count. */
static struct entry *find(struct crowd *c, struct set *s, uint64_t key, uint64_t *sum)
{
	struct entry *own = NULL, *spare = NULL;
	*sum = 0;
	for (int i = 0; i < WAYS; i++) {
		struct entry *e = &s->entries[i];
		if (!e->count) {
			spare = e;
		} else if (e->key == key) {
			*sum += e->count;
			own = e->process == c->process ? e : own;
		}
	}
	return own ? own : spare;
}

static bool add(struct crowd *c, const struct net_ip *ip, bool network, uint64_t limit)
{
	uint64_t sum, key = key_of(c, ip, network);
	struct set *s = set_of(c, key);
	shared_lock(&s->lock);
	struct entry *e = find(c, s, key, &sum);
	bool fits = sum < limit;
	if (fits && e)
		*e = (struct entry){ key, c->process, e->count + 1 };
	shared_unlock(&s->lock);
	return fits;
}

static void subtract(struct crowd *c, const struct net_ip *ip, bool network)
{
	uint64_t sum, key = key_of(c, ip, network);
	struct set *s = set_of(c, key);
	shared_lock(&s->lock);
	struct entry *e = find(c, s, key, &sum);
	if (e && e->count)
		e->count--;
	shared_unlock(&s->lock);
}

/* -- all of them ---------------------------------------------------------------------------------------------------------------- */

size_t crowd_count(const struct crowd *c)
{
	size_t sum = c->row == &c->spare ? atomic_load(&c->spare.count) : 0;
	for (size_t i = 0; i < CROWD_PROCESSES; i++)
		sum += atomic_load(&c->table->rows[i].count);
	return sum;
}

enum crowd_answer crowd_enter(struct crowd *c, const struct net_ip *ip, const struct crowd_limits *limits)
{
	atomic_fetch_add(&c->row->count, 1); /* counted before it is looked at: two processes at once are too careful, never too many */
	if (crowd_count(c) > limits->all) {
		atomic_fetch_sub(&c->row->count, 1);
		return CROWD_FULL;
	}
	if (!ip || c->row == &c->spare) /* whoever has no row has no entries: the parent would not know of them */
		return CROWD_COME_IN;
	struct net_ip network = network_of(ip);
	if (add(c, ip, false, limits->address)) {
		if (add(c, &network, true, limits->network))
			return CROWD_COME_IN;
		subtract(c, ip, false);
	}
	atomic_fetch_sub(&c->row->count, 1);
	return CROWD_TOO_MANY;
}

void crowd_leave(struct crowd *c, const struct net_ip *ip)
{
	atomic_fetch_sub(&c->row->count, 1);
	if (!ip)
		return;
	struct net_ip network = network_of(ip);
	subtract(c, ip, false);
	subtract(c, &network, true);
}

static void forget(struct table *t, uint32_t process)
{
	for (size_t i = 0; i < SETS; i++) {
		struct set *s = &t->sets[i];
		shared_lock(&s->lock);
		for (int k = 0; k < WAYS; k++)
			if (s->entries[k].count && s->entries[k].process == process)
				s->entries[k].count = 0;
		shared_unlock(&s->lock);
	}
}

void crowd_process_ended(struct crowd *c, uint32_t process)
{
	for (size_t i = 0; i < CROWD_PROCESSES; i++) {
		struct row *r = &c->table->rows[i];
		if (!process || atomic_load(&r->process) != process)
			continue;
		forget(c->table, process); /* a walk that only an smtpd is worth */
		atomic_store(&r->count, 0);
		atomic_store(&r->process, 0);
	}
}

size_t crowd_used(struct crowd *c)
{
	size_t used = 0;
	for (size_t i = 0; i < SETS; i++)
		for (int k = 0; k < WAYS; k++)
			used += c->table->sets[i].entries[k].count != 0;
	return used;
}
