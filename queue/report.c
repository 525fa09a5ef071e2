/* The three parts of a report. Everything that comes from elsewhere passes add_text, which lets no control byte through and no
 * byte above 127 unless the report is one of RFC 6533. */
#include "queue/report.h"

#include <errno.h>

#include "base/mail_date.h"
#include "base/mail_header.h"
#include "base/mail_param.h"
#include "base/scan.h"
#include "base/text.h"

enum { MAX_LINE = 900, MAX_MESSAGE_ID = 250, MAX_HEADER = 64 << 10 };

/* -- pieces ------------------------------------------------------------------------------------------------------------------------- */

static void add_text(struct buf *out, struct slice s, bool utf8)
{
	bool keep = utf8 && text_is_utf8(s);
	s = slice_head(s, MAX_LINE);
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		buf_add_byte(out, text_is_print(c) || (c > 127 && keep) ? (char)c : '?');
	}
}

static void add_field(struct buf *out, const char *name, struct slice value, bool utf8)
{
	buf_addf(out, "%s: ", name);
	add_text(out, value, utf8);
	buf_add(out, SLICE("\r\n"));
}

static void add_date(struct buf *out, const char *name, int64_t at_s)
{
	buf_addf(out, "%s: ", name);
	mail_date_print_local(out, at_s);
	buf_add(out, SLICE("\r\n"));
}

bool report_is_message_id(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!text_is_print((unsigned char)s.p[i]) || s.p[i] == ' ')
			return false;
	return s.n > 2 && s.n <= MAX_MESSAGE_ID && s.p[0] == '<' && s.p[s.n - 1] == '>';
}

int report_write_head(struct buf *out, const struct report_head *h)
{
	buf_add(out, SLICE("From: "));
	if (!h->personal)
		buf_addf(out, "Mail delivery at %.*s ", SLICE_FMT(h->host));
	buf_add_byte(out, '<');
	add_text(out, h->from, h->personal);
	buf_add(out, SLICE(">\r\nTo: <"));
	add_text(out, h->to, true);
	buf_add(out, SLICE(">\r\n"));
	add_field(out, "Subject", h->subject, false);
	add_date(out, "Date", h->now_s);
	buf_addf(out, "Message-ID: <%.*s@%.*s>\r\n", SLICE_FMT(h->id), SLICE_FMT(h->host));
	if (report_is_message_id(h->in_reply_to))
		buf_addf(out, "In-Reply-To: %.*s\r\nReferences: %.*s\r\n", SLICE_FMT(h->in_reply_to), SLICE_FMT(h->references.n ? h->references : h->in_reply_to));
	return buf_addf(out, "Auto-Submitted: %s\r\nMIME-Version: 1.0\r\n", h->auto_submitted);
}

static const char *action_name(enum report_action a)
{
	switch (a) {
	case ACTION_FAILED:
		return "failed";
	case ACTION_DELAYED:
		return "delayed";
	case ACTION_DELIVERED:
		return "delivered";
	case ACTION_RELAYED:
		return "relayed";
	case ACTION_EXPANDED:
		return "expanded";
	}
	return "failed";
}

/* -- for people --------------------------------------------------------------------------------------------------------------------- */

static const char *advice(const struct mail_status *s)
{
	if (s->enhanced[0] == 1)
		return "Please check the address for a mistake in writing.";
	if (s->enhanced[0] == 2 && s->enhanced[1] == 2)
		return "The mailbox is full. Please try again some days later, or reach the person in another way.";
	if (s->enhanced[0] == 2)
		return "The mailbox does not take mail just now. Please reach the person in another way.";
	if (s->enhanced[0] == 3 && s->enhanced[1] == 4)
		return "The message is too large. Please send less at once.";
	if (s->enhanced[0] == 4 && s->enhanced[1] == 7)
		return "It was tried again and again until the time was over. Please check the address, or try again later.";
	if (s->enhanced[0] == 4)
		return "The other side can't be reached by mail. Please check what stands behind the @.";
	if (s->enhanced[0] == 7)
		return "The other side refused it by its rules. Please tell its postmaster, in another way, what it said.";
	return "Please tell your postmaster what it said, if sending again doesn't help.";
}

