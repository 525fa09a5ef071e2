/* A day's aggregate reports, mailed a report each turn of the loop: one takes a few milliseconds to write and pack, and there may be thousands. Owned by the queue. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/inflate.h"
#include "base/log.h"
#include "base/mail_path.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/unique.h"
#include "queue/feedback.h"
#include "queue/queue_inside.h"
#include "queue/report.h"

enum { DAY_S = 86400, TURN_MS = 20, MAX_MAIL = 24 << 20, MAX_LINE = 57 /* bytes in a line of base64 */, ORGANISATIONS = 4096, MAX_FOR_ORGANISATION = 100 };

struct feedback_reports {
	struct queue *queue;
	struct feedback_store *store;            /* NULL: it can't be opened */
	struct loop_timer *turn;
	int64_t done_day;                        /* begun on this day */
	unsigned posted, dropped;                /* in this round */
	uint16_t by_organisation[ORGANISATIONS]; /* reports on this day, by a secret hash */
	struct hash_key key;
	bool told_full;
};

static void on_turn(void *arg);

static struct feedback_reports *reports_of(struct queue *q)
{
	struct feedback_reports *r = q->feedback;
	char path[4200];
	if (!r) {
		r = q->feedback = MEM_NEW(struct feedback_reports);
		r->queue = q;
		r->turn = loop_timer_new(q->loop, on_turn, r);
		r->key = hash_key_random();
	}
	if (!r->store) {
		snprintf(path, sizeof path, "%s/feedback.db", q->setup.spool_path);
		r->store = feedback_store_open(slice_of(path));
	}
	return r;
}

void feedback_free(struct queue *q)
{
	if (!q->feedback)
		return;
	feedback_store_close(q->feedback->store);
	loop_timer_free(q->feedback->turn);
	mem_free(q->feedback);
	q->feedback = NULL;
}

static bool are_paths(const struct feedback *f)
{
	struct arena mem = ARENA_INIT(16 << 10);
	struct mail_path path;
	const char *why;
	bool good = true;
	for (size_t i = 0; i < f->to_count; i++)
		good &= mail_path_parse_address(f->to[i], &mem, &path, &why) == 0;
	arena_free(&mem);
	return good;
}

int feedback_message(struct peer *p, struct ipc_message *m)
{
	struct feedback f;
	struct dmarc_report_row row;
	struct feedback_reports *r = reports_of(p->queue);
	if (m->payload.n > FEEDBACK_MAX_RECORD || feedback_get(m->payload, &row, &f) || !are_paths(&f))
		return -EPROTO;
	int error = r->store ? feedback_store_count(r->store, &f, clock_wall_s() / DAY_S) : -EIO;
	if (error && !r->told_full)
		log_event(LOG_WARN, "dmarc-not-counted", LOG_STR("domain", f.report.domain), LOG_ERRNO(error), LOG_END);
	r->told_full |= error != 0; /* one line a day: what is full, strangers fill */
	return 0;
}

/* -- one report --------------------------------------------------------------------------------------------------------------- */

static void write_mail(struct queue *q, const struct feedback_batch *b, struct slice to, struct slice id, struct slice packed, struct buf *out)
{
	struct buf subject = BUF_INIT(1000);
	struct slice domain = b->first.report.domain, from = slice_of(q->postmaster_text);
	int64_t begin_s = b->day * DAY_S, end_s = begin_s + DAY_S - 1;
	buf_addf(&subject, "Report Domain: %.*s Submitter: %.*s Report-ID: <%.*s>", SLICE_FMT(domain), SLICE_FMT(q->host), SLICE_FMT(id));
	report_write_head(out, &(struct report_head){ .host = q->host, .from = from, .to = to, .id = id, .subject = buf_slice(&subject), .now_s = clock_wall_s(),
	                                              .auto_submitted = "auto-generated" });
	buf_addf(out, "Content-Type: multipart/mixed; boundary=\"=_%.*s\"\r\n\r\n--=_%.*s\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"
	         "A DMARC aggregate report for %.*s by %.*s: %llu messages.\r\n\r\n--=_%.*s\r\nContent-Type: application/gzip\r\nContent-Transfer-Encoding: base64\r\n"
	         "Content-Disposition: attachment;\r\n\tfilename=\"%.*s!%.*s!%lld!%lld.xml.gz\"\r\n\r\n",
	         SLICE_FMT(id), SLICE_FMT(id), SLICE_FMT(domain), SLICE_FMT(q->host), (unsigned long long)b->messages, SLICE_FMT(id), SLICE_FMT(q->host),
	         SLICE_FMT(domain), (long long)begin_s, (long long)end_s);
	for (struct slice rest = packed; rest.n; rest = slice_skip(rest, MAX_LINE)) {
		text_add_base64(out, slice_head(rest, MAX_LINE));
		buf_add_cstr(out, "\r\n");
	}
	buf_addf(out, "--=_%.*s--\r\n", SLICE_FMT(id));
	buf_free(&subject);
}

