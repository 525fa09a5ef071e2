#ifndef MAPS_MAP_KEY_H
#define MAPS_MAP_KEY_H
#include "base/arena.h"
#include "base/mail_path.h"
#include "base/slice.h"

/* Canonical keys: one mailbox, one domain, one network has one spelling. Domains: lower case, A-labels (libidn2, IDNA 2008 non-transitional), no last dot.
 * Local-parts: quoting removed, ASCII letters folded unless the domain says case=exact. */

/* NULL, or a fixed phrase that says what is wrong. Strings live in mem. */
const char *map_key_domain(struct slice s, struct arena *mem, struct slice *out);      /* "Example.ORG." "bücher.example" ".sub.example" ("*.sub.example" becomes ".sub.example") "[192.0.2.1]" */
/* "Ann@Example.org", "@example.org", or a bare local-part; the local-part's case is kept: who knows the domain folds it (text_lower). */
const char *map_key_address(struct slice s, struct arena *mem, struct slice *out);

/* A local-part without its quotes: NFC (RFC 6532, 3.1) and, unless exact, ASCII letters in lower case. SLICE_NONE: not UTF-8, or mem is full. */
struct slice map_key_local(struct slice local, bool exact, struct arena *mem);

/* "user@Bücher.Example" of canonical parts to "user@xn--bcher-kva.example", local-part folded unless exact; a bare local-part too. */
const char *map_key_address_folded(struct slice s, bool exact, struct arena *mem, struct slice *out);

/* local@domain as a key, for look-ups; SLICE_NONE if mem is full or the domain is none. */
struct slice map_key_join(struct slice local, struct slice domain, struct arena *mem);

/* Cuts "local@domain" at its last @; false without one. */
bool map_key_split(struct slice key, struct slice *local, struct slice *domain);
#endif
