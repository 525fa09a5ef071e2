#ifndef DELIVERY_DELIVERY_MAIN_H
#define DELIVERY_DELIVERY_MAIN_H
struct house;

/* The role `delivery`: talks to next hops. Peers: smtpd and queue ask (delivery/hop_proto.h). */
int delivery_main(struct house *h);
#endif