static const char *opening(enum report_kind kind)
{
	switch (kind) {
	case REPORT_DELAY:
		return "Your message has not been delivered yet. You need not do anything:\r\nit is tried again.";
	case REPORT_SUCCESS:
		return "You asked to be told: your message has arrived.";
	case REPORT_FAILURE:
	case REPORT_REPLY:
	case REPORT_INNER:
		break;
	}
	return "Your message could not be delivered to everybody.";
}

static void add_item_words(struct buf *out, const struct report *r, const struct report_item *i)
{
	buf_add(out, SLICE("\r\n  "));
	add_text(out, i->recipient->address, true);
	buf_add(out, SLICE("\r\n"));
	if (i->action == ACTION_DELIVERED) {
		buf_add(out, SLICE("    was delivered to the mailbox.\r\n"));
		return;
	}
	if (i->action == ACTION_RELAYED) {
		buf_add(out, SLICE("    was handed on to a server that will not tell you more.\r\n"));
		return;
	}
	if (i->host.n) {
		buf_add(out, SLICE("    "));
		add_text(out, i->host, false);
		buf_add(out, SLICE(" said:\r\n"));
	}
	buf_addf(out, "    %u ", i->status.code);
	add_text(out, i->status.text, true);
	buf_add(out, SLICE("\r\n"));
	if (r->kind == REPORT_FAILURE)
		buf_addf(out, "    %s\r\n", advice(&i->status));
}

static void add_words(struct buf *out, const struct report *r)
{
	buf_addf(out, "%s\r\n", opening(r->kind));
	for (size_t i = 0; i < r->count; i++)
		add_item_words(out, r, &r->items[i]);
	if (r->kind == REPORT_DELAY) {
		buf_add(out, SLICE("\r\nIt is tried until "));
		mail_date_print_local(out, r->envelope->expires_s);
		buf_add(out, SLICE(".\r\n"));
	}
	buf_addf(out, "\r\nThis is the mail server %.*s; nobody reads answers to this message.\r\nQuestions: ", SLICE_FMT(r->host));
	add_text(out, r->from, false);
	buf_add(out, SLICE("\r\n"));
}

/* -- for programs (RFC 3464) ---------------------------------------------------------------------------------------------------------- */

/* RFC 6533, 3 and 4: UTF-8 in its own form of report, and escaped elsewhere. */
static void add_address(struct buf *out, const char *name, struct slice type, struct slice address, bool utf8)
{
	buf_addf(out, "%s: ", name);
	add_text(out, type, false);
	buf_add(out, SLICE("; "));
	if (slice_eq_nocase(type, SLICE("utf-8")) && !utf8)
		mail_param_add_utf8_address(out, address, false);
	else
		add_text(out, address, utf8);
	buf_add(out, SLICE("\r\n"));
}

/* "mx.example.org" of "mx.example.org[192.0.2.1]:25". */
static struct slice host_name(struct slice host)
{
	size_t end = slice_find(host, '[');
	return end ? slice_head(host, end) : host;
}

/* RFC 2852, 4.1.3: in mode N the wanted time is over, whatever the last attempt met with. */
static bool is_past_deadline(const struct report *r)
{
	const struct envelope *e = r->envelope;
	return r->kind == REPORT_DELAY && e->deliver_by_s && !e->deliver_by_return && r->now_s >= e->deliver_by_s;
}

