#ifndef DELIVERY_MAILBOX_MAIN_H
#define DELIVERY_MAILBOX_MAIN_H

enum { MAILBOX_MAX_HOST = 64 };

/* The machine's name as Maildir wants it in file names: '/' and ':' as octal numbers. */
void mailbox_host_name(char out[MAILBOX_MAX_HOST]);
#endif
