#ifndef CTL_RNDR_HOUSE_H
#define CTL_RNDR_HOUSE_H
#include "ctl/ctl.h"
#include "ctl/rndr.h"

/* rndr-check --catch porter: the running Porter of the configuration catches what comes back, since its listen-rndr-catch is the MX of the forged senders' domain
 * (rndr-probe-domain). It is told the check's marks and asked twice a second, by the control socket (ctl/web_guests.h). */

/* Reads the settings and says which domain the forged senders have. 0, or an exit code after a message. */
int rndr_house_domain(struct ctl *c, struct slice *probe_domain);

/* Before the first probe goes: 0, or an exit code after a message. check outlives it. */
struct rndr_house;
int rndr_house_begin(struct ctl *c, struct loop *l, struct rndr_check *check, struct rndr_house **out);
void rndr_house_free(struct rndr_house *h); /* its marks are forgotten there; NULL is fine */
#endif
