/* A table of counts by address and by network, chained, with a keyed hash. An entry lives while its count is above zero. */
#include "smtpd/crowd.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

enum { BUCKETS = 4096, V4_NETWORK = 24, V6_NETWORK = 48 };

struct place {
	struct place *next;
	struct net_ip ip;
	bool network;
	size_t count;
};

struct crowd {
	struct hash_key key;
	struct place *buckets[BUCKETS];
	size_t size;
};

struct crowd *crowd_new(void)
{
	struct crowd *c = MEM_NEW(struct crowd);
	c->key = hash_key_random();
	return c;
}

void crowd_free(struct crowd *c)
{
	for (size_t i = 0; c && i < BUCKETS; i++)
		while (c->buckets[i]) {
			struct place *next = c->buckets[i]->next;
			mem_free(c->buckets[i]);
			c->buckets[i] = next;
		}
	mem_free(c);
}

static struct net_ip network_of(const struct net_ip *ip)
{
	struct net_ip n = *ip;
	size_t keep = ip->is_v4 ? 12 + V4_NETWORK / 8 : V6_NETWORK / 8;
	memset(n.bytes + keep, 0, sizeof n.bytes - keep);
	return n;
}

static struct place **find(struct crowd *c, const struct net_ip *ip, bool network)
{
	uint64_t h = hash_bytes(&c->key, slice((const char *)ip->bytes, sizeof ip->bytes)) + network;
	struct place **p = &c->buckets[h % BUCKETS];
	while (*p && ((*p)->network != network || memcmp((*p)->ip.bytes, ip->bytes, sizeof ip->bytes) != 0))
		p = &(*p)->next;
	return p;
}

static void add(struct crowd *c, struct place **at, const struct net_ip *ip, bool network)
{
	if (!*at) {
		*at = MEM_NEW(struct place);
		(*at)->ip = *ip;
		(*at)->network = network;
		c->size++;
	}
	(*at)->count++;
}

static void subtract(struct crowd *c, struct place **at)
{
	struct place *p = *at;
	if (!p || --p->count)
		return;
	*at = p->next;
	mem_free(p);
	c->size--;
}

bool crowd_enter(struct crowd *c, const struct net_ip *ip, size_t max_address, size_t max_network)
{
	struct net_ip network = network_of(ip);
	struct place **one = find(c, ip, false);
	if (*one && (*one)->count >= max_address)
		return false;
	struct place **all = find(c, &network, true);
	if (*all && (*all)->count >= max_network)
		return false;
	add(c, find(c, ip, false), ip, false);
	add(c, find(c, &network, true), &network, true);
	return true;
}

void crowd_leave(struct crowd *c, const struct net_ip *ip)
{
	struct net_ip network = network_of(ip);
	subtract(c, find(c, ip, false));
	subtract(c, find(c, &network, true));
}

size_t crowd_size(const struct crowd *c)
{
	return c->size;
}
