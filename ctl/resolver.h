#ifndef CTL_RESOLVER_H
#define CTL_RESOLVER_H
#include "base/house.h"

/* The role `resolver`: asks DNS for all others (base/dns_proto.h). */
int resolver_main(struct house *h);
#endif
