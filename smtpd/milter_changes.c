/* Changes of a message by a filter: collected with ceilings, and made on bytes. */
#include "smtpd/milter_changes.h"

#include <errno.h>

#include "base/mail_header.h"

void milter_changes_init(struct milter_changes *c, size_t max_body)
{
	*c = (struct milter_changes){ .frames = BUF_INIT(MILTER_MAX_CHANGE_BYTES), .body = BUF_INIT(max_body) };
}

void milter_changes_free(struct milter_changes *c)
{
	buf_free(&c->frames);
	buf_free(&c->body);
}

void milter_changes_clear(struct milter_changes *c)
{
	milter_changes_free(c);
	c->body_replaced = false;
	c->count = 0;
}

int milter_changes_note(struct milter_changes *c, struct slice frame, const struct milter_reply *r)
{
	if (r->kind == MILTER_SAYS_REPLACE_BODY) {
		c->body_replaced = true;
		return buf_add(&c->body, r->value);
	}
	if (++c->count > MILTER_MAX_CHANGES)
		return -EMSGSIZE;
	return buf_add(&c->frames, frame);
}

/* -- header section --------------------------------------------------------------------------------------------------------------------- */

/* The value with CRLF folds; a line that isn't one gets its blank, so that no value makes a field of its own. */
static void add_value(struct buf *out, struct slice value)
{
	bool first = true;
	for (struct slice rest = value; rest.p;) {
		struct slice line = slice_cut(rest, '\n', &rest);
		struct slice text = slice_trim(line);
		if (!text.n && !first)
			continue; /* a line of blanks would look like the end of the section to some */
		bool folded = !first && line.n && (line.p[0] == ' ' || line.p[0] == '\t');
		if (!first)
			buf_add(out, SLICE("\r\n"));
		if (!first && !folded)
			buf_add_byte(out, ' ');
		for (size_t i = 0; i < line.n; i++)
			if (line.p[i] != '\r')
				buf_add_byte(out, line.p[i]);
		first = false;
	}
}

static void add_field(struct buf *out, const struct milter_reply *r)
{
	buf_add(out, r->name);
	buf_add_byte(out, ':');
	if (r->value.n == 0 || r->value.p[0] != ' ')
		buf_add_byte(out, ' ');
	add_value(out, r->value);
	buf_add(out, SLICE("\r\n"));
}

/* Where the head's fields end: before the blank line. */
static size_t fields_end(struct slice head)
{
	return slice_ends(head, SLICE("\r\n\r\n")) ? head.n - 2 : slice_eq(head, SLICE("\r\n")) ? 0 : head.n;
}

/* Place and length of the index-th field called name, from 1. */
static bool find_field(struct slice head, struct slice name, uint32_t index, size_t *at, size_t *length)
{
	struct slice in = head;
	struct mail_field f;
	enum mail_field_kind kind;
	while ((kind = mail_field_next(&in, &f)) != MAIL_FIELD_END) {
		if (kind != MAIL_FIELD || !slice_eq_nocase(f.name, name) || --index)
			continue;
		*at = (size_t)(f.raw.p - head.p);
		*length = f.raw.n;
		return true;
	}
	return false;
}

/* The place before the index-th field of all, from 0; the end where there are fewer. */
static size_t find_place(struct slice head, uint32_t index)
{
	struct slice in = head;
	struct mail_field f;
	enum mail_field_kind kind;
	while ((kind = mail_field_next(&in, &f)) != MAIL_FIELD_END)
		if (!index--)
			return (size_t)(f.raw.p - head.p);
	return fields_end(head);
}

static int splice(struct buf *head, size_t at, size_t length, struct slice with)
{
	struct buf fresh = BUF_INIT(head->max);
	buf_add(&fresh, slice(head->p, at));
	buf_add(&fresh, with);
	buf_add(&fresh, slice_skip(buf_slice(head), at + length));
	if (buf_full(&fresh)) {
		buf_free(&fresh);
		return -EMSGSIZE;
	}
	buf_free(head);
	*head = fresh;
	return 0;
}

int milter_head_change(struct buf *head, const struct milter_reply *r)
{
	struct buf field = BUF_INIT(MILTER_MAX_FRAME * 3);
	size_t at = fields_end(buf_slice(head)), length = 0;
	if (!mail_field_name_is_good(r->name))
		return -EINVAL;
	bool change = r->kind == MILTER_SAYS_CHANGE_HEADER, found = change && find_field(buf_slice(head), r->name, r->index ? r->index : 1, &at, &length);
	if (r->kind == MILTER_SAYS_INSERT_HEADER)
		at = find_place(buf_slice(head), r->index ? r->index - 1 : 0);
	if (change && !found && !r->value.n)
		return 0; /* to remove what isn't there */
	if (!change || r->value.n)
		add_field(&field, r);
	int error = buf_full(&field) ? -EMSGSIZE : splice(head, at, length, buf_slice(&field));
	buf_free(&field);
	return error;
}

/* -- body -------------------------------------------------------------------------------------------------------------------------------- */

int milter_body_clean(struct slice in, struct buf *out)
{
	while (in.n) {
		size_t n = 0;
		while (n < in.n && in.p[n] != '\r' && in.p[n] != '\n' && in.p[n] != '\0')
			n++;
		buf_add(out, slice_head(in, n));
		if (n < in.n)
			buf_add(out, in.p[n] ? SLICE("\r\n") : SLICE(" "));
		n += n + 1 < in.n && in.p[n] == '\r' && in.p[n + 1] == '\n';
		in = slice_skip(in, n + 1);
	}
	if (out->n && out->p[out->n - 1] != '\n')
		buf_add(out, SLICE("\r\n"));
	return buf_full(out) ? -EMSGSIZE : 0;
}
