/* Vacation: a text file, the rules of RFC 3834 about whom to leave alone, and the reply. What is in doubt gets no answer. */
#include "queue/vacation.h"

#include <errno.h>

#include "base/mail_address.h"
#include "base/mail_date.h"
#include "base/scan.h"
#include "base/text.h"
#include "queue/report.h"

enum { DEFAULT_DAYS = 7, DAY_S = 86400, MAX_NAMED = 1000, MAX_SUBJECT = 180, MAX_WORD = 45 /* bytes of an encoded word's 75 (RFC 2047, 2) */, MAX_REFERENCES = 20 };

/* -- the text ----------------------------------------------------------------------------------------------------------------------- */

static bool read_day(struct slice value, int64_t *day_s)
{
	struct buf iso = BUF_INIT(64);
	buf_addf(&iso, "%.*sT00:00:00Z", SLICE_FMT(slice_head(value, 10)));
	bool good = mail_date_parse_iso(buf_slice(&iso), day_s);
	buf_free(&iso);
	return good;
}

/* False: no line of the head, so the text begins here. */
static bool read_head_line(struct slice line, int64_t now_s, struct vacation *v)
{
	struct slice value, name = slice_cut(line, ':', &value);
	int64_t day_s;
	uint64_t n;
	if (!value.p)
		return false;
	value = slice_trim(value);
	if (slice_eq_nocase(name, SLICE("Subject")))
		v->subject = value;
	else if (slice_eq_nocase(name, SLICE("Days")) && scan_uint_all(value, 365, &n) && n)
		v->days = n;
	else if (slice_eq_nocase(name, SLICE("From")) && read_day(value, &day_s))
		v->fits = v->fits && now_s >= day_s;
	else if (slice_eq_nocase(name, SLICE("Until")) && read_day(value, &day_s))
		v->fits = v->fits && now_s < day_s + DAY_S;
	else
		return false;
	return true;
}

void vacation_read(struct slice file, int64_t now_s, struct vacation *out)
{
	struct slice line = SLICE(""), rest = file;
	*out = (struct vacation){ .subject = SLICE(""), .body = file, .days = DEFAULT_DAYS, .fits = true };
	while (scan_line(&rest, &line) && line.n && read_head_line(line, now_s, out))
		out->body = rest;
	if (!line.n)
		out->body = rest;      /* behind the empty line */
}

/* -- whom to leave alone -------------------------------------------------------------------------------------------------------------- */

static bool is_one_of(struct slice s, const char *const *words)
{
	for (; *words; words++)
		if (slice_eq_nocase(s, slice_of(*words)))
			return true;
	return false;
}

static bool is_nobody(struct slice local)
{
	static const char *const whole[] = { "mailer-daemon", "listserv", "majordomo", NULL };
	return is_one_of(local, whole) || slice_starts_nocase(local, SLICE("owner-")) || slice_ends_nocase(local, SLICE("-request")) || slice_ends_nocase(local, SLICE("-owner")) ||
	       slice_starts_nocase(local, SLICE("noreply")) || slice_starts_nocase(local, SLICE("no-reply"));
}

/* The word in front of parameters and comments. */
static struct slice first_word(struct slice value)
{
	size_t n = 0;
	while (n < value.n && value.p[n] != ';' && value.p[n] != '(' && value.p[n] != ' ' && value.p[n] != '\t')
		n++;
	return slice_head(value, n);
}

bool vacation_is_automatic(const struct mail_header *h, struct slice reverse_path, struct arena *mem)
{
	static const char *const precedences[] = { "bulk", "list", "junk", NULL };
	if (is_nobody(slice_head(reverse_path, slice_rfind(reverse_path, '@'))))
		return true;
	for (size_t i = 0; i < h->count; i++) {
		const struct mail_field *f = &h->fields[i];
		if (slice_starts_nocase(f->name, SLICE("List-"))) /* RFC 2369, 2919, 8058 */
			return true;
		struct slice word = first_word(mail_field_unfold(f, mem));
		if (slice_eq_nocase(f->name, SLICE("Auto-Submitted")) && !slice_eq_nocase(word, SLICE("no")))
			return true;
		if (slice_eq_nocase(f->name, SLICE("Precedence")) && is_one_of(word, precedences))
			return true;
	}
	return false;
}

/* True when one of the field's mailboxes is local@domain; a field that can't be read names nobody. */
static bool field_names(struct slice value, struct slice local, struct slice domain, struct arena *mem)
{
	struct mail_address *all;
	size_t count;
	if (mail_address_parse(value, MAX_NAMED, mem, &all, &count))
		return false;
	for (size_t i = 0; i < count; i++)
		if (slice_eq_nocase(all[i].local_part, local) && slice_eq_nocase(all[i].domain, domain))
			return true;
	return false;
}

