#ifndef CTL_WEB_GUESTS_H
#define CTL_WEB_GUESTS_H
#include "base/buf.h"
#include "base/slice.h"
#include "ctl/rndr.h"
#include "ctl/rndr_catch.h"

/* Checks of `porterctl rndr-check --catch porter`, which run elsewhere on this machine and whose forged senders' MX leads to this process: it is told their marks by the
 * control socket, takes mail for them, and says what came. At most GUESTS checks, each for at most two days. */
enum { WEB_GUESTS = 32 };

struct web_guests;
struct web_guests *web_guests_new(void);
void web_guests_free(struct web_guests *g); /* NULL is fine */

/* "catch MARK ...": from now on these are known here, RNDR_WAYS of them or fewer. "caught MARK": what came for the check that has this mark, one line for each of its marks:
 * count, bytes, 1 if the body was in one. "caught-all MARK": the same, and it is forgotten. The exit code; -ENOSYS: another question. */
int web_guests_ask(struct web_guests *g, const struct slice *words, size_t count, struct buf *answer);

/* For the catcher: marks are local-parts; recipient is a forward-path of probe_domain. */
bool web_guests_know(const struct web_guests *g, struct slice probe_domain, struct slice recipient);
void web_guests_note(struct web_guests *g, struct slice probe_domain, const struct catch_message *m);
#endif
