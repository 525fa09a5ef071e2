#ifndef DELIVERY_SYSTEM_PARCEL_H
#define DELIVERY_SYSTEM_PARCEL_H
#include "delivery/mailbox_sort.h"

/* A system user's mailbox: ~/Maildir, written by a short-lived process of that user, which is a small mailbox process of its own: it hears the
 * questions of delivery/mailbox_proto.h on its standard input, serves them below its home, and ends when the channel does. So whatever
 * stands in a home is touched with that user's rights alone. */

/* At RCPT: answered once, later, in the loop. The process rests for two seconds then, and is asked again where the next question comes: a user who is written to often
 * costs one start, not one for each RCPT. What it is asked it looks up anew. */
void system_ask(struct transaction_house *house, const struct mailbox_ask *question, void (*answered)(void *arg, const struct mailbox_asked *a), void *arg);

/* UNDO after COMMIT is not possible: the copy stays, which costs a duplicate at worst. */
struct parcel *system_parcel_new(struct transaction_house *house, const struct parcel_content *content, const struct mailbox_leaf *leaf,
                                 struct mailbox_leaf_result *result);

/* At the end of the process: those that rest end. */
void system_forget_all(struct transaction_house *house);

/* The short-lived process: HOME is its mail root, standard input its channel. Returns the exit code. */
int system_user_main(void);
#endif
