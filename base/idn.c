/* The one door to libidn2. */
#include "base/idn.h"

#include <errno.h>
#include <idn2.h>
#include <string.h>

#include "base/text.h"

int idn_to_ascii(struct slice name, struct arena *mem, struct slice *out)
{
	if (name.n && name.p[name.n - 1] == '.')
		name.n--;
	if (!name.n || name.n > 1000 || memchr(name.p, 0, name.n))
		return -EINVAL;
	if (slice_is_ascii(name)) {
		struct slice lower = text_lower(mem, name);
		if (!lower.p)
			return -EINVAL;
		*out = lower;
		return 0;
	}
	char *from = text_is_utf8(name) ? arena_cstr(mem, name) : NULL, *to = NULL;
	if (!from || idn2_to_ascii_8z(from, &to, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT) != IDN2_OK)
		return -EINVAL;
	struct slice ascii = text_lower(mem, slice_of(to));
	idn2_free(to);
	if (!ascii.p)
		return -EINVAL;
	*out = ascii;
	return 0;
}
