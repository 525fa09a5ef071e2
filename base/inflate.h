#ifndef BASE_INFLATE_H
#define BASE_INFLATE_H
#include "base/buf.h"
#include "base/slice.h"

/* gzip and zip, both ways of packing that reports come in; and gzip out (zlib behind this file). */

/* What data holds: unpacked gzip, the first file of a zip archive, or data itself. 0, -EINVAL damaged, -E2BIG past out's ceiling. */
int inflate_any(struct slice data, struct buf *out);
int deflate_gzip(struct slice data, struct buf *out);
#endif
