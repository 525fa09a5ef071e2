#ifndef SMTPD_CROWD_H
#define SMTPD_CROWD_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/net.h"

/* How many sessions there are, and how many an address and its network (/24, /48) have, counted over all smtpd processes in memory that they share. Each process counts in entries
 * of its own, so what one that died leaves behind is known, and the parent removes it before it starts another. Where there is no entry left a session is let in uncounted. */
enum { CROWD_PROCESSES = 256, CROWD_ENTRIES = 1 << 17 };

struct crowd_limits {
	uint64_t all, address, network;
};

enum crowd_answer { CROWD_COME_IN, CROWD_FULL, CROWD_TOO_MANY };

struct crowd;
size_t crowd_size(void);
/* A view of shared memory that is zeroed when new, for the process of this number (its pid, not 0). memory outlives the view. NULL: it is of another form. */
struct crowd *crowd_attach(void *memory, size_t size, uint32_t process);
void crowd_detach(struct crowd *c);

/* One more. ip NULL: somebody whose address has no limit. CROWD_FULL: there are too many in all; CROWD_TOO_MANY: of this address or network; nothing was counted then. */
enum crowd_answer crowd_enter(struct crowd *c, const struct net_ip *ip, const struct crowd_limits *limits);
void crowd_leave(struct crowd *c, const struct net_ip *ip);

/* That process is no more. */
void crowd_process_ended(struct crowd *c, uint32_t process);

size_t crowd_count(const struct crowd *c); /* sessions in all */
size_t crowd_used(struct crowd *c);        /* entries in use: an address and a network each, of one process */
#endif
