#ifndef DELIVERY_CLIENT_OFFER_H
#define DELIVERY_CLIENT_OFFER_H
#include "base/buf.h"
#include "delivery/client.h"

/* The words of EHLO, MAIL and RCPT. Internal to the client. */
void client_offer_read(const struct mail_reply *r, struct client_offer *out);
void client_offer_mail(struct buf *out, const struct client_mail *m, const struct client_offer *o);
void client_offer_rcpt(struct buf *out, struct slice address, struct slice original, unsigned notify, bool utf8, const struct client_offer *o);
#endif
