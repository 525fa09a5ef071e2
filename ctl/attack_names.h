#ifndef CTL_ATTACK_NAMES_H
#define CTL_ATTACK_NAMES_H
#include "queue/attacks.h"

/* Reverse names of attacking networks: the PTR name of the address that came last, or else of the network's first host, cut to the last three labels. Asked side by
 * side, for at most five seconds. */
struct attack_names;
struct attack_names *attack_names_ask(const struct attack_top *networks, size_t count);
struct slice attack_names_of(const struct attack_names *n, const char *network); /* "": none */
void attack_names_free(struct attack_names *n);                                  /* NULL is fine */
#endif