static void post(struct queue *q, const struct feedback_batch *b, struct slice to, struct slice packed)
{
	struct unique id = unique_new();
	struct arena mem = ARENA_INIT(1 << 20);
	struct buf text = BUF_INIT(MAX_MAIL);
	int64_t now_s = clock_wall_s();
	write_mail(q, b, to, unique_slice(&id), packed, &text);
	struct envelope_recipient recipient = queue_address(q, to, &mem);
	struct envelope e = { .id = unique_slice(&id), .arrived_s = now_s, .expires_s = now_s + DAY_S, .evidence = { EVIDENCE_LOCAL, SLICE("porter"), SLICE("a DMARC report of ours") },
		              .reverse_path = SLICE(""), .report = true, .client = SLICE("local"), .transaction = unique_slice(&id), .sign = true, .recipients = &recipient,
		              .recipient_count = 1 };
	log_event(LOG_INFO, "dmarc-report", LOG_STR("id", e.id), LOG_STR("domain", b->first.report.domain), LOG_STR("to", to), LOG_UINT("messages", b->messages), LOG_END);
	queue_post(q, &e, &text, NULL, NULL);
	buf_free(&text);
	arena_free(&mem);
}

/* A Report-ID never comes twice (RFC 9990, 3.5.1): a domain may get several reports for one day. */
static void write_report(struct queue *q, const struct feedback_batch *b, struct buf *xml)
{
	struct unique unique = unique_new();
	struct buf id = BUF_INIT(400);
	buf_addf(&id, "%lld.%.*s.%.*s", (long long)b->day, SLICE_FMT(b->first.report.domain), SLICE_FMT(unique_slice(&unique)));
	struct dmarc_report r = b->first.report;
	r.org_name = q->host;
	r.email = slice_of(q->postmaster_text);
	r.report_id = buf_slice(&id);
	r.begin_s = b->day * DAY_S;
	r.end_s = r.begin_s + DAY_S - 1;
	r.rows = b->rows;
	r.row_count = b->count;
	dmarc_report_write(&r, xml); /* fits: feedback_store_take weighed it */
	buf_free(&id);
}

static bool is_one_too_many(struct feedback_reports *r, struct slice organisation)
{
	uint16_t *n = &r->by_organisation[hash_bytes(&r->key, organisation) % ORGANISATIONS];
	*n += *n <= MAX_FOR_ORGANISATION;
	return *n > MAX_FOR_ORGANISATION;
}

static void send_one(struct feedback_reports *r, const struct feedback_batch *b)
{
	struct buf xml = BUF_INIT(FEEDBACK_MAX_XML + 10000), packed = BUF_INIT(FEEDBACK_MAX_XML + 10000);
	if (is_one_too_many(r, b->first.organisation)) {
		r->dropped++;
		return;
	}
	write_report(r->queue, b, &xml);
	if (buf_full(&xml) || deflate_gzip(buf_slice(&xml), &packed)) {
		log_event(LOG_ERROR, "dmarc-report-failed", LOG_STR("domain", b->first.report.domain), LOG_UINT("messages", b->messages), LOG_END);
	} else {
		for (size_t i = 0; i < b->first.to_count; i++)
			post(r->queue, b, b->first.to[i], buf_slice(&packed));
		r->posted++;
	}
	buf_free(&xml);
	buf_free(&packed);
}

/* -- when --------------------------------------------------------------------------------------------------------------------- */

static bool send_next(struct feedback_reports *r, int64_t until_day)
{
	struct feedback_batch b;
	if (r->queue->draining || !r->store || feedback_store_take(r->store, until_day, &b) != 1)
		return false;
	send_one(r, &b);
	arena_free(&b.mem);
	return true;
}

static void end_round(struct feedback_reports *r)
{
	if (r->dropped)
		log_event(LOG_WARN, "dmarc-reports-dropped", LOG_UINT("reports", r->dropped), LOG_UINT("most-for-an-organisation", MAX_FOR_ORGANISATION), LOG_END);
	r->posted = r->dropped = 0;
	if (r->store)
		feedback_store_sync(r->store);
}

static void on_turn(void *arg)
{
	struct feedback_reports *r = arg;
	if (send_next(r, clock_wall_s() / DAY_S))
		loop_timer_set(r->turn, TURN_MS);
	else
		end_round(r);
}

void feedback_send_due(struct queue *q)
{
	int64_t today = clock_wall_s() / DAY_S;
	struct feedback_reports *r = reports_of(q);
	if (q->draining || today == r->done_day)
		return;
	r->done_day = today;
	r->told_full = false;
	memset(r->by_organisation, 0, sizeof r->by_organisation);
	loop_timer_set(r->turn, TURN_MS);
}

unsigned feedback_send_now(struct queue *q)
{
	struct feedback_reports *r = reports_of(q);
	int64_t today = clock_wall_s() / DAY_S;
	unsigned before = r->posted;
	for (int i = 0; i < FEEDBACK_MAX_AT_ONCE && send_next(r, today + 1); i++)
		;
	unsigned posted = r->posted - before;
	if (!loop_timer_is_set(r->turn))
		end_round(r);
	return posted;
}
