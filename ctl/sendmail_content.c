/* The content of a message that a local program hands in. */
#include "ctl/sendmail_content.h"

#include <errno.h>

#include "base/clock.h"
#include "base/mail_address.h"
#include "base/mail_date.h"
#include "base/mail_header.h"
#include "base/mail_path.h"
#include "base/text.h"
#include "base/unique.h"

enum { MAX_PATH = 1024 };

/* -- reading ------------------------------------------------------------------------------------------------------------------------------ */

int sendmail_read(FILE *in, bool ends_at_dot, struct buf *out)
{
	int c, last = '\n';
	size_t line = 0;                     /* where it begins */
	while ((c = getc(in)) != EOF) {
		if (c == '\n' && last == '\r') {
			last = c;            /* the second half of a CRLF; the first was one line end */
			continue;
		}
		last = c;
		if (c != '\n' && c != '\r') {
			buf_add_byte(out, (char)c);
			continue;
		}
		if (ends_at_dot && out->n - line == 1 && out->p[line] == '.') {
			buf_truncate(out, line);
			return buf_full(out) ? -EFBIG : 0;
		}
		buf_add(out, SLICE("\r\n"));
		line = out->n;
		if (buf_full(out))
			return -EFBIG;
	}
	if (ferror(in))
		return -EIO;
	if (out->n > line)
		buf_add(out, SLICE("\r\n"));
	return buf_full(out) ? -EFBIG : 0;
}

/* -- addresses ------------------------------------------------------------------------------------------------------------------------------ */

static struct slice print_address(const struct mail_address *a, struct slice domain, struct arena *mem)
{
	struct mail_path p = { a->local_part, a->domain.n ? a->domain : domain, false }, good;
	struct buf text = BUF_INIT(MAX_PATH);
	const char *why;
	mail_path_print(&text, &p);
	bool words = !a->domain.n && slice_find(a->local_part, ' ') < a->local_part.n; /* somebody's name rather than a mailbox's */
	struct slice out = buf_full(&text) || words ? SLICE_NONE : arena_copy(mem, buf_slice(&text));
	buf_free(&text);
	return out.p && mail_path_parse_address(out, mem, &good, &why) == 0 ? out : SLICE_NONE;
}

struct slice sendmail_address(struct slice text, struct slice domain, struct arena *mem)
{
	struct mail_address *list;
	size_t count;
	if (mail_address_parse(text, 1, mem, &list, &count) || count != 1)
		return SLICE_NONE;
	return print_address(&list[0], domain, mem);
}

static bool is_one_of(struct slice name, bool resent)
{
	static const struct slice names[] = { SLICE_INIT("Resent-To"), SLICE_INIT("Resent-Cc"), SLICE_INIT("Resent-Bcc"), SLICE_INIT("To"), SLICE_INIT("Cc"), SLICE_INIT("Bcc") };
	for (size_t i = resent ? 0 : 3; i < (resent ? 3 : 6); i++)
		if (slice_eq_nocase(name, names[i]))
			return true;
	return false;
}

static bool is_resent(struct slice raw)
{
	struct mail_field f;
	for (enum mail_field_kind kind; (kind = mail_field_next(&raw, &f)) != MAIL_FIELD_END;)
		if (kind == MAIL_FIELD && is_one_of(f.name, true))
			return true;
	return false;
}

int sendmail_addresses(struct slice text, struct slice domain, struct arena *mem, struct slice *out, size_t *count)
{
	struct mail_address *list;
	size_t n;
	int error = mail_address_parse(text, SENDMAIL_MAX_RECIPIENTS, mem, &list, &n);
	for (size_t i = 0; i < n && !error; i++) {
		if (*count == SENDMAIL_MAX_RECIPIENTS)
			return -E2BIG;
		struct slice address = print_address(&list[i], domain, mem);
		error = address.p ? 0 : -EINVAL;
		if (!error)
			out[(*count)++] = address;
	}
	return error;
}

int sendmail_header_recipients(struct slice raw, struct slice domain, struct arena *mem, struct slice *out, size_t *count, struct slice *field)
{
	bool resent = is_resent(raw);
	struct mail_field f;
	for (enum mail_field_kind kind; (kind = mail_field_next(&raw, &f)) != MAIL_FIELD_END;) {
		if (kind != MAIL_FIELD || !is_one_of(f.name, resent))
			continue;
		*field = f.name;
		int error = slice_trim(f.value).n ? sendmail_addresses(f.value, domain, mem, out, count) : 0;
		if (error)
			return error;
	}
	return 0;
}

/* -- the message ---------------------------------------------------------------------------------------------------------------------------- */

static bool is_dropped(struct slice name)
{
	static const struct slice names[] = { SLICE_INIT("Bcc"), SLICE_INIT("Resent-Bcc"), SLICE_INIT("Return-Path"), SLICE_INIT("Content-Length") };
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (slice_eq_nocase(name, names[i]))
			return true;
	return false;
}

static void add_phrase(struct buf *out, struct slice name)
{
	bool ascii = slice_is_ascii(name);
	buf_add_cstr(out, ascii ? "\"" : "=?utf-8?B?");
	if (!ascii)
		text_add_base64(out, slice_head(name, 45)); /* an encoded word has 75 bytes at most (RFC 2047, 2) */
	for (size_t i = 0; ascii && i < name.n; i++) {
		if (name.p[i] == '"' || name.p[i] == '\\')
			buf_add_byte(out, '\\');
		buf_add_byte(out, (unsigned char)name.p[i] < ' ' || name.p[i] == 0x7f ? ' ' : name.p[i]);
	}
	buf_add_cstr(out, ascii ? "\" " : "?= ");
}

static void add_missing(struct buf *out, const struct sendmail_facts *f, bool has_from, bool has_date, bool has_id)
{
	if (!has_from) {
		buf_add_cstr(out, "From: ");
		if (f->full_name.n)
			add_phrase(out, f->full_name);
		buf_addf(out, "<%.*s>\r\n", SLICE_FMT(f->author));
	}
	if (!has_date) {
		buf_add_cstr(out, "Date: ");
		mail_date_print_local(out, clock_wall_s());
		buf_add_cstr(out, "\r\n");
	}
	if (!has_id) {
		struct unique id = unique_new();
		buf_addf(out, "Message-ID: <%s@%.*s>\r\n", id.text, SLICE_FMT(f->host));
	}
}

/* Fields up to the first line that is none; what follows is the body. */
int sendmail_complete(struct slice raw, const struct sendmail_facts *f, struct buf *out)
{
	struct mail_field field;
	bool has_from = false, has_date = false, has_id = false;
	if (slice_starts(raw, SLICE("From ")))
		raw = slice_skip(raw, slice_find(raw, '\n') + 1);
	for (;;) {
		struct slice before = raw;
		enum mail_field_kind kind = mail_field_next(&raw, &field);
		if (kind == MAIL_FIELD_BAD)
			raw = before;
		if (kind != MAIL_FIELD)
			break;
		has_from = has_from || slice_eq_nocase(field.name, SLICE("From"));
		has_date = has_date || slice_eq_nocase(field.name, SLICE("Date"));
		has_id = has_id || slice_eq_nocase(field.name, SLICE("Message-ID"));
		if (!is_dropped(field.name))
			buf_add(out, field.raw);
	}
	add_missing(out, f, has_from, has_date, has_id);
	buf_add(out, SLICE("\r\n"));
	buf_add(out, raw);
	return buf_full(out) ? -EFBIG : 0;
}
