/* What smtpd tells of messages that were delivered inside the transaction: success reports that were asked for, and automatic replies (vacation, RFC 3834). Both pass
 * the gate. What a vacation text is, and what its reply looks like, stands in vacation.h. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mail_header.h"
#include "base/mem.h"
#include "base/unique.h"
#include "queue/queue_inside.h"
#include "queue/queue_settings.h"
#include "queue/report.h"
#include "queue/vacation.h"

enum { MAX_VACATIONS = QUEUE_MAX_VACATIONS, MAX_TEXT = 64 << 10, MAX_REPLY = 256 << 10, MAX_ADDRESS = 255, MAX_FIELDS = 1000 };

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
	size_t room = 0;
	v->fresh = NULL;
	v->fresh_count = 0;
	for (struct dirent *e = d ? readdir(d) : NULL; e && v->fresh_count < MAX_VACATIONS; e = readdir(d)) {
		if (e->d_name[0] == '.' || !strchr(e->d_name, '@') || strlen(e->d_name) > MAX_ADDRESS)
			continue;
		if (v->fresh_count == room) {
			room = room ? 2 * room : 16;
			v->fresh = mem_grow(v->fresh, room, sizeof *v->fresh);
		}
		v->fresh[v->fresh_count++] = mem_copy(e->d_name, strlen(e->d_name));
	}
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
	struct vacation vacation;    /* views of text */
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

static struct envelope envelope_of(struct telling *t, const struct unique *id, struct envelope_recipient *to)
{
	int64_t now = clock_wall_s();
	*to = queue_address(t->queue, t->told.envelope.reverse_path, &t->mem);
	return (struct envelope){ .id = unique_slice(id), .arrived_s = now, .expires_s = queue_expiry(now), .evidence = t->told.envelope.evidence, .report = true,
		                  .reverse_path = SLICE(""), .utf8 = !slice_is_ascii(to->address), .require_tls = t->told.envelope.require_tls, .client = SLICE("local"), .transaction = t->told.envelope.transaction, .sign = true,
		                  .recipients = to, .recipient_count = 1 };
}

static struct report_facts facts_of(const struct telling *t, enum report_kind kind, bool automatic)
{
	struct slice from = t->told.envelope.reverse_path;
	return (struct report_facts){ .kind = kind, .evidence = t->told.envelope.evidence, .to = from, .organisation = report_organisation(&t->told.envelope.evidence, from),
		                      .automatic = automatic, .mode_none = slice_eq(queue_settings.reports, SLICE("none")) };
}

static bool gate(struct telling *t, const struct report_facts *f)
{
	struct report_verdict v = may_report(t->queue->gate, f, clock_wall_s());
	t->queue->gate_dirty = true;
	log_event(LOG_INFO, v.allowed ? "report" : "report-withheld", LOG_STR("id", t->told.envelope.transaction), LOG_STR("kind", report_kind_name(f->kind)), LOG_STR("to", f->to),
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
	struct report_facts f = facts_of(t, REPORT_SUCCESS, false);
	if (n && gate(t, &f)) {
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

/* In a worker. */
static void read_text(void *arg)
{
	struct telling *t = arg;
	struct slice address = t->told.envelope.recipients[t->next - 1].address;
	char path[4600];
	buf_clear(&t->text);
	t->vacation.fits = false;
	if (slice_find(address, '/') < address.n || snprintf(path, sizeof path, "%.*s/%.*s", SLICE_FMT(queue_settings.vacations), SLICE_FMT(address)) >= (int)sizeof path)
		return;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return;
	ssize_t n;
	for (char *room = buf_room(&t->text, 4096); room && (n = read(fd, room, 4096)) > 0; room = buf_room(&t->text, 4096))
		buf_used(&t->text, (size_t)n);
	close(fd);
	vacation_read(buf_slice(&t->text), clock_wall_s(), &t->vacation);
}

static void post_reply(struct telling *t)
{
	struct unique id = unique_new();
	struct envelope_recipient to;
	struct buf text = BUF_INIT(MAX_REPLY);
	struct vacation_reply r = { .vacation = &t->vacation, .header = &t->header, .address = t->told.envelope.recipients[t->next - 1].address,
		                    .to = t->told.envelope.reverse_path, .id = unique_slice(&id), .host = t->queue->host, .now_s = clock_wall_s() };
	if (vacation_write(&text, &r, &t->mem) == 0) {
		struct envelope out = envelope_of(t, &id, &to);
		out.utf8 = !slice_is_ascii(buf_slice(&text)); /* then an address is what needs it: the text is encoded */
		queue_post(t->queue, &out, &text, NULL, NULL);
	}
	buf_free(&text);
}

static void ask_ledger(struct telling *t, uint16_t type, ledger_done done)
{
	struct buf payload = BUF_INIT(4096);
	char days[16];
	snprintf(days, sizeof days, "%llu", (unsigned long long)t->vacation.days);
	struct slice texts[] = { t->told.envelope.recipients[t->next - 1].address, t->told.envelope.reverse_path, slice_of(days) };
	queue_put_texts(&payload, texts, 3);
	if (ledger_ask(t->queue->ledger, type, buf_slice(&payload), done, t))
		reply_next(t);
	buf_free(&payload);
}

static void on_reply_taken(void *arg, struct buf *answer)
{
	struct telling *t = arg;
	enum answer replied = UNSURE;
	queue_get_answer(buf_slice(answer), &replied);
	if (replied == ABSENT)
		post_reply(t);
	reply_next(t);
}

/* The gate is asked between: a reply that is not due takes nothing from its rates, and one that it withholds takes nothing from the days, or a forged
 * message, or somebody else's, kept the true sender from the reply that is due. */
static void on_reply_looked(void *arg, struct buf *answer)
{
	struct telling *t = arg;
	enum answer replied = UNSURE;
	struct report_facts f = facts_of(t, REPORT_REPLY, false);
	queue_get_answer(buf_slice(answer), &replied);
	if (replied == ABSENT && gate(t, &f))
		ask_ledger(t, LEDGER_REPLY_TAKE, on_reply_taken);
	else
		reply_next(t);
}

static void text_read(void *arg)
{
	struct telling *t = arg;
	struct slice address = t->told.envelope.recipients[t->next - 1].address;
	if (!t->vacation.fits || vacation_is_automatic(&t->header, t->told.envelope.reverse_path, &t->mem) || !vacation_names(&t->header, address, &t->mem))
		return reply_next(t);
	ask_ledger(t, LEDGER_REPLY_LOOK, on_reply_looked);
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
