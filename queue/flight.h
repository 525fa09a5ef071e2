#ifndef QUEUE_FLIGHT_H
#define QUEUE_FLIGHT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/slice.h"

/* What is under way in mailboxes alone: a table of fixed size in a file of the spool, mapped by every smtpd and by the queue process. Such a delivery asks nobody but the mailbox process,
 * so its intents can't wait for the ledger: an smtpd puts the record that the ledger would need (a LEDGER_NOTE) into a slot before it asks for the commit, and wipes it when the client
 * has heard the 250, or was told otherwise. When an smtpd dies the queue process finds its slots, and notes them. That costs two stores into memory, and lives over the end of any process,
 * of all of them, but not over a power cut. A slot that is missing, since all are taken or the record is too long, is a second copy at worst. */
struct flight;
struct house;

enum { FLIGHT_SLOTS = 8192, FLIGHT_MAX_RECORD = 1016 };

size_t flight_size(void);
struct flight *flight_attach(void *memory, size_t size); /* any memory will do: what makes no sense is wiped as it is found */
struct flight *flight_take(struct house *h);              /* of "shared:flight"; NULL: there is none */
void flight_detach(struct flight *f);                     /* NULL is fine, here and below */

/* owner: of one process, not 0. The slot, or 0. */
uint32_t flight_begin(struct flight *f, uint32_t owner, struct slice record);
/* False: the queue process has found it, though its owner lives (it was started anew), and the ledger has it. slot 0 is fine. */
bool flight_end(struct flight *f, uint32_t owner, uint32_t slot);

/* Each record of this owner, of every owner with 0, is shown and wiped. */
void flight_reclaim(struct flight *f, uint32_t owner, void (*each)(void *arg, struct slice record), void *arg);
#endif
