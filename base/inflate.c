/* The one door to zlib. */
#include "base/inflate.h"

#include <errno.h>
#include <stdint.h>
#include <zlib.h>

enum { PIECE = 64 << 10, GZIP_OR_ZLIB = 15 + 32, RAW = -15, GZIP = 15 + 16 };

static int unpack(struct slice data, int window, struct buf *out)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)data.p, .avail_in = (uInt)data.n };
	int code = inflateInit2(&z, window);
	while (code == Z_OK) {
		size_t left = out->max - out->n, room = left < PIECE ? left : PIECE;
		char *to = room ? buf_room(out, room) : NULL;
		if (!to) {
			code = Z_BUF_ERROR;
			break;
		}
		z.next_out = (Bytef *)to;
		z.avail_out = (uInt)room;
		code = inflate(&z, Z_NO_FLUSH);
		buf_used(out, room - z.avail_out);
		if (code == Z_OK && !z.avail_in && z.avail_out)
			code = Z_DATA_ERROR; /* cut off */
	}
	inflateEnd(&z);
	return code == Z_STREAM_END ? 0 : code == Z_BUF_ERROR ? -E2BIG : -EINVAL;
}

static unsigned le(struct slice s, size_t at, size_t width)
{
	unsigned v = 0;
	for (size_t i = width; i-- > 0;)
		v = v << 8 | (unsigned char)s.p[at + i];
	return v;
}

/* The first local file: deflated (8) or stored (0). */
static int unzip(struct slice data, struct buf *out)
{
	if (data.n < 30)
		return -EINVAL;
	unsigned method = le(data, 8, 2), size = le(data, 18, 4);
	struct slice file = slice_skip(data, 30 + (size_t)le(data, 26, 2) + le(data, 28, 2));
	if (method == 8)
		return unpack(file, RAW, out);
	if (method != 0 || size > file.n)
		return -EINVAL;
	return buf_add(out, slice_head(file, size)) ? -E2BIG : 0;
}

int inflate_any(struct slice data, struct buf *out)
{
	if (data.n > UINT32_MAX)
		return -E2BIG;
	if (slice_starts(data, SLICE("\x1f\x8b")))
		return unpack(data, GZIP_OR_ZLIB, out);
	if (slice_starts(data, SLICE("PK\x03\x04")))
		return unzip(data, out);
	return buf_add(out, data) ? -E2BIG : 0;
}

int deflate_gzip(struct slice data, struct buf *out)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)data.p, .avail_in = (uInt)data.n };
	if (data.n > UINT32_MAX || deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return -EINVAL;
	size_t bound = deflateBound(&z, (uLong)data.n);
	char *to = buf_room(out, bound);
	int code = Z_BUF_ERROR;
	if (to) {
		z.next_out = (Bytef *)to;
		z.avail_out = (uInt)bound;
		code = deflate(&z, Z_FINISH);
		buf_used(out, bound - z.avail_out);
	}
	deflateEnd(&z);
	return code == Z_STREAM_END ? 0 : -E2BIG;
}