bool vacation_names(const struct mail_header *h, struct slice address, struct arena *mem)
{
	static const char *const names[] = { "To", "Cc", "Bcc", "Resent-To", "Resent-Cc", "Resent-Bcc", NULL };
	size_t at = slice_rfind(address, '@');
	for (size_t i = 0; i < h->count; i++)
		if (is_one_of(h->fields[i].name, names) && field_names(h->fields[i].value, slice_head(address, at), slice_skip(address, at + 1), mem))
			return true;
	return false;
}

/* -- the reply -------------------------------------------------------------------------------------------------------------------------- */

static struct slice value_of(const struct vacation_reply *r, const char *name, struct arena *mem)
{
	const struct mail_field *f = mail_header_find(r->header, slice_of(name), 0);
	struct slice value = f ? mail_field_unfold(f, mem) : SLICE("");
	return value.p ? value : SLICE("");
}

/* As much as fits: whole words, half an encoded word is rubbish, or of one that is longer (and can't be one) whole characters. */
static struct slice shortened(struct slice s)
{
	size_t n = MAX_SUBJECT, whole = n;
	if (s.n <= n)
		return s;
	while (n && s.p[n] != ' ')
		n--;
	while (whole && ((unsigned char)s.p[whole] & 0xc0) == 0x80)
		whole--;
	return slice_head(s, n || slice_is_ascii(s) ? n : whole);
}

/* RFC 2047; no encoded word ends within a character. */
static void add_encoded(struct buf *out, struct slice s)
{
	while (s.n) {
		size_t n = s.n < MAX_WORD ? s.n : MAX_WORD;
		while (n > MAX_WORD - 4 && n < s.n && ((unsigned char)s.p[n] & 0xc0) == 0x80)
			n--;
		buf_addf(out, "%s=?utf-8?B?", out->n ? " " : "");
		text_add_base64(out, slice_head(s, n));
		buf_add_cstr(out, "?=");
		s = slice_skip(s, n);
	}
}

/* RFC 3834, 3.1.5: what the user has written, else that it is automatic, and the message's. */
static void make_subject(struct buf *out, const struct vacation_reply *r, struct arena *mem)
{
	struct slice own = shortened(r->vacation->subject), theirs = shortened(value_of(r, "Subject", mem));
	struct buf plain = BUF_INIT(16 * MAX_SUBJECT);
	if (own.n && text_is_utf8(own))
		buf_add(&plain, own);
	else
		buf_addf(&plain, "Auto: %.*s", SLICE_FMT(theirs.n && text_is_utf8(theirs) ? theirs : SLICE("your message")));
	if (slice_is_ascii(buf_slice(&plain)))
		buf_add(out, buf_slice(&plain));
	else
		add_encoded(out, buf_slice(&plain));
	buf_free(&plain);
}

static void add_ids(struct buf *out, struct slice value)
{
	struct slice ids[MAX_REFERENCES];
	size_t count = 0, kept;
	while ((value = slice_skip(value, slice_find(value, '<'))).n) {
		struct slice id = slice_head(value, slice_find(value, '>') + 1);
		value = slice_skip(value, id.n);
		if (report_is_message_id(id))
			ids[count++ % MAX_REFERENCES] = id;
	}
	kept = count < MAX_REFERENCES ? count : MAX_REFERENCES;
	for (size_t i = count - kept; i < count; i++)
		buf_addf(out, "%.*s\r\n\t", SLICE_FMT(ids[i % MAX_REFERENCES]));
}

/* RFC 5322, 3.6.4: the parent's References, or its In-Reply-To where that is one id, and its Message-ID. */
static void make_references(struct buf *out, const struct vacation_reply *r, struct slice message_id, struct arena *mem)
{
	struct slice references = value_of(r, "References", mem), before = value_of(r, "In-Reply-To", mem);
	if (references.n)
		add_ids(out, references);
	else if (report_is_message_id(before))
		add_ids(out, before);
	buf_add(out, message_id);
}

int vacation_write(struct buf *out, const struct vacation_reply *r, struct arena *mem)
{
	struct slice message_id = value_of(r, "Message-ID", mem);
	struct buf subject = BUF_INIT(16 * MAX_SUBJECT), references = BUF_INIT(16 << 10);
	make_subject(&subject, r, mem);
	make_references(&references, r, message_id, mem);
	report_write_head(out, &(struct report_head){ .host = r->host, .from = r->address, .personal = true, .to = r->to, .id = r->id, .subject = buf_slice(&subject),
	                                              .in_reply_to = message_id, .references = buf_slice(&references), .now_s = r->now_s, .auto_submitted = "auto-replied" });
	report_write_text(out, r->vacation->body);
	buf_free(&subject);
	buf_free(&references);
	return buf_full(out) ? -EMSGSIZE : 0;
}
