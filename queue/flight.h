#ifndef QUEUE_FLIGHT_H
#define QUEUE_FLIGHT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/slice.h"

/* What is under way in mailboxes alone: a table of fixed size in the parent's shared memory, mapped by every smtpd and by the queue process. Such a delivery asks nobody but the mailbox process,
 * so its intents can't wait for the ledger: an smtpd puts the record that the ledger would need (a LEDGER_NOTE) into a slot before it asks for the commit, and wipes it when the client
 * has heard the 250, or was told otherwise. When an smtpd dies the queue process finds its slots, and notes them. That costs two stores into memory, and lives over the end of any process
 * but the parent. A slot that is missing, since all are taken or the record is too long, is a second copy at worst. */
struct flight;
struct house;

enum { FLIGHT_SLOTS = 8192, FLIGHT_MAX_RECORD = 1020 };

size_t flight_size(void);
struct flight *flight_attach(void *memory, size_t size); /* any memory will do: what makes no sense is wiped as it is found */
struct flight *flight_take(struct house *h);              /* of "shared:flight"; NULL: there is none */
void flight_detach(struct flight *f);                     /* NULL is fine, here and below */

/* owner: of one process, not 0. The slot, or 0. */
uint32_t flight_begin(struct flight *f, uint32_t owner, struct slice record);
/* Slot 0, and one that is the owner's no more, are fine. */
void flight_end(struct flight *f, uint32_t owner, uint32_t slot);
/* What lies there, to be read before the end; SLICE_NONE: nothing of this owner. */
struct slice flight_record(const struct flight *f, uint32_t owner, uint32_t slot);

/* Each record whose owner is dead is shown, and wiped. */
struct flight_search {
	bool (*is_dead)(void *arg, uint32_t owner);
	void (*each)(void *arg, struct slice record);
	void *arg;
};
void flight_reclaim(struct flight *f, const struct flight_search *s);
#endif