static void add_item_fields(struct buf *out, const struct report *r, const struct report_item *i, bool utf8)
{
	static const char classes[] = { [MAIL_OK] = '2', [MAIL_LATER] = '4', [MAIL_NEVER] = '5' };
	buf_add(out, SLICE("\r\n"));
	if (i->recipient->original.n) {
		struct slice rest, type = slice_cut(i->recipient->original, ';', &rest);
		add_address(out, "Original-Recipient", rest.p ? type : SLICE("rfc822"), rest.p ? rest : type, utf8);
	}
	add_address(out, "Final-Recipient", slice_is_ascii(i->recipient->address) ? SLICE("rfc822") : SLICE("utf-8"), i->recipient->address, utf8);
	if (is_past_deadline(r))
		buf_addf(out, "Action: %s\r\nStatus: 4.4.7\r\n", action_name(i->action));
	else
		buf_addf(out, "Action: %s\r\nStatus: %c.%u.%u\r\n", action_name(i->action), classes[i->status.fate], i->status.enhanced[0], i->status.enhanced[1]);
	if (i->host.n) {
		buf_add(out, SLICE("Remote-MTA: dns; "));
		add_text(out, host_name(i->host), false);
		buf_addf(out, "\r\nDiagnostic-Code: smtp; %u %c.%u.%u ", i->status.code, classes[i->status.fate], i->status.enhanced[0], i->status.enhanced[1]);
		add_text(out, i->status.text, utf8);
		buf_add(out, SLICE("\r\n"));
	}
	if (i->last_s)
		add_date(out, "Last-Attempt-Date", i->last_s);
	if (r->kind == REPORT_DELAY)
		add_date(out, "Will-Retry-Until", r->envelope->expires_s);
}

/* RFC 4865, 5.1.2 */
static void add_release(struct buf *out, const struct envelope *e)
{
	buf_add(out, SLICE("Future-Release-Request: "));
	if (e->hold_for_s) {
		buf_addf(out, "for;%lld", (long long)e->hold_for_s);
	} else {
		buf_add(out, SLICE("until;"));
		mail_date_print_iso(out, e->hold_until_s);
	}
	buf_add(out, SLICE("\r\n"));
}

static void add_status_part(struct buf *out, const struct report *r, bool utf8)
{
	buf_addf(out, "Reporting-MTA: dns; %.*s\r\n", SLICE_FMT(r->host));
	if (r->envelope->envelope_id.n)
		add_field(out, "Original-Envelope-Id", r->envelope->envelope_id, false);
	add_date(out, "Arrival-Date", r->envelope->arrived_s);
	if (r->envelope->deliver_by_s)
		add_date(out, "Deliver-By-Date", r->envelope->deliver_by_s); /* RFC 2852, 5 */
	if (r->envelope->hold_until_s)
		add_release(out, r->envelope);
	add_field(out, "X-Porter-Queue-ID", r->envelope->id, false);
	for (size_t i = 0; i < r->count; i++)
		add_item_fields(out, r, &r->items[i], utf8);
}

/* -- what comes back of the message ------------------------------------------------------------------------------------------------------ */

static bool is_plain(struct slice s, bool utf8)
{
	size_t line = 0;
	if (utf8 && !text_is_utf8(s))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		line = s.p[i] == '\n' ? 0 : line + 1;
		bool ends = s.p[i] == '\n' || (s.p[i] == '\r' && i + 1 < s.n && s.p[i + 1] == '\n');
		if ((unsigned char)s.p[i] == 127 || ((unsigned char)s.p[i] > 127 && !utf8) || ((unsigned char)s.p[i] < 32 && s.p[i] != '\t' && !ends) || line > 990)
			return false;
	}
	return true;
}

/* Quoted-printable (RFC 2045, 6.7), lines of at most 76; line ends of the text are kept. */
static void add_quoted(struct buf *out, struct slice s)
{
	size_t line = 0;
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c == '\r' && i + 1 < s.n && s.p[i + 1] == '\n')
			continue;
		if (c == '\n') {
			buf_add(out, SLICE("\r\n"));
			line = 0;
			continue;
		}
		if (line > 70) {
			buf_add(out, SLICE("=\r\n"));
			line = 0;
		}
		bool literal = text_is_print(c) && c != '=' && !(c == ' ' && i + 1 < s.n && (s.p[i + 1] == '\r' || s.p[i + 1] == '\n'));
		line += literal ? 1 : 3;
		if (literal)
			buf_add_byte(out, (char)c);
		else
			buf_addf(out, "=%02X", c);
	}
}

void report_write_text(struct buf *out, struct slice text)
{
	bool plain = is_plain(text, false);
	struct slice line;
	buf_addf(out, "Content-Type: text/plain; charset=%s\r\nContent-Transfer-Encoding: %s\r\n\r\n",
	         slice_is_ascii(text) ? "us-ascii" : text_is_utf8(text) ? "utf-8" : "iso-8859-1", plain ? "7bit" : "quoted-printable");
	if (!plain)
		add_quoted(out, text);
	while (plain && scan_line(&text, &line))
		buf_addf(out, "%.*s\r\n", SLICE_FMT(line));
}

