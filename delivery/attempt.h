#ifndef DELIVERY_ATTEMPT_H
#define DELIVERY_ATTEMPT_H
#include <stdbool.h>
#include <stdint.h>
#include "base/mail_status.h"
#include "delivery/body.h"
#include "delivery/hop_proto.h"
#include "delivery/hops.h"

/* One transaction at one next hop: a walk down its hosts until one takes MAIL; recipients as they come; the content when all have their answer. Used by
 * pass-through, whose recipients come one by one and whose content comes last, and by jobs, which give all at once. Dialling begins with the first recipient.
 * Once the dot was sent no other host is tried. Before that, a host that went away is replaced, and every recipient that was answered MAIL_OK is asked again. */
struct attempt;

struct attempt_handler {
	/* The answer to a recipient, once each, in any order. reply: the hop's words, "" the status is ours. Valid during the call. */
	void (*on_rcpt)(void *arg, size_t index, const struct mail_status *s, struct slice reply);
	/* The end of content, once: each in the order of recipients that were answered MAIL_OK. reply: the hop's words. */
	void (*on_content)(void *arg, const struct hop_content_done *d, struct slice reply);
	/* After on_content said unknown: the reply that came later, or NULL when the connection died without one. */
	void (*on_late)(void *arg, const struct hop_content_done *d);
	/* NULL, or asked before a host is spoken to: attempt_allow gives leave. */
	void (*on_host)(void *arg, struct slice host);
};

/* e is copied. */
struct attempt *attempt_new(struct hops *h, const struct hop_envelope *e, const struct attempt_handler *handler, void *arg);
/* Whatever is under way ends; a connection that can be used again is kept. No callback comes any more. NULL is fine. */
void attempt_free(struct attempt *a);

/* Returns the recipient's index, counted from 0. */
size_t attempt_rcpt(struct attempt *a, const struct hop_recipient *r);
/* No recipient comes any more; the body becomes the attempt's. budget_ms: to the end of it all; 0 the usual. */
void attempt_content(struct attempt *a, struct body *b, uint64_t budget_ms);

/* The answer to on_host, once: go on with this host, or with the next one. */
void attempt_allow(struct attempt *a, bool yes);

/* What is known of the conversation; valid until the next callback. */
const struct hop_facts *attempt_facts(struct attempt *a);
bool attempt_heard(const struct attempt *a, size_t index); /* the recipient's answer was the hop's own, to that very RCPT */
uint64_t attempt_rest_ms(const struct attempt *a); /* all its hosts are left alone for so long; 0: not so */
size_t attempt_over_limit(const struct attempt *a, size_t index); /* this recipient was refused since the transaction was full: another one may take it */
#endif
