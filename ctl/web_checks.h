#ifndef CTL_WEB_CHECKS_H
#define CTL_WEB_CHECKS_H
#include "base/dns.h"
#include "base/net.h"
#include "base/web.h"
#include "ctl/web_record.h"

/* The checks of the page: asking, limits, consent, one at a time, results, and who watches. */
struct web_checks_setup {
	const char *directory;        /* of the store */
	struct slice probe_domain, helo;
	uint64_t limit_asker, limit_domain;
	struct dns *dns;
	int catch_fds[4];             /* listening sockets of the catcher, -1 none */
	struct web_guests *guests;    /* who also has mail caught here; lent */
	/* Sends the link by which the postmaster agrees. Returns false when it can't be sent now. NULL: this consent is not offered. */
	bool (*send_mail)(void *arg, const struct web_record *r);
	void *arg;
};

struct web_checks;
int web_checks_new(struct loop *l, const struct web_checks_setup *setup, struct web_checks **out);
void web_checks_free(struct web_checks *w);

/* Both answer what to tell the asker, or NULL: then kept is called once, later, when the record is on disk (wrong NULL) or could not be kept. A link that was given is
 * not lost by a crash. */
typedef void (*web_checks_kept)(void *arg, const char *wrong);

/* Fills in id, token and times. */
const char *web_checks_ask(struct web_checks *w, struct web_record *r, const struct net_ip *asker, web_checks_kept kept, void *arg);

/* "It is there: check now", or the link of the postmaster's message (token given). */
const char *web_checks_start(struct web_checks *w, struct slice id, struct slice token, web_checks_kept kept, void *arg);

bool web_checks_get(struct web_checks *w, struct slice id, struct web_record *out, struct rndr_sum *sum); /* sum: of the running one, else zeroes */
void web_checks_watch(struct web_checks *w, struct slice id, struct web_request *request);
bool web_checks_by_mail(const struct web_checks *w); /* the postmaster can be written to */
void web_checks_count(const struct web_checks *w, uint64_t *asked, uint64_t *finished);
#endif
