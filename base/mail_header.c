/* The walker over a header section. One memchr a line; a field is what stands up to the next line that does not begin with a blank. */
#include "base/mail_header.h"

#include <errno.h>

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The length of the first line of s, its line end included. */
static size_t line_length(struct slice s)
{
	size_t at = slice_find(s, '\n');
	return at == s.n ? at : at + 1;
}

static size_t without_line_end(struct slice s)
{
	size_t n = s.n;
	if (n && s.p[n - 1] == '\n') {
		n--;
		if (n && s.p[n - 1] == '\r')
			n--;
	}
	return n;
}

static bool is_empty_line(struct slice line)
{
	return line.n && line.p[line.n - 1] == '\n' && without_line_end(line) == 0;
}

/* Name and value of raw; false if it is no field. */
static bool split(struct mail_field *f)
{
	struct slice all = slice(f->raw.p, without_line_end(f->raw));
	size_t colon = slice_find(all, ':'), n = colon;
	if (colon == all.n)
		return false;
	while (n && is_blank(all.p[n - 1]))
		n--;
	f->name = slice(all.p, n);
	f->value = slice_skip(all, colon + 1);
	for (size_t i = 0; i < n; i++)
		if (is_blank(all.p[i]) || all.p[i] == '\n' || all.p[i] == '\r')
			return false;
	return n > 0;
}

enum mail_field_kind mail_field_next(struct slice *in, struct mail_field *f)
{
	size_t n = line_length(*in);
	if (n == 0)
		return MAIL_FIELD_END;
	if (is_empty_line(slice(in->p, n))) {
		*in = slice_skip(*in, n);
		return MAIL_FIELD_END;
	}
	while (n < in->n && is_blank(in->p[n]))
		n += line_length(slice_skip(*in, n));
	*f = (struct mail_field){ .raw = slice(in->p, n) };
	*in = slice_skip(*in, n);
	return split(f) ? MAIL_FIELD : MAIL_FIELD_BAD;
}

int mail_header_parse(struct slice message, size_t max, struct arena *mem, struct mail_header *out)
{
	struct slice in = message;
	struct mail_field f;
	size_t room = 0;
	enum mail_field_kind kind;
	struct mail_header h = { 0 };
	while ((kind = mail_field_next(&in, &f)) != MAIL_FIELD_END) {
		if (kind == MAIL_FIELD_BAD) {
			h.bad++;
			continue;
		}
		if (h.count == room) {
			room = room ? room * 2 : 32;
			struct mail_field *more = h.count < max ? ARENA_ARRAY(mem, struct mail_field, room) : NULL;
			if (!more)
				return -E2BIG;
			if (h.count)
				memcpy(more, h.fields, h.count * sizeof *more);
			h.fields = more;
		}
		if (h.count == max)
			return -E2BIG;
		h.fields[h.count++] = f;
	}
	size_t used = (size_t)(message.n - in.n);
	size_t empty = used && message.p[used - 1] == '\n' ? (used > 1 && message.p[used - 2] == '\r' ? 2 : 1) : 0;
	bool ended = used >= empty && empty && (used == empty || message.p[used - empty - 1] == '\n');
	h.section = slice(message.p, ended ? used - empty : used);
	h.body = ended ? in : SLICE_NONE;
	*out = h;
	return 0;
}

const struct mail_field *mail_header_find(const struct mail_header *h, struct slice name, size_t from)
{
	for (size_t i = from; i < h->count; i++)
		if (slice_eq_nocase(h->fields[i].name, name))
			return &h->fields[i];
	return NULL;
}

size_t mail_header_count(const struct mail_header *h, struct slice name)
{
	size_t count = 0;
	for (size_t i = 0; i < h->count; i++)
		count += slice_eq_nocase(h->fields[i].name, name);
	return count;
}

int mail_unfold(struct buf *out, struct slice value)
{
	value = slice_trim(value);
	while (value.n) {
		size_t n = line_length(value);
		int failed = buf_add(out, slice(value.p, without_line_end(slice(value.p, n))));
		if (failed)
			return failed;
		value = slice_skip(value, n);
	}
	return 0;
}

struct slice mail_field_unfold(const struct mail_field *f, struct arena *mem)
{
	struct slice v = slice_trim(f->value);
	if (slice_find(v, '\n') == v.n)
		return v;
	char *to = arena_new(mem, v.n);
	if (!to)
		return SLICE_NONE;
	size_t used = 0;
	while (v.n) {
		size_t n = line_length(v), keep = without_line_end(slice(v.p, n));
		memcpy(to + used, v.p, keep);
		used += keep;
		v = slice_skip(v, n);
	}
	return slice(to, used);
}

bool mail_field_name_is_good(struct slice name)
{
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] <= ' ' || name.p[i] >= 0x7f || name.p[i] == ':')
			return false;
	return name.n > 0;
}

size_t mail_header_end(struct slice message)
{
	struct slice in = message;
	while (in.n) {
		size_t n = line_length(in);
		if (in.p[n - 1] != '\n')
			return 0;
		bool empty = is_empty_line(slice(in.p, n));
		in = slice_skip(in, n);
		if (empty)
			return message.n - in.n;
	}
	return 0;
}

bool mail_header_waives_tls(struct slice message)
{
	struct mail_field f;
	bool waives = false;
	unsigned count = 0;
	for (enum mail_field_kind kind; (kind = mail_field_next(&message, &f)) != MAIL_FIELD_END;)
		if (kind == MAIL_FIELD && slice_eq_nocase(f.name, SLICE("TLS-Required"))) {
			waives = slice_eq_nocase(slice_trim(f.value), SLICE("No"));
			count++;
		}
	return waives && count == 1;
}
