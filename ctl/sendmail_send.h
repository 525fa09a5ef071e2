#ifndef CTL_SENDMAIL_SEND_H
#define CTL_SENDMAIL_SEND_H
#include <stdbool.h>
#include <stddef.h>
#include "base/arena.h"
#include "base/slice.h"
#include "queue/drop.h"

/* A message of a local program on its way: to an smtpd by run-directory/submit, or, while nobody serves, into the drop folder. Results are exit codes of sysexits.h;
 * what is said on standard error tells who is told nothing else. */
enum { SENDMAIL_USAGE = 64, SENDMAIL_DATA = 65, SENDMAIL_NO_USER = 67, SENDMAIL_UNAVAILABLE = 69, SENDMAIL_SOFTWARE = 70, SENDMAIL_IO = 74, SENDMAIL_LATER = 75,
       SENDMAIL_NO_PERMISSION = 77,
	SENDMAIL_CONFIG = 78 };

int sendmail_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* All or nothing where all recipients fit in one transaction: one that is refused for good refuses the message, before any of it is sent. What can't be taken just
 * now goes to the drop folder. verbose shows the dialogue. */
int sendmail_send(const struct drop *d, struct slice content, bool verbose);

/* -bv: RCPT's answer for each, nothing is sent. */
int sendmail_verify(const struct drop *d);

/* -bs: standard input and output are joined with the socket. */
int sendmail_speak(void);
#endif
