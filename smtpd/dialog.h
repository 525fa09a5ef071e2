#ifndef SMTPD_DIALOG_H
#define SMTPD_DIALOG_H
#include "smtpd/session.h"

/* The driver: takes lines (or content) from the connection, finds the verb's row, calls its handler, does what the step says. The only code that writes to the client. */
extern const struct conn_handler dialog_conn_handler;

enum { DIALOG_MAX_LINE = 12 << 10, DIALOG_MAX_INPUT = 64 << 10, DIALOG_MAX_OUTPUT = 64 << 10 };

void dialog_begin(struct session *s);   /* a client was accepted: TLS where it comes first, the connection's checks, the greeting. s may be gone behind it */
void dialog_run(struct session *s);     /* what lies in the input, until it is used up or a question is open. s may be gone behind it */

/* One reply, as this client may hear it: for where several answer one command. */
void dialog_add_reply(const struct session *s, const struct mail_status *status, struct buf *to);
#endif
