#ifndef BASE_IDN_H
#define BASE_IDN_H
#include "base/arena.h"
#include "base/slice.h"

/* Domain names with U-labels as A-labels (RFC 5891, by libidn2), in lower case, without a last dot. ASCII names are only lower-cased: mail has names
 * that are no host names (underscores). 0, or -EINVAL: no such name (*out untouched). */
int idn_to_ascii(struct slice name, struct arena *mem, struct slice *out);
#endif
