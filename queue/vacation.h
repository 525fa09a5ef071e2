#ifndef QUEUE_VACATION_H
#define QUEUE_VACATION_H
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/mail_header.h"

/* Vacation (RFC 3834): what the text of somebody who is away says, whom it may answer, and the reply. Plain functions: told.c reads the file, asks the ledger
 * and the gate. The text is a file in vacation-directory named by the mailbox's address:
 *
 *	Subject: I am away          optional; else "Auto: " and the message's
 *	Days: 7                     optional: one reply to a sender in so many days
 *	From: 2026-12-20            optional: the first and the last day (UTC)
 *	Until: 2027-01-06
 *
 *	The text.
 */
struct vacation {
	struct slice subject, body;   /* views of the file */
	uint64_t days;
	bool fits;                    /* now lies within its days */
};

void vacation_read(struct slice file, int64_t now_s, struct vacation *out);

/* Automatic, from a list, or from an address that is no person's (RFC 3834, 2): not answered. */
bool vacation_is_automatic(const struct mail_header *h, struct slice reverse_path, struct arena *mem);

/* Whether the message is addressed to this one by name: To, Cc, Bcc and their Resent- forms (RFC 3834, 2). */
bool vacation_names(const struct mail_header *h, struct slice address, struct arena *mem);

struct vacation_reply {
	const struct vacation *vacation;
	const struct mail_header *header;    /* of the message that is answered */
	struct slice address, to;            /* who is away; the reverse-path */
	struct slice id, host;
	int64_t now_s;
};

/* The whole reply, CRLF: ASCII but for the addresses. 0 or -EMSGSIZE. */
int vacation_write(struct buf *out, const struct vacation_reply *r, struct arena *mem);
#endif
