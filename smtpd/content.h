#ifndef SMTPD_CONTENT_H
#define SMTPD_CONTENT_H
#include "smtpd/session.h"

/* Content as it comes: between the connection's bytes and the message in hand. It also says no: too large, bare line ends, no room; then the rest is read and dropped, and the
 * refusal is the answer to the end. */
struct content;

/* DATA begins, or the first BDAT. */
struct content *content_new(struct session *s, bool chunks);
void content_free(struct content *c); /* NULL is fine */

/* BDAT: one chunk of that many bytes follows. */
void content_chunk(struct content *c, uint64_t size, bool last);
/* What follows is read and dropped, and its end is answered so. */
void content_refuse(struct content *c, struct mail_status status);

/* The next bytes are content. */
bool content_is_open(const struct content *c);

/* Takes what lies in the input. True: *step is what comes of it (the end, or the end of a chunk); false: more is wanted, or files are opened or written, and dialog_run
 * follows by itself. */
bool content_take(struct content *c, struct step *step);

/* Files are opened or written: nothing is taken until then. */
bool content_is_stuck(const struct content *c);

/* The worker has written something. */
void content_written(struct content *c);
#endif
