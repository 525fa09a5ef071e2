#ifndef CTL_EXPLAIN_MAILBOX_H
#define CTL_EXPLAIN_MAILBOX_H
#include "base/arena.h"
#include "delivery/mailbox_proto.h"
#include "maps/resolve.h"

/* What a mailbox answers to RCPT now, for porterctl explain, by the functions that the mailbox process asks with. A system user's is asked by a process of that user, as
 * there. Nothing is delivered and no folder is made below the mail root. Blocks. leaf: one of the kinds MAILDIR, MBOX, SYSTEM, PROGRAM. */
void explain_mailbox(const struct leaf *leaf, uint64_t size, struct arena *mem, struct mailbox_asked *out);
#endif
