#ifndef CTL_WEB_STORE_H
#define CTL_WEB_STORE_H
#include "base/loop.h"
#include "ctl/web_record.h"

/* The checks that were asked for, durable: a Berkeley DB with a transaction log in a folder of its own, written by a worker thread; a copy of every record stays in memory in
 * its short form, so that reading a page never touches the disk. At most WEB_STORE_MAX; past that the oldest that are over go. */
enum { WEB_STORE_MAX = 10000 };

struct web_store;
int web_store_open(struct loop *l, const char *directory, struct web_store **out); /* 0 or -errno; a damaged record is left out, a damaged database begun anew */
void web_store_close(struct web_store *s);                                       /* waits for what is being written */

/* Keeps it, in memory at once and on disk soon: then done, which may be NULL, is called from the loop with 0 or an error. -ENOSPC: full of checks that are not over; done is not
 * called. */
int web_store_put(struct web_store *s, const struct web_record *r, void (*done)(void *arg, int error), void *arg);
bool web_store_get(struct web_store *s, struct slice id, struct web_record *out);

/* Every record, in no order, until each says false. */
void web_store_each(struct web_store *s, bool (*each)(void *arg, const struct web_record *r), void *arg);
#endif
