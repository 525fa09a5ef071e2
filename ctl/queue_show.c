/* One queued message, whole: for people, and as a JSON object that has what the list has of it, and more. */
#include "ctl/queue_show.h"

#include <stdio.h>
#include <unistd.h>

#include "base/mail_date.h"
#include "base/text.h"
#include "ctl/queue_list.h"

enum { MAX_HEADER = 64 << 10, MAX_JSON = 1 << 30, PIECE = 64 << 10 };

struct showing {
	struct ctl *c;
	bool body;
};

/* -- content ------------------------------------------------------------------------------------------------------------------------------ */

/* Up to max bytes; *end: where the header section ends, its empty line left out. */
static void read_content(const struct spool_message *m, uint64_t max, struct buf *out, size_t *end)
{
	uint64_t length = m->content_length < max ? m->content_length : max;
	ssize_t n = 1;
	while (out->n < length && n > 0) {
		uint64_t left = length - out->n, want = left < PIECE ? left : PIECE;
		char *room = buf_room(out, want);
		n = room ? pread(m->fd, room, want, (off_t)(m->content_offset + out->n)) : -1;
		buf_used(out, n > 0 ? (size_t)n : 0);
	}
	size_t found = slice_find_slice(buf_slice(out), SLICE("\r\n\r\n"));
	*end = found < out->n ? found + 2 : out->n;
}

static void print_line(struct slice line)
{
	bool utf8 = text_is_utf8(line);
	size_t acting = 0;
	struct buf out = BUF_INIT(4 * line.n + 8);
	for (size_t i = 0; i < line.n; i++) {
		unsigned char c = (unsigned char)line.p[i];
		bool ends = c == '\r' && i + 1 == line.n;
		acting = acting || !utf8 ? acting : text_acting_length(slice_skip(line, i));
		bool acts = acting > 0;
		acting -= acts;
		if (text_is_print(c) || c == '\t' || (c > 0x7f && utf8 && !acts))
			buf_add_byte(&out, (char)c);
		else if (!ends)
			buf_addf(&out, "\\x%02x", c);
	}
	buf_add_byte(&out, '\n');
	ctl_print(buf_slice(&out));
	buf_free(&out);
}

static void print_content(struct slice text)
{
	if (!isatty(STDOUT_FILENO)) {
		ctl_print(text);
		return;
	}
	while (text.n)
		print_line(slice_cut(text, '\n', &text));
}

/* -- for people ----------------------------------------------------------------------------------------------------------------------------- */

static void print_time(const char *what, int64_t at_s)
{
	struct buf b = BUF_INIT(100);
	if (!at_s)
		return;
	mail_date_print_local(&b, at_s);
	printf("%s %.*s\n", what, SLICE_FMT(buf_slice(&b)));
	buf_free(&b);
}

static void print_text(const char *what, struct slice text)
{
	struct buf b = BUF_INIT(8192);
	if (!text.n)
		return;
	text_add_escaped(&b, text);
	printf("%s %.*s\n", what, SLICE_FMT(buf_slice(&b)));
	buf_free(&b);
}

static void add_notify(struct buf *out, unsigned notify)
{
	static const char *const names[] = { "NEVER", "SUCCESS", "FAILURE", "DELAY" };
	const char *before = "";
	for (unsigned i = 0; i < 4; i++)
		if (notify & 1u << i) {
			buf_addf(out, "%s%s", before, names[i]);
			before = ",";
		}
}

static void print_wishes(const struct envelope *e)
{
	print_text("ENVID", e->envelope_id);
	if (e->return_full || e->return_headers)
		printf("RET %s\n", e->return_full ? "FULL" : "HDRS");
	if (e->priority)
		printf("MT-PRIORITY %d\n", e->priority);
	if (e->utf8 || e->require_tls)
		printf("needs%s%s\n", e->utf8 ? " SMTPUTF8" : "", e->require_tls ? " REQUIRETLS" : "");
	print_time("held until", e->hold_until_s);
	print_time(e->deliver_by_return ? "deliver by (or return)" : "deliver by (or tell)", e->deliver_by_s);
}

static void print_recipient(const struct envelope_recipient *r, const struct recipient_state *s)
{
	static const char *const fates[] = { "waits", "done", "failed" };
	struct buf b = BUF_INIT(16384);
	buf_add_cstr(&b, "to <");
	text_add_escaped(&b, r->address);
	buf_add_cstr(&b, "> by ");
	text_add_escaped(&b, s->place);
	buf_addf(&b, ": %s, %u attempt%s", fates[s->fate], s->attempts, s->attempts == 1 ? "" : "s");
	if (r->notify) {
		buf_add_cstr(&b, ", NOTIFY=");
		add_notify(&b, r->notify);
	}
	if (r->original.n) {
		buf_add_cstr(&b, ", ORCPT=");
		text_add_escaped(&b, r->original);
	}
	printf("%.*s\n", SLICE_FMT(buf_slice(&b)));
	buf_free(&b);
}

static void print_history(struct slice journal)
{
	struct event e;
	while (event_next(&journal, &e)) {
		struct buf b = BUF_INIT(8192);
		mail_date_print_local(&b, e.at_s);
		buf_addf(&b, "  %.*s", SLICE_FMT(event_name(e.kind)));
		if (e.recipient != EVENT_ALL_RECIPIENTS)
			buf_addf(&b, " recipient %u", e.recipient + 1);
		if (e.host.n) {
			buf_add_cstr(&b, " at ");
			text_add_escaped(&b, e.host);
		}
		if (e.status.text.n) {
			buf_addf(&b, ": %u ", e.status.code);
			text_add_escaped(&b, e.status.text);
		}
		printf("%.*s\n", SLICE_FMT(buf_slice(&b)));
		buf_free(&b);
	}
}

