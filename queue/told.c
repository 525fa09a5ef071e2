/* What smtpd tells of messages that were delivered inside the transaction: success reports that were asked for, and automatic replies (vacation, RFC 3834). Both pass
 * the gate. A vacation text is a file in vacation-directory named by the address:
 *
 *	Subject: I am away          optional; else "Re: " and the message's
 *	Days: 7                     optional: one reply to a sender in so many days
 *	From: 2026-12-20            optional: the first and the last day (UTC)
 *	Until: 2027-01-06
 *
 *	The text.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mail_date.h"
#include "base/mail_header.h"
#include "base/mem.h"
#include "base/scan.h"
#include "base/text.h"
#include "base/unique.h"
#include "queue/queue_inside.h"
#include "queue/queue_settings.h"
#include "queue/report.h"

enum { MAX_VACATIONS = QUEUE_MAX_VACATIONS, MAX_TEXT = 64 << 10, MAX_REPLY = 256 << 10, MAX_ADDRESS = 255, MAX_FIELDS = 1000, DEFAULT_DAYS = 7, DAY_S = 86400 };

struct vacations {
	char **addresses;
	size_t count;
	bool busy;
	char **fresh;                /* the worker's */
	size_t fresh_count;
	struct queue *queue;
};

/* Which addresses have one ------------------------------------------------------------------------------------------------------------- */

static void free_list(char **list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		mem_free(list[i]);
	mem_free(list);
}

static void read_folder(void *arg)
{
	struct vacations *v = arg;
	char path[4200];
	snprintf(path, sizeof path, "%.*s", SLICE_FMT(queue_settings.vacations));
	DIR *d = opendir(path);
	v->fresh = mem_new_array(MAX_VACATIONS, sizeof *v->fresh);
	v->fresh_count = 0;
	for (struct dirent *e = d ? readdir(d) : NULL; e && v->fresh_count < MAX_VACATIONS; e = readdir(d))
		if (e->d_name[0] != '.' && strchr(e->d_name, '@') && strlen(e->d_name) <= MAX_ADDRESS)
			v->fresh[v->fresh_count++] = mem_copy(e->d_name, strlen(e->d_name));
	if (d)
		closedir(d);
}

static bool is_same(const struct vacations *v)
{
	bool same = v->count == v->fresh_count;
	for (size_t i = 0; same && i < v->count; i++)
		same = strcmp(v->addresses[i], v->fresh[i]) == 0;
	return same;
}

static void folder_read(void *arg)
{
	struct vacations *v = arg;
	struct queue *q = v->queue;
	v->busy = false;
	bool same = is_same(v);
	free_list(v->addresses, v->count);
	v->addresses = v->fresh;
	v->count = v->fresh_count;
	v->fresh = NULL;
	v->fresh_count = 0;
	if (!same)
		queue_tell_vacations(q);
	queue_end(q);
}

void vacation_look(struct queue *q)
{
	if (!q->vacations) {
		q->vacations = MEM_NEW(struct vacations);
		q->vacations->queue = q;
	}
	if (q->vacations->busy || q->draining)
		return;
	q->vacations->busy = true;
	queue_begin(q);
	worker_add(q->files, read_folder, folder_read, q->vacations);
}

void vacation_put_list(struct queue *q, struct buf *out)
{
	struct vacations *v = q->vacations;
	size_t count = v ? v->count : 0;
	struct slice *texts = mem_new_array(count ? count : 1, sizeof *texts);
	for (size_t i = 0; i < count; i++)
		texts[i] = slice_of(v->addresses[i]);
	queue_put_texts(out, texts, count);
	mem_free(texts);
}

void vacation_free(struct queue *q)
{
	if (!q->vacations)
		return;
	free_list(q->vacations->addresses, q->vacations->count);
	free_list(q->vacations->fresh, q->vacations->fresh_count);
	mem_free(q->vacations);
	q->vacations = NULL;
}

/* One message that was told of ----------------------------------------------------------------------------------------------------------- */

struct telling {
	struct queue *queue;
	struct buf payload, text;
	struct arena mem;
	struct queue_told told;
	struct mail_header header;
	size_t next;                 /* recipient */
	uint64_t days;
	struct slice subject;        /* of the vacation text */
	size_t body_at;
	bool fits;
};

static void telling_free(struct telling *t)
{
	struct queue *q = t->queue;
	buf_free(&t->payload);
	buf_free(&t->text);
	arena_free(&t->mem);
	mem_free(t);
	queue_end(q);
}

static struct slice field_of(const struct telling *t, const char *name, struct arena *mem)
{
	const struct mail_field *f = mail_header_find(&t->header, slice_of(name), 0);
	return f ? mail_field_unfold(f, mem) : SLICE("");
}

