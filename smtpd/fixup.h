#ifndef SMTPD_FIXUP_H
#define SMTPD_FIXUP_H
#include "base/buf.h"
#include "smtpd/check.h"

/* What a submission server mends in what its own people hand in (RFC 6409, 8; RFC 5322, 3.6): a missing Date and Message-ID are added at the end of the header section, and
 * Bcc goes, since it is for nobody else's eyes. The check `fixup` asks at the dot, on the submission ports and the local socket, before filters and signatures see the message. */
extern const struct check_kind fixup_check;

/* The same without a session. head: a header section, CRLF, with the blank line. True: out is another one, which has these fields; *added_id: message_id was wanted. False: there is
 * nothing to mend. */
bool fixup_head(struct slice head, struct slice message_id, int64_t now_s, struct buf *out, bool *added_id);
#endif