static void print_origin(const struct queue_row *row)
{
	const struct spool_message *m = row->message;
	const struct envelope *e = &m->envelope;
	struct buf b = BUF_INIT(16 << 10);
	buf_addf(&b, "id %.*s%s\nfrom <", SLICE_FMT(row->id), m->state.held ? ", held" : "");
	text_add_escaped(&b, e->reverse_path);
	buf_addf(&b, ">, evidence %.*s: ", SLICE_FMT(evidence_name(e->evidence.grade)));
	text_add_escaped(&b, e->evidence.who);
	buf_add_cstr(&b, " (");
	text_add_escaped(&b, e->evidence.reason);
	buf_addf(&b, ")\nclient %.*s, transaction %.*s\nsize %llu\n", SLICE_FMT(e->client), SLICE_FMT(e->transaction), (unsigned long long)m->content_length);
	ctl_print(buf_slice(&b));
	buf_free(&b);
}

static void show_text(const struct showing *s, const struct queue_row *row)
{
	const struct spool_message *m = row->message;
	const struct envelope *e = &m->envelope;
	struct buf text = BUF_INIT(MAX_JSON);
	size_t end;
	print_origin(row);
	print_wishes(e);
	print_time("arrived", e->arrived_s);
	print_time("expires", e->expires_s);
	print_time("next try", m->state.held ? 0 : row->next_s);
	for (size_t i = 0; i < e->recipient_count; i++)
		print_recipient(&e->recipients[i], &m->state.recipients[i]);
	print_history(m->journal);
	puts("");
	read_content(m, s->body ? MAX_JSON : MAX_HEADER, &text, &end);
	print_content(s->body ? buf_slice(&text) : slice_head(buf_slice(&text), end));
	buf_free(&text);
}

/* -- for programs ----------------------------------------------------------------------------------------------------------------------------- */

static void add_text(struct buf *out, const char *name, struct slice text)
{
	buf_addf(out, ",\"%s\":", name);
	text_add_json(out, text);
}

static void add_envelope(struct buf *out, const struct envelope *e)
{
	add_text(out, "who", e->evidence.who);
	add_text(out, "why", e->evidence.reason);
	add_text(out, "client", e->client);
	add_text(out, "transaction", e->transaction);
	add_text(out, "message_id", e->message_id);
	add_text(out, "envid", e->envelope_id);
	add_text(out, "ret", e->return_full ? SLICE("FULL") : e->return_headers ? SLICE("HDRS") : SLICE(""));
	buf_addf(out, ",\"priority\":%d,\"smtputf8\":%s,\"requiretls\":%s,\"hold_until\":%lld,\"deliver_by\":%lld,\"options\":[", e->priority, e->utf8 ? "true" : "false",
	         e->require_tls ? "true" : "false", (long long)e->hold_until_s, (long long)e->deliver_by_s);
	for (size_t i = 0; i < e->recipient_count; i++) {
		buf_add_cstr(out, i ? ",{\"notify\":\"" : "{\"notify\":\"");
		add_notify(out, e->recipients[i].notify);
		buf_add_cstr(out, "\"");
		add_text(out, "original", e->recipients[i].original);
		buf_add_byte(out, '}');
	}
	buf_add_byte(out, ']');
}

static void add_history(struct buf *out, struct slice journal)
{
	struct event e;
	const char *before = "";
	buf_add_cstr(out, ",\"history\":[");
	while (event_next(&journal, &e)) {
		buf_addf(out, "%s{\"at\":%lld,\"event\":\"%.*s\"", before, (long long)e.at_s, SLICE_FMT(event_name(e.kind)));
		if (e.recipient != EVENT_ALL_RECIPIENTS)
			buf_addf(out, ",\"recipient\":%u", e.recipient);
		buf_addf(out, ",\"code\":%u", e.status.text.n ? e.status.code : 0);
		add_text(out, "host", e.host);
		add_text(out, "text", e.status.text);
		buf_add_byte(out, '}');
		before = ",";
	}
	buf_add_byte(out, ']');
}

static void show_json(const struct showing *s, const struct queue_row *row)
{
	const struct spool_message *m = row->message;
	struct buf out = BUF_INIT(MAX_JSON), text = BUF_INIT(MAX_JSON);
	size_t end;
	queue_list_json(&out, row);
	buf_truncate(&out, out.n - 1);     /* its closing brace */
	add_envelope(&out, &m->envelope);
	add_history(&out, m->journal);
	read_content(m, s->body ? MAX_JSON / 8 : MAX_HEADER, &text, &end);
	add_text(&out, "header", slice_head(buf_slice(&text), end));
	if (s->body)
		add_text(&out, "body", slice_skip(buf_slice(&text), end + 2));
	buf_add_cstr(&out, "}\n");
	ctl_print(buf_slice(&out));
	buf_free(&text);
	buf_free(&out);
}

/* -- the command ---------------------------------------------------------------------------------------------------------------------------- */

static bool show_one(void *arg, const struct queue_row *row, struct slice line)
{
	struct showing *s = arg;
	(void)line;
	if (s->c->json)
		show_json(s, row);
	else
		show_text(s, row);
	return true;
}

int queue_show(struct ctl *c, int argc, char **argv, enum spool_folder where)
{
	struct queue_query q;
	struct showing s = { .c = c, .body = ctl_flag(&argc, argv, "--body") };
	struct queue_walker with = { .take = show_one, .arg = &s };
	int code = queue_query_read(c, &argc, argv, &q);
	if (!code && q.id_count != 1)
		code = ctl_fail(CTL_USAGE, "one ID is wanted");
	if (code || !ctl_settings(c))
		return code ? code : CTL_CONFIG;
	return queue_query_walk(c, &q, where, &with);
}