/* RFC 3834, 2: nothing automatic is answered, nor what came by a list, nor what is not addressed to a person. */
static bool is_automatic(struct telling *t)
{
	struct slice from = t->told.envelope.reverse_path, auto_submitted = field_of(t, "Auto-Submitted", &t->mem), precedence = field_of(t, "Precedence", &t->mem);
	struct slice local = slice_head(from, slice_rfind(from, '@'));
	return (auto_submitted.n && !slice_starts_nocase(auto_submitted, SLICE("no"))) || slice_eq_nocase(precedence, SLICE("bulk")) || slice_eq_nocase(precedence, SLICE("list")) ||
	       slice_eq_nocase(precedence, SLICE("junk")) || mail_header_find(&t->header, SLICE("List-Id"), 0) || mail_header_find(&t->header, SLICE("List-Unsubscribe"), 0) ||
	       slice_starts_nocase(local, SLICE("owner-")) || slice_ends_nocase(local, SLICE("-request")) || slice_ends_nocase(local, SLICE("-owner")) ||
	       slice_eq_nocase(local, SLICE("mailer-daemon")) || slice_starts_nocase(local, SLICE("noreply")) || slice_starts_nocase(local, SLICE("no-reply"));
}

/* It must be addressed to this recipient by name (RFC 3834, 2; as vacation programs do). */
static bool is_addressed_to(struct telling *t, struct slice address)
{
	static const char *const names[] = { "To", "Cc", "Bcc", "Resent-To", "Resent-Cc" };
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct slice value = text_lower(&t->mem, field_of(t, names[i], &t->mem));
		if (value.p && slice_find_slice(value, text_lower(&t->mem, address)) < value.n)
			return true;
	}
	return false;
}

static struct envelope envelope_of(struct telling *t, const struct unique *id, struct envelope_recipient *to)
{
	int64_t now = clock_wall_s();
	*to = queue_address(t->queue, t->told.envelope.reverse_path, &t->mem);
	return (struct envelope){ .id = unique_slice(id), .arrived_s = now, .expires_s = queue_expiry(now), .evidence = t->told.envelope.evidence, .report = true,
		                  .reverse_path = SLICE(""), .client = SLICE("local"), .transaction = t->told.envelope.transaction, .sign = true, .recipients = to, .recipient_count = 1 };
}

static bool gate(struct telling *t, enum report_kind kind, bool automatic)
{
	struct slice from = t->told.envelope.reverse_path;
	struct report_facts f = { .kind = kind, .evidence = t->told.envelope.evidence, .to = from, .organisation = slice_skip(from, slice_rfind(from, '@') + 1), .automatic = automatic,
		                  .mode_none = slice_eq(queue_settings.reports, SLICE("none")) };
	struct report_verdict v = may_report(t->queue->gate, &f, clock_wall_s());
	t->queue->gate_dirty = true;
	log_event(LOG_INFO, v.allowed ? "report" : "report-withheld", LOG_STR("id", t->told.envelope.transaction), LOG_STR("kind", report_kind_name(kind)), LOG_STR("to", from),
	          LOG_CSTR("reason", v.reason), LOG_END);
	return v.allowed;
}

/* Success reports ------------------------------------------------------------------------------------------------------------------------- */

static void tell_success(struct telling *t)
{
	const struct envelope *e = &t->told.envelope;
	struct report_item *items = ARENA_ARRAY(&t->mem, struct report_item, e->recipient_count);
	struct unique id = unique_new();
	struct envelope_recipient to;
	struct buf text = BUF_INIT(MAX_REPLY * 4);
	bool eight_bit;
	size_t n = 0;
	for (size_t i = 0; items && i < e->recipient_count; i++)
		if (envelope_wants(&e->recipients[i], NOTIFY_SUCCESS))
			items[n++] = (struct report_item){ &e->recipients[i], ACTION_DELIVERED, MAIL_STATUS(MAIL_OK, 250, 1, 5, "Delivered"), SLICE(""), clock_wall_s() };
	if (n && gate(t, REPORT_SUCCESS, false)) {
		struct report r = { .kind = REPORT_SUCCESS, .envelope = e, .items = items, .count = n, .header = t->told.header, .id = unique_slice(&id), .host = t->queue->host,
			            .from = slice_of(t->queue->postmaster_text), .now_s = clock_wall_s() };
		if (report_write(&text, &r, &eight_bit) == 0) {
			struct envelope out = envelope_of(t, &id, &to);
			out.eight_bit = eight_bit;
			t->queue->counts.reports++;
			queue_post(t->queue, &out, &text, NULL, NULL);
		}
	}
	buf_free(&text);
	telling_free(t);
}

/* Vacation --------------------------------------------------------------------------------------------------------------------------------- */

static void reply_next(struct telling *t);

static bool read_line_of_head(struct telling *t, struct slice line)
{
	struct slice value, name = slice_cut(line, ':', &value);
	int64_t day;
	uint64_t n;
	if (!value.p)
		return false;
	value = slice_trim(value);
	struct buf iso = BUF_INIT(64);
	buf_addf(&iso, "%.*sT00:00:00Z", SLICE_FMT(slice_head(value, 10)));
	bool is_day = mail_date_parse_iso(buf_slice(&iso), &day);
	buf_free(&iso);
	if (slice_eq_nocase(name, SLICE("Subject")))
		t->subject = arena_copy(&t->mem, value);
	else if (slice_eq_nocase(name, SLICE("Days")) && scan_uint_all(value, 365, &n) && n)
		t->days = n;
	else if (slice_eq_nocase(name, SLICE("From")) && is_day)
		t->fits = t->fits && clock_wall_s() >= day;
	else if (slice_eq_nocase(name, SLICE("Until")) && is_day)
		t->fits = t->fits && clock_wall_s() < day + DAY_S;
	else
		return false;
	return true;
}

