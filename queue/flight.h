#ifndef QUEUE_FLIGHT_H
#define QUEUE_FLIGHT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/slice.h"

/* What is under way in mailboxes alone, and in the queue: a table of fixed size in the parent's shared memory, mapped by every smtpd and by the queue process. A
 * delivery to mailboxes asks nobody but the mailbox process, and one to the queue shall not pay a sync of the ledger, so neither can wait for the ledger: an smtpd
 * puts the record that the ledger would need (a LEDGER_NOTE) into a slot before it asks for the commit, and wipes it when the client has heard the 250, or was told
 * otherwise. When an smtpd dies the queue process finds its slots, and notes them. That costs a few stores into memory, and lives over the end of any process but
 * the parent. A record that is too long is several, each in a slot of its own. A slot that is missing, since all are taken, is a second copy at worst.
 *
 * What has left the queue can't be looked for afterwards: so the queue process marks the slot itself when the message is its own, before it says so. Where it died
 * in between, the message is still in the spool when the next one starts. An smtpd that can't know how its question ended leaves the slot to the queue process. */
struct flight;
struct house;

enum { FLIGHT_SLOTS = 8192, FLIGHT_MAX_RECORD = 1000, FLIGHT_MAX_TICKETS = 250 /* of one transaction */ };

size_t flight_size(void);
struct flight *flight_attach(void *memory, size_t size); /* any memory will do: what makes no sense is wiped as it is found */
struct flight *flight_take(struct house *h);              /* of "shared:flight"; NULL: there is none */
void flight_detach(struct flight *f);                     /* NULL is fine, here and below */

/* owner: of one process, not 0 and not FLIGHT_LEFT. A ticket, of this slot and this use of it; or 0. */
#define FLIGHT_LEFT UINT32_MAX
uint64_t flight_begin(struct flight *f, uint32_t owner, struct slice record);
/* Ticket 0, and one that is the owner's no more, are fine, here and below. */
void flight_end(struct flight *f, uint32_t owner, uint64_t ticket);
void flight_leave(struct flight *f, uint32_t owner, uint64_t ticket);
/* What lies there, to be read before the end; SLICE_NONE: nothing of this owner. */
struct slice flight_record(const struct flight *f, uint32_t owner, uint64_t ticket);

/* The queue process: what these tickets tell of is its own. tickets: uint64_t each, as they lie in memory. */
void flight_mark(struct flight *f, struct slice tickets);
uint64_t flight_ticket(struct slice tickets, size_t i); /* 0: there are not so many */
bool flight_is_left(const struct flight *f, uint64_t ticket);

/* Each record is shown. Those whose owner is dead, by what `is_dead` says, are wiped behind that; without it all are shown, and stay. */
struct flight_search {
	bool (*is_dead)(void *arg, uint32_t owner, uint64_t ticket);
	void (*each)(void *arg, struct slice record, bool marked);
	void *arg;
};
void flight_reclaim(struct flight *f, const struct flight_search *s);
#endif
