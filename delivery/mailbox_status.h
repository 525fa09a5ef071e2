#ifndef DELIVERY_MAILBOX_STATUS_H
#define DELIVERY_MAILBOX_STATUS_H
#include "base/mail_status.h"

/* What a local error means for the sender (RFC 3463): 0 is 250; a full disk 452 4.3.1, a full mailbox 452 4.2.2, everything else 451: nothing that
 * goes wrong on our machine is the sender's fault for good. */
struct mail_status mailbox_status_of(int error);
#endif
