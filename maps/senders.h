#ifndef MAPS_SENDERS_H
#define MAPS_SENDERS_H
#include "base/answer.h"
#include "base/arena.h"
#include "base/mail_path.h"
#include "base/slice.h"
#include "maps/map.h"

/* The map `senders`: which reverse-paths and From addresses a login may use (evidence `auth`), and a user of this system through the sendmail command (evidence `local`).
 *
 *	alice              alice@example.test, sales@example.test
 *	robot              @lists.example.test
 *	unix:root          root@example.test, @example.test
 *	admin              *
 *
 * "@domain" is every address of a domain, "*" every address of our domains. A login that is itself an address of ours may use that address, with
 * subaddresses, without a line. */

/* who: the login as authenticated, or "unix:NAME". FOUND: may use it. The null path is everybody's: the caller decides what it is worth. */
enum answer senders_may_use(struct map_set *s, struct slice who, const struct mail_path *address, struct arena *mem);

const char *senders_parse(struct slice value, struct arena *mem);
#endif
