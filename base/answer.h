#ifndef BASE_ANSWER_H
#define BASE_ANSWER_H
/* What a look-up (map, DNS, policy) says. UNSURE, "could not tell", becomes a 4xx: never a 5xx, never a 250.
 * A switch over it has no default. */
enum answer { FOUND, ABSENT, UNSURE };
#endif
