#ifndef DELIVERY_DEAD_H
#define DELIVERY_DEAD_H
#include <stdint.h>
#include "base/net.h"

/* Which addresses did not answer lately, so that the next transaction does not wait for them again. A fixed table, the oldest of four is forgotten
 * for a new one. The rest grows from half a minute to five with each failure in a row; when it is over one attempt may find out. */
struct dead;
struct dead *dead_new(void);
void dead_free(struct dead *d);

void dead_note(struct dead *d, const struct net_address *a);      /* it could not be connected to, or did not greet */
void dead_forget(struct dead *d, const struct net_address *a);    /* it served */
uint64_t dead_rest_ms(const struct dead *d, const struct net_address *a); /* how long to leave it alone; 0: not at all */
void dead_forget_all(struct dead *d);
#endif
