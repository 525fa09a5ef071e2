#ifndef BASE_DNS_PROTO_H
#define BASE_DNS_PROTO_H
#include "base/buf.h"
#include "base/dns.h"

/* Questions to the process `resolver`, which alone has libunbound: one set of sockets and one cache for the house, and what parses the network's answers first stands
 * alone. Payloads are base/field records; each question that wasn't dropped gets one DNS_ANSWER with its id. base/dns_link.c and ctl/resolver.c build and read them. */
enum dns_message {
	DNS_ASK = 1,   /* TYPE, NAME */
	DNS_DROP,      /* nothing: the question of this id is no longer of interest */
	DNS_ANSWER     /* ANSWER, then what struct dns_answer has; for each record PREFERENCE, if not 0, and DATA */
};

/* More than these at once from one process are answered UNSURE. */
enum { DNS_MAX_OPEN = 4096, DNS_MAX_PAYLOAD = 4 * DNS_MAX_ANSWER + 32 * DNS_MAX_RECORDS };

void dns_put_question(struct buf *b, enum dns_type type, struct slice name);
bool dns_get_question(struct slice in, enum dns_type *type, struct slice *name); /* false: it is none */
void dns_put_answer(struct buf *b, const struct dns_answer *a);
/* Views into `in`, records in mem. False: it is none. */
bool dns_get_answer(struct slice in, struct arena *mem, struct dns_answer *a);
#endif
