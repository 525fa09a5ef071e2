#ifndef MAPS_PROVE_FILES_H
#define MAPS_PROVE_FILES_H
#include "maps/prove.h"
#include "maps/resolve.h"

/* What this machine says to a proof: mail roots, sockets, programs, system users, the default gateway. A place is looked at once. Blocks: for tools alone.
 * A grade of PROVE_NOTE: nothing is wrong; else *why is set. */
struct proved_files;
/* By whom mailboxes are written and sockets connected to: root asks the kernel in a child that has become that user; "" or an ordinary user asks as whoever it is. */
struct proved_files *prove_files_new(struct slice mail_user, struct slice hop_user);
void prove_files_free(struct proved_files *f); /* NULL is fine */

enum prove_grade prove_files_root(struct proved_files *f, struct slice mail_root, const char **why);
enum prove_grade prove_files_leaf(struct proved_files *f, const struct leaf *l, struct arena *mem, const char **why);

/* True: the range holds the default gateway, so whatever the gateway lets through is trusted (security-kit S14), and the line does not say `wide`. */
bool prove_files_client(struct proved_files *f, struct slice key, struct slice value, const char **why);
#endif
