#ifndef MAPS_CLIENTS_H
#define MAPS_CLIENTS_H
#include <stdbool.h>
#include "base/answer.h"
#include "base/arena.h"
#include "base/net.h"
#include "base/slice.h"
#include "maps/map.h"

/* The map `clients`: networks, or fingerprints of client certificates, and the reverse-path domains they may speak for (evidence `client`, rule.md).
 *
 *	192.0.2.10          example.test, .example.test
 *	10.0.0.0/8          wide, example.test
 *	sha256:ab12...      example.org
 *	127.0.0.1           *
 *
 * "*" is any domain of ours. A range wider than /24 or /64 needs the word `wide` (security-kit S14). */

/* May this client speak for `domain` (any form)? cert_sha256: lower-case hexadecimal, "" none. FOUND: yes, and *key (if not NULL) is the line's key. */
enum answer clients_may_speak(struct map_set *s, const struct net_ip *ip, struct slice cert_sha256, struct slice domain, struct arena *mem,
                              struct slice *key);

/* Is this client in the map at all, for whatever domain? */
enum answer clients_known(struct map_set *s, const struct net_ip *ip, struct slice cert_sha256, struct arena *mem);

const char *clients_parse(struct slice key, struct slice value, struct arena *mem);
#endif
