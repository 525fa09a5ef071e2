#ifndef DELIVERY_MAILBOX_ASK_H
#define DELIVERY_MAILBOX_ASK_H
#include "delivery/mailbox_sort.h"

/* The question at RCPT: can this leaf take a message of that size now? Answered once, later, in the loop; what the answer points to is valid during
 * the call. Maildirs are looked at in their file system's syncer, where their quotas live; what may wait for others in a slow worker; a
 * system user's by a process of that user. */
void mailbox_ask_start(struct transaction_house *house, const struct mailbox_ask *question,
                       void (*answered)(void *arg, uint64_t id, const struct mailbox_asked *a), void *arg, uint64_t id);

/* A program's part of it: it is there. 0 or -errno. */
int mailbox_ask_program(const char *program);
#endif
