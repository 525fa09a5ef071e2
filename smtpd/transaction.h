#ifndef SMTPD_TRANSACTION_H
#define SMTPD_TRANSACTION_H
#include "smtpd/destination.h"
#include "smtpd/session.h"

/* The coordinator of the two-phase commit (house.md, 1): collecting → content → deciding → replied. Leaves of accepted recipients are grouped by destination; at the dot all
 * are prepared, the next hop commits, all commit, and only then 250 is said. What destinations may call is in smtpd/destination.h. */
struct transaction *transaction_new(struct session *s);
void transaction_free(struct transaction *t); /* gives it up, if it is not decided */
struct transaction_facts *transaction_facts_of(struct transaction *t);

/* RCPT: r is resolved; its leaves are asked for, one after the other; done gets the verdict, perhaps inside. On MAIL_OK r belongs to the transaction. */
void transaction_add(struct transaction *t, struct recipient *r, void (*done)(struct session *s, struct mail_status status));

/* A filter's wishes at the dot, before anything is delivered. Drop: the recipient of this address, if there is one. Extend: one more, resolved now and asked for when the checks are
 * over; what refuses it refuses the message. NULL, or a fixed phrase that says why it can't be. */
void transaction_drop(struct transaction *t, struct slice address);
const char *transaction_extend(struct transaction *t, struct slice address);

/* Files for a body that outgrew memory; ready is called later, with MAIL_OK when they are in use, or why there are none. */
void transaction_open_files(struct transaction *t, void (*ready)(struct session *s, struct mail_status status));

/* Content is complete: checks, then delivery; the session gets its answer by session_answer, perhaps inside. */
void transaction_decide(struct transaction *t);
/* It was asked to commit: its end is awaited, whoever goes away. */
bool transaction_is_deciding(const struct transaction *t);

/* Of a system user's ~/.forward: these targets stand in for the leaf that is asked about, and are asked instead. */
void transaction_forwarded(struct destination *d, const struct slice *targets, size_t count);
#endif
