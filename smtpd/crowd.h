#ifndef SMTPD_CROWD_H
#define SMTPD_CROWD_H
#include <stdbool.h>
#include <stddef.h>
#include "base/net.h"

/* How many sessions an address and its network (/24, /48) have in this process. */
struct crowd;
struct crowd *crowd_new(void);
void crowd_free(struct crowd *c);

/* One more. True: both stay within their limits. False: nothing was counted. */
bool crowd_enter(struct crowd *c, const struct net_ip *ip, size_t max_address, size_t max_network);
void crowd_leave(struct crowd *c, const struct net_ip *ip);
size_t crowd_size(const struct crowd *c); /* addresses and networks with a session */
#endif
