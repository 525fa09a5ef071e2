#ifndef DELIVERY_MAILBOX_JOB_H
#define DELIVERY_MAILBOX_JOB_H
#include "delivery/mailbox_house.h"

/* Jobs of the queue for mailboxes of ours (queue/job_proto.h, place "mailbox:"): reports to our own people, mail from the drop folder. Each recipient is a transaction of
 * the mailbox process like a stranger's: all its leaves or none. Content comes as a file of the spool, CRLF; it is read by a worker. */
struct mailbox_jobs;

/* A channel from the queue; fd becomes ours. */
struct mailbox_jobs *mailbox_jobs_new(struct transaction_house *house, int fd, void (*gone)(void *arg, struct mailbox_jobs *j), void *arg);
/* Cuts it off; what was asked to commit goes on. gone is not called. */
void mailbox_jobs_free(struct mailbox_jobs *j);
#endif
