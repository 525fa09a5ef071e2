#ifndef CTL_CTL_MAPS_PROBE_H
#define CTL_CTL_MAPS_PROBE_H
#include "ctl/ctl.h"
#include "maps/prove.h"

/* prove --probe: each relayed domain's next hop is asked for a recipient of a random name. One that takes it accepts everybody, and reports later: that refutes, unless a map of
 * recipients stands in front of it. Blocks, as long as a client would wait. */
enum prove_grade maps_probe(struct ctl *c, struct map_set *set, void (*found)(void *arg, const struct prove_finding *f), void *arg, struct prove_summary *sum);
#endif
