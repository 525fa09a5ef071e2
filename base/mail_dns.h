#ifndef BASE_MAIL_DNS_H
#define BASE_MAIL_DNS_H
#include <stdbool.h>
#include "base/dns.h"
#include "base/loop.h"

/* The questions that one message (or one command) may ask: SPF, DKIM, DMARC and ARC share a budget, so that no message makes us ask more than
 * MAIL_DNS_MAX, and a witness sees each answer (porterctl auth, the log at debug). Past the budget an answer is UNSURE, "too many questions". */
enum { MAIL_DNS_MAX = 128 };

struct mail_dns;
struct mail_dns *mail_dns_new(struct loop *l, struct dns *d, unsigned budget);
void mail_dns_free(struct mail_dns *m); /* no question of it may be open */
struct loop *mail_dns_loop(const struct mail_dns *m);
unsigned mail_dns_asked(const struct mail_dns *m);

/* Called for each answer before its asker hears it. */
void mail_dns_watch(struct mail_dns *m, void (*seen)(void *arg, enum dns_type type, struct slice name, const struct dns_answer *a), void *arg);

/* As dns_ask: done is called once, from the loop; the handle is gone then. */
struct mail_dns_query;
struct mail_dns_query *mail_dns_ask(struct mail_dns *m, enum dns_type type, struct slice name,
                                    void (*done)(void *arg, const struct dns_answer *a), void *arg);
void mail_dns_cancel(struct mail_dns_query *q); /* NULL is fine */

const char *dns_type_name(enum dns_type type);
#endif
