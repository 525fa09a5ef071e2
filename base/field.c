/* Length-prefixed fields: tag, length, bytes. */
#include "base/field.h"

#include <errno.h>

enum { HEAD = 5 };

int field_add(struct buf *b, uint8_t tag, struct slice value)
{
	if (value.n > UINT32_MAX)
		return -EMSGSIZE;
	char *p = buf_room(b, HEAD + value.n);
	if (!p)
		return -EMSGSIZE;
	p[0] = (char)tag;
	for (int i = 0; i < 4; i++)
		p[1 + i] = (char)(value.n >> (24 - 8 * i));
	if (value.n)
		memcpy(p + HEAD, value.p, value.n);
	buf_used(b, HEAD + value.n);
	return 0;
}

int field_add_uint(struct buf *b, uint8_t tag, uint64_t value)
{
	char bytes[8];
	size_t n = 0;
	for (int shift = 56; shift >= 0; shift -= 8)
		if (n || shift == 0 || value >> shift)
			bytes[n++] = (char)(value >> shift);
	return field_add(b, tag, slice(bytes, n));
}

bool field_next(struct slice *in, uint8_t *tag, struct slice *value)
{
	if (in->n < HEAD)
		return false;
	const unsigned char *p = (const unsigned char *)in->p;
	size_t n = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
	if (n > in->n - HEAD)
		return false;
	*tag = p[0];
	*value = slice(in->p + HEAD, n);
	*in = slice(in->p + HEAD + n, in->n - HEAD - n);
	return true;
}

bool field_uint(struct slice value, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;
	if (value.n == 0 || value.n > 8)
		return false;
	for (size_t i = 0; i < value.n; i++)
		v = v << 8 | (unsigned char)value.p[i];
	if (v > max)
		return false;
	*out = v;
	return true;
}