static void read_text(void *arg)
{
	struct telling *t = arg;
	struct slice address = t->told.envelope.recipients[t->next - 1].address, rest, line;
	char path[4600];
	buf_clear(&t->text);
	t->days = DEFAULT_DAYS;
	t->subject = SLICE("");
	t->fits = false;
	if (slice_find(address, '/') < address.n || snprintf(path, sizeof path, "%.*s/%.*s", SLICE_FMT(queue_settings.vacations), SLICE_FMT(address)) >= (int)sizeof path)
		return;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return;
	ssize_t n;
	for (char *room = buf_room(&t->text, 4096); room && (n = read(fd, room, 4096)) > 0; room = buf_room(&t->text, 4096))
		buf_used(&t->text, (size_t)n);
	close(fd);
	t->fits = true;
	rest = buf_slice(&t->text);
	struct slice before = rest;
	while (scan_line(&rest, &line) && line.n && read_line_of_head(t, line))
		before = rest;
	t->body_at = (size_t)((line.n == 0 ? rest.p : before.p) - t->text.p);
}

static void post_reply(struct telling *t)
{
	struct slice address = t->told.envelope.recipients[t->next - 1].address, line, rest = slice_skip(buf_slice(&t->text), t->body_at);
	struct unique id = unique_new();
	struct envelope_recipient to;
	struct buf text = BUF_INIT(MAX_REPLY), subject = BUF_INIT(600);
	struct slice theirs = field_of(t, "Subject", &t->mem);
	if (t->subject.n)
		buf_add(&subject, t->subject);
	else
		buf_addf(&subject, "Re: %.*s", SLICE_FMT(slice_is_ascii(theirs) ? slice_head(theirs, 200) : SLICE("your message")));
	report_write_head(&text, t->queue->host, address, t->told.envelope.reverse_path, slice_is_ascii(buf_slice(&subject)) ? buf_slice(&subject) : SLICE("Automatic reply"), unique_slice(&id),
	                  clock_wall_s(), field_of(t, "Message-ID", &t->mem), "auto-replied");
	while (scan_line(&rest, &line))
		buf_addf(&text, "%.*s\r\n", SLICE_FMT(line));
	struct envelope out = envelope_of(t, &id, &to);
	out.eight_bit = !slice_is_ascii(buf_slice(&text));
	if (!buf_full(&text))
		queue_post(t->queue, &out, &text, NULL, NULL);
	buf_free(&text);
	buf_free(&subject);
}

static void on_reply_answer(void *arg, struct buf *answer)
{
	struct telling *t = arg;
	enum answer replied = UNSURE;
	queue_get_answer(buf_slice(answer), &replied);
	if (replied == ABSENT && gate(t, REPORT_REPLY, is_automatic(t)))
		post_reply(t);
	reply_next(t);
}

static void text_read(void *arg)
{
	struct telling *t = arg;
	struct slice address = t->told.envelope.recipients[t->next - 1].address;
	if (!t->fits || is_automatic(t) || !is_addressed_to(t, address))
		return reply_next(t);
	struct buf payload = BUF_INIT(4096);
	char days[16];
	snprintf(days, sizeof days, "%llu", (unsigned long long)t->days);
	struct slice texts[] = { address, t->told.envelope.reverse_path, slice_of(days) };
	queue_put_texts(&payload, texts, 3);
	if (ledger_ask(t->queue->ledger, LEDGER_REPLY_TAKE, buf_slice(&payload), on_reply_answer, t))
		reply_next(t);
	buf_free(&payload);
}

static void reply_next(struct telling *t)
{
	if (t->next == t->told.envelope.recipient_count || !t->told.envelope.reverse_path.n)
		return telling_free(t);
	t->next++;
	worker_add(t->queue->files, read_text, text_read, t);
}

int told_message(struct peer *p, struct ipc_message *m)
{
	struct telling *t = MEM_NEW(struct telling);
	*t = (struct telling){ .queue = p->queue, .payload = BUF_INIT(IPC_MAX_PAYLOAD), .text = BUF_INIT(MAX_TEXT), .mem = ARENA_INIT(32 << 20) };
	queue_begin(t->queue);
	buf_add(&t->payload, m->payload);
	int error = queue_get_told(buf_slice(&t->payload), &t->mem, &t->told);
	if (!error && mail_header_parse(t->told.header, MAX_FIELDS, &t->mem, &t->header) < 0)
		memset(&t->header, 0, sizeof t->header);
	if (error || !t->told.envelope.recipient_count)
		telling_free(t);
	else if (m->type == QUEUE_SUCCESS)
		tell_success(t);
	else
		reply_next(t);
	return error;
}
