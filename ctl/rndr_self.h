#ifndef CTL_RNDR_SELF_H
#define CTL_RNDR_SELF_H
#include "ctl/ctl.h"

/* rndr-check self: the dynamic check against the running Porter of a configuration, with addresses taken from its maps, and beside it the static proof. Nothing listens for
 * returns; what would return is seen inside: reports in the queue for the probes' forged senders. Exit 0: no leak and proved; 1: a leak; 2: could not tell. */
int rndr_self(struct ctl *c);
#endif
