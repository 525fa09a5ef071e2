#ifndef BASE_SUFFIX_H
#define BASE_SUFFIX_H
#include "base/slice.h"

/* The public suffix list (libpsl), for DMARC by RFC 7489 where a setting asks for it. */
struct suffix_list;

/* From a file (text or DAFSA); "": the list that came with the library. NULL: not readable. */
struct suffix_list *suffix_list_new(struct slice file);
void suffix_list_free(struct suffix_list *l); /* NULL is fine */

/* The registrable domain at or above name (lower case, A-labels): a view of name; "" where name is a public suffix itself. */
struct slice suffix_organisation(const struct suffix_list *l, struct slice name);
#endif