/* Of a stranger's header section: what can't be used to carry a text. */
static void keep_harmless(struct buf *out, struct slice header)
{
	struct mail_field f;
	enum mail_field_kind kind;
	int64_t at_s;
	for (int count = 0; count < 1000 && (kind = mail_field_next(&header, &f)) != MAIL_FIELD_END; count++) {
		struct slice value = slice_trim(f.value);
		if (kind != MAIL_FIELD)
			continue;
		if (slice_eq_nocase(f.name, SLICE("Message-ID")) && report_is_message_id(value))
			buf_addf(out, "Message-ID: %.*s\r\n", SLICE_FMT(value));
		if (slice_eq_nocase(f.name, SLICE("Date")) && mail_date_parse(value, &at_s, NULL))
			add_date(out, "Date", at_s);
	}
}

static void add_header_part(struct buf *out, const struct report *r, bool utf8)
{
	struct buf kept = BUF_INIT(MAX_HEADER);
	struct slice header = slice_head(r->header, MAX_HEADER);
	size_t end = mail_header_end(header);
	if (end)
		header = slice_head(header, end);
	if (r->envelope->evidence.grade < EVIDENCE_CLIENT) {
		keep_harmless(&kept, header);
		header = buf_slice(&kept);
	}
	bool plain = is_plain(header, utf8);
	buf_addf(out, "Content-Type: %s\r\n", utf8 ? "message/global-headers" : "text/rfc822-headers");
	buf_addf(out, "Content-Description: Header of your message\r\nContent-Transfer-Encoding: %s\r\n\r\n", !plain ? "quoted-printable" : utf8 ? "8bit" : "7bit");
	if (plain)
		buf_add(out, header);
	else
		add_quoted(out, header);
	buf_add(out, SLICE("\r\n"));
	buf_free(&kept);
}

/* -- the whole ------------------------------------------------------------------------------------------------------------------------- */

static struct slice subject_of(enum report_kind kind)
{
	return kind == REPORT_DELAY ? SLICE("Your message is delayed") :
	       kind == REPORT_SUCCESS ? SLICE("Your message has arrived") : SLICE("Your message could not be delivered");
}

int report_write(struct buf *out, const struct report *r, bool *eight_bit)
{
	bool utf8 = r->envelope->utf8;
	struct buf words = BUF_INIT(out->max);
	report_write_head(out, &(struct report_head){ .host = r->host, .from = r->from, .to = r->envelope->reverse_path, .id = r->id, .subject = subject_of(r->kind),
	                                              .in_reply_to = r->envelope->message_id, .now_s = r->now_s, .auto_submitted = "auto-replied" });
	buf_addf(out, "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"=_%.*s\"\r\n\r\n", SLICE_FMT(r->id));
	buf_addf(out, "This is a report about your message, in the form of RFC 3464.\r\n\r\n--=_%.*s\r\n", SLICE_FMT(r->id));
	buf_add(out, SLICE("Content-Description: Report\r\n"));
	add_words(&words, r);
	report_write_text(out, buf_slice(&words));
	buf_free(&words);
	buf_addf(out, "\r\n--=_%.*s\r\nContent-Type: message/%sdelivery-status\r\nContent-Description: Delivery report\r\n", SLICE_FMT(r->id), utf8 ? "global-" : "");
	buf_addf(out, "Content-Transfer-Encoding: %s\r\n\r\n", utf8 ? "8bit" : "7bit");
	add_status_part(out, r, utf8);
	buf_addf(out, "\r\n--=_%.*s\r\n", SLICE_FMT(r->id));
	add_header_part(out, r, utf8);
	buf_addf(out, "\r\n--=_%.*s--\r\n", SLICE_FMT(r->id));
	*eight_bit = !slice_is_ascii(buf_slice(out));
	return buf_full(out) ? -EMSGSIZE : 0;
}
