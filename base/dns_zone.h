#ifndef BASE_DNS_ZONE_H
#define BASE_DNS_ZONE_H
#include "base/arena.h"
#include "base/dns.h"

/* What a master file holds (base/dns_zone_file reads it, base/dns_zone answers from it): records by name and type, in the file's order. */
struct zone_record {
	struct slice name;
	uint16_t type;               /* 0: the name is there, nothing more */
	uint32_t ttl_s, at;          /* at: where it stands among all, so that they keep their order */
	struct dns_record data;
};

struct zone {
	const char *why;             /* what is wrong with the file */
	struct arena mem;
	struct zone_record *records;
	size_t count, room;
};

/* False: z->why says where and what is wrong, until the next complaint. zone_drop in any case. */
bool zone_load(struct zone *z, struct slice file);
void zone_drop(struct zone *z);
#endif
