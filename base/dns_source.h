#ifndef BASE_DNS_SOURCE_H
#define BASE_DNS_SOURCE_H
#include "base/dns.h"

/* The three sources behind base/dns: libunbound, a zone file, and the process `resolver`. A source gives its answer by dns_source_answer, once for each question that wasn't
 * dropped, from the loop. */
struct dns_query;

struct dns_source {
	void (*free)(void *self);
	/* Begins; *ticket is for drop. */
	int (*ask)(void *self, struct dns_query *q, enum dns_type type, const char *name, void **ticket);
	void (*drop)(void *self, void *ticket);
};

void dns_source_answer(struct dns_query *q, const struct dns_answer *a);

struct dns *dns_of_source(struct loop *l, const struct dns_source *source, void *self, uint64_t timeout_ms);

void *dns_unbound_new(struct loop *l, const struct dns_settings *s, const struct dns_source **out, const char **why);
void *dns_zone_new(struct loop *l, const struct dns_settings *s, const struct dns_source **out, const char **why);
void *dns_link_new(struct loop *l, const struct dns_source **out);
void dns_link_attach(void *self, int fd);

/* rdata in wire form (names not compressed) as a record of dns.h, in mem. False: malformed, or a name that mail can't use. */
bool dns_read_rdata(enum dns_type type, struct slice rdata, struct arena *mem, struct dns_record *out);
#endif
